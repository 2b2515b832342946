"""A local folder as a storage: a landing zone on a laptop, or a bucket that something else keeps in step."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import (
    ConfigurationError,
    ReportFileError,
    UnreadableFileError,
    shown,
)
from billing_lake.files.local import open_regular
from billing_lake.formats.keys import is_manifest, plain_key
from billing_lake.formats.recognition import is_report_of_any_format
from billing_lake.landing.errors import changed_error, naming_errors, unreadable_error
from billing_lake.landing.stated_periods import StatedPeriods

LANDING_SETTING = "BILLING_LAKE_LANDING"
"""Environment variable with the folder that exports are delivered to, on this machine, or with a bucket as `s3://bucket`; `landing`
in the lake's folder where it is not set."""

_log = logging.getLogger(__name__)


class LocalStorage:
    """Report files below a folder.

    Nothing outside the folder is ever read, whatever a key or a link says. Files and folders whose name begins with a dot
    are left out (they are what copy tools write before they rename). Linked folders are not walked, which would show one file
    under two keys; one that leads to where the listing does not come (out of the listed folder, or into a hidden one) is listed
    itself, as `link/`.

    Raises:
        ConfigurationError: ``root`` is a file.
    """

    def __init__(self, root: Path, stated_periods: StatedPeriods | None = None) -> None:
        self.root = root.resolve()
        self.stated_periods = stated_periods
        if self.root.exists() and not self.root.is_dir():
            what = f"The storage's root is no folder: {shown(self.root)}"
            raise ConfigurationError(what, remedy="Choose a folder")

    def list(self, prefix: str, *, hidden: bool = False) -> list[StoredObject]:
        """Return every file whose key begins with ``prefix``, by key; empty where there is no such folder.

        A folder holds `a//b` of a bucket as `a/b`, which is what copies of buckets make of it.
        """
        folder, _, start = prefix.rpartition("/")
        folder = f"{path}/" if (path := plain_key(folder)) else ""
        top = self._inside(path)
        found = self._walk(top, folder, top, hidden=hidden)
        return sorted(
            (o for o in found if o.key.startswith(f"{folder}{start}")), key=lambda o: o.key
        )

    def names(self, folder: str) -> Sequence[str] | None:
        """Return what lies directly in ``folder``; None where it is not there."""
        path = self._inside(plain_key(folder))
        if not path.is_dir():
            return None
        found = _entries(path, folder, hidden=True)
        return sorted(
            f"{one.name}/" if _is_folder(one) else one.name for one in found if _is_text(one.name)
        )

    def address(self, key: str) -> str:
        """Return the absolute path of ``key``."""
        return f"{self.root}/{key}"

    def read(self, key: str, etag: str) -> bytes:
        """Return the bytes of a small file; see `Storage.read`."""
        with self.open(key) as stream, naming_errors(key):
            data = stream.read()
        if (now := self.stat(key)) is None or now.etag != etag:
            raise changed_error(key)
        return data

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""
        path = self._inside(key)
        with naming_errors(key):
            return open_regular(path)

    def stat(self, key: str) -> StoredObject | None:
        """Return the file at ``key``, or None where there is none."""
        path = self._inside(key)
        with naming_errors(key):
            return _stored(key, path, path.stat()) if path.is_file() else None

    def _inside(self, key: str) -> Path:
        """Return the path of ``key``, links resolved, if it lies below the root."""
        path = _resolved(self.root / key, key)
        if ".." in key.split("/") or not path.is_relative_to(self.root):
            remedy = (
                f"Nothing outside {shown(self.root)} is ever read: put the file itself in its place, or set "
                f"{LANDING_SETTING} to the folder that the files lie in"
            )
            raise ReportFileError("The path leads out of the storage", remedy=remedy, file=key)
        return path

    def _walk(
        self, folder: Path, prefix: str, top: Path, *, hidden: bool
    ) -> Iterator[StoredObject]:
        for entry in _entries(folder, prefix, hidden=hidden):
            if not _is_text(entry.name):
                _leave_out(prefix, entry)
                continue
            key = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(folder / entry.name, f"{key}/", top, hidden=hidden)
            elif not entry.is_file(follow_symlinks=False) and (reason := self._reason(entry)):
                _log.warning("%s: %s; it is not read", shown(key), reason)
                # A month without a file that belongs to it is another month: what counts is not left out, and whoever
                # opens it hears the reason.
                end = "/" if _is_folder(entry) else ""
                if end or is_report_of_any_format(key) or is_manifest(key):
                    with suppress(FileNotFoundError):
                        yield _in_place_of_a_file(f"{key}{end}", entry, reason)
            elif entry.is_file():
                try:
                    yield _stored(key, Path(entry.path).resolve(), entry.stat())
                except FileNotFoundError:
                    continue  # it vanished since the folder was listed
            elif _is_folder(entry) and not _is_walked(
                Path(entry.path).resolve(), top, hidden=hidden
            ):
                with suppress(FileNotFoundError):
                    yield _in_place_of_a_file(f"{key}/", entry, "This links to another folder")

    def _reason(self, entry: os.DirEntry[str]) -> str:
        """Return why a link, or what is neither a file nor a folder, cannot stand for a file; empty where it can."""
        if not entry.is_symlink():
            return "This is no regular file"
        try:
            path = Path(entry.path).resolve(strict=True)
        except FileNotFoundError:
            return "This links to a file that is not there"
        except (OSError, RuntimeError):
            # Until Python 3.12 a link that leads back to itself is a RuntimeError.
            return "This link cannot be followed"
        if not path.is_relative_to(self.root):
            return f"This links to a file outside {self.root}"
        return "" if path.is_file() or path.is_dir() else "This links to what is no regular file"


def _resolved(path: Path, key: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise UnreadableFileError("A link on the way leads back to itself", file=key) from error


def _entries(folder: Path, prefix: str, *, hidden: bool) -> list[os.DirEntry[str]]:
    """Return what lies in ``folder``."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if hidden or not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable_error(error, prefix) from error
    return visible


def _leave_out(prefix: str, entry: os.DirEntry[str]) -> None:
    """Leave out what has a name that no key can have.

    Raises:
        UnreadableFileError: Report files may be missing without it.
    """
    name = f"{prefix}{os.fsencode(entry.name).decode(errors='backslashreplace')}"
    if _is_folder(entry) or is_report_of_any_format(entry.name):
        what = "Its name is no UTF-8, so what is in it cannot be named in a delivery"
        remedy = "Rename it, or move it out of the landing folder"
        raise UnreadableFileError(what, file=name, remedy=remedy)
    _log.warning("%s is no UTF-8 file name; the file is not read", shown(name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads back to itself


def _is_walked(folder: Path, top: Path, *, hidden: bool) -> bool:
    """Say whether a listing of ``top`` comes to ``folder``."""
    if not folder.is_relative_to(top):
        return False
    return hidden or not any(part.startswith(".") for part in folder.relative_to(top).parts)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_place_of_a_file(key: str, entry: os.DirEntry[str], reason: str) -> StoredObject:
    # With one byte: one that is empty would be waited for.
    return replace(
        _stored(key, Path(entry.path), entry.stat(follow_symlinks=False)), size=1, etag=reason
    )


def _stored(key: str, path: Path, stat: os.stat_result) -> StoredObject:
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 1_000_000_000)
    changed = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=nanoseconds // 1000)
    return StoredObject(
        key=key,
        uri=str(path),
        size=stat.st_size,
        etag=f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}",
        modified=changed.isoformat(timespec="microseconds"),
        touched=str(stat.st_ctime_ns),
    )
