"""The columns that an export of AWS Data Exports is asked for: its query has to name each of them.

AWS knows no `*` in these queries, and refuses a column that the export's configuration does not bring.
"""

from __future__ import annotations

from collections.abc import Mapping

from billing_lake.formats.cur2.columns import KNOWN_COLUMNS

CUR2_OPTIONAL_COLUMNS: Mapping[str, list[str]] = {
    "INCLUDE_RESOURCES": ["line_item_resource_id"],
    "INCLUDE_SPLIT_COST_ALLOCATION_DATA": """
    split_line_item_actual_usage split_line_item_net_split_cost split_line_item_net_unused_cost
    split_line_item_parent_resource_id split_line_item_public_on_demand_split_cost
    split_line_item_public_on_demand_unused_cost split_line_item_reserved_usage
    split_line_item_split_cost split_line_item_split_usage split_line_item_split_usage_ratio
    split_line_item_unused_cost
    """.split(),
    "INCLUDE_CAPACITY_RESERVATION_DATA": """
    capacity_reservation_capacity_reservation_arn capacity_reservation_capacity_reservation_status
    capacity_reservation_capacity_reservation_type
    """.split(),
    "INCLUDE_IAM_PRINCIPAL_DATA": ["line_item_iam_principal"],
}
"""Columns of CUR 2.0 that a configuration has when it is switched on."""

CUR2_COLUMNS = [
    name
    for name in KNOWN_COLUMNS
    if all(name not in more for more in CUR2_OPTIONAL_COLUMNS.values())
]
"""Columns of CUR 2.0 that every configuration has."""

FOCUS_COLUMNS = """
    AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType
    BillingCurrency BillingPeriodEnd BillingPeriodStart CapacityReservationId
    CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription ChargeFrequency
    ChargePeriodEnd ChargePeriodStart CommitmentDiscountCategory CommitmentDiscountId
    CommitmentDiscountName CommitmentDiscountQuantity CommitmentDiscountStatus
    CommitmentDiscountType CommitmentDiscountUnit ConsumedQuantity ConsumedUnit ContractedCost
    ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost ListUnitPrice
    PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost
    PricingCurrencyListUnitPrice PricingQuantity PricingUnit ProviderName PublisherName RegionId
    RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory
    SkuId SkuMeter SkuPriceDetails SkuPriceId SubAccountId SubAccountName SubAccountType Tags
    x_Discounts x_Operation x_ServiceCode
""".split()
"""Columns of FOCUS 1.2 as AWS exports it."""


def export_query(table: str, columns: list[str]) -> str:
    """Return the query of an export: the columns in alphabetical order, as the console writes it."""
    return f"SELECT {', '.join(sorted(columns, key=str.lower))} FROM {table}"  # noqa: S608 -- constants
