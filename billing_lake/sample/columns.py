"""The columns of a legacy report, in AWS's spelling, and which of them hold money."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GROUPS = {
    "identity": "LineItemId TimeInterval",
    "bill": (
        "InvoiceId InvoicingEntity BillingEntity BillType PayerAccountId BillingPeriodStartDate BillingPeriodEndDate"
    ),
    "lineItem": (
        "UsageAccountId LineItemType UsageStartDate UsageEndDate ProductCode UsageType Operation AvailabilityZone "
        "ResourceId UsageAmount NormalizationFactor NormalizedUsageAmount CurrencyCode UnblendedRate UnblendedCost "
        "BlendedRate BlendedCost LineItemDescription TaxType NetUnblendedCost LegalEntity"
    ),
    "product": (
        "ProductName databaseEngine fromLocation group instanceType instanceTypeFamily location locationType memory "
        "operatingSystem operation productFamily region servicecode servicename sku storageClass tenancy toLocation "
        "transferType usagetype vcpu volumeType"
    ),
    "pricing": (
        "LeaseContractLength OfferingClass PurchaseOption RateCode RateId currency publicOnDemandCost "
        "publicOnDemandRate term unit"
    ),
    "reservation": (
        "AmortizedUpfrontCostForUsage AmortizedUpfrontFeeForBillingPeriod EffectiveCost EndTime ModificationStatus "
        "NumberOfReservations RecurringFeeForUsage ReservationARN StartTime SubscriptionId TotalReservedUnits "
        "UnitsPerReservation UnusedAmortizedUpfrontFeeForBillingPeriod UnusedQuantity UnusedRecurringFee UpfrontValue"
    ),
    "savingsPlan": (
        "AmortizedUpfrontCommitmentForBillingPeriod EndTime InstanceTypeFamily OfferingType PaymentOption PurchaseTerm "
        "RecurringCommitmentForBillingPeriod Region SavingsPlanARN SavingsPlanEffectiveCost SavingsPlanRate StartTime "
        "TotalCommitmentToDate UsedCommitment"
    ),
}

COST_CENTER = ("resourceTags/user:CostCenter", "resourceTags/user:cost-center")
"""Two spellings of one tag: AWS's naming rule makes one column of them. No row fills both."""

TAGS = (
    "resourceTags/aws:createdBy",
    *COST_CENTER,
    "resourceTags/user:Environment",
    "resourceTags/user:Name",
    "resourceTags/user:Owner",
)
COST_CATEGORIES = ("costCategory/Charge type", "costCategory/Team")

NATURAL = (
    *(f"{group}/{name}" for group, names in _GROUPS.items() for name in names.split()),
    *TAGS,
    *COST_CATEGORIES,
)
"""The columns of every sample report, in order, with AWS's own spelling."""

HOURLY = frozenset(
    {
        "identity/LineItemId",
        "identity/TimeInterval",
        "lineItem/UsageStartDate",
        "lineItem/UsageEndDate",
        "lineItem/UsageAmount",
        "lineItem/NormalizedUsageAmount",
        "lineItem/UnblendedCost",
        "lineItem/BlendedCost",
        "lineItem/NetUnblendedCost",
        "pricing/publicOnDemandCost",
        "reservation/AmortizedUpfrontCostForUsage",
        "reservation/EffectiveCost",
        "reservation/RecurringFeeForUsage",
        "savingsPlan/SavingsPlanEffectiveCost",
    }
)
"""Columns that differ from hour to hour of one meter; all others are the meter's own and rendered once."""

MONEY = {
    "lineItem/UnblendedCost": "line_item_unblended_cost",
    "lineItem/BlendedCost": "line_item_blended_cost",
    "lineItem/NetUnblendedCost": "line_item_net_unblended_cost",
    "pricing/publicOnDemandCost": "pricing_public_on_demand_cost",
    "reservation/AmortizedUpfrontCostForUsage": "reservation_amortized_upfront_cost_for_usage",
    "reservation/AmortizedUpfrontFeeForBillingPeriod": "reservation_amortized_upfront_fee_for_billing_period",
    "reservation/EffectiveCost": "reservation_effective_cost",
    "reservation/RecurringFeeForUsage": "reservation_recurring_fee_for_usage",
    "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": (
        "reservation_unused_amortized_upfront_fee_for_billing_period"
    ),
    "reservation/UnusedRecurringFee": "reservation_unused_recurring_fee",
    "reservation/UpfrontValue": "reservation_upfront_value",
    "savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod": (
        "savings_plan_amortized_upfront_commitment_for_billing_period"
    ),
    "savingsPlan/RecurringCommitmentForBillingPeriod": "savings_plan_recurring_commitment_for_billing_period",
    "savingsPlan/SavingsPlanEffectiveCost": "savings_plan_savings_plan_effective_cost",
    "savingsPlan/TotalCommitmentToDate": "savings_plan_total_commitment_to_date",
    "savingsPlan/UsedCommitment": "savings_plan_used_commitment",
}
"""Money columns by raw header, with their normalised names written out: tests shall not derive them by the rule they test."""

_TYPES = {
    "identity/LineItemId": "String",
    "identity/TimeInterval": "Interval",
    "bill/BillingPeriodStartDate": "DateTime",
    "bill/BillingPeriodEndDate": "DateTime",
    "lineItem/UsageStartDate": "DateTime",
    "lineItem/UsageEndDate": "DateTime",
    "lineItem/UsageAmount": "BigDecimal",
    "lineItem/NormalizationFactor": "OptionalBigDecimal",
    "lineItem/NormalizedUsageAmount": "OptionalBigDecimal",
    "lineItem/UnblendedRate": "OptionalBigDecimal",
    "lineItem/BlendedRate": "OptionalBigDecimal",
    "lineItem/UnblendedCost": "BigDecimal",
    "lineItem/BlendedCost": "BigDecimal",
    "pricing/publicOnDemandRate": "OptionalBigDecimal",
    "savingsPlan/SavingsPlanRate": "OptionalBigDecimal",
}


def tag_column(tag: str) -> str:
    """The raw header of a tag given as `user:Project` or already as `resourceTags/user:Project`."""
    return tag if tag.startswith("resourceTags/") else f"resourceTags/{tag}"


def padding(columns: int | None) -> tuple[str, ...]:
    """Tag columns that widen the natural set to `columns`.

    Raises:
        ValueError: if fewer columns are asked for than every report has.
    """
    missing = 0 if columns is None else columns - len(NATURAL)
    if missing < 0:
        msg = f"columns is {columns}, but a sample report has at least {len(NATURAL)}"
        raise ValueError(msg)
    return tuple(f"resourceTags/user:Padding{number:04d}" for number in range(1, missing + 1))


def header(tags: Iterable[str]) -> tuple[str, ...]:
    """The natural columns with further tag columns among the tags, where AWS puts them.

    Raises:
        ValueError: if a column would appear twice.
    """
    first_category = len(NATURAL) - len(COST_CATEGORIES)
    names = (*NATURAL[:first_category], *tags, *NATURAL[first_category:])
    twice = (
        sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        msg = f"columns appear twice: {', '.join(twice)}"
        raise ValueError(msg)
    return names


def manifest_columns(names: Sequence[str]) -> list[dict[str, str]]:
    """The `columns` of a manifest: category, name and AWS's own type token of each column."""
    return [
        {"category": category, "name": name, "type": _type(f"{category}/{name}")}
        for category, _, name in (raw.partition("/") for raw in names)
    ]


def _type(raw: str) -> str:
    return _TYPES.get(raw, "OptionalBigDecimal" if raw in MONEY else "OptionalString")
