"""Report files as blocks of whole rows, decompressed once, in bounded memory, and checked for ragged rows.

Polars pads a short row with NULLs without a word, and no value tells a padded cell from an empty one. What tells is the
number of separators outside quotes: with n columns, r rows have r x (n - 1) of them. Counting bytes costs a fraction of
parsing them, and the same count says where a row ends.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from billing_lake.domain.errors import (
    UnclosedQuoteError,
    UnreadableFileError,
)
from billing_lake.domain.gzip_padding import has_whole_size, require_no_padding
from billing_lake.domain.packing import (
    START_BYTES,
    Compression,
    as_gzip,
    naming_damage,
    require_packing,
)
from billing_lake.domain.records import row_end
from billing_lake.engines.digests import HashedStream, local_digest

if TYPE_CHECKING:
    from hashlib import _Hash

    import numpy as np
    from numpy.typing import NDArray

    from billing_lake.domain.sources import SourceFile
    from billing_lake.files.base import Files

BLOCK_BYTES = 16 << 20
"""Bytes of a block: large enough to hide the cost of a query, small enough to forget."""

LONGEST_ROW_BYTES = 128 << 20
"""Bytes after which a row is taken for a quote that never closes."""

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 4
_SLICE_BYTES = 1 << 20
"""Bytes that are looked at together: whole words of 64 bits, which stay in the cache of a core."""
_COMMA, _QUOTE = b',"'
_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"
_BESIDE_QUOTE = tuple(b',"\n')


@dataclass(frozen=True)
class Block:
    """Whole rows of a file, without its header.

    Attributes:
        data: Their bytes.
        offset: Where they begin in the decompressed file.
        separators: Commas outside quotes.
        ends: Where cells end: bits of the commas and line feeds outside quotes, the first byte's lowest, in words of 64.
        is_broken: Whether a quote stands where none may, the last row has no end, or a byte is zero; then it holds a fault, whatever
            a parser says.
        returns: Whether it may have a carriage return.
    """

    data: bytes
    offset: int
    separators: int
    ends: NDArray[np.uint64]
    is_broken: bool = False
    returns: bool = True


def row_blocks(
    files: Files,
    uri: str,
    name: str,
    size: int = BLOCK_BYTES,
    digest: _Hash | None = None,
    compression: Compression = "gzip",
) -> Iterator[Block]:
    """Yield the rows of the CSV file ``uri`` in blocks of about ``size`` bytes.

    When the last block is taken, ``digest`` has been fed the file's own bytes, as they lie there; a ZIP's are not read in order,
    so it takes none.

    Raises:
        ReportFileError: The file, called ``name`` in the error, is packed otherwise, is cut off, has zeros behind its data, or its
            header does not end.
    """
    with _decompressed(files, uri, name, digest, compression) as (raw, text):
        yield from _blocks(text, name, size)
        if compression == "gzip":
            raw.seek(-_TAIL_BYTES, os.SEEK_END)
            if not has_whole_size(raw.read(_TAIL_BYTES), text.tell()):
                raw.seek(0)
                require_no_padding(raw, name)


def hashed_blocks(
    files: Files, file: SourceFile, compression: Compression, size: int = BLOCK_BYTES
) -> tuple[Iterator[Block], Callable[[], str]]:
    """Return the rows of ``file`` in blocks, and what gives the SHA-256 of its bytes once the last block is taken."""
    if compression == "zip":
        known = local_digest(file, files)
        return row_blocks(files, file.uri, file.name, size, None, "zip"), lambda: known
    digest = hashlib.sha256()
    blocks = row_blocks(files, file.uri, file.name, size, digest, compression)
    return blocks, digest.hexdigest


def line_at(
    files: Files, uri: str, name: str, offset: int, compression: Compression = "gzip"
) -> int:
    """Return the line of the file, counted from 1, that the decompressed byte ``offset`` stands on."""
    line = 1
    with _decompressed(files, uri, name, None, compression) as (_, text):
        while offset > 0 and (data := text.read(min(_CHUNK_BYTES, offset))):
            line += data.count(b"\n")
            offset -= len(data)
    return line


def refuse_padding(files: Files, uri: str, name: str) -> None:
    """Look for zeros between or behind the members of a gzip file, which costs unpacking it.

    Raises:
        PaddedFileError: There are some.
    """
    with _opened(files, uri, name) as raw:
        require_no_padding(raw, name)


def csv_size(files: Files, uri: str, name: str, compression: Compression) -> int:
    """Return the bytes of the CSV file ``uri``, which is there and begins as it should by ``compression``.

    Raises:
        ReportFileError: It cannot be read, is empty, or something else; the error calls it ``name``.
    """
    with _opened(files, uri, name) as raw:
        require_packing(raw.read(START_BYTES), compression, name)
        return raw.seek(0, os.SEEK_END)


def parquet_size(files: Files, uri: str, name: str) -> int:
    """Return the bytes of the Parquet file ``uri``, which is there.

    Raises:
        ReportFileError: It cannot be read; the error calls it ``name``.
    """
    with _opened(files, uri, name) as raw:
        return raw.seek(0, os.SEEK_END)


def zip_as_gzip(files: Files, uri: str, name: str) -> bytes:
    """Return the CSV file in the ZIP ``uri`` as gzip, whole: for a reader that takes no stream.

    Raises:
        ReportFileError: It cannot be read, or is no ZIP of one CSV file.
    """
    with _opened(files, uri, name) as raw:
        return as_gzip(raw, name).readall()


class Scan(NamedTuple):
    """Holds what the commas and quotes of CSV text that begins with a row say.

    Attributes:
        separators: Commas outside quotes.
        ends: See `Block.ends`.
        is_open: Whether a quote is open at the end.
        is_broken: Whether a quote opens elsewhere than at a cell's start or closes elsewhere than at its end, or a carriage
            return ends a cell that has no quotes and is not the last, which Polars would drop.
    """

    separators: int
    ends: NDArray[np.uint64]
    is_open: bool
    is_broken: bool


def scan(data: bytes | memoryview, *, returns: bool = True) -> Scan:
    """Look at the commas and quotes of ``data``; unless ``returns`` it has no carriage return.

    Works on bits, 64 bytes of text to a word: the running exclusive-or of the quotes' bits says which bytes are quoted.
    """
    import numpy as np

    cells = np.frombuffer(data, np.uint8)
    outside, quoted, broken = 0, False, False
    ends = [np.zeros(0, np.uint64)]
    for start in range(0, len(cells), _SLICE_BYTES):
        part = cells[start : start + _SLICE_BYTES]
        commas = bits(part == _COMMA)
        quotes = bits(part == _QUOTE)
        inside = quotes.copy()
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
        ends.append((commas | bits(part == _LINE_FEED)) & ~inside)
        quoted = bool(open_after[-1])
        broken = broken or _has_stray(cells, start, commas, quotes, inside)
        if returns and not broken:
            first = cells[start - 1 : start] if start else np.zeros(1, np.uint8)
            before = np.append(first, part[:-1])
            broken = bool((bits(before == _CARRIAGE_RETURN) & commas & ~inside).any())
    return Scan(outside, np.concatenate(ends), quoted, broken)


def _has_stray(
    cells: NDArray[np.uint8],
    start: int,
    commas: NDArray[np.uint64],
    quotes: NDArray[np.uint64],
    inside: NDArray[np.uint64],
) -> bool:
    """Return whether a quote of the slice that begins at ``start`` stands where none may.

    A doubled quote closes the cell and opens it again, so quotes may be neighbours. Nearly all have a comma or a quote beside
    them, which the bits at hand say; only the others are looked at one by one.
    """
    import numpy as np

    near = commas | quotes
    before, after = near << np.uint64(1), near >> np.uint64(1)
    before[1:] |= near[:-1] >> np.uint64(63)
    after[:-1] |= near[1:] << np.uint64(63)
    doubtful = quotes & ((inside & ~before) | (~inside & ~after))
    words = np.flatnonzero(doubtful)
    if not len(words):
        return False
    at = np.flatnonzero(np.unpackbits(doubtful[words].view(np.uint8), bitorder="little"))
    opens = np.unpackbits(inside[words].view(np.uint8), bitorder="little")[at] == 1
    position = start + words[at >> 6] * 64 + (at & 63)
    first, last = position[opens] - 1, position[~opens] + 1
    last = last[last < len(cells)]
    # The line end of Windows has two characters; the end of the data ends a line too.
    windows = cells[last] == _CARRIAGE_RETURN
    line_feed = last[windows] + 1
    return not (
        np.isin(cells[first[first >= 0]], _BESIDE_QUOTE).all()
        and np.isin(cells[last[~windows]], _BESIDE_QUOTE).all()
        and (cells[line_feed[line_feed < len(cells)]] == _LINE_FEED).all()
    )


def bits(hits: NDArray[np.bool_]) -> NDArray[np.uint64]:
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
    files: Files, uri: str, name: str, digest: _Hash | None, compression: Compression
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a CSV file; yield its bytes as they lie there, and unpacked."""
    from isal import igzip, igzip_lib

    with naming_damage(compression, name), _opened(files, uri, name) as raw:
        require_packing(raw.read(START_BYTES), compression, name)
        raw.seek(0)
        source = raw if digest is None else HashedStream(raw, digest)
        if compression is None:
            yield raw, cast("BinaryIO", source)
            return
        packed = as_gzip(raw, name) if compression == "zip" else source
        try:
            with igzip.open(packed, "rb") as text:  # type: ignore[no-untyped-call]
                # Its own `readinto` reads into new memory, and copies that; the reader below it does not.
                yield raw, cast("BinaryIO", getattr(text, "_buffer", text))
        except igzip_lib.IsalError as error:  # type: ignore[misc]
            raise zlib.error(str(error)) from error


def _blocks(text: BinaryIO, name: str, size: int) -> Iterator[Block]:
    buffer = bytearray(size)
    held = _skip_header(text, buffer, name)
    offset = text.tell() - held
    while True:
        filled = _fill(text, buffer, held)
        ended = filled < len(buffer)
        returns = buffer.find(b"\r", 0, filled) >= 0
        cut, found = _rows(buffer, filled, returns=returns, ended=ended)
        endless = not cut and len(buffer) >= LONGEST_ROW_BYTES
        if endless:
            cut, ended = filled, True
        if cut:
            is_broken = found.is_broken or found.is_open or endless or buffer.find(0, 0, cut) >= 0
            data = bytes(memoryview(buffer)[:cut])
            yield Block(data, offset, found.separators, found.ends, is_broken, returns)
        elif filled:
            buffer.extend(bytes(len(buffer)))
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
        end = row_end(buffer, stop=filled)
        if end or filled == before:
            held = filled - end if end else 0
            buffer[:held] = buffer[end:filled] if end else b""
            return held
        if filled == len(buffer):
            if filled >= LONGEST_ROW_BYTES:
                raise UnclosedQuoteError("The header does not end", file=name, line=1)
            buffer.extend(bytes(filled))


def _fill(text: BinaryIO, buffer: bytearray, held: int) -> int:
    filled = held
    with memoryview(buffer) as view:
        while filled < len(view):
            read = text.readinto(view[filled:])  # type: ignore[attr-defined]
            if not read:
                break
            filled += read
    return filled


def _rows(buffer: bytearray, filled: int, *, returns: bool, ended: bool) -> tuple[int, Scan]:
    """Return the end of the last whole row, 0 where no row ends, and what stands before it."""
    end = filled if ended else buffer.rfind(b"\n", 0, filled) + 1
    with memoryview(buffer) as view:
        found = scan(view[:end], returns=returns)
        if not found.is_open or ended:
            return end, found
        quoted = True
        while cut := buffer.rfind(b"\n", 0, end - 1) + 1:
            quoted ^= buffer.count(b'"', cut, end) % 2 == 1
            if not quoted:
                return cut, scan(view[:cut], returns=returns)
            end = cut
    return 0, found
