"""Hive-style tables on this machine: plain Parquet, and a catalog that says which files count.

Each load brings a new *generation*: a folder of its own for the period. The catalog's row for the partition is switched
from one generation to the next in one SQLite transaction. Nothing is ever edited in place:

    warehouse/hive_generations/<table>/billing_period=2025-03/<generation>/….parquet

A reader that asked the catalog before a switch goes on reading the generation that it was given, so that one stays on disk
until the *next* switch of its partition: at most two generations of a period exist, the current and the previous one. Who
does not ask, and reads the table's folder `warehouse/hive/<table>`, sees the files that count (`hive_views`): they are shown
behind each switch, under the lock of the catalog, and where a process died in between the next look at the table does it.

Earlier versions had the generations in the table's folder itself; the next look at the table brings them here, too.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from billing_lake.domain.errors import (
    BillingLakeError,
    CommitConflictError,
    SchemaChangeError,
    SnapshotGoneError,
    StorageWriteError,
)
from billing_lake.domain.schemas import (
    Column,
    Field,
    SchemaPlan,
    fields_to_json,
    plan_anew,
)
from billing_lake.domain.schemas import (
    plan as plan_schema,
)
from billing_lake.domain.sources import Encoded, PeriodKey, Source, SourceFile
from billing_lake.files.local import changed_at, files_below, link_or_copy, remove_tree
from billing_lake.tables.base import (
    BEFORE,
    DELIVERY_IDENTITY,
    EXPORT,
    PERIOD,
    Commit,
    backoff,
    check_columns,
    check_key,
    check_table,
    refuse_others,
)
from billing_lake.tables.data_files import SAFE_AGE, writing
from billing_lake.tables.hive_rows import (
    Generation,
    Partition,
    copy_table,
    fields_of,
    partition_of,
    partitions_of,
    point,
    remove_partition,
    require,
    set_fields,
)
from billing_lake.tables.hive_views import Views
from billing_lake.tables.local_db import LocalDatabase
from billing_lake.tables.parquet_field_ids import check_fields, check_footers

log = logging.getLogger(__name__)


class HiveTables:
    """The Hive-style tables of a local lake.

    Args:
        root: Folder of the tables, one each.
        database: SQLite file of the local catalog; `hive.db` in ``root`` unless given.
        patience: Seconds for which a load goes on trying while others switch its partition.
    """

    def __init__(
        self, root: Path, database: Path | None = None, *, patience: float = 120.0
    ) -> None:
        self._root = root.absolute()
        self._generations = self._root.with_name(f"{self._root.name}_generations")
        self._views = Views(self._root, self._generations)
        self._database = LocalDatabase(database or root / "hive.db")
        self._patience = patience

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        with self._database.reading() as db:
            return fields_of(db, check_table(table))

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table; return False where it exists already."""
        check_columns(fields)
        row = (check_table(table), json.dumps(fields_to_json(fields)))
        with self._database.changing() as db:
            return db.execute("INSERT OR IGNORE INTO tables VALUES (?, ?)", row).rowcount > 0

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add and promote columns as planned, on top of what others did meanwhile; return the fields now.

        Files of older partitions stay as they are; readers get NULL for a column that a file lacks.
        """
        check_columns(plan.fields)
        with self._database.changing() as db:
            have = require(db, check_table(table))
            merged = plan_schema(have, [Column(field.name, field.type) for field in plan.fields])
            if merged.diff.incompatible:
                change = merged.diff.incompatible[0]
                what = f"The column is {change.table} in table {table} and {change.delivery} in the plan"
                raise SchemaChangeError(what, column=change.name)
            if merged.fields != have:
                set_fields(db, table, merged.fields)
            return merged.fields

    finds_by_name = True
    is_managed = False

    def full_name(self, table: str) -> str:
        """See `TableCatalog.full_name`."""
        return f"hive.{table}"

    def name_before(self, table: str, before: str) -> str:
        """See `TableCatalog.name_before`."""
        return f"table {table}{BEFORE}{before}"

    def new_location(self, table: str, key: PeriodKey) -> str:
        """Return a folder for a new generation: files that an engine writes there are taken over where they lie."""
        folder = self._folder(check_table(table), check_key(key)) / uuid.uuid4().hex
        with writing(str(folder)):
            folder.mkdir(parents=True)
        return str(folder)

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` gave, unless a partition refers to it: a load has failed before its switch.

        It never raises, because the failure is what matters; what stays is found by `remove_orphans`.
        """
        folder = Path(location)
        if folder.parent != self._folder(table, key):
            log.warning("%s is no generation of %s of table %s", folder, key.period, table)
            return
        try:
            with self._database.reading() as db:
                partition = partition_of(db, table, key)
        except BillingLakeError as error:
            log.warning("left %s for the orphan clean-up: %s", folder, error)
            return
        if partition is None or folder.name not in (partition.location, partition.previous):
            remove_tree(folder)

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,  # noqa: ARG002  # files are placed in a moment
    ) -> Commit:
        """Make the period hold exactly the files of ``encoded``, in one switch; see `TableCatalog.replace_period`.

        Files in a folder that `new_location` gave are taken over where they lie, others are linked or copied. When the load
        fails, its folder is removed either way. The generation before the one that is replaced is removed at the end.
        """
        check_table(table)
        check_key(key)
        with writing(str(self._root)):
            adopted = self._adoptable(table, key, encoded)
            folder = adopted or Path(self.new_location(table, key))
            try:
                check_footers(encoded)
                names = _names(encoded) if adopted else _link(encoded, folder)
                before = self._switch(
                    table, key, encoded, Generation(folder, names), properties, verify
                )
            except BaseException:
                self.abandon(table, key, str(folder))
                raise
            self._show(table)
        self._remove_outlived(before, folder)
        return Commit(
            table=table,
            rows=encoded.rows,
            files=len(encoded.files),
            size=encoded.size,
            replaced_rows=0 if before is None else before.rows,
            replaced_version=None if before is None else before.version,
            generation=str(folder),
        )

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """See `TableCatalog.plan_rebuild`."""
        with self._database.reading() as db:
            return plan_anew(require(db, check_table(table)), wanted)

    def rebuild(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        *,
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
        log: Callable[[str], None] = lambda _: None,  # noqa: ARG002  # files are placed in a moment
    ) -> Commit:
        """Replace all rows of an export, and columns with them, in one transaction; see `TableCatalog.rebuild`.

        The old rows stay in the table `<table>__before_<before>`, whose files are links to those of this one.
        """
        made: dict[PeriodKey, Generation] = {}
        with writing(str(self._root)):
            self._show(check_table(table))
            try:
                for period, encoded in periods.items():
                    check_footers(encoded)
                    key = check_key(PeriodKey(export, period))
                    folder = Path(self.new_location(table, key))
                    made[key] = Generation(folder, ())
                    made[key] = Generation(folder, _link(encoded, folder))
                old = self._exchange(table, export, periods, made, properties, verify, before)
            except BaseException:
                for key, generation in made.items():
                    self.abandon(table, key, str(generation.folder))
                raise
            self._show(table)
            self._show(f"{table}{BEFORE}{before}")
        for key, generation in made.items():
            self._remove_outlived(old.get(key), generation.folder)
        return Commit(
            table=table,
            rows=sum(encoded.rows for encoded in periods.values()),
            files=sum(len(encoded.files) for encoded in periods.values()),
            size=sum(encoded.size for encoded in periods.values()),
            replaced_rows=sum(partition.rows for partition in old.values()),
            replaced_version=None,
        )

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period; its columns are the table's, of which a file may lack some."""
        self._show_if_possible(check_table(table))
        with self._database.reading() as db:
            db.execute("BEGIN")
            fields = require(db, table)
            partition = partition_of(db, table, check_key(key))
        if commit is not None and commit.generation is not None:
            generation = Path(commit.generation)
            if partition is None or not partition.keeps(generation.name):
                what = f"The files of the load are gone: others have replaced {key.period} twice"
                raise SnapshotGoneError(what, file=str(generation))
            uris = _parquet_in(generation)
        elif partition is None:
            uris = []
        else:
            folder = self._folder(table, key) / partition.location
            uris = sorted(str(folder / file["name"]) for file in partition.files if file["rows"])
        return Source(
            container="parquet",
            files=tuple(SourceFile(uri=uri, name=uri) for uri in uris),
            columns=tuple(Column(field.name, field.type) for field in fields),
        )

    def periods(self, table: str, export: str) -> tuple[str, ...]:
        """Return the billing periods of the export that hold rows, in order."""
        query = "SELECT billing_period, files FROM partitions WHERE table_name = ? AND export = ? ORDER BY billing_period"
        with self._database.reading() as db:
            require(db, check_table(table))
            rows = db.execute(query, (table, export)).fetchall()
        return tuple(row[0] for row in rows if any(file["rows"] for file in json.loads(row[1])))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`."""
        query = (
            "SELECT billing_period, properties FROM partitions WHERE table_name = ? AND export = ?"
        )
        with self._database.reading() as db:
            rows = db.execute(query, (check_table(table), export)).fetchall()
        noted = {period: json.loads(properties) for period, properties in rows}
        return {
            period: properties[DELIVERY_IDENTITY]
            for period, properties in noted.items()
            if DELIVERY_IDENTITY in properties
        }

    def paths(self, table: str) -> tuple[str, ...]:
        """Return all files that count, of every export and period."""
        self._show_if_possible(check_table(table))
        with self._database.reading() as db:
            require(db, table)
            found = self._visible(table, partitions_of(db, table))
        return tuple(sorted(map(str, found.values())))

    def uri(self, table: str) -> str:
        """Return the table's folder, in which a reader finds the files that count."""
        return str(self._root / check_table(table))

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader meets half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        with self._database.changing() as db:
            require(db, check_table(table))
            db.execute("DELETE FROM partitions WHERE table_name = ?", (table,))
            db.execute("DELETE FROM tables WHERE name = ?", (table,))
            self._views.drop(table)
        log.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        with self._database.reading() as db:
            return tuple(row[0] for row in db.execute("SELECT name FROM tables ORDER BY name"))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that no partition refers to, in order of their folders."""
        with writing(str(self._root)):
            self._show(check_table(table))
        # Looked at in this order: a generation that is switched to in between is then among those referred to.
        found = [
            folder
            for folder in (self._generations / table).glob(f"{PERIOD}=*/*")
            if folder.is_dir()
        ]
        young = datetime.now(timezone.utc) - older_than
        old = [folder for folder in found if not _is_changed_since(folder, young)]
        query = "SELECT billing_period, location, previous FROM partitions WHERE table_name = ?"
        with self._database.reading() as db:
            rows = db.execute(query, (table,)).fetchall()
        kept = {
            (f"{PERIOD}={row[0]}", generation) for row in rows for generation in (row[1], row[2])
        }
        orphans = sorted(folder for folder in old if (folder.parent.name, folder.name) not in kept)
        for folder in orphans:
            remove_tree(folder)
        return tuple(str(folder) for folder in orphans)

    def _switch(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        generation: Generation,
        properties: Mapping[str, str],
        verify: Callable[[], None],
    ) -> Partition | None:
        """Point the partition at ``generation``; return what it pointed at before.

        The order is what makes an older delivery unable to replace a newer one: look at the partition, ask for the delivery,
        switch if the partition is still the one that was looked at.
        """
        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            with self._database.reading() as db:
                seen = partition_of(db, table, key)
            verify()
            with self._database.changing() as db:
                check_fields(table, require(db, table), encoded.fields, by_name=True)
                found = partition_of(db, table, key)
                if found == seen:
                    point(db, table, key, encoded, generation, properties, found)
                    return found
            if time.monotonic() > deadline:
                what = f"Other writers kept switching {key.period} of table {table}, {attempt + 1} times"
                raise CommitConflictError(what)
            log.info(
                "%s of table %s was switched meanwhile, trying again (%d)",
                key.period,
                table,
                attempt + 1,
            )
            time.sleep(backoff(attempt))
        raise AssertionError  # pragma: no cover

    def _exchange(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        made: Mapping[PeriodKey, Generation],
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
    ) -> dict[PeriodKey, Partition]:
        """Point all partitions of an export at what was ``made``; return those of them that there were before.

        The order is that of `_switch`.
        """
        keep, deadline = f"{table}{BEFORE}{before}", time.monotonic() + self._patience
        fields = next(iter(periods.values())).fields
        for attempt in itertools.count():
            with self._database.reading() as db:
                seen = partitions_of(db, table)
            verify()
            kept = self._link_generations(table, keep, seen)
            with self._database.changing() as db:
                wanted = [Column(field.name, field.type) for field in fields]
                planned = plan_anew(require(db, table), wanted)
                check_fields(table, planned.fields, fields, by_name=True)
                found = partitions_of(db, table)
                others = {key.export for key, one in found.items() if one.rows} - {export}
                refuse_others(table, others, planned)
                if found == seen:
                    if kept:
                        copy_table(db, table, keep)
                    set_fields(db, table, planned.fields)
                    for key, generation in made.items():
                        encoded = periods[key.period]
                        noted = properties[key.period]
                        point(db, table, key, encoded, generation, noted, found.get(key))
                    gone = (k for k in found if k.export == export and k not in made)
                    for key in gone:
                        remove_partition(db, table, key)
                    return {key: one for key, one in found.items() if key.export == export}
            if time.monotonic() > deadline:
                what = f"Other writers kept switching table {table}, {attempt + 1} times"
                raise CommitConflictError(what)
            time.sleep(backoff(attempt))
        raise AssertionError  # pragma: no cover

    def _link_generations(
        self, table: str, name: str, partitions: Mapping[PeriodKey, Partition]
    ) -> bool:
        """Link the files of ``partitions`` for a second table; return whether that is still to be made."""
        if not any(partition.rows for partition in partitions.values()):
            return False
        for key, partition in partitions.items():
            for file in files_below(self._folder(table, key) / partition.location):
                target = self._folder(name, key) / partition.location / file.name
                if not target.exists():
                    link_or_copy(file, target)
        return self.fields(name) is None

    def _show(self, table: str) -> None:
        """Let readers of the table's folder see what the catalog says, unless they do."""
        with self._database.reading() as db:
            seen = self._visible(table, partitions_of(db, table))
        if self._views.shows(table, seen):
            return
        with self._database.changing() as db:
            partitions = partitions_of(db, table)
            self._bring(table, partitions)
            self._views.show(table, self._visible(table, partitions))

    def _show_if_possible(self, table: str) -> None:
        """Do as `_show`, for a reader, who may not be allowed to write."""
        try:
            with writing(str(self._root)):
                self._show(table)
        except StorageWriteError as error:
            log.warning(
                "the folder of table %s does not show what was loaded last: %s", table, error
            )

    def _visible(self, table: str, partitions: Mapping[PeriodKey, Partition]) -> dict[str, Path]:
        """Return the files that count, by their paths in the table's folder; no two generations share a name."""
        return {
            f"{PERIOD}={key.period}/{EXPORT}={key.export}/{one.location[:12]}-{file['name']}": (
                self._folder(table, key) / one.location / file["name"]
            )
            for key, one in partitions.items()
            for file in one.files
            if file["rows"]
        }

    def _bring(self, table: str, partitions: Mapping[PeriodKey, Partition]) -> None:
        """Bring generations that an older version wrote into the table's folder to where they are today."""
        for key, partition in partitions.items():
            for generation in filter(None, (partition.location, partition.previous)):
                old = self._root / table / f"{PERIOD}={key.period}" / generation
                new = self._folder(table, key) / generation
                if new.exists() or not old.is_dir():
                    continue
                begun = new.with_name(f"{generation}.part")
                remove_tree(begun)
                for file in files_below(old):
                    link_or_copy(file, begun / file.name)
                begun.rename(new)

    def _adoptable(self, table: str, key: PeriodKey, encoded: Encoded) -> Path | None:
        """Return the generation folder that all files lie in, or None where they lie elsewhere."""
        folders = {Path(file.uri).parent for file in encoded.files}
        if len(folders) != 1:
            return None
        folder = folders.pop()
        return folder if folder.parent == self._folder(table, key) else None

    def _remove_outlived(self, before: Partition | None, current: Path) -> None:
        """Remove the generation that was the previous one until this switch, and now is nobody's."""
        if (
            before is None
            or before.previous is None
            or current.name in (before.location, before.previous)
        ):
            return
        remove_tree(current.parent / before.previous)

    def _folder(self, table: str, key: PeriodKey) -> Path:
        return self._generations / table / f"{PERIOD}={key.period}"


def _names(encoded: Encoded) -> tuple[str, ...]:
    return tuple(Path(file.uri).name for file in encoded.files)


def _link(encoded: Encoded, folder: Path) -> tuple[str, ...]:
    """Place the files in ``folder``; they may come from several, so a number keeps their names apart."""
    names = tuple(f"{number:05d}-{name}" for number, name in enumerate(_names(encoded), start=1))
    for name, file in zip(names, encoded.files, strict=True):
        link_or_copy(Path(file.uri), folder / name)
    return names


def _is_changed_since(folder: Path, moment: datetime) -> bool:
    try:
        return any(changed_at(path) > moment for path in (folder, *files_below(folder)))
    except FileNotFoundError:
        return True  # somebody removes it just now


def _parquet_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in files_below(folder) if path.suffix == ".parquet")
