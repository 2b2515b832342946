"""The check `reconcile`: whether two exports of the same payer, as in an old and a new format, bill the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billing_lake.checks.check_texts import first_names
from billing_lake.deployments import Lake
from billing_lake.domain.errors import shown
from billing_lake.loads.reconcile import PayerMonth, compare_bills
from billing_lake.sql.tables import TableSql, did_you_mean
from billing_lake.tables.exports import Export

HEAD = (
    "exports",
    "month",
    "payer",
    "account",
    "service",
    "currency",
    "cost in the first",
    "in the other",
    "difference",
)

DifferenceRow = tuple[str, str, str, str, str, str, Decimal, Decimal, Decimal]

_NOBODY = "no payer"
_MOST_DIFFERENCES = 20
"""Differences of a payer's month that are fetched, which are all that can be shown of one."""


@dataclass
class Comparison:
    """The verdict about one pair of exports, or about all of them."""

    passed: bool = True
    texts: list[str] = field(default_factory=list)
    rows: list[DifferenceRow] = field(default_factory=list)


def reconcile(lake: Lake, sql: TableSql, exports: Sequence[Export]) -> Comparison:
    """Compare each of ``exports`` that names another one with that one."""
    comparison = Comparison()
    for one in sorted(exports, key=lambda export: export.name):
        if not one.reconcile:
            continue
        others = {export.name: export for export in exports if export is not one}
        other = others.get(one.reconcile)
        if other is None:
            comparison.passed = False
            comparison.texts.append(
                f"`reconcile` of {one.name} names {shown(one.reconcile)}, which is no other export"
                f"{did_you_mean(one.reconcile, others)}"
            )
            continue
        months = compare_bills(lake, sql, one, other, most=_MOST_DIFFERENCES)
        if months is None:
            comparison.texts.append(f"{one.name} and {other.name} are not both loaded yet")
        else:
            _judge(comparison, one.name, other.name, months)
    comparison.rows.sort(key=lambda row: abs(row[-1]), reverse=True)
    return comparison


def _judge(comparison: Comparison, here: str, there: str, months: Sequence[PayerMonth]) -> None:
    both = [month for month in months if month.in_both]
    groups = sum(month.groups for month in both)
    what = "sums by payer, month, account, service and currency"
    differing = [month for month in both if month.differing]
    alone = {
        here: [month for month in months if not month.in_there],
        there: [month for month in months if not month.in_here],
    }
    apart = {month.period for month in alone[here]} & {month.period for month in alone[there]}
    if differing:
        number = sum(month.differing for month in differing)
        periods = first_names(sorted({month.period for month in differing}))
        text = f"{here} and {there} differ in {number:,} of {groups:,} {what}: {periods}"
    elif both:
        text = f"{here} and {there} agree in {groups:,} {what}"
    elif apart:
        text = f"{here} and {there} have no payer in common: {first_names(sorted(apart))}"
    else:
        text = f"{here} and {there} have no month in common yet"
    comparison.passed &= not differing and (bool(both) or not apart)
    of_one = [
        f"only {name} has {first_names([f'{one.period} of {one.payer or _NOBODY}' for one in found])}"
        for name, found in alone.items()
        if found
    ]
    comparison.texts.append("; ".join([text, *of_one]))
    comparison.rows += [
        (
            f"{here}, {there}",
            month.period,
            month.payer,
            one.account,
            one.service,
            one.currency,
            one.here,
            one.there,
            one.here - one.there,
        )
        for month in differing
        for one in month.differences
    ]
