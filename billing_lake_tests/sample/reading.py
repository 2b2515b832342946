"""Sample reports read back with nothing but Python's csv and Decimal, so that no code of ours vouches for itself."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

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
"""Money columns by raw header, with their normalised names written out: no test shall derive them by the rule that it tests."""

Row = dict[str, str]


def read_rows(files: Iterable[Path]) -> list[Row]:
    """All rows of the report files, as raw header to cell."""
    rows: list[Row] = []
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            rows.extend(csv.DictReader(text, strict=True))
    return rows


def read_header(path: Path) -> list[str]:
    """The raw header of one report file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        return next(csv.reader(text))


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest's JSON."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def money(row: Row, column: str) -> Decimal:
    """A money cell; empty counts as nothing."""
    return Decimal(row[column] or "0")


def total(rows: Iterable[Row], column: str) -> Decimal:
    """The exact sum of a money column."""
    return sum((money(row, column) for row in rows), Decimal(0))


def totals(rows: Sequence[Row]) -> dict[str, dict[str, Decimal]]:
    """Exact sums of every money column that has a filled cell, by currency and normalised name."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        for column, name in MONEY.items():
            if row[column]:
                sums[row["lineItem/CurrencyCode"]][name] += Decimal(row[column])
    return {currency: dict(columns) for currency, columns in sums.items()}


def of_kind(rows: Iterable[Row], *kinds: str) -> list[Row]:
    """The rows of some line-item types."""
    return [row for row in rows if row["lineItem/LineItemType"] in kinds]


def amortised(row: Row) -> Decimal:
    """The amortised cost of a row by the formula of AWS's Cloud Intelligence Dashboards."""
    kind, reserved = row["lineItem/LineItemType"], row["reservation/ReservationARN"]
    if kind in {"SavingsPlanNegation", "SavingsPlanUpfrontFee"} or (kind == "Fee" and reserved):
        return Decimal(0)
    if kind == "SavingsPlanRecurringFee":
        committed = money(row, "savingsPlan/TotalCommitmentToDate")
        return committed - money(row, "savingsPlan/UsedCommitment")
    if kind == "RIFee":
        upfront = money(row, "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod")
        return upfront + money(row, "reservation/UnusedRecurringFee")
    column = {
        "SavingsPlanCoveredUsage": "savingsPlan/SavingsPlanEffectiveCost",
        "DiscountedUsage": "reservation/EffectiveCost",
    }.get(kind, "lineItem/UnblendedCost")
    return money(row, column)


def trueup(row: Row) -> Decimal:
    """What was paid upfront for the month, taken off again."""
    kind = row["lineItem/LineItemType"]
    if kind == "SavingsPlanRecurringFee":
        return -money(row, "savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod")
    if kind == "RIFee":
        return -money(row, "reservation/AmortizedUpfrontFeeForBillingPeriod")
    return Decimal(0)


def upfront_fee(row: Row) -> Decimal:
    """What was paid upfront in the month."""
    kind, reserved = row["lineItem/LineItemType"], row["reservation/ReservationARN"]
    is_upfront = kind == "SavingsPlanUpfrontFee" or (kind == "Fee" and reserved)
    return money(row, "lineItem/UnblendedCost") if is_upfront else Decimal(0)


def is_balanced(rows: Sequence[Row]) -> bool:
    """Whether unblended = amortised + true-up + upfront fees, to the last digit."""
    other_side = sum((amortised(row) + trueup(row) + upfront_fee(row) for row in rows), Decimal(0))
    return total(rows, "lineItem/UnblendedCost") == other_side
