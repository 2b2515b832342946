"""Relocation makes a lake that was copied or moved a lake of its own where it is now, with all of its history.

Files that name others by absolute path are written anew. Iceberg's metadata goes beside the old one, under names that follow
from the new place, and nothing refers to it until the catalog's pointers are switched in one transaction; the note of the
lake's place is changed last. So a relocation that was killed leaves a lake that refuses to be opened, here or where it was, and
that a second relocation finishes. The folder in which the lake was made is never written to, and only the copy is read.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import CommitConflictError, ConfigurationError, TableError, shown
from billing_lake.domain.json_values import NOT_UNDERSTOOD, require_whole, sealed
from billing_lake.files.local import LocalFiles, local_path
from billing_lake.tables.data_files import naming_write_errors
from billing_lake.tables.local_place import ICEBERG_CATALOGS, home_of, note_home, other_homes

if TYPE_CHECKING:
    from pyiceberg.avro.file import AvroFile
    from pyiceberg.typedef import Record

_FOLDERS = ("landing", "staging", "values", "warehouse")
_LOCK_TIMEOUT_SECONDS = 60.0
_DELETED = 2
"""Status of a manifest's entry for a file that the snapshot no longer has."""
_POSITION_DELETES = 1
"""Content of a file that names data files and rows in them."""


def relocate(home: Path, log: Callable[[str], None]) -> frozenset[str]:
    """Make the lake in ``home`` one that was made there.

    Args:
        home: The folder.
        log: Called with the name of each table.

    Returns:
        The folders that the lake was made in; none where it was made here.

    Raises:
        ConfigurationError: It shares catalogs or tables with the folder that it was made in.
        TableError: A file is missing that a table consists of, or a table cannot be relocated.
        CommitConflictError: Something else changed the catalog meanwhile.
        StorageWriteError: The disk is full or read-only, or refuses a write.
    """
    with naming_write_errors(str(home)):
        return _relocate(home, log)


def _relocate(home: Path, log: Callable[[str], None]) -> frozenset[str]:
    move = _Move(home, frozenset(other_homes(home)))
    if not move.origins:
        return move.origins
    _require_apart(move)
    for catalog in ICEBERG_CATALOGS:
        _relocate_catalog(move, catalog, log)
    _relocate_texts(move, home / "catalog" / "hive.db")
    for path in sorted((home / "values").rglob("*.json")):
        try:
            before = json.loads(path.read_bytes())
            require_whole(before)
        except NOT_UNDERSTOOD:
            log(
                f"{path} cannot be read, and stays as it is; what needs it says how to write it anew"
            )
            continue
        after = move.all(before)
        if after != before:
            text = json.dumps(sealed(after), indent=1)
            LocalFiles().write(str(path), text.encode())
    note_home(home)
    return move.origins


@dataclass(frozen=True)
class _Move:
    """From the folders that a lake was made in to the one that it is in."""

    home: Path
    origins: frozenset[str]

    def one(self, text: str) -> str:
        """Return a path or a file's URI as it is now; any other text as it is."""
        if text.startswith((f"{self.home}/", f"file://{self.home}/")):
            return text
        for origin in self.origins:
            for scheme in ("file://", ""):
                start = f"{scheme}{origin}/"
                if text.startswith(start) and text[len(start) :].partition("/")[0] in _FOLDERS:
                    return f"{scheme}{self.home}/{text[len(start) :]}"
        return text

    def all(self, value: Any) -> Any:
        """Return a value of JSON with every path in it as it is now."""
        if isinstance(value, str):
            return self.one(value)
        if isinstance(value, list):
            return [self.all(item) for item in value]
        if isinstance(value, dict):
            return {key: self.all(item) for key, item in value.items()}
        return value

    def beside(self, uri: str, suffix: str) -> str:
        """Return a name in the folder of a file that has been moved: the same each time for the same file and place."""
        folder = self.one(uri).rpartition("/")[0]
        return f"{folder}/{uuid.uuid5(uuid.NAMESPACE_URL, f'{folder} {uri}')}{suffix}"


def _require_apart(move: _Move) -> None:
    """Refuse a copy that consists of links to what it was copied from: to change it would be to change the original."""
    parts = (
        "catalog",
        "warehouse",
        *(f"catalog/{name}.db" for name in (*ICEBERG_CATALOGS, "hive")),
    )
    for origin in move.origins:
        for part in (*parts, *(f"warehouse/{name}" for name in (*ICEBERG_CATALOGS, "hive"))):
            here, there = move.home / part, Path(origin) / part
            if here.exists() and there.exists() and here.samefile(there):
                what = f"The copy shares this with the lake in {shown(origin, 400)}"
                remedy = "Copy what it links to as well, without hard or symbolic links"
                raise ConfigurationError(what, file=str(here), remedy=remedy)


def _relocate_catalog(move: _Move, name: str, log: Callable[[str], None]) -> None:
    database = move.home / "catalog" / f"{name}.db"
    if not database.exists():
        return
    query = (
        "SELECT rowid, table_namespace || '.' || table_name, metadata_location FROM iceberg_tables"
    )
    with closing(_open(database)) as db:
        tables = db.execute(query).fetchall() if _has(db, "iceberg_tables") else []
    switched = {}
    for row, table, location in tables:
        if home_of(location or "", name) in move.origins:
            switched[row] = (location, _Table(move, f"{name}.{table}").relocate(location))
            log(f"{name}.{table}")
    os.sync()  # a pointer must not outlive a loss of power that its files do not
    with closing(_open(database)) as db:
        db.execute("BEGIN IMMEDIATE")
        for row, (before, after) in switched.items():
            changed = db.execute(
                "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = NULL"
                " WHERE rowid = ? AND metadata_location = ?",
                (after, row, before),
            )
            if changed.rowcount != 1:
                what = f"Something changed the catalog {name} while the lake was being relocated"
                raise CommitConflictError(what, remedy="Run `billing-lake relocate` again")
        _move_texts(move, db, "iceberg_namespace_properties")
        db.execute("COMMIT")


@dataclass(frozen=True)
class _Table:
    """One Iceberg table that is being relocated; manifests that snapshots share are written once."""

    move: _Move
    name: str
    _manifests: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def relocate(self, location: str) -> str:
        """Write the table's metadata anew; return its URI."""
        metadata = json.loads(self._read(location))
        current = metadata.get("current-snapshot-id")
        for snapshot in metadata.get("snapshots", ()):
            written, files = self._list(snapshot["manifest-list"])
            snapshot["manifest-list"] = written
            if snapshot["snapshot-id"] == current:
                for file in files:
                    self._require(file)
        # Earlier metadata files are not written anew, so nothing may refer to them; snapshots are the history.
        moved = {**self.move.all(metadata), "metadata-log": []}
        version, dash, _ = location.rpartition("/")[2].partition("-")
        number = int(version) + 1 if dash and version.isdecimal() else 0
        new = self.move.beside(location, ".metadata.json")
        folder, _, file_name = new.rpartition("/")
        new = f"{folder}/{number:05d}-{file_name}"
        LocalFiles().write(str(_path(new)), json.dumps(moved).encode())
        return new

    def _list(self, uri: str) -> tuple[str, list[str]]:
        """Write a manifest list anew; return its URI, and the data files of its snapshot."""
        files: list[str] = []

        def change(entry: Record, at: Mapping[str, int]) -> None:
            path, length = at["manifest_path"], at["manifest_length"]
            written, named = self._manifest(entry[path])
            files.extend(named)
            entry[path], entry[length] = written, _path(written).stat().st_size

        return self._rewrite(uri, "manifest_file", change), files

    def _manifest(self, uri: str) -> tuple[str, tuple[str, ...]]:
        """Write a manifest anew, once; return its URI, and the data files that it lists as present."""
        if uri not in self._manifests:
            files: list[str] = []

            def change(entry: Record, at: Mapping[str, int]) -> None:
                data_file, status = entry[at["data_file"]], entry[at["status"]]
                path, content = at["data_file.file_path"], at.get("data_file.content")
                if content is not None and data_file[content] == _POSITION_DELETES:
                    what = f"Table {self.name} has position deletes, files that name other files"
                    remedy = "Load the months that they belong to again and expire the old snapshots, where the lake was made"
                    raise TableError(what, file=data_file[path], remedy=remedy)
                data_file[path] = self.move.one(data_file[path])
                if status != _DELETED:
                    files.append(data_file[path])

            written = self._rewrite(uri, "manifest_entry", change)
            self._manifests[uri] = (written, tuple(files))
        return self._manifests[uri]

    def _rewrite(
        self, uri: str, kind: str, change: Callable[[Record, Mapping[str, int]], None]
    ) -> str:
        """Write an Avro file anew, whatever fields it has, each of its records changed; return its URI."""
        from pyiceberg.avro.file import AvroFile, AvroOutputFile
        from pyiceberg.io.pyarrow import PyArrowFileIO

        io, new = PyArrowFileIO(), self.move.beside(uri, ".avro")
        here = self.move.one(uri)
        self._require(here)
        with AvroFile[Any](io.new_input(here)) as read:
            records = list(read)
            at = _places(read)
            for record in records:
                change(record, at)
            schema, meta = read.schema, dict(read.header.meta)
        with AvroOutputFile[Any](io.new_output(new), schema, kind, metadata=meta) as write:
            write.write_block(records)
        return new

    def _read(self, uri: str) -> bytes:
        here = self.move.one(uri)
        self._require(here)
        content = _path(here).read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content

    def _require(self, uri: str) -> None:
        if not _path(uri).exists():
            what = f"The copy lacks a file of table {self.name}"
            remedy = "Copy the warehouse after the catalogs, and all of it; then relocate again"
            raise TableError(what, file=str(_path(uri)), remedy=remedy)


def _places(file: AvroFile[Any]) -> dict[str, int]:
    """Return the place of each field in its record, by full name."""
    from pyiceberg.types import StructType

    found = {one.name: place for place, one in enumerate(file.schema.columns)}
    for one in file.schema.columns:
        if isinstance(one.field_type, StructType):
            for place, inner in enumerate(one.field_type.fields):
                found[f"{one.name}.{inner.name}"] = place
    return found


def _path(uri: str) -> Path:
    path = local_path(uri)
    if path is None:
        raise TableError("The lake has a table elsewhere than on this machine", file=uri)
    return path


def _relocate_texts(move: _Move, database: Path) -> None:
    if database.exists():
        with closing(_open(database)) as db:
            db.execute("BEGIN IMMEDIATE")
            for table in list(_tables(db)):
                _move_texts(move, db, table)
            db.execute("COMMIT")


def _move_texts(move: _Move, db: sqlite3.Connection, table: str) -> None:
    """Change every path in the texts of a table, JSON or not."""
    if not _has(db, table):
        return
    found = db.execute(f'SELECT rowid, * FROM "{table}"')  # noqa: S608  # a name from the database itself
    columns = [one[0] for one in found.description][1:]
    for row, *values in found.fetchall():
        for column, value in zip(columns, values, strict=True):
            moved = _moved_text(move, value)
            if moved != value:
                sql = f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?'  # noqa: S608  # the same
                db.execute(sql, (moved, row))


def _moved_text(move: _Move, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return move.all(value)
    try:
        before = json.loads(value)
    except ValueError:
        return value
    after = move.all(before)
    return value if after == before else json.dumps(after)


def _tables(db: sqlite3.Connection) -> Iterator[str]:
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        yield str(name)


def _has(db: sqlite3.Connection, table: str) -> bool:
    return table in _tables(db)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None)
