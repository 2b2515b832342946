"""Hive-style tables on this machine: plain Parquet, and a catalog of which files count.

Each load makes a new *generation*: a folder of its own for the period. The catalog's row for the partition is switched
from one generation to the next in one SQLite transaction. Nothing is ever edited in place:

    warehouse/hive_generations/<table>/billing_period=2025-03/<generation>/….parquet

A reader that read the catalog before a switch goes on reading the generation that it found there. That one stays on disk
until the *next* switch of its partition: at most two generations of a period exist, the current and the previous one. A
reader of the table's folder `warehouse/hive/<table>`, which does not use the catalog, sees the current files (`hive_views`).
That folder is updated after each switch, under the lock of the catalog, or by the next access where the process died in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from billing_lake.domain.errors import BillingLakeError, SnapshotGoneError, StorageWriteError
from billing_lake.domain.schemas import Column, Field, SchemaPlan, columns_of, plan_anew
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.files.local import LocalFiles, files_below, link_or_copy, remove_tree
from billing_lake.tables.base import (
    BEFORE,
    LEFT_BEHIND,
    CleanUp,
    Commit,
    check_columns,
    check_key,
    check_table,
    refuse_others,
)
from billing_lake.tables.commit_retries import OvertakenError, retry_while_overtaken
from billing_lake.tables.data_files import naming_write_errors, table_source
from billing_lake.tables.hive_generations import Generations, numbered_names
from billing_lake.tables.hive_rows import (
    Generation,
    Partition,
    add_table,
    copy_table,
    identities_of,
    partition_of,
    partitions_of,
    point_partition,
    remove_partition,
    remove_table,
    require_table,
    set_fields,
    table_fields,
)
from billing_lake.tables.hive_views import Views
from billing_lake.tables.local_db import LocalDatabase
from billing_lake.tables.parquet_field_ids import check_fields, check_footers
from billing_lake.tables.schema_changes import plan_evolution

log = logging.getLogger(__name__)


class HiveTables:
    """The Hive-style tables of a local lake.

    Args:
        root: Folder of the tables, one each.
        database: SQLite file of the local catalog.
        patience: Seconds for which a load tries again while other loads switch its partition.
    """

    finds_by_name = True
    is_managed = False

    def __init__(self, root: Path, database: Path, *, patience: float = 120.0) -> None:
        self._root = root.absolute()
        self._generations = Generations(self._root.with_name(f"{self._root.name}_generations"))
        self._views = Views(self._root, self._generations.root)
        self._database = LocalDatabase(database)
        self._patience = patience

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        with self._database.reading() as db:
            return table_fields(db, check_table(table))

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table; return False where it exists already."""
        check_columns(fields)
        with self._database.changing() as db:
            return add_table(db, check_table(table), fields)

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add and promote columns as planned, on top of what others did meanwhile; return the fields now.

        Files of older partitions stay as they are; readers get NULL for a column that a file lacks.
        """
        check_columns(plan.fields)
        with self._database.changing() as db:
            have = require_table(db, check_table(table))
            merged = plan_evolution(table, have, plan).fields
            if merged != have:
                set_fields(db, table, merged)
            return merged

    def full_name(self, table: str) -> str:
        """See `TableCatalog.full_name`."""
        return f"hive.{table}"

    def name_before(self, table: str, before: str) -> str:
        """See `TableCatalog.name_before`."""
        return f"table {table}{BEFORE}{before}"

    def new_location(self, table: str, key: PeriodKey) -> str:
        """Make a folder for a new generation and return it: files that an engine writes there are used where they lie."""
        return str(self._generations.new(check_table(table), check_key(key)))

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` made, after a load that failed before its switch, unless a partition uses it.

        It never raises, so that the load's own error is the one that is seen; what stays is found by `remove_orphans`.
        """
        folder = Path(location)
        if folder.parent != self._generations.of_period(table, key):
            log.warning("%s is no generation of %s of table %s", folder, key.period, table)
            return
        try:
            with self._database.reading() as db:
                partition = partition_of(db, table, key)
        except BillingLakeError as error:
            log.warning("left %s for the orphan clean-up: %s", folder, error)
            return
        if partition is None or not partition.keeps(folder.name):
            remove_tree(folder)

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,  # noqa: ARG002  # links take no time
    ) -> Commit:
        """Make the period hold exactly the files of ``encoded``, in one switch; see `TableCatalog.replace_period`.

        Files in a folder that `new_location` made are used where they lie, others are linked or copied. When the load fails,
        its folder is removed either way. At the end the generation that preceded the replaced one is removed.
        """
        check_table(table)
        check_key(key)
        with naming_write_errors(str(self._root)):
            written = self._generations.holding(table, key, encoded)
            folder = written or self._generations.new(table, key)
            try:
                check_footers(encoded)
                names = _names(encoded) if written else _link(encoded, folder)
                made = Generation(folder, names)
                before = self._switch(table, key, encoded, made, properties, verify)
            except BaseException:
                self.abandon(table, key, str(folder))
                raise
            self._show(table)
        self._remove_superseded(before, {key: made})
        return Commit.of(table, [encoded], before.values(), str(folder))

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """See `TableCatalog.plan_rebuild`."""
        with self._database.reading() as db:
            return plan_anew(require_table(db, check_table(table)), wanted)

    def rebuild(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        *,
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
        log: Callable[[str], None] = lambda _: None,  # noqa: ARG002  # links take no time
    ) -> Commit:
        """Replace all rows of an export, and columns with them, in one transaction; see `TableCatalog.rebuild`.

        The old rows stay in the table `<table>__before_<before>`, whose files are links to those of this one.
        """
        made: dict[PeriodKey, Generation] = {}
        with naming_write_errors(str(self._root)):
            self._show(check_table(table))
            try:
                for period, encoded in periods.items():
                    check_footers(encoded)
                    key = check_key(PeriodKey(export, period))
                    folder = self._generations.new(table, key)
                    made[key] = Generation(folder, ())
                    made[key] = Generation(folder, _link(encoded, folder))
                old = self._exchange(table, export, periods, made, properties, verify, before)
            except BaseException:
                for key, generation in made.items():
                    self.abandon(table, key, str(generation.folder))
                raise
            self._show(table)
            self._show(f"{table}{BEFORE}{before}")
        self._remove_superseded(old, made)
        return Commit.of(table, periods.values(), old.values())

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period; its columns are the table's, of which a file may lack some."""
        self._show_if_possible(check_table(table))
        with self._database.reading() as db:
            db.execute("BEGIN")
            fields = require_table(db, table)
            partition = partition_of(db, table, check_key(key))
        if commit is not None and commit.generation is not None:
            generation = Path(commit.generation)
            if partition is None or not partition.keeps(generation.name):
                what = f"The files of the load are gone: {key.period} was replaced twice since"
                raise SnapshotGoneError(what, file=str(generation))
            found = [path for path in files_below(generation) if path.suffix == ".parquet"]
        else:
            current = {} if partition is None else {key: partition}
            found = list(self._generations.visible(table, current).values())
        return table_source(map(str, found), columns_of(fields))

    def periods(self, table: str, export: str | None = None) -> tuple[str, ...]:
        """Return the billing periods of the export, or of every export, that hold rows, in order."""
        with self._database.reading() as db:
            require_table(db, check_table(table))
            found = partitions_of(db, table)
        held = {key for key, one in found.items() if one.rows and export in (None, key.export)}
        return tuple(sorted({key.period for key in held}))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`."""
        with self._database.reading() as db:
            return identities_of(db, check_table(table), export)

    def paths(self, table: str) -> tuple[str, ...]:
        """Return the current files of every export and period that have rows."""
        self._show_if_possible(check_table(table))
        with self._database.reading() as db:
            require_table(db, table)
            found = self._generations.visible(table, partitions_of(db, table))
        return tuple(sorted(map(str, found.values())))

    def uri(self, table: str) -> str:
        """Return the table's folder, in which a reader finds the current files."""
        return str(self._root / check_table(table))

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader finds half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        with self._database.changing() as db:
            require_table(db, check_table(table))
            remove_table(db, table)
            self._views.drop(table)
        log.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        with self._database.reading() as db:
            return tuple(row[0] for row in db.execute("SELECT name FROM tables ORDER BY name"))

    def remove_orphans(self, table: str, what: CleanUp = LEFT_BEHIND) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that no partition refers to, in order of their folders."""
        with naming_write_errors(str(self._root)):
            self._show(check_table(table))
        # Read in this order, so that a generation that is switched to in between is among those that are kept.
        old = self._generations.older_than(table, what.older_than)
        with self._database.reading() as db:
            used = partitions_of(db, table)
        kept = {
            self._generations.of_period(table, key) / generation
            for key, one in used.items()
            for generation in (one.location, one.previous)
            if generation is not None
        }
        orphans = [folder for folder in old if folder not in kept]
        what.listed([file for one in orphans for file in LocalFiles().list(str(one))])
        for folder in () if what.dry_run else orphans:
            remove_tree(folder)
        return tuple(map(str, orphans))

    def _switch(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        generation: Generation,
        properties: Mapping[str, str],
        verify: Callable[[], None],
    ) -> dict[PeriodKey, Partition]:
        """Point the partition at ``generation``; return what it pointed at before.

        The order ensures that an older delivery never replaces a newer one: read the partition, verify the delivery, switch
        if the partition still is what was read.
        """

        def switch() -> dict[PeriodKey, Partition]:
            with self._database.reading() as db:
                seen = partition_of(db, table, key)
            verify()
            with self._database.changing() as db:
                check_fields(table, require_table(db, table), encoded.fields, by_name=True)
                found = partition_of(db, table, key)
                if found != seen:
                    raise OvertakenError
                point_partition(db, table, key, encoded, generation, properties, found)
                return {} if found is None else {key: found}

        what = f"Other writers kept switching {key.period} of table {table}"
        return retry_while_overtaken(what, self._patience)(switch)

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
        """Point all partitions of an export at the generations in ``made``; return what they pointed at before.

        The order is that of `_switch`.
        """
        keep = f"{table}{BEFORE}{before}"
        fields = next(iter(periods.values())).fields

        def exchange() -> dict[PeriodKey, Partition]:
            with self._database.reading() as db:
                seen = partitions_of(db, table)
            verify()
            is_kept = not any(one.rows for one in seen.values())
            if not is_kept:
                self._generations.link(table, keep, seen)
            with self._database.changing() as db:
                planned = plan_anew(require_table(db, table), columns_of(fields))
                check_fields(table, planned.fields, fields, by_name=True)
                found = partitions_of(db, table)
                others = {key.export for key, one in found.items() if one.rows} - {export}
                refuse_others(table, others, planned)
                if found != seen:
                    raise OvertakenError
                if not is_kept and table_fields(db, keep) is None:
                    copy_table(db, table, keep)
                set_fields(db, table, planned.fields)
                for key, new in made.items():
                    encoded, recorded = periods[key.period], properties[key.period]
                    point_partition(db, table, key, encoded, new, recorded, found.get(key))
                for key in [k for k in found if k.export == export and k not in made]:
                    remove_partition(db, table, key)
                return {key: one for key, one in found.items() if key.export == export}

        return retry_while_overtaken(f"Other writers kept switching table {table}", self._patience)(
            exchange
        )

    def _show(self, table: str) -> None:
        """Make the table's folder show the current files, unless it does."""
        with self._database.reading() as db:
            seen = self._generations.visible(table, partitions_of(db, table))
        if self._views.shows(table, seen):
            return
        with self._database.changing() as db:
            partitions = partitions_of(db, table)
            self._views.show(table, self._generations.visible(table, partitions))

    def _show_if_possible(self, table: str) -> None:
        """Do as `_show`, for a reader that may not be allowed to write."""
        try:
            with naming_write_errors(str(self._root)):
                self._show(table)
        except StorageWriteError as error:
            log.warning("the folder of table %s does not show the last load: %s", table, error)

    def _remove_superseded(
        self, before: Mapping[PeriodKey, Partition], now: Mapping[PeriodKey, Generation]
    ) -> None:
        """Remove the generations that were the previous ones until their partitions were switched from ``before`` to ``now``."""
        for key, generation in now.items():
            replaced, folder = before.get(key), generation.folder
            if replaced and replaced.previous and not replaced.keeps(folder.name):
                remove_tree(folder.with_name(replaced.previous))


def _names(encoded: Encoded) -> tuple[str, ...]:
    return tuple(Path(file.uri).name for file in encoded.files)


def _link(encoded: Encoded, folder: Path) -> tuple[str, ...]:
    """Place the files in ``folder``; return their names there."""
    names = numbered_names(_names(encoded))
    for name, file in zip(names, encoded.files, strict=True):
        link_or_copy(Path(file.uri), folder / name)
    return names
