"""The contract of files by URI: what engines and catalogs need of a file system, and no more.

A URI is an absolute path on this machine, `file:///path` or `s3://bucket/key`. Whatever goes wrong is an `OSError` with the number that
a local disk would give, so that full, closed and missing mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

Identity = tuple[str | int, ...]
"""What all names and copies of the same bytes have in common in one storage, and no others; to be compared, not read."""

Progress = Callable[[int], object]
"""Called with the number of bytes that have arrived since the last call, from any thread."""


def ignore_bytes(_: int) -> None:
    """Take no notice of progress."""


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """A file that is there.

    Attributes:
        uri: Where.
        size: Bytes.
        modified: When it was last written or linked to, in UTC.
        names: On a file system with hard links, what identifies the file whatever it is called, and how many names it has.
    """

    uri: str
    size: int
    modified: datetime
    names: tuple[tuple[int, int], int] | None = None


class Files(Protocol):
    """Files by URI."""

    def open(self, uri: str) -> BinaryIO:
        """Open a file for reading; the stream is seekable, buffered, and belongs to the caller.

        Raises:
            FileNotFoundError: There is none.
        """

    def size(self, uri: str) -> int:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: There is none.
        """

    def identity(self, uri: str) -> Identity:
        """Return what a file has in common with other names or copies of its bytes, as far as the storage knows without reading them.

        A file that is written to gets another one.

        Raises:
            FileNotFoundError: There is none.
        """

    def read(self, uri: str) -> bytes:
        """Return the bytes of a small file.

        Raises:
            FileNotFoundError: There is none.
        """

    def write(self, uri: str, data: bytes) -> None:
        """Write a small file: a reader sees the old one or the new one."""

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Write a large file as a stream: whole when the block ends, and nothing when it ends in an error.

        An `OSError` of the storage comes out of the block even where a library that wrote made another error of it.
        """

    def make_folder(self, uri: str) -> None:
        """Make a folder, where folders have to be made."""

    def list(self, folder: str) -> Sequence[FileInfo]:
        """Return every file below ``folder``, by URI; empty where there is no such folder."""

    def copy(self, source: str, target: str, progress: Progress = ...) -> None:
        """Place a finished file a second time without sending its bytes through this process where that is possible."""

    def send(self, source: str, target: str, progress: Progress = ...) -> None:
        """Place a finished file a second time through this process, in bounded memory: where a store copies nothing itself."""

    def remove(self, uri: str) -> None:
        """Remove a file; nothing happens where there is none."""

    def remove_folder(self, uri: str) -> None:
        """Remove a folder that nothing refers to any more; what cannot be removed is logged."""
