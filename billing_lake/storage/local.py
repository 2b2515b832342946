"""A local folder as a storage: a landing zone on a laptop, or a bucket that something else keeps in step."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import ConfigurationError, ReportFileError, shown
from billing_lake.storage.errors import naming_errors, unreadable

_log = logging.getLogger(__name__)


class LocalStorage:
    """Report files below a folder.

    Nothing outside the folder is ever read, whatever a key or a link says. Files and folders whose name begins with a dot
    are left out (they are what copy tools write before they rename), and so are linked folders, which would show one file
    under two keys.

    Args:
        root: The folder; it may come into being later.

    Raises:
        ConfigurationError: ``root`` is a file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.bucket = self.root.name
        if self.root.exists() and not self.root.is_dir():
            what = f"The storage's root is no folder: {shown(self.root)}"
            raise ConfigurationError(what, remedy="Choose a folder")

    def list(self, prefix: str) -> list[StoredObject]:
        """Return every file whose key begins with ``prefix``, by key; empty where there is no such folder."""
        folder = prefix.rpartition("/")[0]
        found = self._walk(self._inside(folder), f"{folder}/" if folder else "")
        return sorted((o for o in found if o.key.startswith(prefix)), key=lambda o: o.key)

    def read(self, key: str) -> bytes:
        """Return the bytes of a small file."""
        with self.open(key) as stream, naming_errors(key):
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""
        path = self._inside(key)
        with naming_errors(key):
            if path.exists() and not path.is_file():
                raise ReportFileError("This is no file", file=key)
            return path.open("rb")

    def stat(self, key: str) -> StoredObject | None:
        """Return the file at ``key``, or None where there is none."""
        path = self._inside(key)
        with naming_errors(key):
            return _stored(key, path, path.stat()) if path.is_file() else None

    def _inside(self, key: str) -> Path:
        """Return the path of ``key``, links resolved, if it lies below the root."""
        path = (self.root / key).resolve()
        if ".." in key.split("/") or not path.is_relative_to(self.root):
            remedy = "Nothing outside the storage's folder is ever read; put the file itself in its place"
            raise ReportFileError("The path leads out of the storage", remedy=remedy, file=key)
        return path

    def _walk(self, folder: Path, prefix: str) -> Iterator[StoredObject]:
        for entry in _entries(folder, prefix):
            key = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(folder / entry.name, f"{key}/")
            elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self.root):
                _log.warning("%s links to a file outside %s; it is not read", shown(key), self.root)
            elif entry.is_file():
                try:
                    yield _stored(key, Path(entry.path).resolve(), entry.stat())
                except FileNotFoundError:
                    continue  # it vanished since the folder was listed


def _entries(folder: Path, prefix: str) -> list[os.DirEntry[str]]:
    """Return what lies in ``folder``, as far as it can be named in a key."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(error, prefix) from error
    return [entry for entry in visible if _is_text(entry.name)]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        _log.warning("%s is no UTF-8 file name; the file is not read", shown(name))
        return False
    return True


def _stored(key: str, path: Path, stat: os.stat_result) -> StoredObject:
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 1_000_000_000)
    changed = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=nanoseconds // 1000)
    return StoredObject(
        key=key,
        uri=str(path),
        size=stat.st_size,
        etag=f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}",
        modified=changed.isoformat(timespec="microseconds"),
    )
