"""Placing: how a finished file gets to where a table may refer to it, and away again.

A placed file means nothing until a commit names it, so a copy may break off at any byte. A link costs nothing and shares
its bytes with the file that the engine wrote; both are never written to again.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from billing_lake.aws.errors import aws_errors
from billing_lake.domain.errors import (
    BillingLakeError,
    LoadError,
    StorageReadError,
    StorageWriteError,
    shown,
)

log = logging.getLogger(__name__)

SAFE_AGE = timedelta(days=1)
"""No load takes this long, so what is older and belongs to no table was left behind by a kill."""

_SILENCE = 10.0
_UNTOLD = 256 * 1024 * 1024
_WORTH_A_LINE = 1.0

_LONG = 400
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""What a file system says that has no hard links, or none from here to there."""


def local_path(uri: str) -> Path | None:
    """Return the path of a file on this machine, or None for one elsewhere."""
    if uri.startswith("file:"):
        return Path("/" + uri.removeprefix("file:").lstrip("/"))
    return None if "://" in uri else Path(uri)


def link_or_copy(source: str, target: Path) -> None:
    """Place a file on this machine: a hard link where the file system can, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)


class Placing:
    """Tells how the files of a load arrive where they are placed: about every ten seconds or 256 MB, and at the end.

    What is over in a moment, as on this machine, is not worth a line.

    Args:
        table: The table that they are placed for.
        sizes: Bytes of the files, in order.
        log: Is told.
    """

    def __init__(self, table: str, sizes: Sequence[int], log: Callable[[str], None]) -> None:
        self._table, self._sizes, self._log = table, sizes, log
        self._started = self._told_at = time.monotonic()
        self._told, self._arrived, self._number = 0, 0, 0
        self._lock = threading.Lock()

    def begin(self, number: int) -> None:
        """Say that a file is begun, counted from 1."""
        self._number = number

    def arrived(self, more: int) -> None:
        """Say that ``more`` bytes have arrived; from any thread."""
        with self._lock:
            self._arrived += more
            now = time.monotonic()
            if now - self._told_at < _SILENCE and self._arrived - self._told < _UNTOLD:
                return
            self._told_at, self._told = now, self._arrived
            line = (
                f"{self._table}: placing file {self._number} of {len(self._sizes)},"
                f" {_megabytes(self._arrived)} of {_megabytes(sum(self._sizes))} MB"
            )
        self._log(line)

    def end(self) -> None:
        """Say that all files are there."""
        seconds = time.monotonic() - self._started
        if seconds < _WORTH_A_LINE:
            return
        self._log(
            f"{self._table}: placed {len(self._sizes)} files, {_megabytes(sum(self._sizes))} MB in {seconds:.1f} s"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Turn whatever the storage or the catalog's database refuses within the block into a `StorageWriteError`.

    What AWS refuses gets its name as in `aws_errors`. A file of this machine that is missing is no refusal: a `LoadError`,
    after which a load may try with files of its own.
    """
    with _named_faults(place, _write_fault), aws_errors(place):
        yield


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn whatever storage or database does not give within the block into a `StorageReadError`; else as `writing`."""
    with _named_faults(place, _read_fault), aws_errors(place):
        yield


@contextmanager
def _named_faults(place: str, named: Callable[[str, str], BillingLakeError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        file = str(error.filename or place)
        here = not file.startswith("s3:")
        if here and (isinstance(error, FileNotFoundError) and named is _write_fault):
            raise LoadError("A file that is needed is not there", file=file) from error
        # pyiceberg and pyarrow raise errors without a number, or without a text.
        said = error.strerror or str(error) or os.strerror(error.errno or errno.EIO)
        raise named(shown(said, _LONG), file) from error
    except Exception as error:
        # SQLAlchemy wraps SQLite's own error.
        refusal = getattr(error, "orig", error)
        # These two, and no class below them: locked for a minute, full, read-only, cannot be opened; and no database at all.
        if type(refusal) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            raise
        raise named(f"the catalog's database: {shown(refusal)}", place) from error


def _write_fault(said: str, file: str) -> BillingLakeError:
    return StorageWriteError(f"The storage refuses a write: {said}", file=file)


def _read_fault(said: str, file: str) -> BillingLakeError:
    return StorageReadError(f"The storage cannot be read: {said}", file=file)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below ``folder``; none where it does not exist."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def is_old(path: Path, age: timedelta) -> bool:
    """Say whether nothing has happened to ``path`` for at least ``age``.

    A link has the modification time of the file it was made from, however old; being linked changes the inode's own time.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return time.time() - max(stat.st_mtime, stat.st_ctime) >= age.total_seconds()


def remove_tree(folder: Path) -> None:
    """Remove a folder that no table refers to any more; what cannot be removed now is found by the orphan clean-up."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("could not remove %s: %s", folder, error)
