"""Report files as blocks of whole rows, decompressed once, in bounded memory, and checked for ragged rows.

Polars pads a short row with NULLs without a word, and no value tells a padded cell from an empty one. What tells is the
number of separators outside quotes: with n columns, r rows have r x (n - 1) of them. Counting bytes costs a fraction of
parsing them, and the same count says where a row ends.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from billing_lake.domain.errors import (
    EmptyFileError,
    NotGzipError,
    TruncatedFileError,
    UnclosedQuoteError,
    UnreadableFileError,
)
from billing_lake.engines.digests import HashedStream

if TYPE_CHECKING:
    from hashlib import _Hash

    import numpy as np
    from numpy.typing import NDArray

    from billing_lake.files.base import Files

BLOCK = 16 << 20
"""Bytes of a block: large enough to hide the cost of a query, small enough to forget."""

LONGEST_ROW = 128 << 20
"""Bytes after which a row is taken for a quote that never closes."""

_CHUNK = 1 << 20
_SLICE = 1 << 18
_COMMA, _QUOTE = b',"'


@dataclass(frozen=True)
class Block:
    """Whole rows of a file, without its header.

    Attributes:
        data: Their bytes.
        offset: Where they begin in the decompressed file.
        separators: Commas outside quotes.
    """

    data: bytes
    offset: int
    separators: int


def row_blocks(
    files: Files, uri: str, name: str, size: int = BLOCK, digest: _Hash | None = None
) -> Iterator[Block]:
    """Yield the rows of the gzipped CSV file ``uri`` in blocks of about ``size`` bytes.

    When the last block is taken, ``digest`` has been fed the file's own, compressed bytes.

    Raises:
        ReportFileError: The file, called ``name`` in the error, is no gzip, is cut off, or has a quote that never closes.
    """
    with _decompressed(files, uri, name, digest) as text:
        yield from _blocks(text, lambda offset: line_at(files, uri, name, offset), name, size)


def line_at(files: Files, uri: str, name: str, offset: int) -> int:
    """Return the line of the file, counted from 1, that the decompressed byte ``offset`` stands on."""
    line = 1
    with _decompressed(files, uri, name) as text:
        while offset > 0 and (data := text.read(min(_CHUNK, offset))):
            line += data.count(b"\n")
            offset -= len(data)
    return line


def report_size(files: Files, uri: str, name: str, *, gzipped: bool) -> int:
    """Return the bytes of the report file ``uri``, which is there and, if ``gzipped``, begins as gzip does.

    Raises:
        ReportFileError: It cannot be read, is empty, or something else; the error calls it ``name``.
    """
    with _opened(files, uri, name) as raw:
        if gzipped:
            _check_magic(raw, name)
        return raw.seek(0, os.SEEK_END)


def separators(data: bytes | memoryview) -> tuple[int, bool]:
    """Return the number of commas outside quotes in ``data``, and whether a quote is open at its end.

    Works on bits, 64 bytes of text to a word: the running exclusive-or of the quotes' bits says which bytes are quoted.
    """
    import numpy as np

    cells = np.frombuffer(data, np.uint8)
    outside, quoted = 0, False
    for start in range(0, len(cells), _SLICE):
        part = cells[start : start + _SLICE]
        commas = _bits(part == _COMMA)
        inside = _bits(part == _QUOTE)
        for shift in (1, 2, 4, 8, 16, 32):
            inside ^= inside << np.uint64(shift)
        # The last bit of a word says whether it leaves a quote open; that turns every bit of the words behind it.
        open_after = np.bitwise_xor.accumulate(inside >> np.uint64(63))
        if quoted:
            open_after ^= np.uint64(1)
        inside[1:] ^= np.negative(open_after[:-1])
        if quoted:
            inside[0] ^= ~np.uint64(0)
        outside += int(np.bitwise_count(commas & ~inside).sum())
        quoted = bool(open_after[-1])
    return outside, quoted


def _gunzipped(raw: BinaryIO, name: str, digest: _Hash | None) -> AbstractContextManager[BinaryIO]:
    from isal import igzip

    _check_magic(raw, name)
    source = raw if digest is None else HashedStream(raw, digest)
    stream: AbstractContextManager[BinaryIO] = igzip.open(source, "rb")  # type: ignore[no-untyped-call]
    return stream


def _check_magic(raw: BinaryIO, name: str) -> None:
    magic = raw.read(2)
    if not magic:
        raise EmptyFileError("The file is empty", file=name)
    if magic != b"\x1f\x8b":
        raise NotGzipError("The file is not gzip, although its name says so", file=name)
    raw.seek(0)


def _bits(hits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return ``hits`` as bits in words of 64, the first one lowest, filled up with zeros."""
    import numpy as np

    packed = np.packbits(hits, bitorder="little")
    if len(packed) % 8:
        packed = np.concatenate([packed, np.zeros(-len(packed) % 8, np.uint8)])
    return packed.view("<u8")


@contextmanager
def _opened(files: Files, uri: str, name: str) -> Iterator[BinaryIO]:
    try:
        with files.open(uri) as raw:
            yield raw
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        what = f"The file cannot be read: {error.strerror or error}"
        raise UnreadableFileError(what, file=name) from error


@contextmanager
def _decompressed(
    files: Files, uri: str, name: str, digest: _Hash | None = None
) -> Iterator[BinaryIO]:
    try:
        with (
            _opened(files, uri, name) as raw,
            _gunzipped(raw, name, digest) as text,
        ):
            yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedFileError(
            f"The gzip stream is damaged or ends early: {error}", file=name
        ) from error


def _blocks(
    text: BinaryIO, line_at_offset: Callable[[int], int], name: str, size: int
) -> Iterator[Block]:
    buffer = bytearray(size)
    held = _skip_header(text, buffer, name)
    offset = text.tell() - held
    while True:
        filled = _fill(text, buffer, held)
        ended = filled < len(buffer)
        cut, commas = _rows(buffer, filled, ended=ended)
        if not cut and filled:
            if ended or len(buffer) >= LONGEST_ROW:
                raise UnclosedQuoteError(
                    f"A quote opens and does not close within {filled:,} bytes",
                    file=name,
                    line=line_at_offset(offset),
                )
            buffer.extend(bytes(len(buffer)))
        elif cut:
            yield Block(bytes(memoryview(buffer)[:cut]), offset, commas)
        if ended:
            return
        held = filled - cut
        offset += cut
        buffer[:held] = buffer[cut:filled]


def _skip_header(text: BinaryIO, buffer: bytearray, name: str) -> int:
    """Read past the header; return how many bytes behind it are already in ``buffer``."""
    filled = 0
    while True:
        before = filled
        filled += text.readinto(memoryview(buffer)[filled:])  # type: ignore[attr-defined]
        end = _header_end(buffer, filled)
        if end or filled == before:
            held = filled - end if end else 0
            buffer[:held] = buffer[end:filled] if end else b""
            return held
        if filled == len(buffer):
            if filled >= LONGEST_ROW:
                raise UnclosedQuoteError("The header does not end", file=name, line=1)
            buffer.extend(bytes(filled))


def _header_end(buffer: bytearray, filled: int) -> int:
    end = 0
    while (found := buffer.find(b"\n", end, filled)) >= 0:
        end = found + 1
        if buffer.count(b'"', 0, end) % 2 == 0:
            return end
    return 0


def _fill(text: BinaryIO, buffer: bytearray, held: int) -> int:
    filled = held
    with memoryview(buffer) as view:
        while filled < len(view):
            read = text.readinto(view[filled:])  # type: ignore[attr-defined]
            if not read:
                break
            filled += read
    return filled


def _rows(buffer: bytearray, filled: int, *, ended: bool) -> tuple[int, int]:
    """Return the end of the last whole row and the separators before it; zeros where no row ends."""
    end = filled if ended else buffer.rfind(b"\n", 0, filled) + 1
    with memoryview(buffer) as view:
        commas, quoted = separators(view[:end])
        if not quoted or ended:
            return (0, 0) if quoted else (end, commas)
        while cut := buffer.rfind(b"\n", 0, end - 1) + 1:
            quoted ^= buffer.count(b'"', cut, end) % 2 == 1
            if not quoted:
                return cut, separators(view[:cut])[0]
            end = cut
    return 0, 0
