"""The column dictionary of CUR 2.0: types that its columns have by definition, never by sampling.

Money, rates and quantities share their names with legacy CUR, and so what is a cost; the fixed set of columns, the maps and the
moments of reservations and plans are its own. Source: AWS's table dictionary of COST_AND_USAGE_REPORT. An export's SQL chooses among
the columns, renames them and makes columns of map keys, so a report may lack nearly all of these and have others.
"""

from __future__ import annotations

from billing_lake.domain.bill import TagKeys
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Map, Type
from billing_lake.formats.legacy_cur import columns as legacy

ROLES = legacy.ROLES
CHARGES = legacy.CHARGES

TAG_MAPS = {
    "resource_tags": TagKeys(begin="user_"),
    "tags": TagKeys(begin="resourceTags/", excepted=("resourceTags/aws",)),
}
"""Tags of resources, which `tags` repeats. Those of accounts and users do not say whose a resource is."""

REQUIRED = (
    "bill_payer_account_id",
    "bill_billing_period_start_date",
    "line_item_line_item_type",
    "line_item_usage_account_id",
    "line_item_usage_start_date",
    "line_item_usage_end_date",
    "line_item_unblended_cost",
    "line_item_currency_code",
)
"""Columns without which a report can be neither dated nor totalled, nor its lines told apart by account and kind."""

_DICTIONARY = """
bill_bill_type bill_billing_entity bill_billing_period_end_date:t bill_billing_period_start_date:t bill_invoice_id
bill_invoicing_entity bill_payer_account_id bill_payer_account_name
capacity_reservation_capacity_reservation_arn capacity_reservation_capacity_reservation_status
capacity_reservation_capacity_reservation_type
cost_category:m
discount:m discount_bundled_discount:n discount_total_discount:n
identity_line_item_id identity_time_interval
line_item_availability_zone line_item_blended_cost:n line_item_blended_rate:n line_item_currency_code line_item_iam_principal
line_item_legal_entity line_item_line_item_description line_item_line_item_type line_item_net_unblended_cost:n
line_item_net_unblended_rate:n line_item_normalization_factor:n line_item_normalized_usage_amount:n line_item_operation
line_item_product_code line_item_resource_id line_item_tax_type line_item_unblended_cost:n line_item_unblended_rate:n
line_item_usage_account_id line_item_usage_account_name line_item_usage_amount:n line_item_usage_end_date:t
line_item_usage_start_date:t line_item_usage_type line_item_user_identifier
pricing_currency pricing_lease_contract_length pricing_offering_class pricing_public_on_demand_cost:n
pricing_public_on_demand_rate:n pricing_purchase_option pricing_rate_code pricing_rate_id pricing_term pricing_unit
product:m product_comment product_fee_code product_fee_description product_from_location product_from_location_type
product_from_region_code product_instance_family product_instance_type product_instancesku product_location
product_location_type product_operation product_pricing_unit product_product_family product_region_code product_servicecode
product_sku product_to_location product_to_location_type product_to_region_code product_usagetype
reservation_amortized_upfront_cost_for_usage:n reservation_amortized_upfront_fee_for_billing_period:n
reservation_availability_zone reservation_effective_cost:n reservation_end_time:t reservation_modification_status
reservation_net_amortized_upfront_cost_for_usage:n reservation_net_amortized_upfront_fee_for_billing_period:n
reservation_net_effective_cost:n reservation_net_recurring_fee_for_usage:n
reservation_net_unused_amortized_upfront_fee_for_billing_period:n reservation_net_unused_recurring_fee:n
reservation_net_upfront_value:n reservation_normalized_units_per_reservation:n reservation_number_of_reservations:n
reservation_recurring_fee_for_usage:n reservation_reservation_a_r_n reservation_start_time:t reservation_subscription_id
reservation_total_reserved_normalized_units:n reservation_total_reserved_units:n reservation_units_per_reservation:n
reservation_unused_amortized_upfront_fee_for_billing_period:n reservation_unused_normalized_unit_quantity:n
reservation_unused_quantity:n reservation_unused_recurring_fee:n reservation_upfront_value:n
resource_tags:m
savings_plan_amortized_upfront_commitment_for_billing_period:n savings_plan_end_time:t savings_plan_instance_type_family
savings_plan_net_amortized_upfront_commitment_for_billing_period:n savings_plan_net_recurring_commitment_for_billing_period:n
savings_plan_net_savings_plan_effective_cost:n savings_plan_offering_type savings_plan_payment_option
savings_plan_purchase_term savings_plan_recurring_commitment_for_billing_period:n savings_plan_region
savings_plan_savings_plan_a_r_n savings_plan_savings_plan_effective_cost:n savings_plan_savings_plan_rate:n
savings_plan_start_time:t savings_plan_total_commitment_to_date:n savings_plan_used_commitment:n
split_line_item_actual_usage:n split_line_item_net_split_cost:n split_line_item_net_unused_cost:n
split_line_item_parent_resource_id split_line_item_public_on_demand_split_cost:n
split_line_item_public_on_demand_unused_cost:n split_line_item_reserved_usage:n split_line_item_split_cost:n
split_line_item_split_usage:n split_line_item_split_usage_ratio:n split_line_item_unused_cost:n
tags:m
"""
"""Every column of the guide, in its order; `:t` is a moment, `:n` a number, `:m` a map, the others are text.

The amounts in `discount` stay text: as exact as they were delivered."""

_TYPES: dict[str, Type] = {
    "": STRING,
    "t": TIMESTAMP,
    "n": DECIMAL,
    "m": Map(STRING, STRING),
}

KNOWN_COLUMNS: dict[str, Type] = {
    name: _TYPES[kind] for name, _, kind in (one.partition(":") for one in _DICTIONARY.split())
}
"""Column name to type, for every column of the guide."""


def type_of(name: str) -> Type:
    """Return the type of the column ``name``: by name where it is known, else as in legacy CUR, whose columns a map's keys may become."""
    return KNOWN_COLUMNS.get(name) or legacy.type_of(name)
