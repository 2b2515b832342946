"""Counts the changes that a process makes to the files of a lake, and lets one of them kill the process or fail.

Python tells of its own calls beforehand (`sys.addaudithook`), SQLite of each statement; what pyiceberg has Arrow write goes through
one class of its own. The same change of a lake makes the same writes, however fast the machine is. What libraries write past all
of these meets a kill by the clock, or a limit on the size of files.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sqlite3
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

NUMBERS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EDQUOT)
"""Errors of a disk that writes fail with, in turn."""

_CALLS = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STATEMENTS = ("BEGIN", "COMMIT", "CREATE", "DELETE", "INSERT", "UPDATE")


@dataclass(frozen=True)
class Fault:
    """What happens to a process that changes a lake.

    Attributes:
        kind: `kill` at a write, `clock` for a kill after some time, `error` of the disk at a write, `size` for a disk on which files end
            at a size; `none` for a process that is left alone.
        at: The write, counted from 1; seconds; or bytes.
    """

    kind: Literal["none", "kill", "clock", "error", "size"] = "none"
    at: float = 0


class Writes:
    """The writes of this process below a folder.

    Args:
        home: The folder.
        fault: What happens, from now on.
    """

    def __init__(self, home: Path, fault: Fault) -> None:
        self._home = f"{home}/"
        self._fault = fault
        self._lock = threading.Lock()
        self.kills = 0
        self.errors = 0
        self.failed = ""
        _watch_arrow(self)
        _watch_sqlite(self)
        sys.addaudithook(self._look)
        if fault.kind == "clock":
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, fault.at)
        if fault.kind == "size":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault.at), resource.RLIM_INFINITY))

    def write(self, what: str, place: object, *, can_fail: bool = True) -> None:
        """Note that a write is about to be made: it is counted, kills the process, or fails."""
        if not str(place).removeprefix("file://").startswith(self._home):
            return
        with self._lock:
            self.kills += 1
            self.errors += can_fail
            kills, errors = self.kills, self.errors
        if self._fault == Fault("kill", kills):
            os.kill(os.getpid(), signal.SIGKILL)
        if can_fail and self._fault == Fault("error", errors):
            self.failed = f"{what} {place}"
            number = NUMBERS[errors % len(NUMBERS)]
            raise OSError(number, os.strerror(number), str(place))

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & _WRITING:
                self.write(event, arguments[0])
        elif event in _CALLS:
            # A folder that is there already is not made.
            if event != "os.mkdir" or not os.path.isdir(arguments[0]):  # noqa: PTH112 -- may be bytes
                self.write(event, arguments[1 if event in {"os.link", "os.rename"} else 0])
        elif event == "shutil.rmtree":
            self.write(event, arguments[0], can_fail=False)


def _watch_arrow(writes: Writes) -> None:
    """Have pyiceberg tell of the files that Arrow writes for it: before each is made, and while it is empty."""
    from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

    create, delete = PyArrowFile.create, PyArrowFileIO.delete

    def creating(self: PyArrowFile, overwrite: bool = False) -> Any:  # noqa: FBT001, FBT002 -- pyiceberg's
        writes.write("create", self.location)
        stream = create(self, overwrite)
        writes.write("created", self.location, can_fail=False)
        return stream

    def deleting(self: PyArrowFileIO, location: Any) -> None:
        writes.write("delete", getattr(location, "location", location))
        delete(self, location)

    PyArrowFile.create = creating  # type: ignore[method-assign]
    PyArrowFileIO.delete = deleting  # type: ignore[method-assign]


def _watch_sqlite(writes: Writes) -> None:
    """Have SQLite tell of each statement that changes something, before it does."""
    connect = sqlite3.connect

    def connecting(database: Any, *arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *arguments, **named)

        def state(sql: str) -> None:
            if sql.lstrip().upper().startswith(_STATEMENTS):
                writes.write("sql", database, can_fail=False)

        connection.set_trace_callback(state)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = connecting  # type: ignore[assignment]
