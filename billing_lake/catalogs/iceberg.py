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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from billing_lake.catalogs.base import (
    DELIVERY_VERSION,
    EXPORT,
    PERIOD,
    Commit,
    backoff,
    check_columns,
    check_key,
    check_table,
)
from billing_lake.catalogs.footers import check_fields, check_footers
from billing_lake.catalogs.placing import (
    SAFE_AGE,
    files_below,
    is_old,
    link_or_copy,
    local_path,
    remove_tree,
    upload,
    writing,
)
from billing_lake.domain.errors import (
    CommitConflictError,
    ConfigurationError,
    LoadError,
    SchemaChangeError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, SchemaPlan
from billing_lake.domain.schemas import plan as plan_schema
from billing_lake.domain.sources import Encoded, PeriodKey, Source, SourceFile

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import NestedField

log = logging.getLogger(__name__)

_EXPORT_PROPERTY = "billing-lake.export"
_PERIOD_PROPERTY = "billing-lake.period"
_COMMIT_PROPERTY = "billing-lake.commit"

_SQLITE_PATIENCE = "60"


class IcebergTables:
    """The Iceberg tables of one catalog; names are written `namespace.table`.

    Args:
        name: Name of the catalog; engines that share it must use the same.
        properties: What pyiceberg needs to open it: `type`, `uri`, `warehouse` and the like.
        patience: Seconds for which a load goes on trying while others win the commit.
    """

    def __init__(
        self, name: str, properties: Mapping[str, str], *, patience: float = 120.0
    ) -> None:
        self.name = name
        self._properties = dict(properties)
        self._patience = patience
        self._opened: Catalog | None = None
        self._lock = threading.Lock()

    def load(self, table: str) -> Table:
        """Return the table as pyiceberg knows it, at this moment.

        Raises:
            TableError: There is no such table.
        """
        return _load(self._catalog(), table)

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return _fields(self._catalog().load_table(check_table(table)))
        except NoSuchTableError:
            return None

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table, partitioned by export and billing period; return False where it exists already.

        Iceberg numbers the fields itself, from 1 in their order.
        """
        from pyiceberg.exceptions import TableAlreadyExistsError
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.schema import Schema, assign_fresh_schema_ids
        from pyiceberg.transforms import IdentityTransform

        check_columns(fields)
        if not {EXPORT, PERIOD} <= {field.name for field in fields}:
            what = (
                f"Table {table} needs the columns {EXPORT} and {PERIOD}, by which it is partitioned"
            )
            raise TableError(what)
        asked = Schema(*_nested(fields))
        schema = assign_fresh_schema_ids(asked)
        parts = (
            PartitionField(schema.find_field(name).field_id, 1000 + n, IdentityTransform(), name)
            for n, name in enumerate((EXPORT, PERIOD))
        )
        properties = {
            "format-version": "2",
            "write.parquet.compression-codec": "zstd",
            # Lets readers find columns by name in files without field ids, which Spark writes where there are maps.
            "schema.name-mapping.default": schema.name_mapping.model_dump_json(),
        }
        with writing(self._warehouse):
            self._create_namespace(check_table(table).rpartition(".")[0])
            try:
                self._catalog().create_table(
                    table, schema, partition_spec=PartitionSpec(*parts), properties=properties
                )
            except TableAlreadyExistsError:
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
                    return _evolve(self.load(table), plan)
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
    ) -> Commit:
        """Make the period hold exactly the rows of ``encoded``, in one snapshot; see `TableCatalog.replace_period`.

        Whatever happens, and at whatever moment the process dies, readers see the old period or the new one. Files that
        were placed and not committed are removed; what a kill leaves behind `remove_orphans` finds.
        """
        load = _Load(check_table(table), check_key(key), encoded, dict(properties), verify)
        with writing(self._warehouse):
            opened = self.load(table)
            check_fields(table, _fields(opened), encoded.fields)
            check_footers(encoded)
            try:
                _place(opened, load)
                return self._commit(load)
            except BaseException:
                self._remove_placed(load)
                raise

    def files(self, table: str, key: PeriodKey) -> Source:
        """Return what a reader reads now for the period: the data files of the current snapshot."""
        opened = self.load(table)
        tasks = opened.scan(row_filter=_filter(check_key(key))).plan_files()
        if any(task.delete_files for task in tasks):
            what = f"Table {table} has delete files for {key.period}, which only an Iceberg reader can apply"
            raise TableError(what, remedy="Load the period again: that replaces all of its files")
        uris = sorted(_plain(task.file.file_path) for task in tasks)
        return Source(
            format="parquet",
            files=tuple(SourceFile(uri=uri, name=uri) for uri in uris),
            columns=tuple(Column(field.name, field.type) for field in _fields(opened)),
        )

    def periods(self, table: str, export: str) -> tuple[str, ...]:
        """Return the billing periods of the export that hold rows, in order."""
        opened = self.load(table)
        tasks = opened.scan(row_filter=_equals(EXPORT, export)).plan_files()
        return tuple(sorted({str(task.file.partition[1]) for task in tasks}))

    def uri(self, table: str) -> str:
        """Return where the table lies: a path without `file://` on this machine."""
        return _plain(self.load(table).location())

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader meets half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        opened = self.load(table)
        folder = local_path(opened.location())
        with writing(self._warehouse):
            if folder is None:
                self._catalog().purge_table(table)
            else:
                self._catalog().drop_table(table)
                remove_tree(folder)
        log.info("dropped table %s", table)

    def rename(self, table: str, name: str) -> None:
        """Give the table another name; its files stay where they are.

        Raises:
            TableError: There is no such table, or the name is taken.
        """
        from pyiceberg.exceptions import TableAlreadyExistsError

        self.load(table)
        with writing(self._warehouse):
            try:
                self._catalog().rename_table(table, check_table(name))
            except TableAlreadyExistsError as error:
                raise TableError(f"There is a table {name} already") from error
        log.info("renamed table %s to %s", table, name)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        catalog = self._catalog()
        found = (
            table
            for namespace in catalog.list_namespaces()
            for table in catalog.list_tables(namespace)
        )
        return tuple(sorted(".".join(table) for table in found))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """Remove data files that no snapshot refers to: what killed loads left behind.

        Args:
            table: The table.
            older_than: Age below which a file may belong to a load that is still under way.

        Returns:
            The paths of the removed files, in order.
        """
        folder = local_path(self.load(table).location())
        if folder is None:
            what = f"Orphans of table {table} cannot be looked for from here"
            raise ConfigurationError(
                what, remedy="Storage outside this machine cleans up by its own rules"
            )
        # Looked at in this order: a file that is committed in between is then among those referred to.
        old = [path for path in files_below(folder / "data") if is_old(path, older_than)]
        kept = _referred(self.load(table))
        orphans = sorted(path for path in old if str(path) not in kept)
        for path in orphans:
            path.unlink(missing_ok=True)
        if orphans:
            log.info("removed %d orphans of table %s", len(orphans), table)
        return tuple(str(path) for path in orphans)

    def _commit(self, load: _Load) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            try:
                return self._try_commit(load)
            except (CommitFailedException, ValidationException) as error:
                self._wait(load.table, attempt, deadline, error)
        raise AssertionError  # pragma: no cover

    def _try_commit(self, load: _Load) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        catalog = _AskingCatalog(self._catalog(), load.verify)
        table = catalog.load_table(load.table)
        check_fields(load.table, _fields(table), load.encoded.fields)
        added = _data_files(table, load)
        # pyiceberg tries again by itself where another period was committed first: the delivery is asked for then, too.
        table.catalog = cast("Catalog", catalog)
        try:
            return _landed(_overwrite(table, load, added), load)
        except (CommitFailedException, ValidationException):
            raise
        except BaseException as error:
            load.in_doubt = True
            commit = self._find(load) if isinstance(error, Exception) else None
            if commit is None:
                raise
            log.warning(
                "the commit to %s was reported as failed and is there: %r", load.table, error
            )
            return commit

    def _find(self, load: _Load) -> Commit | None:
        try:
            return _landed(self.load(load.table), load)
        except LookupError:
            return None

    def _remove_placed(self, load: _Load) -> None:
        """Remove what was placed, unless a snapshot refers to it or may still come to."""
        if not load.placed:
            return
        try:
            table = self.load(load.table)
            if load.in_doubt and (self._find(load) is not None or not self._is_sql):
                # A remote catalog may finish a commit after it was heard of last.
                return
            for uri in load.placed:
                _remove(table, uri)
        except Exception as error:  # noqa: BLE001  # what failed the load is being raised, and matters more
            log.warning("could not remove the placed files of %s: %r", load.table, error)

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

    @property
    def _warehouse(self) -> str:
        return self._properties.get("warehouse", self.name)

    @property
    def _is_sql(self) -> bool:
        return self._properties.get("type") == "sql"

    def _catalog(self) -> Catalog:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.name, self._properties)
                weakref.finalize(self, self._opened.close)
            return self._opened


@dataclass
class _Load:
    """One load under way: what was asked for, and what has been done so far."""

    table: str
    key: PeriodKey
    encoded: Encoded
    properties: dict[str, str]
    verify: Callable[[], None]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    placed: list[str] = field(default_factory=list)
    in_doubt: bool = False

    def snapshot_properties(self) -> dict[str, str]:
        return {
            **self.properties,
            _EXPORT_PROPERTY: self.key.export,
            _PERIOD_PROPERTY: self.key.period,
            _COMMIT_PROPERTY: self.token,
        }


class _AskingCatalog:
    """A catalog that asks, after each look at a table, whether the delivery is still the one in storage."""

    def __init__(self, catalog: Catalog, ask: Callable[[], None]) -> None:
        self._catalog = catalog
        self._ask = ask

    def load_table(self, identifier: Any) -> Table:
        table = self._catalog.load_table(identifier)
        self._ask()
        return table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


def _open(name: str, properties: Mapping[str, str]) -> Catalog:
    from pyiceberg.catalog import load_catalog

    warehouse = properties.get("warehouse", "")
    if local_path(warehouse) is not None and any(sign in warehouse for sign in "#?;"):
        what = "pyiceberg cannot write below a folder with '#', '?' or ';' in its path"
        raise ConfigurationError(what, remedy="Put the lake elsewhere", file=warehouse)
    if not properties.get("uri", "").startswith("sqlite:"):
        return load_catalog(name, **properties)
    with writing(properties["uri"]):
        return _open_sqlite(name, {**properties, "uri": _patient(properties["uri"])})


def _patient(uri: str) -> str:
    """Return the URI of a SQLite file with a time to wait for locks, and make the file's folder."""
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return url.update_query_dict({"timeout": _SQLITE_PATIENCE}).render_as_string(
        hide_password=False
    )


def _open_sqlite(name: str, properties: Mapping[str, str]) -> Catalog:
    """Open a SQLite catalog; where several processes make it at once, all but one fail the first time."""
    from pyiceberg.catalog import load_catalog
    from sqlalchemy.exc import OperationalError

    for attempt in range(5):
        try:
            return load_catalog(name, **properties)
        except OperationalError as error:
            log.debug("opening catalog %s again: %s", name, error)
            time.sleep(backoff(attempt))
    return load_catalog(name, **properties)


def _load(catalog: Catalog, table: str) -> Table:
    from pyiceberg.exceptions import NoSuchTableError

    try:
        return catalog.load_table(check_table(table))
    except NoSuchTableError as error:
        what = f"There is no table {table}"
        raise TableError(what) from error


def _fields(table: Table) -> tuple[Field, ...]:
    return tuple(Field(f.name, str(f.field_type), f.field_id) for f in table.schema().fields)


def _filter(key: PeriodKey) -> BooleanExpression:
    from pyiceberg.expressions import And

    return And(_equals(EXPORT, key.export), _equals(PERIOD, key.period))


def _equals(column: str, value: str) -> BooleanExpression:
    from pyiceberg.expressions import EqualTo

    # pyiceberg's own signature; mypy sees the one that pydantic would have made.
    return EqualTo(column, value)  # type: ignore[call-arg,arg-type]


def _plain(uri: str) -> str:
    path = local_path(uri)
    return uri if path is None else str(path)


def _evolve(table: Table, plan: SchemaPlan) -> tuple[Field, ...]:
    have = _fields(table)
    diff = plan_schema(have, [Column(field.name, field.type) for field in plan.fields]).diff
    if diff.incompatible:
        change = diff.incompatible[0]
        what = f"The column is {change.table} in table {'.'.join(table.name())} and {change.delivery} in the plan"
        raise SchemaChangeError(what, column=change.name)
    if not (diff.added or diff.widened):
        return have
    types = {field.name: field for field in _nested(plan.fields)}
    with table.update_schema() as update:
        for column in diff.added:
            update.add_column(column.name, types[column.name].field_type)
        for change in diff.widened:
            update.update_column(change.name, types[change.name].field_type)
    return _fields(table)


def _nested(fields: Sequence[Field]) -> list[NestedField]:
    from pyiceberg.types import NestedField

    return [NestedField(field_id=f.field_id, name=f.name, field_type=f.type) for f in fields]


def _place(table: Table, load: _Load) -> None:
    """Place the files that have rows below the table; what was placed is noted before it is begun."""
    folder = f"{table.location().rstrip('/')}/data/{load.key.export}/{load.key.period}"
    for number, file in enumerate((f for f in load.encoded.files if f.rows), start=1):
        uri = f"{folder}/{load.token}-{number:05d}.parquet"
        load.placed.append(uri)
        path = local_path(uri)
        if path is None:
            upload(table.io, file.uri, uri)
        else:
            link_or_copy(file.uri, path)


def _remove(table: Table, uri: str) -> None:
    path = local_path(uri)
    if path is not None:
        path.unlink(missing_ok=True)
        return
    try:
        table.io.delete(uri)
    except FileNotFoundError:
        return


def _data_files(table: Table, load: _Load) -> list[DataFile]:
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


def _overwrite(table: Table, load: _Load, added: Sequence[DataFile]) -> Table:
    """Commit one snapshot in which the period consists of the files ``added``."""
    period = _filter(load.key)
    replaced = [task.file for task in table.scan(row_filter=period).plan_files()]
    with (
        table.transaction() as transaction,
        transaction.update_snapshot(
            snapshot_properties=load.snapshot_properties()
        ).overwrite() as overwrite,
    ):
        # Deletes nothing by itself: it is the filter by which pyiceberg tells whether another commit conflicts.
        overwrite.delete_by_predicate(period)
        for file in replaced:
            overwrite.delete_data_file(file)
        for file in added:
            overwrite.append_data_file(file)
    return table


def _landed(table: Table, load: _Load) -> Commit:
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


def _noted(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties


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
