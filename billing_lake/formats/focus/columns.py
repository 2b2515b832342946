"""The column dictionary of FOCUS: the columns of Cost and Usage in the versions 1.0 to 1.3, and those that providers add.

Sources: the specification, AWS's table dictionaries of its exports, Microsoft's list of its own columns. Types are by definition,
never by sampling: an id of digits is text. What the specification has as JSON is a map of text where it is one level of keys, and the
text that was delivered where it may be nested. No column is required to hold something: providers document gaps where the specification
has none.
"""

from __future__ import annotations

from collections.abc import Collection

from billing_lake.domain.bill import Charges, TagKeys
from billing_lake.domain.sources import Roles
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Map, Type
from billing_lake.formats.core_columns import CORE_COLUMNS

ROLES = Roles(
    period_start="billingperiodstart",
    usage_start="chargeperiodstart",
    usage_end="chargeperiodend",
    currency="billingcurrency",
    account="subaccountid",
    payer="billingaccountid",
    charge_type="chargecategory",
    service="servicename",
    invoice="invoiceid",
    issuer="invoiceissuername",
)

CHARGES = Charges(
    known=frozenset(("Adjustment", "Credit", "Purchase", "Tax", "Usage")),
    taggable=frozenset(("Usage",)),
)
"""Nothing is said of costs below zero: a correction has the category of what it corrects."""

TAG_MAPS = {"tags": TagKeys(excepted=("aws:", "goog-", "Oracle-Tags", "orcl-", "hidden-"))}
"""Providers mark the tags that they make themselves by what the key begins with; AWS puts cost categories here, too."""

REQUIRED = ("billingperiodstart", "chargeperiodstart", "billingcurrency", "billedcost")
"""Columns without which a report can be neither dated nor totalled."""

PREVIEW = (
    "billedcost",
    "billingcurrency",
    "chargeperiodstart",
    "subaccountid",
    "servicename",
    "chargecategory",
    "chargedescription",
    "consumedquantity",
)
"""Columns by which a person recognises a report."""

HEADLINE_COSTS = {
    "billedcost": "billed_cost",
    "effectivecost": "effective_cost",
    "contractedcost": "contracted_cost",
    "listcost": "list_cost",
}
"""Costs that are shown first and plotted over months, the one of the invoice before the others, with a short name each.

These are all that are in the billing currency, and so all that are totals."""

_DICTIONARY = """
AllocatedMethodDetails AllocatedMethodId AllocatedResourceId AllocatedResourceName AllocatedTags:m AvailabilityZone BilledCost:n
BillingAccountId BillingAccountName BillingAccountType BillingCurrency BillingPeriodEnd:t BillingPeriodStart:t
CapacityReservationId CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd:t
ChargePeriodStart:t CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName CommitmentDiscountQuantity:n
CommitmentDiscountStatus CommitmentDiscountType CommitmentDiscountUnit CommitmentProgramEligibilityDetails ConsumedQuantity:n
ConsumedUnit ContractApplied ContractedCost:n ContractedUnitPrice:n EffectiveCost:n HostProviderName InvoiceDetailId InvoiceId
InvoiceIssuerName ListCost:n ListUnitPrice:n PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice:n
PricingCurrencyEffectiveCost:n PricingCurrencyListUnitPrice:n PricingQuantity:n PricingUnit ProviderName PublisherName RegionId
RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceProviderName ServiceSubcategory SkuId SkuMeter
SkuPriceDetails:m SkuPriceId SubAccountId SubAccountName SubAccountType Tags:m
ChargeSubcategory InvoiceIssuer Provider Publisher Region UsageQuantity:n UsageUnit
x_CostCategories:m x_Discounts:m x_Operation x_ServiceCode x_UsageType
x_BilledCostInUsd:n x_BilledUnitPrice:n x_BillingExchangeRate:n x_ContractedCostInUsd:n x_EffectiveCostInUsd:n
x_EffectiveUnitPrice:n x_ListCostInUsd:n x_PricingBlockSize:n
oci_AttributedCost:n oci_AttributedUsage:n
"""
"""The specification's columns, those of its preview that Oracle's reports still have, those that AWS adds and the numbers that Microsoft
and Oracle add; `:t` is a moment, `:n` a number, `:m` a map, the others are text."""

_BILLED, _EFFECTIVE = "billedcost", "effectivecost"

_NESTED = ("allocatedmethoddetails", "commitmentprogrameligibilitydetails", "contractapplied")

_BEFORE = {
    "consumedquantity": "usagequantity",
    "invoiceissuername": "invoiceissuer",
    "regionid": "region",
}
"""Core columns, and what the preview of 1.0 called them."""

_TYPES: dict[str, Type] = {
    "": STRING,
    "t": TIMESTAMP,
    "n": DECIMAL,
    "m": Map(STRING, STRING),
}

KNOWN_COLUMNS: dict[str, Type] = {
    name.lower(): _TYPES[kind]
    for name, _, kind in (one.partition(":") for one in _DICTIONARY.split())
}
"""Column name to type, for every column whose spelling is fixed."""


def core(columns: Collection[str]) -> dict[str, str]:
    """Return the core columns that a table with ``columns`` has, each by its own name or by that of the preview.

    An effective cost that is not stated, as in months from before an export had the column, is the billed one.
    """
    found = {
        name: own
        for name in CORE_COLUMNS
        for own in [name if name in columns else _BEFORE.get(name, name)]
        if own in columns
    }
    if _BILLED in found:
        stated = [own for own in (found.get(_EFFECTIVE), found[_BILLED]) if own]
        found[_EFFECTIVE] = stated[0] if len(stated) == 1 else f"coalesce({', '.join(stated)})"
    return found


def type_of(name: str) -> Type:
    """Return the type of the column ``name``; one that nobody has seen yet is text."""
    return KNOWN_COLUMNS.get(name, STRING)


def nested_as_text(name: str) -> bool:
    """Say whether the column ``name`` may be nested: what a provider adds, or what the specification has as nested JSON."""
    return name not in KNOWN_COLUMNS or name in _NESTED


def is_cost(name: str) -> bool:
    """Say whether ``name`` is money in the billing currency, and so belongs to the totals that a proof compares."""
    return name in HEADLINE_COSTS
