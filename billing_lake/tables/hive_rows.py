"""Rows of Hive-style tables in the local catalog: their fields, and what each partition points at."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from billing_lake.domain.errors import TableError
from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.tables.base import DELIVERY_PROPERTY

_SELECT = "SELECT export, billing_period, generation, location, previous, files, version"
_WHERE = "FROM partitions WHERE table_name = ? AND export = ? AND billing_period = ?"


@dataclass(frozen=True)
class Generation:
    """The folder of a new generation, and what each encoded file is called in it."""

    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """A partition's row.

    Attributes:
        generation: How often it was switched.
        location: Name of the folder of the current generation, 32 hexadecimal digits.
        previous: Name of the folder of the generation before.
        files: The current files: `{"name": "00001-a.parquet", "rows": 10, "size": 2048}`.
        version: Delivery version.
    """

    generation: int
    location: str
    previous: str | None
    files: list[dict[str, Any]]
    version: str

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file["rows"] for file in self.files)

    def keeps(self, generation: str) -> bool:
        """Say whether the files of a generation are kept; those of any other may be removed at any moment."""
        return generation in (self.location, self.previous)


def table_fields(db: sqlite3.Connection, table: str) -> tuple[Field, ...] | None:
    """Return a table's fields, or None where there is no such table."""
    row = db.execute("SELECT fields FROM tables WHERE name = ?", (table,)).fetchone()
    return None if row is None else tuple(map(Field.from_json, json.loads(row[0])))


def require_table(db: sqlite3.Connection, table: str) -> tuple[Field, ...]:
    """Return a table's fields.

    Raises:
        TableError: There is no such table.
    """
    fields = table_fields(db, table)
    if fields is None:
        what = f"There is no table {table}"
        raise TableError(what)
    return fields


def add_table(db: sqlite3.Connection, table: str, fields: Sequence[Field]) -> bool:
    """Add a table without partitions; return False where there is one of its name."""
    row = (table, json.dumps([one.to_json() for one in fields]))
    return db.execute("INSERT OR IGNORE INTO tables VALUES (?, ?)", row).rowcount > 0


def remove_table(db: sqlite3.Connection, table: str) -> None:
    """Remove a table with its partitions."""
    db.execute("DELETE FROM partitions WHERE table_name = ?", (table,))
    db.execute("DELETE FROM tables WHERE name = ?", (table,))


def identities_of(db: sqlite3.Connection, table: str, export: str) -> dict[str, str]:
    """Return the identity of the delivery that each period of an export holds, where it was recorded."""
    query = "SELECT billing_period, properties FROM partitions WHERE table_name = ? AND export = ?"
    recorded = {period: json.loads(text) for period, text in db.execute(query, (table, export))}
    return {
        period: properties[DELIVERY_PROPERTY]
        for period, properties in recorded.items()
        if DELIVERY_PROPERTY in properties
    }


def partition_of(db: sqlite3.Connection, table: str, key: PeriodKey) -> Partition | None:
    """Return what a partition points at, or None where there is none."""
    row = db.execute(f"{_SELECT} {_WHERE}", (table, key.export, key.period)).fetchone()
    return None if row is None else _as_partition(row)


def partitions_of(db: sqlite3.Connection, table: str) -> dict[PeriodKey, Partition]:
    """Return what each partition of a table points at."""
    rows = db.execute(f"{_SELECT} FROM partitions WHERE table_name = ?", (table,))
    return {PeriodKey(row["export"], row["billing_period"]): _as_partition(row) for row in rows}


def _as_partition(row: sqlite3.Row) -> Partition:
    return Partition(
        row["generation"],
        row["location"],
        row["previous"],
        json.loads(row["files"]),
        row["version"],
    )


def copy_table(db: sqlite3.Connection, table: str, name: str) -> None:
    """Make a second table of the same rows, whose partitions have no previous generation."""
    db.execute("INSERT INTO tables SELECT ?, fields FROM tables WHERE name = ?", (name, table))
    db.execute(
        "INSERT INTO partitions SELECT ?, export, billing_period, generation, location, NULL, files, version, properties,"
        " switched_at FROM partitions WHERE table_name = ?",
        (name, table),
    )


def point_partition(
    db: sqlite3.Connection,
    table: str,
    key: PeriodKey,
    encoded: Encoded,
    new: Generation,
    properties: Mapping[str, str],
    before: Partition | None,
) -> None:
    """Point a partition at the generation ``new``, by its row.

    Args:
        db: The catalog.
        table: The table.
        key: The partition.
        encoded: The delivery.
        new: Its files.
        properties: Properties of the load.
        before: The partition as it is; a generation that is loaded once more keeps the previous one as it was.
    """
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
        "properties": json.dumps({**properties, DELIVERY_PROPERTY: encoded.identity}),
        "at": datetime.now(timezone.utc).isoformat(),
    }
    db.execute(
        "INSERT OR REPLACE INTO partitions VALUES"
        " (:table, :export, :period, :generation, :location, :previous, :files, :version, :properties, :at)",
        row,
    )


def remove_partition(db: sqlite3.Connection, table: str, key: PeriodKey) -> None:
    """Remove a partition's row."""
    db.execute(f"DELETE {_WHERE}", (table, key.export, key.period))


def set_fields(db: sqlite3.Connection, table: str, fields: Sequence[Field]) -> None:
    """Give a table other fields."""
    row = (json.dumps([one.to_json() for one in fields]), table)
    db.execute("UPDATE tables SET fields = ? WHERE name = ?", row)
