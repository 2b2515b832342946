"""Reads months from the ledger, for people: the state of each, how it came to its total, and what changed between two days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing_lake.deployments.base import Lake
from billing_lake.domain.errors import TableError, shown
from billing_lake.domain.ledger import LedgerRow, MonthState, in_load_order
from billing_lake.domain.periods import bounds
from billing_lake.domain.profiles import EXACT, currency_name
from billing_lake.loads.ledger import LEDGER, RESTATEMENTS
from billing_lake.tables.iceberg_rows import read_rows

_FOCUS_STATUS: Mapping[MonthState, str] = {
    "OPEN": "Open",
    "SETTLING": "Open",
    "CLOSED": "Closed",
    "RESTATED": "Closed",
}
"""What FOCUS calls the states of a month."""

_NO_ISSUER = "not stated"
"""Stands for the company that issues invoices where no row names one; FOCUS wants a name."""

_WHAT = ("account", "service", "charge_type", "currency")


@dataclass(frozen=True, kw_only=True)
class MonthStory:
    """A billing period of an export.

    Attributes:
        deliveries: Its deliveries, in the order in which they were loaded.
    """

    deliveries: Sequence[LedgerRow]

    @property
    def last(self) -> LedgerRow:
        """The delivery that the tables hold."""
        return self.deliveries[-1]

    @property
    def changed_at(self) -> datetime:
        """Return when a delivery last brought other costs or another number of rows."""
        at = self.deliveries[0].at
        for before, after in zip(self.deliveries, self.deliveries[1:], strict=False):
            if (before.costs, before.line_items) != (after.costs, after.line_items):
                at = after.at
        return at

    @property
    def currencies(self) -> list[str]:
        """Return the currencies of the last delivery and of the one before: one that a delivery lacks has come to nothing."""
        return sorted({currency for one in self.deliveries[-2:] for currency in one.costs})

    def change(self, currency: str) -> Decimal | None:
        """Return by how much the cost differs from the delivery before; None where there is none."""
        if len(self.deliveries) == 1:
            return None
        before, after = (one.costs.get(currency, Decimal()) for one in self.deliveries[-2:])
        return EXACT.subtract(after, before)

    def focus(self, now: datetime) -> list[dict[str, Any]]:
        """Return the month in the FOCUS 1.4 dataset Billing Period: a row for each company that issues invoices."""
        start, end = bounds(self.last.billing_period)
        return [
            {
                "BillingPeriodCreated": self.deliveries[0].at,
                "BillingPeriodEnd": end,
                "BillingPeriodLastUpdated": self.last.at,
                "BillingPeriodStart": start,
                "BillingPeriodStatus": _FOCUS_STATUS[self.last.state_at(now)],
                "InvoiceIssuerName": issuer,
            }
            for issuer in sorted(self.last.invoice_issuers) or [_NO_ISSUER]
        ]


def read_months(lake: Lake, export: str = "", period: str = "") -> list[MonthStory]:
    """Return the months of one or all exports, in order.

    Raises:
        TableError: There is no ledger, or it knows no such export or month.
    """
    rows = (
        LedgerRow.from_row(row)
        for table in _tables(lake, LEDGER)
        for row in read_rows(lake.iceberg, table, export, period)
    )
    found: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in rows:
        found.setdefault((row.export_name, row.billing_period), []).append(row)
    if not found:
        raise _nothing(lake, export, period)
    return [MonthStory(deliveries=in_load_order(found[key])) for key in sorted(found)]


def read_restatements(
    lake: Lake,
    period: str,
    export: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return the groups that changed in a month, delivery by delivery, the largest changes of each first.

    Args:
        lake: The lake.
        period: The month.
        export: Whose; of all exports unless given.
        since: Only deliveries that were delivered at this moment or later.
        until: Only those that were delivered before this moment.

    Raises:
        TableError: The ledger knows no such export or month.
    """
    read_months(lake, export, period)
    rows = (
        row
        for table in _tables(lake, RESTATEMENTS)
        for row in read_rows(lake.iceberg, table, export, period)
    )
    chosen = (
        row for row in rows if _is_between(row["delivered_at"] or row["loaded_at"], since, until)
    )
    return sorted(
        chosen,
        key=lambda row: (
            row["export_name"],
            row["loaded_at"],
            -abs(row["cost_change"]),
            *(row[name] or "" for name in _WHAT),
        ),
    )


def untold_changes(
    months: Iterable[MonthStory],
    told: Iterable[Mapping[str, Any]],
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[tuple[str, str], Decimal]:
    """Return what the costs of deliveries changed by beyond what restatements tell, by export and currency.

    Nothing is told of a delivery of which, or of the one before, the table kept no files until they were compared.

    Args:
        months: The months, with all of their deliveries.
        told: The restatements.
        since: Which deliveries; see `read_restatements`.
        until: The same.
    """
    found: dict[tuple[str, str], Decimal] = {}

    def add(export: str, currency: str, amount: Decimal) -> None:
        found[export, currency] = EXACT.add(found.get((export, currency), Decimal()), amount)

    for month in months:
        for before, after in zip(month.deliveries, month.deliveries[1:], strict=False):
            if _is_between(after.at, since, until):
                for currency in {*before.costs, *after.costs}:
                    was, now = (one.costs.get(currency, Decimal()) for one in (before, after))
                    add(after.export_name, currency, EXACT.subtract(now, was))
    for row in told:
        add(row["export_name"], currency_name(row["currency"]), -row["cost_change"])
    return {key: amount for key, amount in sorted(found.items()) if amount}


def net_changes(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what consecutive restatements come to, group by group, the largest changes first; groups that came back are left out."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["export_name"], *(row[name] for name in _WHAT))
        first = found.setdefault(key, dict(row))
        first["cost_after"], first["items_after"] = row["cost_after"], row["items_after"]
        first["cost_change"] = EXACT.subtract(first["cost_after"], first["cost_before"])
        first["kind"] = _kind(first["items_before"], first["items_after"])
    same = ("cost", "items")
    kept = (
        one
        for one in found.values()
        if any(one[f"{name}_before"] != one[f"{name}_after"] for name in same)
    )
    return sorted(kept, key=lambda one: (one["export_name"], -abs(one["cost_change"])))


def _kind(before: int, after: int) -> str:
    if not before:
        return "new"
    return "changed" if after else "gone"


def _is_between(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def _tables(lake: Lake, name: str) -> Iterator[str]:
    """Yield the names of the tables ``name`` of all namespaces."""
    return (table for table in lake.iceberg.tables() if table.partition(".")[2] == name)


def _nothing(lake: Lake, export: str, period: str) -> TableError:
    if not export and not period:
        remedy = "Load a billing period"
        return TableError("The ledger has no delivery yet", remedy=remedy)
    asked = " of ".join(shown(one) for one in (period, export) if one)
    known = read_months(lake)
    listed = ", ".join(
        sorted({f"{one.last.export_name} {one.last.billing_period}" for one in known})[-24:]
    )
    return TableError(f"The ledger has no delivery of {asked}", remedy=f"It has {listed}")
