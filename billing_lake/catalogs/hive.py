"""Hive-style tables on this machine: plain Parquet below `billing_period=YYYY-MM/`, and a catalog that says what counts.

Each load brings a new *generation*: a folder of its own below the period's. The catalog's row for the partition is switched
from one generation to the next in one SQLite transaction. Nothing is ever edited in place:

    warehouse/hive/<table>/billing_period=2025-03/<generation>/….parquet

A reader that looked before a switch goes on reading the generation that it was given, so that one stays on disk until the
*next* switch of its partition: at most two generations of a period exist, the current and the previous one.
"""

from __future__ import annotations

import itertools
import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from billing_lake.catalogs.base import (
    DELIVERY_IDENTITY,
    PERIOD,
    Commit,
    backoff,
    check_columns,
    check_key,
    check_table,
)
from billing_lake.catalogs.footers import check_fields, check_footers
from billing_lake.catalogs.local_db import LocalDatabase
from billing_lake.catalogs.placing import (
    SAFE_AGE,
    files_below,
    is_old,
    link_or_copy,
    remove_tree,
    writing,
)
from billing_lake.domain.errors import CommitConflictError, SchemaChangeError, TableError
from billing_lake.domain.schemas import (
    Column,
    Field,
    SchemaPlan,
    fields_from_json,
    fields_to_json,
)
from billing_lake.domain.schemas import (
    plan as plan_schema,
)
from billing_lake.domain.sources import Encoded, PeriodKey, Source, SourceFile

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
        self._database = LocalDatabase(database or root / "hive.db")
        self._patience = patience

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        with self._database.reading() as db:
            return _fields(db, check_table(table))

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table; return False where it exists already."""
        check_columns(fields)
        row = (check_table(table), json.dumps(fields_to_json(fields)))
        with writing(str(self._database.path)), self._database.changing() as db:
            return db.execute("INSERT OR IGNORE INTO tables VALUES (?, ?)", row).rowcount > 0

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add and promote columns as planned, on top of what others did meanwhile; return the fields now.

        Files of older partitions stay as they are; readers get NULL for a column that a file lacks.
        """
        check_columns(plan.fields)
        with writing(str(self._database.path)), self._database.changing() as db:
            have = _require(db, check_table(table))
            merged = plan_schema(have, [Column(field.name, field.type) for field in plan.fields])
            if merged.diff.incompatible:
                change = merged.diff.incompatible[0]
                what = f"The column is {change.table} in table {table} and {change.delivery} in the plan"
                raise SchemaChangeError(what, column=change.name)
            if merged.fields != have:
                row = (json.dumps(fields_to_json(merged.fields)), table)
                db.execute("UPDATE tables SET fields = ? WHERE name = ?", row)
            return merged.fields

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
                partition = _partition(db, table, key)
        except sqlite3.Error as error:
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
                    table, key, encoded, _Generation(folder, names), properties, verify
                )
            except BaseException:
                self.abandon(table, key, str(folder))
                raise
        self._remove_outlived(before, folder)
        return Commit(
            table=table,
            rows=encoded.rows,
            files=len(encoded.files),
            size=encoded.size,
            replaced_rows=0 if before is None else sum(file["rows"] for file in before.files),
            replaced_version=None if before is None else before.version,
        )

    def files(self, table: str, key: PeriodKey) -> Source:
        """Return what a reader reads now for the period; its columns are the table's, of which a file may lack some."""
        with self._database.reading() as db:
            db.execute("BEGIN")
            fields = _require(db, check_table(table))
            partition = _partition(db, table, check_key(key))
        found = () if partition is None else partition.files
        folder = self._folder(table, key) / (partition.location if partition else "")
        uris = sorted(str(folder / file["name"]) for file in found if file["rows"])
        return Source(
            format="parquet",
            files=tuple(SourceFile(uri=uri, name=uri) for uri in uris),
            columns=tuple(Column(field.name, field.type) for field in fields),
        )

    def periods(self, table: str, export: str) -> tuple[str, ...]:
        """Return the billing periods of the export that hold rows, in order."""
        query = "SELECT billing_period, files FROM partitions WHERE table_name = ? AND export = ? ORDER BY billing_period"
        with self._database.reading() as db:
            _require(db, check_table(table))
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

    def locations(self, table: str) -> dict[PeriodKey, str]:
        """Return the folder that each partition points at, for readers that take folders: DuckDB, Polars, Spark."""
        query = "SELECT export, billing_period, location FROM partitions WHERE table_name = ? ORDER BY billing_period"
        with self._database.reading() as db:
            _require(db, check_table(table))
            rows = db.execute(query, (table,)).fetchall()
        found = ((PeriodKey(export, period), location) for export, period, location in rows)
        return {key: str(self._folder(table, key) / location) for key, location in found}

    def uri(self, table: str) -> str:
        """Return the table's folder."""
        return str(self._root / check_table(table))

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader meets half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        with writing(str(self._database.path)), self._database.changing() as db:
            _require(db, check_table(table))
            db.execute("DELETE FROM partitions WHERE table_name = ?", (table,))
            db.execute("DELETE FROM tables WHERE name = ?", (table,))
        remove_tree(self._root / table)
        log.info("dropped table %s", table)

    def rename(self, table: str, name: str) -> None:
        """Give the table another name.

        Its files are linked below the new name first, then all of its rows change in one transaction. The old folders stay
        for those who opened the table before; they are orphans, and the clean-up finds them.

        Raises:
            TableError: There is no such table, or the name is taken.
        """
        old, new = self._root / check_table(table), self._root / check_table(name)
        with writing(str(self._root)):
            for path in sorted(files_below(old)):
                target = new / path.relative_to(old)
                if not target.exists():
                    link_or_copy(str(path), target)
            with self._database.changing() as db:
                _require(db, table)
                if _fields(db, name) is not None:
                    raise TableError(f"There is a table {name} already")
                db.execute("UPDATE tables SET name = ? WHERE name = ?", (name, table))
                db.execute(
                    "UPDATE partitions SET table_name = ? WHERE table_name = ?", (name, table)
                )
        log.info("renamed table %s to %s", table, name)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""
        with self._database.reading() as db:
            return tuple(row[0] for row in db.execute("SELECT name FROM tables ORDER BY name"))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that no partition refers to, in order of their folders."""
        # Looked at in this order: a generation that is switched to in between is then among those referred to.
        found = [
            folder
            for folder in (self._root / check_table(table)).glob(f"{PERIOD}=*/*")
            if folder.is_dir()
        ]
        old = [
            folder
            for folder in found
            if all(is_old(path, older_than) for path in (folder, *files_below(folder)))
        ]
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
        generation: _Generation,
        properties: Mapping[str, str],
        verify: Callable[[], None],
    ) -> _Partition | None:
        """Point the partition at ``generation``; return what it pointed at before.

        The order is what makes an older delivery unable to replace a newer one: look at the partition, ask for the delivery,
        switch if the partition is still the one that was looked at.
        """
        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            with self._database.reading() as db:
                seen = _partition(db, table, key)
            verify()
            with self._database.changing() as db:
                check_fields(table, _require(db, table), encoded.fields, by_name=True)
                found = _partition(db, table, key)
                if found == seen:
                    _point(db, table, key, encoded, generation, properties, found)
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

    def _adoptable(self, table: str, key: PeriodKey, encoded: Encoded) -> Path | None:
        """Return the generation folder that all files lie in, or None where they lie elsewhere."""
        folders = {Path(file.uri).parent for file in encoded.files}
        if len(folders) != 1:
            return None
        folder = folders.pop()
        return folder if folder.parent == self._folder(table, key) else None

    def _remove_outlived(self, before: _Partition | None, current: Path) -> None:
        """Remove the generation that was the previous one until this switch, and now is nobody's."""
        if (
            before is None
            or before.previous is None
            or current.name in (before.location, before.previous)
        ):
            return
        remove_tree(current.parent / before.previous)

    def _folder(self, table: str, key: PeriodKey) -> Path:
        return self._root / table / f"{PERIOD}={key.period}"


@dataclass(frozen=True)
class _Generation:
    """The folder of a new generation, and what each encoded file is called in it."""

    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Partition:
    """A partition's row: how often it was switched, and what it points at."""

    generation: int
    location: str
    previous: str | None
    files: list[dict[str, Any]]
    version: str


def _names(encoded: Encoded) -> tuple[str, ...]:
    return tuple(Path(file.uri).name for file in encoded.files)


def _link(encoded: Encoded, folder: Path) -> tuple[str, ...]:
    """Place the files in ``folder``; they may come from several, so a number keeps their names apart."""
    names = tuple(f"{number:05d}-{name}" for number, name in enumerate(_names(encoded), start=1))
    for name, file in zip(names, encoded.files, strict=True):
        link_or_copy(file.uri, folder / name)
    return names


def _fields(db: sqlite3.Connection, table: str) -> tuple[Field, ...] | None:
    row = db.execute("SELECT fields FROM tables WHERE name = ?", (table,)).fetchone()
    return None if row is None else fields_from_json(json.loads(row[0]))


def _require(db: sqlite3.Connection, table: str) -> tuple[Field, ...]:
    fields = _fields(db, table)
    if fields is None:
        what = f"There is no table {table}"
        raise TableError(what)
    return fields


def _partition(db: sqlite3.Connection, table: str, key: PeriodKey) -> _Partition | None:
    query = (
        "SELECT generation, location, previous, files, version FROM partitions"
        " WHERE table_name = ? AND export = ? AND billing_period = ?"
    )
    row = db.execute(query, (table, key.export, key.period)).fetchone()
    return None if row is None else _Partition(row[0], row[1], row[2], json.loads(row[3]), row[4])


def _point(
    db: sqlite3.Connection,
    table: str,
    key: PeriodKey,
    encoded: Encoded,
    new: _Generation,
    properties: Mapping[str, str],
    before: _Partition | None,
) -> None:
    """Write the partition's row; a generation that is loaded once more keeps the previous one as it was."""
    previous = before and (
        before.previous if before.location == new.folder.name else before.location
    )
    files = [
        {"name": name, "rows": file.rows, "size": file.size}
        for name, file in zip(new.names, encoded.files, strict=True)
    ]
    row = {
        "table": table,
        "export": key.export,
        "period": key.period,
        "generation": 1 + (before.generation if before else 0),
        "location": new.folder.name,
        "previous": previous,
        "files": json.dumps(files),
        "version": encoded.version,
        "properties": json.dumps({**properties, DELIVERY_IDENTITY: encoded.identity}),
        "at": datetime.now(timezone.utc).isoformat(),
    }
    db.execute(
        "INSERT OR REPLACE INTO partitions VALUES"
        " (:table, :export, :period, :generation, :location, :previous, :files, :version, :properties, :at)",
        row,
    )
