"""One load of an Iceberg table: its files placed, its snapshot made, and whether that snapshot is in the table's history."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from billing_lake.catalogs.base import (
    DELIVERY_IDENTITY,
    DELIVERY_VERSION,
    EXPORT,
    PERIOD,
    Commit,
)
from billing_lake.catalogs.placing import Placing, local_path
from billing_lake.domain.errors import CommitConflictError, LoadError
from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.files.local import LocalFiles

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import CommitTableResponse, Table
    from pyiceberg.table.snapshots import Snapshot

    from billing_lake.files.base import Files

logger = logging.getLogger(__name__)

_EXPORT_PROPERTY = "billing-lake.export"
_PERIOD_PROPERTY = "billing-lake.period"
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
        key: What is replaced.
        encoded: The finished files.
        properties: Recorded with the snapshot.
        verify: Raises where the delivery is no longer the one in storage.
        log: Is told how the files get on.
        token: Marks the load's snapshot.
        table_uuid: The table that the files were placed for.
        placed: Their URIs there.
        asked: Whether the catalog was asked to commit.
        in_doubt: Whether it is unknown if it did.
    """

    table: str
    key: PeriodKey
    encoded: Encoded
    properties: dict[str, str]
    verify: Callable[[], None]
    log: Callable[[str], None]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    table_uuid: uuid.UUID | None = None
    placed: list[str] = field(default_factory=list)
    asked: bool = False
    in_doubt: bool = False

    def snapshot_properties(self) -> dict[str, str]:
        """Return what the load's snapshot says about it."""
        return {
            **self.properties,
            DELIVERY_IDENTITY: self.encoded.identity,
            _EXPORT_PROPERTY: self.key.export,
            _PERIOD_PROPERTY: self.key.period,
            _COMMIT_PROPERTY: self.token,
        }

    def table_properties(self) -> dict[str, str]:
        """Return what the table says about the period from now on: the delivery's identity, and which load says so."""
        name = f"{_HELD}{self.key.export}.{self.key.period}"
        return {name: f"{self.encoded.identity} {self.token}"}


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
        """Return the table as it is now, if it still is the one that the files lie in, and the delivery still is, too."""
        table = self._catalog.load_table(identifier)
        if table.metadata.table_uuid != self._load.table_uuid:
            what = f"Table {self._load.table} was replaced by another one of its name"
            raise CommitConflictError(what)
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
        files: Where the files and the table lie, as far as they lie elsewhere than on this machine.
        streamed: Whether the table's storage copies nothing itself.
    """
    load.table_uuid = table.metadata.table_uuid
    folder = f"{table.location().rstrip('/')}/data/{load.key.export}/{load.key.period}"
    written = [file for file in load.encoded.files if file.rows]
    placing = Placing(load.table, [file.size for file in written], load.log)
    for number, file in enumerate(written, start=1):
        uri = f"{folder}/{load.token}-{number:05d}.parquet"
        load.placed.append(uri)
        placing.begin(number)
        path = local_path(uri)
        if path is not None:
            LocalFiles().copy(file.uri, str(path), placing.arrived)
        elif streamed:
            files.send(file.uri, uri, placing.arrived)
        else:
            files.copy(file.uri, uri, placing.arrived)
    placing.end()


def data_files(table: Table, load: Load) -> list[DataFile]:
    """Return the placed files as Iceberg describes them, after a look at whether they are of this period."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    added = [parquet_file_to_data_file(table.io, table.metadata, uri) for uri in load.placed]
    for one in added:
        if (one.partition[0], one.partition[1]) != (load.key.export, load.key.period):
            what = (
                f"An encoded file holds {one.partition}, not {load.key.export}, {load.key.period}"
            )
            raise LoadError(what, file=one.file_path)
    return added


def overwrite(table: Table, load: Load, added: Sequence[DataFile]) -> Table:
    """Commit one snapshot in which the period consists of the files ``added``."""
    period = of_period(load.key)
    replaced = [task.file for task in table.scan(row_filter=period).plan_files()]
    with table.transaction() as transaction:
        with transaction.update_snapshot(
            snapshot_properties=load.snapshot_properties()
        ).overwrite() as snapshot:
            # Deletes nothing by itself: it is the filter by which pyiceberg tells whether another commit conflicts.
            snapshot.delete_by_predicate(period)
            for file in replaced:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
        transaction.set_properties(load.table_properties())
    return table


def held(table: Table, export: str) -> dict[str, str]:
    """Return the identity of the delivery that each period of ``export`` was last replaced by, rollbacks included."""
    from pyiceberg.table.snapshots import ancestors_of

    current = {one.snapshot_id for one in ancestors_of(table.current_snapshot(), table.metadata)}
    undone = {
        _noted(one).get(_COMMIT_PROPERTY)
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
    for snapshot in table.metadata.snapshots:
        noted = _noted(snapshot)
        if noted.get(_COMMIT_PROPERTY) == load.token:
            return Commit(
                table=load.table,
                rows=load.encoded.rows,
                files=len(load.placed),
                size=sum(file.size for file in load.encoded.files if file.rows),
                replaced_rows=int(noted.get("deleted-records", "0")),
                replaced_version=before,
                snapshot_id=snapshot.snapshot_id,
            )
        if (noted.get(_EXPORT_PROPERTY), noted.get(_PERIOD_PROPERTY)) == (
            load.key.export,
            load.key.period,
        ):
            before = noted.get(DELIVERY_VERSION)
    raise LookupError(load.token)


def has_landed(table: Table, load: Load) -> bool:
    """Say whether the table's history holds the load's snapshot."""
    return any(_noted(one).get(_COMMIT_PROPERTY) == load.token for one in table.metadata.snapshots)


def of_period(key: PeriodKey) -> BooleanExpression:
    """Return the filter that chooses the rows of a billing period."""
    from pyiceberg.expressions import And

    return And(equals(EXPORT, key.export), equals(PERIOD, key.period))


def equals(column: str, value: str) -> BooleanExpression:
    """Return the filter that chooses the rows with a value."""
    from pyiceberg.expressions import EqualTo

    # pyiceberg's own signature; mypy sees the one that pydantic would have made.
    return EqualTo(column, value)  # type: ignore[call-arg,arg-type]


def _noted(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties
