"""FOCUS 1.2 with AWS's own columns, in the folders and manifests of Data Exports."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from billing_lake.formats.focus.columns import KNOWN_COLUMNS
from billing_lake.formats.focus.naming import name_of
from billing_lake.sample.canonical import MONEY_SCALE
from billing_lake.sample.renderers.cur2 import Cur2
from billing_lake.sample.text import numbers_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from billing_lake.domain.types import Type
    from billing_lake.sample.canonical import Attributes, RowBlock
    from billing_lake.sample.random_values import Ints

_COLUMNS = {
    "AvailabilityZone": "zone",
    "BilledCost": "focus/billed",
    "BillingAccountId": "payer",
    "BillingAccountName": "payer_name",
    "BillingAccountType": "focus/account_type",
    "BillingCurrency": "currency",
    "BillingPeriodEnd": "period_end",
    "BillingPeriodStart": "period_start",
    "ChargeCategory": "focus/category",
    "ChargeClass": "focus/class",
    "ChargeDescription": "description",
    "ChargeFrequency": "focus/frequency",
    "ChargePeriodEnd": "end",
    "ChargePeriodStart": "start",
    "CommitmentDiscountId": "focus/commitment",
    "CommitmentDiscountType": "focus/commitment_type",
    "ConsumedQuantity": "quantity",
    "ConsumedUnit": "unit",
    "ContractedCost": "focus/list",
    "EffectiveCost": "focus/effective",
    "InvoiceId": "invoice",
    "InvoiceIssuerName": "invoicing_entity",
    "ListCost": "focus/list",
    "ListUnitPrice": "list_rate",
    "PricingQuantity": "quantity",
    "PricingUnit": "unit",
    "ProviderName": "focus/provider",
    "PublisherName": "legal_entity",
    "RegionId": "product/region",
    "ResourceId": "resource",
    "ServiceCategory": "focus/service_category",
    "ServiceName": "product/ProductName",
    "SkuId": "product/sku",
    "SkuMeter": "usage_type",
    "SkuPriceId": "rate_code",
    "SubAccountId": "account",
    "SubAccountName": "account_name",
    "Tags": "tags",
    "x_Discounts": "discount",
    "x_Operation": "operation",
    "x_ServiceCode": "service",
}
"""The columns of every sample, in AWS's order, and the canonical one that each shows; those of FOCUS alone begin with `focus/`."""

_PURCHASES = ("Fee", "RIFee", "SavingsPlanUpfrontFee", "SavingsPlanRecurringFee")
_CATEGORIES = {
    **dict.fromkeys(_PURCHASES, "Purchase"),
    "Tax": "Tax",
    "Credit": "Credit",
    "Refund": "Adjustment",
}
_FREQUENCIES = {
    "Fee": "Recurring",
    "RIFee": "Recurring",
    "SavingsPlanRecurringFee": "Recurring",
    "SavingsPlanUpfrontFee": "One-Time",
    "Tax": "One-Time",
    "Credit": "One-Time",
    "Refund": "One-Time",
}


class Focus(Cur2):
    """Renders one delivery as FOCUS: the rows of a legacy report under the specification's names.

    A row is billed what a legacy report says unblended, so that the month adds up to the same; what a commitment has paid for is
    effective where it is used.
    """

    _partition = "billing_period"
    _tag, _category = "", "aws:tags:CostCategory/"

    def _select(self, _: Iterable[str]) -> dict[str, str]:
        self._sums: Counter[str] = Counter()
        return _COLUMNS

    def _parquet_field(self, column: str) -> tuple[str, Type]:
        return column, KNOWN_COLUMNS[name_of(column)]

    def totals(self, _: Mapping[str, int]) -> dict[str, Decimal]:
        """See `LegacyCur.totals`; every row has all of FOCUS's costs."""
        return {
            name_of(column): Decimal(f"{self._sums[name]}E-{MONEY_SCALE}")
            for column, name in _COLUMNS.items()
            if name in self._sums
        }

    def _hourly(self, block: RowBlock) -> dict[str, pl.Series]:
        money = {"billed": _money(block, "cost"), "list": _money(block, "list_cost")}
        money["effective"] = _effective(block)
        amounts = {f"focus/{name}": values for name, values in money.items()}
        self._sums.update({name: int(values.sum()) for name, values in amounts.items()})
        texts = {name: numbers_text(values, MONEY_SCALE) for name, values in amounts.items()}
        return {**super()._hourly(block), **texts}

    def _cells(self, attributes: Attributes) -> Attributes:
        kind = attributes.get("charge_type", "")
        plan, reservation = attributes.get("plan_arn", ""), attributes.get("reservation_arn", "")
        return {
            **super()._cells(attributes),
            "focus/account_type": "BillingAccount",
            "focus/category": _CATEGORIES.get(kind, "Usage"),
            "focus/class": "",
            "focus/frequency": _FREQUENCIES.get(kind, "Usage-Based"),
            "focus/commitment": plan or reservation,
            "focus/commitment_type": "Savings Plan" if plan else "Reserved" if reservation else "",
            "focus/provider": "AWS",
            "focus/service_category": "Other",
        }


def _money(block: RowBlock, name: str) -> Ints:
    found = block.money.get(name)
    return (
        np.zeros(len(block), np.int64) if found is None else np.where(found.filled, found.values, 0)
    )


def _effective(block: RowBlock) -> Ints:
    """Return the amortised cost of each row, by the formula of `formats.legacy_cur.costs`."""
    kinds = np.array([meter.get("charge_type", "") for meter in block.attributes])[block.meter]
    reserved = np.array([bool(meter.get("reservation_arn")) for meter in block.attributes])
    zero = np.zeros(len(block), np.int64)
    rules = {
        "SavingsPlanCoveredUsage": _money(block, "plan_effective"),
        "SavingsPlanRecurringFee": _money(block, "plan_committed") - _money(block, "plan_used"),
        "SavingsPlanNegation": zero,
        "SavingsPlanUpfrontFee": zero,
        "DiscountedUsage": _money(block, "reservation_effective"),
        "RIFee": _money(block, "reservation_upfront_unused")
        + _money(block, "reservation_recurring_unused"),
    }
    costs = np.where((kinds == "Fee") & reserved[block.meter], 0, _money(block, "cost"))
    return np.select([kinds == kind for kind in rules], [*rules.values()], costs)
