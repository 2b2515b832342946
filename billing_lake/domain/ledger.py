"""The story of a month: the deliveries that it was made of, what changed from one to the next, and whether it is closed.

A bill opens, is restated several times a day, settles, is closed by an invoice, and is sometimes changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from billing_lake.domain.column_names import BILLING_PERIOD, DELIVERY_VERSION, EXPORT_NAME
from billing_lake.domain.periods import bounds
from billing_lake.domain.profiles import EXACT
from billing_lake.domain.schemas import Column
from billing_lake.domain.types import DECIMAL, LONG, STRING, TIMESTAMP, Map

MonthState = Literal["OPEN", "SETTLING", "CLOSED", "RESTATED"]
"""OPEN until the month is over; SETTLING until every row carries an invoice id; CLOSED then; RESTATED if money moved afterwards."""

ChangeKind = Literal["new", "gone", "changed"]
"""What became of a group of rows from one delivery to the next."""

_MAPS = ("snapshots", "invoice_issuers", "costs")
_CLOSED: tuple[MonthState, ...] = ("CLOSED", "RESTATED")

LEDGER_COLUMNS: Mapping[str, tuple[Column, str]] = {
    column.name: (column, text)
    for column, text in (
        (Column(EXPORT_NAME, STRING), "Name of the export."),
        (Column(BILLING_PERIOD, STRING), "Billing period, YYYY-MM."),
        (Column(DELIVERY_VERSION, STRING), "Version of the delivery, as its manifest gives it."),
        (
            Column("delivery_identity", STRING),
            "Digest of the keys, sizes and tags of the delivery's files.",
        ),
        (Column("format", STRING), "Name of the export's format."),
        (
            Column("month_state", STRING),
            f"State of the month when the delivery was made: one of {', '.join(get_args(MonthState))}.",
        ),
        (Column("delivered_at", TIMESTAMP), "When the last of the delivery's files was written."),
        (Column("loaded_at", TIMESTAMP), "When the tables held it."),
        (Column("run_id", STRING), "Id of the run that loaded it."),
        (
            Column("snapshots", Map(STRING, STRING)),
            "Snapshot of each Iceberg table that holds it, by the table's asset; the folder of a Hive table that stands alone.",
        ),
        (Column("report_files", LONG), "Number of report files."),
        (Column("report_bytes", LONG), "Bytes of the report files."),
        (Column("line_items", LONG), "Rows."),
        (Column("invoiced_items", LONG), "Rows that carry an invoice id."),
        (
            Column("invoice_issuers", Map(STRING, LONG)),
            "Number of rows of each company that issues their invoices.",
        ),
        (
            Column("costs", Map(STRING, DECIMAL)),
            "Exact total of the cost of the invoice, by currency.",
        ),
        (
            Column("totals", STRING),
            "Exact totals of all costs, as JSON: currency, then column, to a number as text.",
        ),
        (
            Column("columns_added", STRING),
            "Columns that the table had not before, separated by blanks; NULL where that is not known.",
        ),
        (
            Column("columns_missing", STRING),
            "Columns of the table that the delivery lacks, separated by blanks; NULL where that is not known.",
        ),
    )
}
"""Columns of the ledger, with what they mean."""

RESTATEMENT_COLUMNS: Mapping[str, tuple[Column, str]] = {
    column.name: (column, text)
    for column, text in (
        (Column(EXPORT_NAME, STRING), "Name of the export."),
        (Column(BILLING_PERIOD, STRING), "Billing period, YYYY-MM."),
        (Column("version_before", STRING), "Version of the delivery before."),
        (Column("version_after", STRING), "Version of the delivery that replaced it."),
        (Column("before_identity", STRING), "Identity of the delivery before."),
        (Column("after_identity", STRING), "Identity of the delivery that replaced it."),
        (Column("delivered_before", TIMESTAMP), "When the delivery before was delivered."),
        (Column("delivered_at", TIMESTAMP), "When the delivery that replaced it was delivered."),
        (Column("loaded_at", TIMESTAMP), "When the tables held it."),
        (Column("kind", STRING), f"One of {', '.join(get_args(ChangeKind))}."),
        (Column("account", STRING), "Account that used."),
        (Column("service", STRING), "Service that was used."),
        (Column("charge_type", STRING), "Kind of charge."),
        (Column("currency", STRING), "Currency of the costs."),
        (Column("items_before", LONG), "Rows of the group in the delivery before."),
        (Column("items_after", LONG), "Rows of the group now."),
        (Column("cost_before", DECIMAL), "Exact cost of the group in the delivery before."),
        (Column("cost_after", DECIMAL), "Exact cost of the group now."),
        (Column("cost_change", DECIMAL), "Cost now minus cost before."),
    )
}
"""Columns of the table of restatements, with what they mean."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One delivery, as the ledger has it; its attributes are the ledger's columns.

    `LEDGER_COLUMNS` says what each of them means.
    """

    export_name: str
    billing_period: str
    delivery_version: str
    delivery_identity: str
    format: str
    month_state: MonthState
    delivered_at: datetime | None
    loaded_at: datetime
    run_id: str
    snapshots: Mapping[str, str] = field(default_factory=dict)
    report_files: int | None
    report_bytes: int | None
    line_items: int
    invoiced_items: int | None
    invoice_issuers: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, Decimal]
    totals: str
    columns_added: str | None = None
    columns_missing: str | None = None

    @property
    def at(self) -> datetime:
        """Return when it was delivered, as far as that is known, or else loaded."""
        return self.delivered_at or self.loaded_at

    def state_at(self, moment: datetime) -> MonthState:
        """Return the state that the month has at ``moment``: an open one settles by itself when it is over."""
        over = moment >= bounds(self.billing_period)[1]
        return "SETTLING" if self.month_state == "OPEN" and over else self.month_state

    def to_row(self) -> dict[str, Any]:
        """Return the row of the ledger."""
        maps = {name: list(getattr(self, name).items()) for name in _MAPS}
        return {**asdict(self), **maps}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> LedgerRow:
        """Read a row of the ledger; columns that a later version added are left out."""
        known: dict[str, Any] = {name: row.get(name) for name in LEDGER_COLUMNS}
        maps = {name: dict(known[name] or ()) for name in _MAPS}
        return cls(**{**known, **maps})


def in_load_order(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Return deliveries of a month in the order in which they were loaded."""
    return sorted(rows, key=lambda one: one.loaded_at)


def with_delivery(rows: Iterable[LedgerRow], new: LedgerRow) -> list[LedgerRow]:
    """Return deliveries of a month in order, with ``new`` in place of an earlier row of the same delivery."""
    rest = (one for one in rows if one.delivery_identity != new.delivery_identity)
    return in_load_order((*rest, new))


CostGroup = tuple[str | None, str | None, str | None, str | None]
"""Account, service, charge type and currency of a group of rows."""


@dataclass(frozen=True)
class Amount:
    """Holds what a group of rows adds up to."""

    items: int = 0
    cost: Decimal = Decimal()

    def __add__(self, other: Amount) -> Amount:
        """Add exactly."""
        return Amount(self.items + other.items, EXACT.add(self.cost, other.cost))


@dataclass(frozen=True)
class CostChange:
    """A group of rows that differs between two deliveries."""

    group: CostGroup
    before: Amount | None
    after: Amount | None

    @property
    def kind(self) -> ChangeKind:
        """Return what became of the group."""
        if self.before is None:
            return "new"
        return "gone" if self.after is None else "changed"

    @property
    def cost_before(self) -> Decimal:
        """Cost before; 0 for a new group."""
        return self.before.cost if self.before else Decimal()

    @property
    def cost_after(self) -> Decimal:
        """Cost now; 0 for a group that is gone."""
        return self.after.cost if self.after else Decimal()

    @property
    def cost_change(self) -> Decimal:
        """Cost now minus cost before, exactly."""
        return EXACT.subtract(self.cost_after, self.cost_before)

    def to_row(self, before: LedgerRow, after: LedgerRow) -> dict[str, Any]:
        """Return the row of the table of restatements, for the deliveries ``before`` and ``after``."""
        account, service, charge_type, currency = self.group
        return {
            EXPORT_NAME: after.export_name,
            BILLING_PERIOD: after.billing_period,
            "version_before": before.delivery_version,
            "version_after": after.delivery_version,
            "before_identity": before.delivery_identity,
            "after_identity": after.delivery_identity,
            "delivered_before": before.delivered_at,
            "delivered_at": after.delivered_at,
            "loaded_at": after.loaded_at,
            "kind": self.kind,
            "account": account,
            "service": service,
            "charge_type": charge_type,
            "currency": currency,
            "items_before": self.before.items if self.before else 0,
            "items_after": self.after.items if self.after else 0,
            "cost_before": self.cost_before,
            "cost_after": self.cost_after,
            "cost_change": self.cost_change,
        }


def cost_changes(
    before: Mapping[CostGroup, Amount], after: Mapping[CostGroup, Amount]
) -> list[CostChange]:
    """Return the groups that differ in cost or in number of rows, those with the largest change of cost first."""
    found = (
        CostChange(group, before.get(group), after.get(group))
        for group in {**before, **after}
        if before.get(group) != after.get(group)
    )
    return sorted(
        found, key=lambda one: (-abs(one.cost_change), *(part or "" for part in one.group))
    )


def month_state_of(row: LedgerRow, before: LedgerRow | None, *, moved: bool) -> MonthState:
    """Return the state of a month with the delivery ``row``.

    Args:
        row: The delivery.
        before: The delivery before it.
        moved: Whether money moved between the two.
    """
    if before is not None and before.month_state in _CLOSED:
        return "RESTATED" if moved else before.month_state
    if row.at < bounds(row.billing_period)[1]:
        return "OPEN"
    return "CLOSED" if row.line_items and row.invoiced_items == row.line_items else "SETTLING"


def with_state(row: LedgerRow, state: MonthState) -> LedgerRow:
    """Return the delivery with a state of its month."""
    return replace(row, month_state=state)
