"""Files of this machine, by absolute path."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from billing_lake.files.base import FileInfo

log = logging.getLogger(__name__)

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class LocalFiles:
    """`Files` on this machine's disks."""

    def open(self, uri: str) -> BinaryIO:
        """See `Files.open`."""
        return Path(uri).open("rb")

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

    def make_folder(self, uri: str) -> None:
        """See `Files.make_folder`."""
        Path(uri).mkdir(parents=True, exist_ok=True)

    def list(self, folder: str) -> list[FileInfo]:
        """See `Files.list`; a name that begins with a dot is a file that is being written."""
        return sorted(_below(Path(folder)), key=lambda file: file.uri)

    def copy(self, source: str, target: str) -> None:
        """See `Files.copy`: a hard link where the file system can, else a copy."""
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(source, path)

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


def _below(folder: Path) -> Iterator[FileInfo]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # it vanished since the folder was listed
            if not name.startswith("."):
                modified = datetime.fromtimestamp(stat.st_mtime, timezone.utc)
                yield FileInfo(uri=str(path), size=stat.st_size, modified=modified)
