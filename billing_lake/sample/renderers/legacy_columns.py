"""The columns of a legacy report in AWS's spelling, and which canonical column each of them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.sample.canonical import MONEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GROUPS = {
    "identity": "LineItemId=id TimeInterval=interval",
    "bill": (
        "InvoiceId=invoice InvoicingEntity=invoicing_entity BillingEntity=billing_entity BillType=bill_type "
        "PayerAccountId=payer BillingPeriodStartDate=period_start BillingPeriodEndDate=period_end"
    ),
    "lineItem": (
        "UsageAccountId=account LineItemType=charge_type UsageStartDate=start UsageEndDate=end ProductCode=service "
        "UsageType=usage_type Operation=operation AvailabilityZone=zone ResourceId=resource UsageAmount=quantity "
        "NormalizationFactor=factor NormalizedUsageAmount=normalized_quantity CurrencyCode=currency UnblendedRate=rate "
        "UnblendedCost=cost BlendedRate=rate BlendedCost=cost LineItemDescription=description TaxType=tax_type "
        "NetUnblendedCost=net_cost LegalEntity=legal_entity"
    ),
    "product": (
        "ProductName databaseEngine fromLocation group instanceType instanceTypeFamily location locationType memory "
        "operatingSystem operation productFamily region servicecode servicename sku storageClass tenancy toLocation "
        "transferType usagetype vcpu volumeType"
    ),
    "pricing": (
        "LeaseContractLength=lease_length OfferingClass=offering_class PurchaseOption=purchase_option "
        "RateCode=rate_code RateId=rate_id currency=currency publicOnDemandCost=list_cost publicOnDemandRate=list_rate "
        "term=term unit=unit"
    ),
    "reservation": (
        "AmortizedUpfrontCostForUsage=reservation_upfront_used AmortizedUpfrontFeeForBillingPeriod=reservation_upfront "
        "EffectiveCost=reservation_effective EndTime=reservation_end ModificationStatus=reservation_modification "
        "NumberOfReservations=reservation_count RecurringFeeForUsage=reservation_recurring_used "
        "ReservationARN=reservation_arn StartTime=reservation_start SubscriptionId=reservation_subscription "
        "TotalReservedUnits=reservation_units UnitsPerReservation=reservation_units_each "
        "UnusedAmortizedUpfrontFeeForBillingPeriod=reservation_upfront_unused UnusedQuantity=reservation_unused "
        "UnusedRecurringFee=reservation_recurring_unused UpfrontValue=reservation_upfront_paid"
    ),
    "savingsPlan": (
        "AmortizedUpfrontCommitmentForBillingPeriod=plan_upfront EndTime=plan_end InstanceTypeFamily=plan_family "
        "OfferingType=plan_offering PaymentOption=plan_payment PurchaseTerm=plan_term "
        "RecurringCommitmentForBillingPeriod=plan_recurring Region SavingsPlanARN=plan_arn "
        "SavingsPlanEffectiveCost=plan_effective SavingsPlanRate=plan_rate StartTime=plan_start "
        "TotalCommitmentToDate=plan_committed UsedCommitment=plan_used"
    ),
    "resourceTags": "aws:createdBy user:CostCenter user:cost-center user:Environment user:Name user:Owner",
}
_PREFIXES = {"resourceTags": "tag", "costCategory": "category"}
COST_CATEGORIES = ("costCategory/Charge type", "costCategory/Team")

NATURAL = (
    *(
        f"{group}/{one.partition('=')[0]}"
        for group, columns in _GROUPS.items()
        for one in columns.split()
    ),
    *COST_CATEGORIES,
)
"""The columns of every sample report, in order, with AWS's own spelling."""

_CANONICAL = {
    f"{group}/{name}": canonical
    for group, columns in _GROUPS.items()
    for name, _, canonical in (one.partition("=") for one in columns.split())
    if canonical
}

_TYPES = {
    **dict.fromkeys(MONEY, "OptionalBigDecimal"),
    "id": "String",
    "interval": "Interval",
    **dict.fromkeys(("period_start", "period_end", "start", "end"), "DateTime"),
    **dict.fromkeys(("quantity", "cost"), "BigDecimal"),
    **dict.fromkeys(
        ("normalized_quantity", "factor", "rate", "list_rate", "plan_rate"), "OptionalBigDecimal"
    ),
}
"""The manifest's tokens of types by canonical column; all others are `OptionalString`."""


def canonical_name(column: str) -> str:
    """Name the canonical column that a raw header shows: `account`, `product/vcpu`, `tag/user:Owner`."""
    group, _, name = column.partition("/")
    return _CANONICAL.get(column, f"{_PREFIXES.get(group, group)}/{name}")


def padding_tags(columns: int | None) -> tuple[str, ...]:
    """Name tags that widen the natural set to `columns`.

    Raises:
        ValueError: if fewer columns are asked for than every report has.
    """
    missing = 0 if columns is None else columns - len(NATURAL)
    if missing < 0:
        msg = f"columns is {columns}, but a sample report has at least {len(NATURAL)}"
        raise ValueError(msg)
    return tuple(f"user:Padding{number:04d}" for number in range(1, missing + 1))


def header_cells(tags: Iterable[str]) -> tuple[str, ...]:
    """List the natural columns with further tag columns among the tags, where AWS puts them.

    Raises:
        ValueError: if a column would appear twice.
    """
    first_category = len(NATURAL) - len(COST_CATEGORIES)
    further = (f"resourceTags/{tag}" for tag in tags)
    names = (*NATURAL[:first_category], *further, *NATURAL[first_category:])
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        msg = f"columns appear twice: {', '.join(twice)}"
        raise ValueError(msg)
    return names


def manifest_columns(names: Sequence[str]) -> list[dict[str, str]]:
    """List the `columns` of a manifest: category, name and AWS's own type token of each column."""
    return [
        {
            "category": category,
            "name": name,
            "type": _TYPES.get(canonical_name(f"{category}/{name}"), "OptionalString"),
        }
        for category, _, name in (raw.partition("/") for raw in names)
    ]
