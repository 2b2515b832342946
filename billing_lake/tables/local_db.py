"""The local catalog's database: one SQLite file that processes share, where each change is one transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from billing_lake.tables.data_files import naming_read_errors, naming_write_errors

_LOCK_TIMEOUT_SECONDS = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (
    name       TEXT PRIMARY KEY,
    fields     TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    table_name     TEXT NOT NULL,
    export         TEXT NOT NULL,
    billing_period TEXT NOT NULL,
    generation     INTEGER NOT NULL,
    location       TEXT NOT NULL,
    previous       TEXT,
    files          TEXT NOT NULL,
    version        TEXT NOT NULL,
    properties     TEXT NOT NULL,
    switched_at    TEXT NOT NULL,
    PRIMARY KEY (table_name, export, billing_period)
);
CREATE TABLE IF NOT EXISTS crawled (
    name          TEXT PRIMARY KEY,
    export        TEXT NOT NULL,
    period        TEXT NOT NULL,
    crawl         TEXT NOT NULL,
    registered_at TEXT NOT NULL
);
"""


class LocalDatabase:
    """Connections to the database at ``path``; it is made when first used.

    Each use opens its own connection, which costs a tenth of a millisecond and is safe in every thread and process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = threading.Lock()
        self._prepared = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for the block; what it reads was committed.

        Raises:
            StorageReadError: The database cannot be read.
        """
        with naming_read_errors(str(self.path)), closing(self._connect()) as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction during which no other one writes; it commits when the block ends without an error.

        Raises:
            StorageWriteError: The database cannot be written: full, read-only, locked for a minute, no database at all.
        """
        with naming_write_errors(str(self.path)), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _connect(self) -> sqlite3.Connection:
        with self._lock:
            if not self._prepared:
                self._prepare()
                self._prepared = True
        return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    def _prepare(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as connection:
            _use_write_ahead_log(connection)
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side; the database remembers it."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # SQLite does not wait for a lock here, and another process may be doing the same.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
