"""Replacements of rows in an Iceberg table: what one is to do, and what the table records about it.

Each snapshot records the delivery of each replaced period and the replacement's token; so do the table's properties.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from billing_lake.domain.schemas import Field, SchemaPlan, columns_of
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey
from billing_lake.tables.base import (
    DELIVERY_PROPERTY,
    EXPORT,
    EXPORT_PROPERTY,
    PERIOD,
    PERIOD_PROPERTY,
    VERSION_PROPERTY,
    Commit,
)
from billing_lake.tables.iceberg_columns import fields_of, plan_table_rebuild
from billing_lake.tables.iceberg_history import undone_snapshots

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_PERIODS_PROPERTY = "billing-lake.periods"
"""Property of a snapshot that replaced all periods of its export: JSON of the properties of each, by period."""

_COMMIT_PROPERTY = "billing-lake.commit"
"""Property of a snapshot that holds the replacement's token."""

HELD = "billing-lake.held."
"""Start of the names of a table's properties about its periods, such as `billing-lake.held.costs.2025-03`.

The value is the delivery's identity and the replacement's token. Snapshots record both too, but old snapshots expire.
"""


@dataclass
class Replacement:
    """One replacement of an export's rows: what it is to do, and how far it is.

    Attributes:
        table: Name of the table, such as `billing.cur`.
        export: The export whose rows are replaced.
        periods: The finished files of each billing period.
        properties: What is recorded about each.
        verify: Raises where a delivery is no longer the one in storage.
        log: Called with lines about the progress of the files.
        whole: Whether periods that are not among ``periods`` are emptied, and columns may be exchanged.
        keeps: Whether the rows that the replaced periods hold stay, and those of ``periods`` are added.
        tag: Name of a tag for the snapshot before the replacement, unless the table has such a tag.
        token: Marks the replacement's snapshot.
        table_uuid: The table that the files were placed for.
        placed: URIs of the placed files.
        reads: How often the table was read since the current attempt began.
        is_sent: Whether a commit was sent to the catalog.
        in_doubt: Whether it is unknown if the catalog has committed.
    """

    table: str
    export: str
    periods: Mapping[str, Encoded]
    properties: Mapping[str, Mapping[str, str]]
    verify: Callable[[], None]
    log: Callable[[str], None]
    whole: bool = False
    keeps: bool = False
    tag: str | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    table_uuid: uuid.UUID | None = None
    placed: list[str] = field(default_factory=list)
    reads: int = 0
    is_sent: bool = False
    in_doubt: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that all files carry."""
        return next(iter(self.periods.values())).fields

    @property
    def files(self) -> list[tuple[str, EncodedFile]]:
        """The files that have rows, each with its billing period."""
        return [
            (period, file)
            for period, encoded in self.periods.items()
            for file in encoded.files
            if file.rows
        ]

    def replaced(self) -> BooleanExpression:
        """Return the filter that chooses the rows that are replaced."""
        if self.whole:
            return equal_to(EXPORT, self.export)
        return of_period(PeriodKey(self.export, next(iter(self.periods))))

    def plan(self, table: Table) -> SchemaPlan:
        """Return how the columns of the table change: not at all, unless all periods are replaced."""
        have = fields_of(table)
        if not self.whole:
            return SchemaPlan(fields=have)
        return plan_table_rebuild(table, columns_of(self.fields))

    def snapshot_properties(self) -> dict[str, str]:
        """Return the properties of the replacement's snapshot."""
        common = {EXPORT_PROPERTY: self.export, _COMMIT_PROPERTY: self.token}
        if self.whole:
            return {_PERIODS_PROPERTY: json.dumps(self.properties), **common}
        ((period, encoded),) = self.periods.items()
        about = {DELIVERY_PROPERTY: encoded.identity, PERIOD_PROPERTY: period}
        return {**self.properties[period], **about, **common}

    def table_properties(self) -> dict[str, str]:
        """Return the table's properties about each period: the delivery's identity, and the replacement's token."""
        return {
            f"{HELD}{self.export}.{period}": f"{encoded.identity} {self.token}"
            for period, encoded in self.periods.items()
        }

    def outdated_properties(self, table: Table) -> list[str]:
        """Return the names of the table's properties about periods that the replacement empties."""
        if not self.whole:
            return []
        start, new = f"{HELD}{self.export}.", self.table_properties()
        return [name for name in table.properties if name.startswith(start) and name not in new]


def held_deliveries(table: Table, export: str) -> dict[str, str]:
    """Return the identity of the delivery that each period of ``export`` was last replaced by, rollbacks included."""
    taken_back = {_summary(one).get(_COMMIT_PROPERTY) for one in undone_snapshots(table.metadata)}
    start = f"{HELD}{export}."
    recorded = {
        name.removeprefix(start): value.partition(" ")
        for name, value in table.properties.items()
        if name.startswith(start)
    }
    return {
        period: identity
        for period, (identity, _, token) in recorded.items()
        if token not in taken_back
    }


def replacement_mark(table: Table, key: PeriodKey) -> str | None:
    """Return what the table says of the last replacement of a period; another one gives another text."""
    return table.properties.get(f"{HELD}{key.export}.{key.period}")


def is_shared(table: Table, export: str) -> bool:
    """Say whether another export than ``export`` has had rows in the table."""
    own = f"{HELD}{export}."
    return any(name.startswith(HELD) and not name.startswith(own) for name in table.properties)


def last_replacement(table: Table, key: PeriodKey, identity: str) -> Snapshot | None:
    """Return the snapshot by which a period last got the rows of a delivery, as far as it is kept."""
    from pyiceberg.table.snapshots import ancestors_of

    for one in ancestors_of(table.current_snapshot(), table.metadata):
        about = recorded_about(one, key)
        # A rebuild records no identities.
        if about is not None and about.get(DELIVERY_PROPERTY, identity) == identity:
            return one
    return None


def commit_of(table: Table, replacement: Replacement) -> Commit:
    """Return the commit of a replacement, as the table's history has it.

    Raises:
        LookupError: The history has none.
    """
    before: str | None = None
    key = PeriodKey(replacement.export, next(iter(replacement.periods)))
    for snapshot in table.metadata.snapshots:
        if _summary(snapshot).get(_COMMIT_PROPERTY) == replacement.token:
            return Commit(
                table=replacement.table,
                rows=sum(encoded.rows for encoded in replacement.periods.values()),
                files=len(replacement.placed),
                size=sum(file.size for _, file in replacement.files),
                replaced_rows=int(_summary(snapshot).get("deleted-records", "0")),
                replaced_version=None if replacement.whole else before,
                snapshot_id=snapshot.snapshot_id,
                metadata_location=table.metadata_location,
            )
        recorded = recorded_about(snapshot, key)
        if recorded is not None:
            before = recorded.get(VERSION_PROPERTY)
    raise LookupError(replacement.token)


def is_committed(table: Table, replacement: Replacement) -> bool:
    """Say whether the table's history has the replacement's snapshot."""
    return any(
        _summary(one).get(_COMMIT_PROPERTY) == replacement.token for one in table.metadata.snapshots
    )


def of_period(key: PeriodKey) -> BooleanExpression:
    """Return the filter that chooses the rows of a billing period."""
    from pyiceberg.expressions import And

    return And(equal_to(EXPORT, key.export), equal_to(PERIOD, key.period))


def equal_to(column: str, value: str) -> BooleanExpression:
    """Return the filter that chooses the rows with a value."""
    from pyiceberg.expressions import EqualTo

    # pyiceberg's own signature; mypy sees the one that pydantic would have made.
    return EqualTo(column, value)  # type: ignore[call-arg,arg-type]


def recorded_about(snapshot: Snapshot, key: PeriodKey) -> Mapping[str, str] | None:
    """Return what a snapshot records about a period that it replaced, or None where it did not replace it.

    A snapshot that replaced all periods of the export records nothing about those that it emptied.
    """
    summary = _summary(snapshot)
    if summary.get(EXPORT_PROPERTY) != key.export:
        return None
    if _PERIODS_PROPERTY in summary:
        about: Mapping[str, str] = json.loads(summary[_PERIODS_PROPERTY]).get(key.period, {})
        return about
    return summary if summary.get(PERIOD_PROPERTY) == key.period else None


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties
