"""Files of this machine, by absolute path or `file:` URI."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from billing_lake.files.base import FileInfo, Identity, Progress, ignore_bytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""Errors of a file system that has no hard links, or none from here to there."""


class LocalFiles:
    """`Files` on this machine's disks."""

    def open(self, uri: str) -> BinaryIO:
        """See `Files.open`."""
        return open_regular(_path(uri))

    def size(self, uri: str) -> int:
        """See `Files.size`."""
        return _path(uri).stat().st_size

    def identity(self, uri: str) -> Identity:
        """See `Files.identity`: hard links are names of one file. Its inode's own time is left out, which a new link changes."""
        found = _path(uri).stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def read(self, uri: str) -> bytes:
        """See `Files.read`."""
        return _path(uri).read_bytes()

    def write(self, uri: str, data: bytes) -> None:
        """See `Files.write`; folders are made as needed."""
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        """See `Files.create`; a kill leaves half a file, under a name that nothing refers to."""
        path = _path(uri)
        writer = _Writer(path.open("wb"))
        try:
            with writer.file:
                yield cast("BinaryIO", writer)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if writer.failure is not None and error is not writer.failure:
                raise writer.failure from error
            raise

    def make_folder(self, uri: str) -> None:
        """See `Files.make_folder`."""
        _path(uri).mkdir(parents=True, exist_ok=True)

    def list(self, folder: str) -> list[FileInfo]:
        """See `Files.list`; a name that begins with a dot is a file that is being written."""
        return sorted(_listed(_path(folder)), key=lambda file: file.uri)

    def copy(self, source: str, target: str, progress: Progress = ignore_bytes) -> None:
        """See `Files.copy`: a hard link where the file system can, else a copy."""
        path = _path(target)
        link_or_copy(_path(source), path)
        progress(path.stat().st_size)

    def send(self, source: str, target: str, progress: Progress = ignore_bytes) -> None:
        """See `Files.send`: nothing has to be sent on one machine."""
        self.copy(source, target, progress)

    def remove(self, uri: str) -> None:
        """See `Files.remove`."""
        _path(uri).unlink(missing_ok=True)

    def remove_folder(self, uri: str) -> None:
        """See `Files.remove_folder`."""
        remove_tree(_path(uri))


def local_path(uri: str) -> Path | None:
    """Return the path of a file on this machine, such as `/lake/a` for `file:///lake/a`; None for one elsewhere."""
    if uri.startswith("file:"):
        return Path("/" + uri.removeprefix("file:").lstrip("/"))
    return None if "://" in uri else Path(uri)


def path_or_uri(uri: str) -> str:
    """Return the path of a file on this machine, and the URI of any other one."""
    path = local_path(uri)
    return uri if path is None else str(path)


def link_or_copy(source: Path, target: Path) -> None:
    """Place a file a second time: as a hard link where the file system can make one, else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below ``folder``; none where it does not exist."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def changed_at(path: Path) -> datetime:
    """Return when ``path`` was last written or linked to, in UTC.

    A link has the modification time of the file it was made from, however old; being linked changes the inode's own time.

    Raises:
        FileNotFoundError: It is gone.
    """
    return _changed(path.stat())


def _changed(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), timezone.utc)


def remove_tree(folder: Path) -> None:
    """Remove a folder that nothing refers to any more; what cannot be removed is logged."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("could not remove %s: %s", folder, error)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; opening a pipe would wait for a process that writes into it.

    Raises:
        OSError: It cannot be opened, or is something else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "This is no regular file", str(path))
    return os.fdopen(handle, "rb")


class _Writer(io.RawIOBase):
    """A file that is being written, and what the disk refused: libraries make their own errors of that, or hide it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file = file
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.file.tell()

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        try:
            if not self.file.closed:
                self.file.flush()
        except OSError as error:
            self.failure = self.failure or error
            raise


def _listed(folder: Path) -> Iterator[FileInfo]:
    for path in files_below(folder):
        if path.name.startswith("."):
            continue
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # it vanished since the folder was listed
        yield FileInfo(
            uri=str(path),
            size=found.st_size,
            modified=_changed(found),
            names=((found.st_dev, found.st_ino), found.st_nlink),
        )


def _path(uri: str) -> Path:
    path = local_path(uri)
    if path is None:
        raise OSError(errno.EINVAL, "This is no file of this machine", uri)
    return path
