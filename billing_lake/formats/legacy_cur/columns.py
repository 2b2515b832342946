"""The column dictionary: types that billing columns have by definition, never by sampling.

Inference flips types from month to month (an account id with a leading zero becomes an integer, an empty cost column
becomes text until the first Savings Plan is bought). Sources: the AWS CUR data dictionary and the DDL of AWS's Cloud
Intelligence Dashboards; money is DECIMAL here where those use DOUBLE, so that totals are exact.

`*_start_time` and `*_end_time` stay text, as AWS defines them.
"""

from __future__ import annotations

from billing_lake.domain.bill import Charges
from billing_lake.domain.sources import Roles
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Type

ROLES = Roles(
    period_start="bill_billing_period_start_date",
    usage_start="line_item_usage_start_date",
    usage_end="line_item_usage_end_date",
    currency="line_item_currency_code",
    account="line_item_usage_account_id",
    payer="bill_payer_account_id",
    line_id="identity_line_item_id",
    time_interval="identity_time_interval",
    charge_type="line_item_line_item_type",
    service="line_item_product_code",
    invoice="bill_invoice_id",
    issuer="bill_invoicing_entity",
    savings_plan="savings_plan_savings_plan_a_r_n",
)

REQUIRED = (
    "bill_billing_period_start_date",
    "line_item_usage_start_date",
    "line_item_currency_code",
    "line_item_unblended_cost",
)
"""Columns without which a report can be neither dated nor totalled."""

PREVIEW = (
    "line_item_unblended_cost",
    "line_item_currency_code",
    "line_item_usage_start_date",
    "line_item_usage_account_id",
    "line_item_product_code",
    "line_item_line_item_type",
    "line_item_usage_type",
    "line_item_usage_amount",
)
"""Columns by which a person recognises a report."""

HEADLINE_COSTS = {
    "line_item_unblended_cost": "unblended_cost",
    "line_item_net_unblended_cost": "net_unblended_cost",
    "line_item_blended_cost": "blended_cost",
    "savings_plan_savings_plan_effective_cost": "savings_plan_effective_cost",
    "reservation_effective_cost": "reservation_effective_cost",
    "pricing_public_on_demand_cost": "on_demand_cost",
}
"""Costs that are shown first and plotted over months, the one of the invoice before the others, with a short name each."""

_REDUCTIONS = frozenset(
    (
        "BundledDiscount",
        "Credit",
        "Discount",
        "EdpDiscount",
        "PrivateRateDiscount",
        "Refund",
        "SavingsPlanNegation",
        "SppDiscount",
    )
)
_USAGE = frozenset(("DiscountedUsage", "FlatRateSubscription", "SavingsPlanCoveredUsage", "Usage"))

CHARGES = Charges(
    known=_REDUCTIONS
    | _USAGE
    | {"Fee", "RIFee", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee", "Tax"},
    # A tax is taken back as a tax.
    negative=_REDUCTIONS | {"Tax"},
    covered="SavingsPlanCoveredUsage",
    negation="SavingsPlanNegation",
    taggable=_USAGE,
    account_digits=12,
)

_TEXT = """
identity_line_item_id identity_time_interval bill_invoice_id bill_invoicing_entity bill_billing_entity bill_bill_type
bill_payer_account_id bill_payer_account_name line_item_usage_account_id line_item_usage_account_name
line_item_line_item_type line_item_product_code line_item_usage_type line_item_operation line_item_availability_zone
line_item_resource_id line_item_currency_code line_item_line_item_description line_item_tax_type
line_item_legal_entity product_product_name product_servicecode product_servicename product_usagetype
product_platopricingtype product_product_family product_region product_region_code product_location
product_location_type product_operation product_sku product_instance_type product_instance_type_family
product_operating_system product_from_location product_from_location_type product_from_region_code
product_to_location product_to_location_type product_to_region_code product_transfer_type product_group
product_group_description product_fee_code product_fee_description pricing_rate_code pricing_rate_id pricing_currency
pricing_term pricing_unit pricing_lease_contract_length pricing_offering_class pricing_purchase_option
reservation_reservation_a_r_n reservation_subscription_id reservation_modification_status
reservation_availability_zone reservation_start_time reservation_end_time savings_plan_savings_plan_a_r_n
savings_plan_offering_type savings_plan_instance_type_family savings_plan_payment_option
savings_plan_purchase_term savings_plan_region savings_plan_start_time savings_plan_end_time
split_line_item_parent_resource_id
""".split()

_TIMESTAMPS = """
bill_billing_period_start_date bill_billing_period_end_date line_item_usage_start_date line_item_usage_end_date
""".split()

_MONEY = """
line_item_unblended_cost line_item_blended_cost line_item_net_unblended_cost pricing_public_on_demand_cost
reservation_amortized_upfront_cost_for_usage reservation_amortized_upfront_fee_for_billing_period
reservation_effective_cost reservation_net_effective_cost reservation_recurring_fee_for_usage
reservation_unused_amortized_upfront_fee_for_billing_period reservation_unused_recurring_fee
reservation_upfront_value reservation_net_amortized_upfront_cost_for_usage
reservation_net_amortized_upfront_fee_for_billing_period reservation_net_recurring_fee_for_usage
reservation_net_unused_amortized_upfront_fee_for_billing_period reservation_net_unused_recurring_fee
reservation_net_upfront_value savings_plan_total_commitment_to_date savings_plan_used_commitment
savings_plan_savings_plan_effective_cost savings_plan_net_savings_plan_effective_cost
savings_plan_amortized_upfront_commitment_for_billing_period
savings_plan_net_amortized_upfront_commitment_for_billing_period
savings_plan_recurring_commitment_for_billing_period savings_plan_net_recurring_commitment_for_billing_period
split_line_item_split_cost split_line_item_unused_cost split_line_item_net_split_cost
split_line_item_net_unused_cost split_line_item_public_on_demand_split_cost
split_line_item_public_on_demand_unused_cost discount_total_discount discount_edp_discount
discount_private_rate_discount discount_bundled_discount discount_spp_discount
""".split()

_NUMBERS = """
line_item_usage_amount line_item_normalization_factor line_item_normalized_usage_amount line_item_unblended_rate
line_item_blended_rate line_item_net_unblended_rate pricing_public_on_demand_rate
reservation_normalized_units_per_reservation reservation_number_of_reservations
reservation_total_reserved_normalized_units reservation_total_reserved_units reservation_units_per_reservation
reservation_unused_normalized_unit_quantity reservation_unused_quantity savings_plan_savings_plan_rate
split_line_item_actual_usage split_line_item_reserved_usage split_line_item_split_usage
split_line_item_split_usage_ratio
""".split()

KNOWN_COLUMNS: dict[str, Type] = {
    **dict.fromkeys(_TEXT, STRING),
    **dict.fromkeys(_TIMESTAMPS, TIMESTAMP),
    **dict.fromkeys(_MONEY, DECIMAL),
    **dict.fromkeys(_NUMBERS, DECIMAL),
}
"""Column name to type, for every column whose spelling is fixed."""

_MEASURED_FAMILIES = (
    "line_item_",
    "pricing_",
    "reservation_",
    "savings_plan_",
    "split_line_item_",
    "discount_",
)
_COST_ENDINGS = ("_cost", "_fee", "_fee_for_billing_period", "_fee_for_usage", "_cost_for_usage")
_NUMBER_ENDINGS = (*_COST_ENDINGS, "_rate", "_amount", "_quantity", "_factor", "_discount")
_COSTS = frozenset(_MONEY)


def type_of(name: str) -> Type:
    """Return the type of the column ``name``: by name where it is known, by its ending within AWS's own families.

    Everything else (tags, cost categories, product attributes, columns nobody has seen yet) is text.
    """
    known = KNOWN_COLUMNS.get(name)
    if known is not None:
        return known
    if name.startswith(_MEASURED_FAMILIES) and name.endswith(_NUMBER_ENDINGS):
        return DECIMAL
    return STRING


def is_cost(name: str) -> bool:
    """Say whether ``name`` is money, and so belongs to the totals that a proof compares."""
    return name in _COSTS or (name.startswith(_MEASURED_FAMILIES) and name.endswith(_COST_ENDINGS))


def is_tag(name: str) -> bool:
    """Say whether ``name`` is a tag of the user's own."""
    return name.startswith("resource_tags_user_")
