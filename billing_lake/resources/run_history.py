"""Keeps Dagster's SQLite files open while a process works, because opening them for each event costs more than a load of a month.

Dagster makes an engine of SQLAlchemy and a connection for each event, and closes the connection again. Whoever is the last to close a file of
SQLite copies its log into it, waits for the disk several times, and deletes the log; and a new engine knows no statement yet and builds each one
anew. A load of one month has hundreds of events. Each run has a file of its own, for which Dagster reads its ninety migrations twice.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import Engine

KEPT_FILES = 16
"""How many files stay open: those that all runs share, and one for each run that is written or looked at."""

_IDLE_CONNECTIONS = 2
"""How many connections to a file stay open: Dagster seldom has more than one at a time."""


@dataclass
class _Kept:
    """An engine that is kept.

    Attributes:
        engine: The engine.
        close: Closes its connections that nobody uses.
        file: Its file, where that stays open.
        found: Which file that was when the engine first looked: another one may take its place.
    """

    engine: Engine
    close: Callable[[], None]
    file: Path | None = None
    found: tuple[int, int] | None = None

    @property
    def is_current(self) -> bool:
        """Say whether its connections are to the file that has its name now."""
        return self.file is None or self.found is None or self.found == _identity(self.file)


_Key = tuple[int, str, str]

_kept: OrderedDict[_Key, _Kept] = OrderedDict()
_lock = threading.Lock()


def keep_run_history_open() -> None:
    """Keep the SQLite files of the Dagster instance in DAGSTER_HOME open from now on; other files are left alone.

    What a killed process has written stays. After a power failure the last events may be missing; the tables of the lake and their
    ledger are in other files.
    """
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    if vars(sqlite_event_log)["create_engine"] is not _kept_engine:
        for module in (sqlite_event_log, sqlite_run_storage):
            vars(module)["create_engine"] = _kept_engine
        _read_migrations_once()
        atexit.register(close_run_history)


def close_run_history() -> None:
    """Close what is kept open; the next connection opens it again."""
    with _lock:
        for key in list(_kept):
            _forget(key)


def _read_migrations_once() -> None:
    """Have Alembic read Dagster's migrations once, which no process changes."""
    from alembic.script import ScriptDirectory
    from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION

    read = ScriptDirectory.from_config
    read_once = lru_cache(maxsize=3)(read)  # those of runs, events and schedules

    def from_config(config: Config) -> ScriptDirectory:
        is_dagster_s = config.get_main_option("script_location") == ALEMBIC_SCRIPTS_LOCATION
        return (read_once if is_dagster_s else read)(config)

    ScriptDirectory.from_config = staticmethod(from_config)  # type: ignore[method-assign]


def _kept_engine(url: str, **how: Any) -> Engine:
    """Return the engine that was made for a file before, if the file is still the same."""
    # A process must not use what its parent opened.
    key = os.getpid(), url, repr(how)
    with _lock:
        if key in _kept and not _kept[key].is_current:
            _forget(key)
        if key not in _kept:
            _kept[key] = _made(url, how)
        _kept.move_to_end(key)
        engine = _kept[key].engine
        while len(_kept) > KEPT_FILES:
            _forget(next(iter(_kept)))
    return engine


def _forget(key: _Key) -> None:
    kept = _kept.pop(key)
    if key[0] == os.getpid():
        kept.close()


def _made(url: str, how: dict[str, Any]) -> _Kept:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.pool import QueuePool

    name, home = make_url(url).database, os.environ.get("DAGSTER_HOME")
    if not name or not home or not _is_below(name, home):
        engine = create_engine(url, **how)
        return _Kept(engine, engine.dispose)
    pool = {"poolclass": QueuePool, "pool_size": _IDLE_CONNECTIONS, "max_overflow": -1}
    engine = create_engine(url, **{**how, **pool})
    kept = _Kept(engine, engine.dispose, Path(name))

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # Enough where there is a log: what is in the file stays whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        # SQLite opens a file, and makes one, when something is asked for.
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            # Dagster gives a file its log when it has all tables, and waits for the disk for each of them.
            connection.execute("PRAGMA journal_mode=WAL")
        kept.found = _identity(Path(name))

    event.listen(engine, "connect", on_connect)
    # Dagster disposes of the engine after each event.
    engine.dispose = _keep_open  # type: ignore[method-assign]
    return kept


def _keep_open(close: bool = True) -> None:  # noqa: FBT001, FBT002 - as SQLAlchemy has it
    """Do nothing where a connection would be closed."""


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        there = file.stat()
    except OSError:
        return None
    return there.st_dev, there.st_ino


@lru_cache(maxsize=4 * KEPT_FILES)
def _is_below(file: str, folder: str) -> bool:
    return Path(folder).resolve() in Path(file).resolve().parents
