"""One load of an Iceberg table: its files placed, its snapshot made, and whether that snapshot is in the table's history.

A load replaces one period of an export, or all of them at once. Where all are replaced, no old file of the export is left that
could need its old columns, so the columns may be exchanged in the same commit.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import CommitConflictError, LoadError
from billing_lake.domain.schemas import Column, Field, SchemaPlan
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey
from billing_lake.tables.base import (
    DELIVERY_IDENTITY,
    DELIVERY_VERSION,
    EXPORT,
    PERIOD,
    Commit,
    refuse_others,
)
from billing_lake.tables.data_files import Placing
from billing_lake.tables.iceberg_columns import change_columns, fields_of, replan
from billing_lake.tables.parquet_field_ids import check_fields

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import CommitTableResponse, Table, Transaction
    from pyiceberg.table.snapshots import Snapshot

    from billing_lake.files.base import Files

logger = logging.getLogger(__name__)

_EXPORT_PROPERTY = "billing-lake.export"
_PERIOD_PROPERTY = "billing-lake.period"
_PERIODS_PROPERTY = "billing-lake.periods"
"""Of a snapshot that replaced all periods of its export: JSON of what is noted about each."""

_COMMIT_PROPERTY = "billing-lake.commit"
_HELD = "billing-lake.held."
"""What the names of a table's properties begin with that say what its periods hold; export and period follow.

Snapshots say it too, but S3 Tables, and whoever maintains a table, let old ones expire.
"""


@dataclass
class Load:
    """One load under way: what was asked for, and what has been done so far.

    Attributes:
        table: Name of the table.
        export: Whose rows are replaced.
        periods: The finished files of each billing period.
        properties: What is recorded about each.
        verify: Raises where a delivery is no longer the one in storage.
        log: Is told how the files get on.
        whole: Whether periods that are not among ``periods`` are emptied, and columns may be exchanged.
        tag: Names the snapshot before the load, unless the table has such a tag.
        token: Marks the load's snapshot.
        table_uuid: The table that the files were placed for.
        placed: Their URIs there.
        looks: How often the table was looked at since the snapshot was begun.
        asked: Whether the catalog was asked to commit.
        in_doubt: Whether it is unknown if it did.
    """

    table: str
    export: str
    periods: Mapping[str, Encoded]
    properties: Mapping[str, Mapping[str, str]]
    verify: Callable[[], None]
    log: Callable[[str], None]
    whole: bool = False
    tag: str | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    table_uuid: uuid.UUID | None = None
    placed: list[str] = field(default_factory=list)
    looks: int = 0
    asked: bool = False
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
            return equals(EXPORT, self.export)
        return of_period(PeriodKey(self.export, next(iter(self.periods))))

    def plan(self, table: Table) -> SchemaPlan:
        """Return how the columns of the table change with the load: not at all, unless it is of all periods."""
        have = fields_of(table)
        if not self.whole:
            return SchemaPlan(fields=have)
        return replan(table, [Column(one.name, one.type) for one in self.fields])

    def snapshot_properties(self) -> dict[str, str]:
        """Return what the load's snapshot says about it."""
        common = {_EXPORT_PROPERTY: self.export, _COMMIT_PROPERTY: self.token}
        if self.whole:
            return {_PERIODS_PROPERTY: json.dumps(self.properties), **common}
        ((period, encoded),) = self.periods.items()
        said = {DELIVERY_IDENTITY: encoded.identity, _PERIOD_PROPERTY: period}
        return {**self.properties[period], **said, **common}

    def table_properties(self) -> dict[str, str]:
        """Return what the table says about each period from now on: the delivery's identity, and which load says so."""
        return {
            f"{_HELD}{self.export}.{period}": f"{encoded.identity} {self.token}"
            for period, encoded in self.periods.items()
        }


class AskingCatalog:
    """A catalog that commits for one load.

    After each look at the table it asks whether the delivery is still the one in storage. A commit that is reported as
    failed is looked for before anybody hears of it: a request that was sent twice, because its first answer was lost, fails
    on its own success, and pyiceberg would then delete what the table is made of.
    """

    def __init__(self, catalog: Catalog, load: Load) -> None:
        self._catalog = catalog
        self._load = load

    def load_table(self, identifier: Any) -> Table:
        """Return the table as it is now, if it still is the one that the files lie in and fit, and the delivery still is, too."""
        from pyiceberg.exceptions import ValidationException

        table = self._catalog.load_table(identifier)
        if table.metadata.table_uuid != self._load.table_uuid:
            what = f"Table {self._load.table} was replaced by another one of its name"
            raise CommitConflictError(what)
        self._load.looks += 1
        if self._load.whole and self._load.looks > 1:
            # pyiceberg would try again with the columns and the tag of the table as it was.
            raise ValidationException("the table moved")
        # Another commit may have exchanged columns: files with the old ones would be read as NULL.
        check_fields(self._load.table, self._load.plan(table).fields, self._load.fields)
        self._load.verify()
        return table

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        """Commit, or find that it has been done."""
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.table import CommitTableResponse

        self._load.asked = True
        try:
            return self._catalog.commit_table(table, requirements, updates)
        except CommitFailedException as error:
            now = self._catalog.load_table(table.name())
            if not has_landed(now, self._load):
                raise
            logger.warning(
                "the commit to %s was reported as failed and is there: %r", table.name(), error
            )
            return CommitTableResponse.model_validate(
                {"metadata": now.metadata, "metadata-location": now.metadata_location}
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


def place(table: Table, load: Load, files: Files, *, streamed: bool) -> None:
    """Place the files that have rows below the table; what was placed is noted before it is begun.

    Args:
        table: The table.
        load: The load.
        files: The files of the storage in which the table lies.
        streamed: Whether that storage cannot copy an object by itself.
    """
    load.table_uuid = table.metadata.table_uuid
    folder = f"{table.location().rstrip('/')}/data/{load.export}"
    placing = Placing(load.table, [file.size for _, file in load.files], load.log)
    for number, (period, file) in enumerate(load.files, start=1):
        uri = f"{folder}/{period}/{load.token}-{number:05d}.parquet"
        load.placed.append(uri)
        placing.begin(number)
        (files.send if streamed else files.copy)(file.uri, uri, placing.arrived)
    placing.end()


def overwrite(table: Table, load: Load) -> Table:
    """Commit one snapshot in which the load's periods consist of the placed files.

    Raises:
        TableError: A column must be exchanged in which other exports have values.
    """
    from pyiceberg.table.update.snapshot import ManageSnapshots

    before = table.current_snapshot()
    replaced = [task.file for task in table.scan(row_filter=load.replaced()).plan_files()]
    with table.transaction() as transaction:
        change_columns(transaction, _alone(table, load))
        added = _data_files(table, transaction, load)
        with transaction.update_snapshot(
            snapshot_properties=load.snapshot_properties()
        ).overwrite() as snapshot:
            # Deletes nothing by itself: it is the filter by which pyiceberg tells whether another commit conflicts.
            snapshot.delete_by_predicate(load.replaced())
            for file in replaced:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
        said = load.table_properties()
        transaction.set_properties(said)
        if load.whole:
            mine = f"{_HELD}{load.export}."
            emptied = [n for n in table.properties if n.startswith(mine) and n not in said]
            if emptied:
                transaction.remove_properties(*emptied)
        if load.tag is not None and before is not None and load.tag not in table.metadata.refs:
            # Behind the snapshot: of several references that a commit requires unchanged pyiceberg keeps the first.
            ManageSnapshots(transaction).create_tag(before.snapshot_id, load.tag).commit()
    return table


def _alone(table: Table, load: Load) -> SchemaPlan:
    """Return how the load changes the columns, after a look at whether rows of others would lose values by that."""
    planned = load.plan(table)
    if planned.diff.incompatible:
        tasks = table.scan(row_filter=differs(EXPORT, load.export)).plan_files()
        refuse_others(load.table, {str(task.file.partition[0]) for task in tasks}, planned)
    return planned


def _data_files(table: Table, transaction: Transaction, load: Load) -> list[DataFile]:
    """Return the placed files as Iceberg describes them, after a look at whether they are of their periods."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    metadata = transaction.table_metadata
    added = [parquet_file_to_data_file(table.io, metadata, uri) for uri in load.placed]
    for one, (period, _) in zip(added, load.files, strict=True):
        if (one.partition[0], one.partition[1]) != (load.export, period):
            what = f"An encoded file holds {one.partition}, not {load.export}, {period}"
            raise LoadError(what, file=one.file_path)
    return added


def held(table: Table, export: str) -> dict[str, str]:
    """Return the identity of the delivery that each period of ``export`` was last replaced by, rollbacks included."""
    from pyiceberg.table.snapshots import ancestors_of

    current = {one.snapshot_id for one in ancestors_of(table.current_snapshot(), table.metadata)}
    undone = {
        _summary(one).get(_COMMIT_PROPERTY)
        for one in table.metadata.snapshots
        if one.snapshot_id not in current
    }
    start = f"{_HELD}{export}."
    said = {
        name.removeprefix(start): value.partition(" ")
        for name, value in table.properties.items()
        if name.startswith(start)
    }
    return {period: identity for period, (identity, _, by) in said.items() if by not in undone}


def landed(table: Table, load: Load) -> Commit:
    """Return the commit that the table's history holds for this load.

    Raises:
        LookupError: It holds none.
    """
    before: str | None = None
    key = PeriodKey(load.export, next(iter(load.periods)))
    for snapshot in table.metadata.snapshots:
        said = noted(snapshot, key)
        if _summary(snapshot).get(_COMMIT_PROPERTY) == load.token:
            return Commit(
                table=load.table,
                rows=sum(encoded.rows for encoded in load.periods.values()),
                files=len(load.placed),
                size=sum(file.size for _, file in load.files),
                replaced_rows=int(_summary(snapshot).get("deleted-records", "0")),
                replaced_version=None if load.whole else before,
                snapshot_id=snapshot.snapshot_id,
                metadata_location=table.metadata_location,
            )
        if said is not None:
            before = said.get(DELIVERY_VERSION)
    raise LookupError(load.token)


def has_landed(table: Table, load: Load) -> bool:
    """Say whether the table's history holds the load's snapshot."""
    return any(
        _summary(one).get(_COMMIT_PROPERTY) == load.token for one in table.metadata.snapshots
    )


def of_period(key: PeriodKey) -> BooleanExpression:
    """Return the filter that chooses the rows of a billing period."""
    from pyiceberg.expressions import And

    return And(equals(EXPORT, key.export), equals(PERIOD, key.period))


def equals(column: str, value: str) -> BooleanExpression:
    """Return the filter that chooses the rows with a value."""
    from pyiceberg.expressions import EqualTo

    # pyiceberg's own signature; mypy sees the one that pydantic would have made.
    return EqualTo(column, value)  # type: ignore[call-arg,arg-type]


def differs(column: str, value: str) -> BooleanExpression:
    """Return the filter that chooses the rows with another value."""
    from pyiceberg.expressions import NotEqualTo

    return NotEqualTo(column, value)  # type: ignore[call-arg,arg-type]


def noted(snapshot: Snapshot, key: PeriodKey) -> Mapping[str, str] | None:
    """Return what a snapshot says about a period that it replaced, or None where it did not.

    A snapshot that replaced all periods of the export says nothing about those that it emptied.
    """
    said = _summary(snapshot)
    if said.get(_EXPORT_PROPERTY) != key.export:
        return None
    if _PERIODS_PROPERTY in said:
        about: Mapping[str, str] = json.loads(said[_PERIODS_PROPERTY]).get(key.period, {})
        return about
    return said if said.get(_PERIOD_PROPERTY) == key.period else None


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties
