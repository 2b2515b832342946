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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.domain.errors import StorageWriteError, shown

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

log = logging.getLogger(__name__)

SAFE_AGE = timedelta(days=1)
"""No load takes this long, so what is older and belongs to no table was left behind by a kill."""

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
_CHUNK = 8 * 1024 * 1024


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
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def upload(io: FileIO, source: str, target: str) -> None:
    """Place a file elsewhere, streamed through the table's own file access."""
    with Path(source).open("rb") as reading, io.new_output(target).create() as sending:
        while chunk := reading.read(_CHUNK):
            sending.write(chunk)


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Turn a refusal of the storage (full, read-only, closed to us) within the block into a `StorageWriteError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        what = f"The storage refuses a write: {os.strerror(error.errno)}"
        raise StorageWriteError(what, file=str(error.filename or place)) from error
    except Exception as error:
        # SQLAlchemy wraps SQLite's own error: locked for a minute, full, read-only, cannot be opened.
        refusal = getattr(error, "orig", error)
        if not isinstance(refusal, sqlite3.OperationalError):
            raise
        what = f"The catalog's database refuses a write: {shown(refusal)}"
        raise StorageWriteError(what, file=place) from error


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
