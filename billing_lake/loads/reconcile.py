"""Compares what two exports of the same payer bill."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing_lake.deployments.base import Lake
from billing_lake.loads.all_costs import view_part
from billing_lake.sql.reconcile import billed_by_both
from billing_lake.sql.tables import TableSql
from billing_lake.tables.exports import Export


@dataclass(frozen=True, kw_only=True)
class BillDifference:
    """A group of line items that two exports bill differently."""

    account: str
    service: str
    currency: str
    here: Decimal
    there: Decimal


@dataclass(frozen=True, kw_only=True)
class PayerMonth:
    """Holds what two exports say of a payer's month.

    Attributes:
        payer: The account that pays; empty where no row says it.
        period: The billing period.
        in_here: Whether the first one has it.
        in_there: Whether the other one has it.
        groups: Groups of account, service and currency that either has.
        differing: How many of them differ.
        differences: Those that differ most, first the largest difference.
    """

    payer: str
    period: str
    in_here: bool
    in_there: bool
    groups: int
    differing: int
    differences: tuple[BillDifference, ...]

    @property
    def in_both(self) -> bool:
        """Say whether there is something to compare."""
        return self.in_here and self.in_there


def compare_bills(
    lake: Lake, sql: TableSql, here: Export, there: Export, *, most: int
) -> list[PayerMonth] | None:
    """Compare what two exports bill, in each month of each payer that either has; None where one has no table yet.

    Args:
        lake: Holds the tables.
        sql: Asks them.
        here: One export.
        there: The other one.
        most: Differences that are listed of a payer's month.
    """
    first, other = view_part(lake, here), view_part(lake, there)
    if first is None or other is None:
        return None
    tables = [(one, sql.table(f"{one.catalog}.{one.table}")) for one in (first, other)]
    found: dict[tuple[str, str], PayerMonth] = {}
    for payer, period, in_here, in_there, groups, differing, *group in sql.ask(
        billed_by_both(tables[0], tables[1], most=most, dialect=sql.dialect)
    ).rows():
        account, service, currency, *costs = group
        listed = found[payer, period].differences if (payer, period) in found else ()
        one = BillDifference(
            account=account, service=service, currency=currency, here=costs[0], there=costs[1]
        )
        found[payer, period] = PayerMonth(
            payer=payer,
            period=period,
            in_here=bool(in_here),
            in_there=bool(in_there),
            groups=groups,
            differing=differing,
            # Of a month that does not differ, a group is told all the same.
            differences=(*listed, one) if differing else (),
        )
    return list(found.values())
