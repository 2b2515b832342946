"""Iceberg tables through pyiceberg: the same for every catalog and every engine.

A load is one OVERWRITE snapshot that removes every file of the period and adds the new ones (`iceberg_commits`).
"""

from __future__ import annotations

import logging
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from billing_lake.domain.errors import ConfigurationError, SnapshotGoneError, TableError
from billing_lake.domain.schemas import Column, Field, SchemaPlan, columns_of
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.domain.types import is_written
from billing_lake.files.local import LocalFiles, path_or_uri
from billing_lake.tables.base import (
    EXPORT,
    LEFT_BEHIND,
    PERIOD,
    CleanUp,
    Commit,
    KeptHistory,
    check_columns,
    check_key,
    check_table,
)
from billing_lake.tables.commit_retries import retry_while_overtaken
from billing_lake.tables.data_files import naming_read_errors, naming_write_errors, table_source
from billing_lake.tables.iceberg_columns import (
    evolve,
    fields_of,
    new_table_schema,
    plan_table_rebuild,
)
from billing_lake.tables.iceberg_commits import IcebergCommits
from billing_lake.tables.iceberg_history import (
    BOUNDED_METADATA,
    expire_snapshots,
    expired_snapshots,
    referred_files,
)
from billing_lake.tables.iceberg_opening import make_namespace, open_catalog, open_table
from billing_lake.tables.iceberg_replacements import (
    Replacement,
    equal_to,
    held_deliveries,
    of_period,
)
from billing_lake.tables.iceberg_types import lake_fields

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from billing_lake.files.base import Files

log = logging.getLogger(__name__)


class IcebergTables:
    """The Iceberg tables of one catalog; names are written `namespace.table`.

    Args:
        name: Name of the catalog; engines that share it must use the same.
        properties: Properties by which pyiceberg opens it: `type`, `uri`, `warehouse` and the like.
        files: The files of the storage in which the tables lie; this machine's unless given.
        patience: Seconds for which a load tries again while other loads commit before it.
    """

    finds_by_name = False

    def __init__(
        self,
        name: str,
        properties: Mapping[str, str],
        *,
        files: Files | None = None,
        patience: float = 120.0,
    ) -> None:
        self.name = name
        self._properties = dict(properties)
        self._files = LocalFiles() if files is None else files
        self._patience = patience
        self._opened: Catalog | None = None
        self._lock = threading.Lock()

    def full_name(self, table: str) -> str:
        """See `TableCatalog.full_name`; the catalogs of AWS are named as Athena knows them."""
        match self._properties.get("type"):
            case "glue":
                return f"awsdatacatalog.{table}"
            case "rest":
                bucket = self._properties["warehouse"].rpartition("/")[2]
                return f"s3tablescatalog/{bucket}.{table}"
            case _:
                return f"{self.name}.{table}"

    def new_location(self, table: str, key: PeriodKey) -> None:
        """See `TableCatalog.new_location`: files are linked, copied or sent into the table's folder."""

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """See `TableCatalog.abandon`: there is nothing to remove."""

    def name_before(self, table: str, before: str) -> str:
        """See `TableCatalog.name_before`."""
        return f"tag before_rebuild_{before} of {table}"

    def open(self, table: str) -> Table:
        """Return pyiceberg's table as it is now.

        Raises:
            TableError: There is no such table.
        """
        with naming_read_errors(self._warehouse):
            return open_table(self._catalog(), table)

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchTableError

        check_table(table)
        with naming_read_errors(self._warehouse):
            try:
                return fields_of(self._catalog().load_table(table))
            except NoSuchIcebergTableError:
                raise  # something else has the name
            except NoSuchTableError:
                return None

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table, partitioned by export and billing period; return False where it exists already.

        Iceberg numbers the fields itself, from 1 in their order.
        """
        from pyiceberg.exceptions import TableAlreadyExistsError

        check_columns(fields)
        if not {EXPORT, PERIOD} <= {field.name for field in fields}:
            what = (
                f"Table {table} needs the columns {EXPORT} and {PERIOD}, by which it is partitioned"
            )
            raise TableError(what)
        schema, parts, properties = new_table_schema(fields)
        if self.fields(table) is not None:
            return False
        location = self._new_location(table)
        with naming_write_errors(self._warehouse):
            make_namespace(self._catalog(), table.rpartition(".")[0])
            try:
                self._catalog().create_table(
                    table,
                    schema,
                    location=location,
                    partition_spec=parts,
                    properties=properties if self.is_managed else properties | BOUNDED_METADATA,
                )
            except TableAlreadyExistsError:
                if location is not None:
                    self._files.remove_folder(location)
                return False
        return True

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add the planned columns and make the planned promotions, on top of what others did meanwhile.

        Nothing is ever dropped or narrowed; what is there already is left as it is.

        Returns:
            The table's fields now. New ones have the planned ids unless another writer added columns first.

        Raises:
            SchemaChangeError: Another writer gave a planned column a type that no promotion joins with the planned one.
        """
        from pyiceberg.exceptions import CommitFailedException

        check_columns(plan.fields)
        conflict = f"Other writers kept changing table {table}"
        with naming_write_errors(self._warehouse):
            return retry_while_overtaken(conflict, self._patience, CommitFailedException)(
                lambda: evolve(self.open(table), plan)
            )

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,
        keeps: bool = False,
    ) -> Commit:
        """Make the period hold exactly the rows of ``encoded``, in one snapshot; see `TableCatalog.replace_period`.

        Readers see the old period or the new one, also when the process is killed. Files that were placed and not committed are
        removed; after a kill `remove_orphans` finds them. With ``keeps`` the rows that the period holds stay beside the new ones.
        """
        check_key(key)
        return self._commit(
            Replacement(
                check_table(table),
                key.export,
                {key.period: encoded},
                {key.period: dict(properties)},
                verify,
                log,
                keeps=keeps,
            )
        )

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """See `TableCatalog.plan_rebuild`."""
        return plan_table_rebuild(self.open(table), wanted)

    def rebuild(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        *,
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
        log: Callable[[str], None] = lambda _: None,
    ) -> Commit:
        """Replace all rows of an export, and columns with them, in one snapshot; see `TableCatalog.rebuild`.

        The snapshot before gets the tag `before_rebuild_<before>`, so that no clean-up of snapshots takes it.
        """
        for period in periods:
            check_key(PeriodKey(export, period))
        return self._commit(
            Replacement(
                check_table(table),
                export,
                periods,
                properties,
                verify,
                log,
                whole=True,
                tag=f"before_rebuild_{before}",
            )
        )

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: the data files of the current snapshot, or of the one of ``commit``."""
        opened = self.open(table)
        snapshot = None if commit is None else commit.snapshot_id
        if snapshot is not None and opened.snapshot_by_id(snapshot) is None:
            raise SnapshotGoneError(f"Table {table} has no snapshot {snapshot} any more")
        with naming_read_errors(self._warehouse):
            scan = opened.scan(row_filter=of_period(check_key(key)), snapshot_id=snapshot)
            tasks = list(scan.plan_files())
            columns = scan.projection().fields
        if any(task.delete_files for task in tasks):
            what = f"Table {table} has delete files for {key.period}, which only an Iceberg reader can apply"
            raise TableError(what, remedy="Load the period again: that replaces all of its files")
        uris = (path_or_uri(task.file.file_path) for task in tasks)
        fields = (one for one in lake_fields(columns) if is_written(one.type))
        return table_source(uris, columns_of(fields))

    def periods(self, table: str, export: str | None = None) -> tuple[str, ...]:
        """Return the billing periods of the export, or of every export, that hold rows, in order."""
        opened = self.open(table)
        with naming_read_errors(self._warehouse):
            rows = opened.scan() if export is None else opened.scan(equal_to(EXPORT, export))
            tasks = rows.plan_files()
            return tuple(sorted({str(task.file.partition[1]) for task in tasks}))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`; the table's metadata is all that is read."""
        try:
            return held_deliveries(self.open(table), export)
        except TableError:
            return {}

    def uri(self, table: str) -> str:
        """Return where the table lies: a path without `file://` on this machine."""
        return path_or_uri(self.open(table).location())

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader finds half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        opened = self.open(table)
        with naming_write_errors(self._warehouse):
            if self.is_managed:
                self._catalog().purge_table(table)
            else:
                self._catalog().drop_table(table)
                self._files.remove_folder(opened.location())
        log.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        with naming_read_errors(self._warehouse):
            return tuple(sorted(self._tables()))

    def remove_orphans(self, table: str, what: CleanUp = LEFT_BEHIND) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: files that no snapshot refers to.

        Raises:
            ConfigurationError: The storage cleans up by its own rules (`is_managed`).
            CommitConflictError: Other writers kept committing before snapshots could be expired.
        """
        location = self.open(table).location()
        if self.is_managed:
            problem = f"Orphans of table {table} cannot be looked for from here"
            raise ConfigurationError(
                problem, remedy="Storage that the catalog manages cleans up by its own rules"
            )
        with naming_write_errors(self._warehouse):
            gone = () if what.kept is None else self._expire(table, what.kept, dry_run=what.dry_run)
            # Read in this order, so that a file that is committed in between is among those that are kept.
            young = datetime.now(timezone.utc) - what.older_than
            found = self._files.list(location)
            used = {path_or_uri(uri) for uri in referred_files(self.open(table), without=gone)}
            old = [one for one in found if one.modified <= young and one.uri not in used]
            what.listed(old)
            orphans = sorted(one.uri for one in old)
            for uri in () if what.dry_run else orphans:
                self._files.remove(uri)
        if orphans and not what.dry_run:
            log.info("removed %d orphans of table %s", len(orphans), table)
        return tuple(orphans)

    def _expire(self, table: str, kept: KeptHistory, *, dry_run: bool) -> tuple[int, ...]:
        """Forget the snapshots that ``kept`` does not ask for; return their ids."""
        from pyiceberg.exceptions import CommitFailedException

        def forget() -> tuple[int, ...]:
            opened = self.open(table)
            gone = expired_snapshots(opened.metadata, kept, datetime.now(timezone.utc))
            if not dry_run:
                expire_snapshots(opened, gone)
            return gone

        conflict = f"Other writers kept changing table {table}"
        return retry_while_overtaken(conflict, self._patience, CommitFailedException)(forget)

    def _tables(self) -> Iterator[str]:
        from pyiceberg.exceptions import NoSuchNamespaceError

        catalog = self._catalog()
        for namespace in catalog.list_namespaces():
            try:
                yield from (".".join(table) for table in catalog.list_tables(namespace))
            except NoSuchNamespaceError:
                continue  # it vanished since the namespaces were listed

    def _commit(self, replacement: Replacement) -> Commit:
        with naming_write_errors(self._warehouse):
            commits = IcebergCommits(
                self._catalog(),
                self._files,
                patience_seconds=self._patience,
                is_remote=self._is_remote,
                is_streamed=self._properties.get("rest.signing-name") == "s3tables",
            )
            return commits.commit(replacement)

    def _new_location(self, table: str) -> str | None:
        """Return a folder for a new table, in which no other table lies or lay; None where the catalog chooses it.

        A table keeps its folder when it is renamed, and its folder is removed when it is dropped.
        """
        if self.is_managed or "warehouse" not in self._properties:
            return None
        folder = table.replace(".", "/")
        return f"{self._warehouse.rstrip('/')}/{folder}-{uuid.uuid4().hex[:8]}"

    @property
    def _warehouse(self) -> str:
        return self._properties.get("warehouse", self.name)

    @property
    def _is_remote(self) -> bool:
        return self._properties.get("type") != "sql"

    @property
    def is_managed(self) -> bool:
        """Say whether the storage belongs to the catalog, which then cleans up by its own rules."""
        return self._properties.get("type") == "rest"

    def _catalog(self) -> Catalog:
        with self._lock:
            if self._opened is None:
                self._opened = open_catalog(self.name, self._properties)
                weakref.finalize(self, self._opened.close)
            return self._opened
