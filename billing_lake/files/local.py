"""Files of this machine, by absolute path."""

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

from billing_lake.files.base import FileInfo, Progress, ignore

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class LocalFiles:
    """`Files` on this machine's disks."""

    def open(self, uri: str) -> BinaryIO:
        """See `Files.open`."""
        return open_regular(Path(uri))

    def size(self, uri: str) -> int:
        """See `Files.size`."""
        return Path(uri).stat().st_size

    def read(self, uri: str) -> bytes:
        """See `Files.read`."""
        return Path(uri).read_bytes()

    def write(self, uri: str, data: bytes) -> None:
        """See `Files.write`; folders are made as needed."""
        path = Path(uri)
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
        """See `Files.create`; what a kill leaves is half a file, under a name that nobody was told."""
        path = Path(uri)
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
        Path(uri).mkdir(parents=True, exist_ok=True)

    def list(self, folder: str) -> list[FileInfo]:
        """See `Files.list`; a name that begins with a dot is a file that is being written."""
        return sorted(_below(Path(folder)), key=lambda file: file.uri)

    def copy(self, source: str, target: str, progress: Progress = ignore) -> None:
        """See `Files.copy`: a hard link where the file system can, else a copy."""
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(source, path)
        progress(self.size(target))

    def send(self, source: str, target: str, progress: Progress = ignore) -> None:
        """See `Files.send`: nothing has to be sent on one machine."""
        self.copy(source, target, progress)

    def remove(self, uri: str) -> None:
        """See `Files.remove`."""
        Path(uri).unlink(missing_ok=True)

    def remove_folder(self, uri: str) -> None:
        """See `Files.remove_folder`."""
        try:
            shutil.rmtree(uri)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("could not remove %s: %s", uri, error)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, which must be one: to open a pipe would wait for somebody who writes into it.

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


def _below(folder: Path) -> Iterator[FileInfo]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # it vanished since the folder was listed
            if not name.startswith("."):
                modified = datetime.fromtimestamp(found.st_mtime, timezone.utc)
                yield FileInfo(uri=str(path), size=found.st_size, modified=modified)
