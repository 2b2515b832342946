"""Unpacks report files: gzip, ZIP, or not at all; and a ZIP's one file as the gzip that it nearly is.

A ZIP and a gzip hold the same deflated bytes between other headers, so a ZIP becomes a gzip by copying. Every reader of gzip,
fast or slow, then reads ZIP as well, as a stream, and nothing is unpacked on the way.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast

from billing_lake.domain.errors import (
    EmptyFileError,
    NotGzipError,
    NotPlainTextError,
    NotZipError,
    PaddedFileError,
    TruncatedFileError,
    ZipBombError,
    ZipContentError,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

Compression = Literal["gzip", "zip"] | None
"""How report files are packed as a whole; None for plain CSV, and for Parquet, which packs its own parts."""

START_BYTES = 4
"""Bytes by which `require_packing` tells what a file is."""

LARGEST_RATIO = 400
"""How many bytes a byte of a ZIP may stand for: bills have 5 to 60, even where nearly every cell is empty, deflate can at most 1,032."""

_LEAST_BOMB_BYTES = 1 << 28
_MAGIC = {"gzip": b"\x1f\x8b", "zip": b"PK\x03\x04"}
_EMPTY_ZIP = b"PK\x05\x06"
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_END_BYTES = 22
_ENCRYPTED = 0x1
_SHOWN_MEMBERS = 3
_COPIED_BYTES = 1 << 18
_STORED_BYTES = 0xFFFF
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)


def require_packing(start: bytes, compression: Compression, file: str) -> None:
    """Refuse a file that is packed otherwise than its name says.

    Args:
        start: Its first `START_BYTES` bytes.
        compression: How its name says that it is packed.
        file: Its name, for errors.

    Raises:
        EmptyFileError: It has no bytes.
        NotGzipError: It is no gzip, and should be one.
        NotZipError: It is no ZIP, and should be one.
        NotPlainTextError: It is packed, and should not be.
    """
    if not start:
        raise EmptyFileError("The file has no bytes", file=file)
    if compression is None:
        packed = next((name for name, magic in _MAGIC.items() if start.startswith(magic)), None)
        if packed is not None:
            what = f"The file is {packed}, although its name says plain CSV"
            raise NotPlainTextError(what, file=file)
    elif compression == "gzip" and start[:2] != _MAGIC["gzip"]:
        what = f"The file is not gzipped; it begins with the bytes {start[:2].hex(' ')}"
        raise NotGzipError(what, file=file)
    elif compression == "zip" and start not in (_MAGIC["zip"], _EMPTY_ZIP):
        what = f"The file is no ZIP; it begins with the bytes {start.hex(' ')}"
        raise NotZipError(what, file=file)


@contextmanager
def unpacked_stream(raw: BinaryIO, compression: Compression, file: str) -> Iterator[BinaryIO]:
    """Yield the text of a report file, as a stream.

    Args:
        raw: Its bytes, at their start; a ZIP's can be sought.
        compression: How it is packed.
        file: Its name, for errors.

    Raises:
        ReportFileError: It is packed otherwise, or damaged.
    """
    with naming_damage(compression, file):
        if compression is None:
            yield raw
            return
        source = as_gzip(raw, file) if compression == "zip" else raw
        with gzip.GzipFile(fileobj=source, mode="rb") as text:
            yield cast("BinaryIO", text)


@contextmanager
def naming_damage(compression: Compression, file: str) -> Iterator[None]:
    """Turn what readers of gzip raise within the block into the error that says what is damaged.

    Raises:
        TruncatedFileError: The packed file is damaged, or ends early.
    """
    try:
        yield
    except _DAMAGE as error:
        what = f"The {compression} stream is damaged or ends early: {shown(error)}"
        raise TruncatedFileError(what, file=file) from error


def as_gzip(raw: BinaryIO, file: str) -> ZipAsGzip:
    """Return the one CSV file in a ZIP as a stream of gzip.

    Args:
        raw: The ZIP; it can be sought, and stays open.
        file: Its name, for errors.

    Raises:
        TruncatedFileError: It is damaged.
        ZipContentError: It holds something else than one CSV file.
        ZipBombError: It holds far more text than a bill would.
    """
    raw.seek(0)
    require_packing(raw.read(START_BYTES), "zip", file)
    try:
        with zipfile.ZipFile(raw) as archive:
            member = _only_member(archive, file)
            comment = archive.comment
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, NotImplementedError) as error:
        what = f"The ZIP is damaged or ends early: {shown(error)}"
        raise TruncatedFileError(what, file=file) from error
    _require_end(raw, comment, file)
    raw.seek(member.header_offset)
    header = raw.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_MAGIC["zip"]):
        raise TruncatedFileError("The ZIP is damaged: its file is not where it says", file=file)
    _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    raw.seek(name_bytes + extra_bytes, os.SEEK_CUR)
    return ZipAsGzip(raw, member)


class ZipAsGzip(io.RawIOBase):
    """A member of a ZIP as a gzip stream; see `as_gzip`.

    Args:
        raw: The ZIP, where the member's packed bytes begin.
    """

    def __init__(self, raw: BinaryIO, member: zipfile.ZipInfo) -> None:
        super().__init__()
        self.text_bytes = member.file_size
        """Bytes that it says it unpacks to."""
        self._parts = _gzip_parts(raw, member)
        self._part = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say so, because a gzip reader above it tells its position only then; it is never asked to seek."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` with what comes next."""
        view = memoryview(buffer).cast("B")
        while not self._part:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._part = memoryview(part)
        size = min(len(view), len(self._part))
        view[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


def _gzip_parts(raw: BinaryIO, member: zipfile.ZipInfo) -> Iterator[bytes]:
    yield _GZIP_HEADER
    left = member.compress_size
    stored = member.compress_type == zipfile.ZIP_STORED
    while left and (data := raw.read(min(left, _STORED_BYTES if stored else _COPIED_BYTES))):
        left -= len(data)
        if stored:
            # What is not deflated stands in blocks of its own kind, each with its length.
            yield struct.pack("<BHH", not left, len(data), len(data) ^ 0xFFFF)
        yield data
    if stored and not member.compress_size:
        yield struct.pack("<BHH", 1, 0, 0xFFFF)
    if not left:
        yield struct.pack("<II", member.CRC, member.file_size & 0xFFFFFFFF)


def _only_member(archive: zipfile.ZipFile, file: str) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        names = ", ".join(shown(one.filename) for one in members[:_SHOWN_MEMBERS])
        held = f"{len(members):,} files: {names}" if members else "no file"
        raise ZipContentError(f"The ZIP holds {held}; one CSV file is read", file=file)
    (member,) = members
    name = member.orig_filename
    if "/" in name or "\\" in name or "\0" in name:
        what = "The name of the file in the ZIP is a path"
        raise ZipContentError(what, file=file, value=name)
    if not name.lower().endswith(".csv"):
        what = "The file in the ZIP is not named as a CSV file is"
        raise ZipContentError(what, file=file, value=name)
    if member.flag_bits & _ENCRYPTED:
        raise ZipContentError("The file in the ZIP is encrypted", file=file, value=name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        what = f"The file in the ZIP is compressed by the method {member.compress_type}; deflate is read"
        raise ZipContentError(what, file=file, value=name)
    large = member.file_size > max(_LEAST_BOMB_BYTES, LARGEST_RATIO * member.compress_size)
    if large:
        what = f"{member.compress_size:,} bytes of the ZIP are said to hold {member.file_size:,} bytes of CSV"
        raise ZipBombError(what, file=file)
    return member


def _require_end(raw: BinaryIO, comment: bytes, file: str) -> None:
    """Refuse a ZIP with anything behind its end: readers differ in what they make of it."""
    end = _END_BYTES + len(comment)
    size = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size - end))
    if raw.read(len(_EMPTY_ZIP)) != _EMPTY_ZIP:
        raise PaddedFileError("Bytes follow the end of the ZIP", file=file)
