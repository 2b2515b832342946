"""Iceberg tables through pyiceberg: one commit path for every catalog and every engine.

A load is one OVERWRITE snapshot that removes every file of the period and adds the new ones. Who wins when several
loads meet is decided here and nowhere else: the table is looked at, *then* the delivery is asked for, *then* the commit
is tried on what was seen. When the table moved in between, all three are done again.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, cast

from billing_lake.aws.errors import did_nothing
from billing_lake.domain.errors import (
    BillingLakeError,
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    SnapshotGoneError,
    TableError,
    shown,
)
from billing_lake.domain.schemas import Column, Field, SchemaPlan
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.files.local import LocalFiles, local_path
from billing_lake.tables.attempts import backoff
from billing_lake.tables.base import (
    EXPORT,
    PERIOD,
    Commit,
    check_columns,
    check_key,
    check_table,
)
from billing_lake.tables.data_files import SAFE_AGE, open_encoded, reading, table_source, writing
from billing_lake.tables.iceberg_columns import evolve, fields_of, replan, shape
from billing_lake.tables.iceberg_loads import (
    AskingCatalog,
    Load,
    equals,
    has_landed,
    held,
    landed,
    of_period,
    overwrite,
    place,
)
from billing_lake.tables.iceberg_opening import open_catalog
from billing_lake.tables.parquet_field_ids import check_fields, check_footers

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from billing_lake.files.base import Files

log = logging.getLogger(__name__)

_SETTLING = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between looks for a commit that a remote catalog did not answer for."""


class IcebergTables:
    """The Iceberg tables of one catalog; names are written `namespace.table`.

    Args:
        name: Name of the catalog; engines that share it must use the same.
        properties: What pyiceberg needs to open it: `type`, `uri`, `warehouse` and the like.
        files: The files of the storage in which the tables lie; this machine's unless given.
        patience: Seconds for which a load goes on trying while others win the commit.
    """

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

    finds_by_name = False

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

    def load(self, table: str) -> Table:
        """Return the table as pyiceberg knows it, at this moment.

        Raises:
            TableError: There is no such table.
        """
        with reading(self._warehouse):
            return _load(self._catalog(), table)

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchTableError

        check_table(table)
        with reading(self._warehouse):
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
        schema, parts, properties = shape(fields)
        if self.fields(table) is not None:
            return False
        location = self._new_location(table)
        with writing(self._warehouse):
            self._create_namespace(table.rpartition(".")[0])
            try:
                self._catalog().create_table(
                    table,
                    schema,
                    location=location,
                    partition_spec=parts,
                    properties=properties,
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
            The table's fields now. New ones have the planned ids unless somebody else came between.

        Raises:
            SchemaChangeError: Somebody else gave a planned column a type that no promotion joins with the planned one.
        """
        from pyiceberg.exceptions import CommitFailedException

        check_columns(plan.fields)
        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            try:
                with writing(self._warehouse):
                    return evolve(self.load(table), plan)
            except CommitFailedException as error:
                self._wait(table, attempt, deadline, error)
        raise AssertionError  # pragma: no cover

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,
    ) -> Commit:
        """Make the period hold exactly the rows of ``encoded``, in one snapshot; see `TableCatalog.replace_period`.

        Whatever happens, and at whatever moment the process dies, readers see the old period or the new one. Files that
        were placed and not committed are removed; what a kill leaves behind `remove_orphans` finds.
        """
        check_key(key)
        noted = {key.period: dict(properties)}
        load = Load(check_table(table), key.export, {key.period: encoded}, noted, verify, log)
        return self._run(load)

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """See `TableCatalog.plan_rebuild`."""
        return replan(self.load(table), wanted)

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
        load = Load(
            check_table(table),
            export,
            periods,
            properties,
            verify,
            log,
            whole=True,
            tag=f"before_rebuild_{before}",
        )
        return self._run(load)

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: the data files of the current snapshot, or of the one of ``commit``."""
        opened = self.load(table)
        snapshot = None if commit is None else commit.snapshot_id
        if snapshot is not None and opened.snapshot_by_id(snapshot) is None:
            raise SnapshotGoneError(f"Table {table} has no snapshot {snapshot} any more")
        with reading(self._warehouse):
            scan = opened.scan(row_filter=of_period(check_key(key)), snapshot_id=snapshot)
            tasks = list(scan.plan_files())
            columns = scan.projection().fields
        if any(task.delete_files for task in tasks):
            what = f"Table {table} has delete files for {key.period}, which only an Iceberg reader can apply"
            raise TableError(what, remedy="Load the period again: that replaces all of its files")
        uris = (_plain(task.file.file_path) for task in tasks)
        return table_source(uris, (Column(one.name, str(one.field_type)) for one in columns))

    def periods(self, table: str, export: str) -> tuple[str, ...]:
        """Return the billing periods of the export that hold rows, in order."""
        opened = self.load(table)
        with reading(self._warehouse):
            tasks = opened.scan(row_filter=equals(EXPORT, export)).plan_files()
            return tuple(sorted({str(task.file.partition[1]) for task in tasks}))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`; the table's metadata is all that is read."""
        try:
            return held(self.load(table), export)
        except TableError:
            return {}

    def uri(self, table: str) -> str:
        """Return where the table lies: a path without `file://` on this machine."""
        return _plain(self.load(table).location())

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader meets half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        opened = self.load(table)
        with writing(self._warehouse):
            if self._is_rest:
                self._catalog().purge_table(table)
            else:
                self._catalog().drop_table(table)
                self._files.remove_folder(opened.location())
        log.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        with reading(self._warehouse):
            return tuple(sorted(self._tables()))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: data files that no snapshot refers to.

        Raises:
            ConfigurationError: The storage cleans up by its own rules (`is_managed`).
        """
        location = self.load(table).location()
        if self._is_rest:
            what = f"Orphans of table {table} cannot be looked for from here"
            raise ConfigurationError(
                what, remedy="Storage that the catalog manages cleans up by its own rules"
            )
        with writing(self._warehouse):
            # Looked at in this order: a file that is committed in between is then among those referred to.
            young = datetime.now(timezone.utc) - older_than
            found = self._files.list(f"{location}/data")
            old = [file.uri for file in found if file.modified <= young]
            kept = _referred(self.load(table))
            orphans = sorted(uri for uri in old if uri not in kept)
            for uri in orphans:
                self._files.remove(uri)
        if orphans:
            log.info("removed %d orphans of table %s", len(orphans), table)
        return tuple(orphans)

    def _tables(self) -> Iterator[str]:
        from pyiceberg.exceptions import NoSuchNamespaceError

        catalog = self._catalog()
        for namespace in catalog.list_namespaces():
            try:
                yield from (".".join(table) for table in catalog.list_tables(namespace))
            except NoSuchNamespaceError:
                continue  # it vanished since the namespaces were listed

    def _run(self, load: Load) -> Commit:
        with writing(self._warehouse):
            opened = self.load(load.table)
            check_fields(load.table, load.plan(opened).fields, load.fields)
            for encoded in load.periods.values():
                check_footers(encoded, partial(open_encoded, self._files))
            try:
                place(opened, load, self._files, streamed=self._is_table_bucket)
                return self._commit(load)
            except BaseException:
                self._remove_placed(load)
                raise

    def _commit(self, load: Load) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            try:
                return self._try_commit(load)
            except (CommitFailedException, ValidationException) as error:
                self._wait(load.table, attempt, deadline, error)
        raise AssertionError  # pragma: no cover

    def _try_commit(self, load: Load) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        load.looks = 0
        catalog = AskingCatalog(self._catalog(), load)
        # pyiceberg tries again by itself where another period was committed first: the delivery is asked for then, too.
        table = _load(cast("Catalog", catalog), load.table)
        table.catalog = cast("Catalog", catalog)
        try:
            return landed(overwrite(table, load), load)
        except (CommitFailedException, ValidationException):
            raise
        except BaseException as error:
            if not load.asked or isinstance(error, BillingLakeError):
                raise
            load.in_doubt = True
            if not isinstance(error, Exception):
                raise
            refused = did_nothing(error)
            looked, commit = self._look_for(load, () if refused or self._is_sql else _SETTLING)
            load.in_doubt = commit is not None or not (refused and looked)
            if commit is None and (refused or self._is_sql):
                raise
            if commit is None:
                what = f"It is not known whether the load was committed to table {load.table}: {shown(error, 400)}"
                raise CommitUnknownError(what) from error
            log.warning(
                "the commit to %s was reported as failed and is there: %r", load.table, error
            )
            return commit

    def _look_for(self, load: Load, pauses: Sequence[float]) -> tuple[bool, Commit | None]:
        """Look for the load's snapshot; a remote catalog may take a while to finish what it did not answer for.

        Returns:
            Whether the last look saw the table, and the commit if it was there.
        """
        looked = False
        for pause in (0.0, *pauses):
            time.sleep(pause)
            try:
                return True, landed(self.load(load.table), load)
            except LookupError:
                looked = True
            except Exception as error:  # noqa: BLE001  # what failed the commit may fail the look, too
                looked = False
                log.warning("could not look for the commit to %s: %r", load.table, error)
        return looked, None

    def _remove_placed(self, load: Load) -> None:
        """Remove what was placed, unless a snapshot refers to it or may still come to."""
        if load.in_doubt and not self._is_sql:
            # A remote catalog may finish a commit after it was heard of last.
            return
        try:
            if load.in_doubt and self._has_landed(load):
                return
            for uri in load.placed:
                self._files.remove(uri)
        except Exception as error:  # noqa: BLE001  # what failed the load is being raised, and matters more
            log.warning("could not remove the placed files of %s: %r", load.table, error)

    def _has_landed(self, load: Load) -> bool:
        return has_landed(self.load(load.table), load)

    def _wait(self, table: str, attempt: int, deadline: float, error: Exception) -> None:
        if time.monotonic() > deadline:
            what = f"Other writers kept winning the commit to table {table}, {attempt + 1} times"
            raise CommitConflictError(what) from error
        log.info("table %s moved, trying again (%d): %s", table, attempt + 1, error)
        time.sleep(backoff(attempt))

    def _create_namespace(self, namespace: str) -> None:
        catalog = self._catalog()
        try:
            catalog.create_namespace_if_not_exists(namespace)
        except Exception:
            # Another process may have made it between the look and the insert.
            if not catalog.namespace_exists(namespace):
                raise

    def _new_location(self, table: str) -> str | None:
        """Return where a new table is to lie; None where the catalog decides.

        Never where another one lies or lay: a table keeps its place when it is renamed, and its place goes when it is dropped.
        """
        if self._is_rest or "warehouse" not in self._properties:
            return None
        folder = table.replace(".", "/")
        return f"{self._warehouse.rstrip('/')}/{folder}-{uuid.uuid4().hex[:8]}"

    @property
    def _warehouse(self) -> str:
        return self._properties.get("warehouse", self.name)

    @property
    def _is_sql(self) -> bool:
        return self._properties.get("type") == "sql"

    @property
    def is_managed(self) -> bool:
        """Whether the storage belongs to the catalog, which then cleans up by its own rules."""
        return self._is_rest

    @property
    def _is_rest(self) -> bool:
        return self._properties.get("type") == "rest"

    @property
    def _is_table_bucket(self) -> bool:
        return self._properties.get("rest.signing-name") == "s3tables"

    def _catalog(self) -> Catalog:
        with self._lock:
            if self._opened is None:
                self._opened = open_catalog(self.name, self._properties)
                weakref.finalize(self, self._opened.close)
            return self._opened


def _load(catalog: Catalog, table: str) -> Table:
    from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchTableError

    try:
        return catalog.load_table(check_table(table))
    except NoSuchIcebergTableError:
        raise  # something else has the name
    except NoSuchTableError as error:
        what = f"There is no table {table}"
        raise TableError(what, remedy="Load its billing periods; that makes it") from error


def _plain(uri: str) -> str:
    path = local_path(uri)
    return uri if path is None else str(path)


def _referred(table: Table) -> set[str]:
    """Return the paths of all data files that any snapshot of the table refers to."""
    manifests = {
        manifest.manifest_path: manifest
        for snapshot in table.metadata.snapshots
        for manifest in snapshot.manifests(table.io)
    }
    return {
        _plain(entry.data_file.file_path)
        for manifest in manifests.values()
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    }
