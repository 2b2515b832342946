"""Keeps Dagster's SQLite files open while a process works, because opening them for each event costs more than a load of a month.

Dagster opens a connection for each event and closes it again. Whoever is the last to close a file of SQLite copies its log into it,
waits for the disk several times, and deletes the log. A load of one month has hundreds of events. Dagster also makes an engine
of SQLAlchemy for each connection, which knows no statement yet and builds each one anew: half of what an event costs.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

KEPT_FILES = 16
"""How many files stay open: those that all runs share, and one for each run that is written or looked at."""

_Key = tuple[int, int, int]

_kept: OrderedDict[_Key, sqlite3.Connection] = OrderedDict()
_engines: OrderedDict[tuple[str, str], Engine] = OrderedDict()
_lock = threading.Lock()


def keep_run_history_open() -> None:
    """Keep the SQLite files of the Dagster instance in DAGSTER_HOME open from now on; other files are left alone.

    What a killed process has written stays. After a power failure the last events may be missing; the tables of the lake and their
    ledger are in other files.
    """
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)
        atexit.register(close_run_history)
        for module in (sqlite_event_log, sqlite_run_storage):
            vars(module)["create_engine"] = _kept_engine


def close_run_history() -> None:
    """Close what is kept open; the next connection opens it again."""
    with _lock:
        while _kept:
            _kept.popitem()[1].close()


def _kept_engine(url: str, **how: Any) -> Engine:
    """Return the engine that was made for a file before; none keeps a connection (`NullPool`)."""
    from sqlalchemy import create_engine

    key = url, repr(how)
    with _lock:
        if key not in _engines:
            _engines[key] = create_engine(url, **how)
        _engines.move_to_end(key)
        engine = _engines[key]
        while len(_engines) > KEPT_FILES:
            _engines.popitem(last=False)
    return engine


def _on_connect(connection: object, _record: object) -> None:
    home = os.environ.get("DAGSTER_HOME")
    if not home or not isinstance(connection, sqlite3.Connection):
        return
    ((_, _, file), *_) = connection.execute("PRAGMA database_list")
    if file and _is_below(file, home):
        # Enough where there is a log: what is in the file stays whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        # What cannot be kept open works as it did before.
        with suppress(OSError, sqlite3.Error), _lock:
            _keep(file)


@lru_cache(maxsize=4 * KEPT_FILES)
def _is_below(file: str, folder: str) -> bool:
    return Path(folder).resolve() in Path(file).resolve().parents


def _keep(file: str) -> None:
    there = Path(file).stat()
    # Not the path: another file may have taken its place. Nor may a process use what its parent opened.
    key = os.getpid(), there.st_dev, there.st_ino
    if key not in _kept:
        _kept[key] = sqlite3.connect(file, check_same_thread=False)
    # A connection has the log open from the first time that it looks; a new file gets its log after its first connection.
    _kept[key].execute("SELECT count(*) FROM sqlite_master").fetchone()
    _kept.move_to_end(key)
    while len(_kept) > KEPT_FILES:
        _kept.popitem(last=False)[1].close()
