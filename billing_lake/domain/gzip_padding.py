"""Zeros behind the data of a gzip file: some readers skip them, others fail or stop, so no engine takes them."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from billing_lake.domain.errors import PaddedFileError

if TYPE_CHECKING:
    from typing import BinaryIO

_CHUNK_BYTES = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


def require_no_padding(raw: BinaryIO, name: str) -> None:
    """Refuse a gzip file with zeros between or behind its members.

    Each member ends with a size of four bytes, which may be zeros: only unpacking tells where it ends.

    Args:
        raw: The compressed bytes, from their start.
        name: The file's name, for the error.

    Raises:
        PaddedFileError: There are such zeros.
        zlib.error: The bytes are no gzip.
    """
    member = zlib.decompressobj(_GZIP)
    while data := raw.read(_CHUNK_BYTES):
        while data:
            if member.eof:
                if data[0] == 0:
                    raise PaddedFileError("Zero bytes follow the compressed data", file=name)
                member = zlib.decompressobj(_GZIP)
            member.decompress(data)
            data = member.unused_data


def has_whole_size(tail: bytes, size: int) -> bool:
    """Say whether a gzip file with the last bytes ``tail`` cannot have zeros behind its data.

    That is so where its last byte is no zero, or its last four are the size of all that it holds, as they are in nearly every
    file: zeros behind them would have shifted them.

    Args:
        tail: The file's last four bytes.
        size: Number of bytes that all of it unpacks to.
    """
    stated = int.from_bytes(tail, "little")
    return tail[-1] != 0 or (stated != 0 and stated == size & 0xFFFFFFFF)
