"""The SHA-256 of report files: what one pass over a delivery read is what the next one reads.

A folder has no tag for a file's content, and a file that is rewritten in place may keep its size and its time. The profile's
pass hashes the bytes that it decompresses; encoding hashes each file once more when its rows are written, which takes well
under a hundredth of the time that encoding does. An object store tags content: there the tags that were pinned are compared
before each commit, and nothing is downloaded a second time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from billing_lake.domain.errors import DeliveryChangedError, UnreadableFileError

if TYPE_CHECKING:
    from hashlib import _Hash

    from _typeshed import WriteableBuffer

    from billing_lake.domain.sources import SourceFile
    from billing_lake.files.base import Files

_BLOCK_BYTES = 1 << 20


class HashedStream(io.RawIOBase):
    """A stream that hashes what is read from it, from its position to its end.

    Args:
        raw: The stream; it stays open.
        digest: Is fed.
    """

    def __init__(self, raw: BinaryIO, digest: _Hash) -> None:
        super().__init__()
        self._raw, self._digest = raw, digest

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say so, because a gzip reader above it tells its position only then; it is never asked to seek."""
        return True

    def tell(self) -> int:
        """Return where the stream below it stands."""
        return self._raw.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and hash what came."""
        view = memoryview(buffer).cast("B")
        data: Any = self._raw
        read = int(data.readinto(view))
        self._digest.update(view[:read])
        return read


def local_digest(source: SourceFile, files: Files) -> str:
    """Return the SHA-256 of a file of this machine; empty for one in an object store, which has a tag for its content.

    Raises:
        DeliveryChangedError: It is not there any more.
        UnreadableFileError: It cannot be read.
    """
    if "://" in source.uri:
        return ""
    digest = hashlib.sha256()
    try:
        with files.open(source.uri) as raw:
            while block := raw.read(_BLOCK_BYTES):
                digest.update(block)
    except FileNotFoundError as error:
        raise DeliveryChangedError("The file is not there any more", file=source.name) from error
    except OSError as error:
        what = f"The file cannot be read: {error.strerror or error}"
        raise UnreadableFileError(what, file=source.name) from error
    return digest.hexdigest()


def require_unchanged(sources: Sequence[SourceFile], files: Files) -> None:
    """Compare files of this machine with the digests that an earlier pass took.

    Raises:
        DeliveryChangedError: A file has other bytes now, or is not there any more.
    """
    for source in sources:
        if source.digest:
            source.require_digest(local_digest(source, files))
