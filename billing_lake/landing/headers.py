"""The first lines of report files: the header, and the billing period that a loose file states.

Only as much is decompressed as those lines need. The engine reads the rest of the file, and reports its faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from billing_lake.domain.errors import (
    BadHeaderError,
    BadValueError,
    EmptyFileError,
    EncodingError,
    MissingColumnError,
    RaggedRowError,
    ReportFileError,
    UnclosedQuoteError,
)
from billing_lake.domain.packing import (
    START_BYTES,
    Compression,
    require_packing,
    unpacked_stream,
)
from billing_lake.domain.periods import period_of_text
from billing_lake.domain.records import BadCellError, row_end, split_row
from billing_lake.formats.base import Format
from billing_lake.formats.headers import column_names

HEADER_LIMIT_BYTES = 1024 * 1024
"""Longest header, in bytes: some 1,000 columns take 50 kB."""

ROW_LIMIT_BYTES = 64 * 1024 * 1024
"""Longest first row of a loose file, in bytes."""

_BLOCK_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"


def read_header(stream: BinaryIO, file: str, compression: Compression = "gzip") -> tuple[str, ...]:
    """Return the header cells of a report file.

    Args:
        stream: The file, at its start.
        file: Its name, for errors.
        compression: How it is packed.

    Raises:
        EmptyFileError: It has no bytes, or no header.
        NotGzipError: It should be gzipped, and is not.
        NotZipError: It should be a ZIP, and is not.
        NotPlainTextError: It should not be packed, and is.
        ZipContentError: It is a ZIP of something else than one CSV file.
        TruncatedFileError: It is damaged before the header's end.
        EncodingError: The header is not UTF-8.
        BadHeaderError: The header is no CSV, or too long.
    """
    with _opened(stream, file, compression) as records:
        return _header(records, file)


def read_period(
    stream: BinaryIO, file: str, format_: Format, compression: Compression = "gzip"
) -> str:
    """Return the billing period that the first row of a loose CSV file states.

    Args:
        stream: The file, at its start.
        file: Its name, for errors.
        format_: The format that it should have.
        compression: How it is packed.

    Raises:
        ReportFileError: It has no rows, no such column, or no date in it; or any error of `read_header`.
    """
    with _opened(stream, file, compression) as records:
        return _period(records, file, format_)


def first_ragged_row(
    stream: BinaryIO, file: str, compression: Compression
) -> RaggedRowError | None:
    """Return the error for the first row of a CSV file that has not as many cells as its header; None where all have.

    Raises:
        ReportFileError: The file cannot be read to its end.
    """
    with _opened(stream, file, compression) as records:
        width = len(_header(records, file))
        line = records.line
        while (row := records.next(ROW_LIMIT_BYTES)) is not None:
            if len(row) != width:
                return _ragged(row, width, file, line)
            line = records.line
    return None


def _ragged(row: list[str], width: int, file: str, line: int) -> RaggedRowError:
    what = f"The row has {len(row):,} cells and the header {width:,}"
    return RaggedRowError(what, file=file, line=line)


@contextmanager
def _opened(stream: BinaryIO, file: str, compression: Compression) -> Iterator[_Records]:
    start = stream.read(START_BYTES)
    require_packing(start, compression, file)
    stream.seek(0)
    with unpacked_stream(stream, compression, file) as text:
        yield _Records(text, file)


def _period(records: _Records, file: str, format_: Format) -> str:
    header = _header(records, file)
    names = column_names(header, file, format_)
    column = format_.roles.period_start
    if column is None or column not in names:
        what = "The file has no column that states its billing period"
        raise MissingColumnError(what, file=file, line=1, column=column)
    line, row = records.line, records.next(ROW_LIMIT_BYTES)
    while row == [""]:
        line, row = records.line, records.next(ROW_LIMIT_BYTES)
    if row is None:
        what = "The file has no rows, and so no billing period"
        raise ReportFileError(what, remedy="Remove it, or have it delivered with rows", file=file)
    if len(row) != len(header):
        raise _ragged(row, len(header), file, line)
    stated = [cell for name, cell in zip(names, row, strict=True) if name == column and cell]
    cell = stated[0] if stated else ""
    period = period_of_text(cell)
    if period is None:
        what = "The first row states no billing period"
        raise BadValueError(what, file=file, line=line, column=column, value=cell)
    return period


def _header(records: _Records, file: str) -> tuple[str, ...]:
    cells = records.next(HEADER_LIMIT_BYTES, errors="strict")
    if cells is None or cells == [""]:
        raise EmptyFileError("The file has no header", file=file, line=1)
    for cell in cells:
        if "\0" in cell:
            raise BadHeaderError("The header has a NUL byte", file=file, line=1, value=cell)
    return tuple(cells)


class _Records:
    """The records of a CSV file, one after the other.

    Attributes:
        line: Line that the next record begins in, counted from 1.
    """

    def __init__(self, text: BinaryIO, file: str) -> None:
        self.line = 1
        self._text = text
        self._file = file
        self._ended = False
        self._buffer = b""
        self._fill()
        self._buffer = self._buffer.removeprefix(_BOM)

    def next(self, limit: int, errors: str = "backslashreplace") -> list[str] | None:
        """Return the cells of the next record of at most ``limit`` bytes; None at the end of the file.

        Args:
            limit: Longest record.
            errors: What becomes of bytes that are no UTF-8, as for `bytes.decode`.
        """
        end = self._end()
        while not end and not self._ended and len(self._buffer) <= limit:
            self._fill()
            end = self._end()
        if not self._buffer:
            return None
        if not end or end > limit:
            raise self._endless(limit)
        record, self._buffer = self._buffer[:end], self._buffer[end:]
        line, self.line = self.line, self.line + record.count(b"\n")
        try:
            return self._cells(record.removesuffix(b"\n").removesuffix(b"\r").decode(errors=errors))
        except UnicodeDecodeError as error:
            value = record[max(0, error.start - 20) : error.start + 20].decode(
                errors="backslashreplace"
            )
            what = "The header is not UTF-8"
            raise EncodingError(what, file=self._file, line=line, value=value) from error
        except BadCellError as error:
            raise error.kind(str(error), file=self._file, line=line) from error

    def _end(self) -> int:
        return row_end(self._buffer) or (len(self._buffer) if self._ended else 0)

    def _cells(self, record: str) -> list[str]:
        if "\r" in record and '"' not in record:
            what = "A carriage return stands in a line without a line feed"
            raise ReportFileError(what, file=self._file, line=self.line)
        return split_row(record)

    def _fill(self) -> None:
        # Doubling what is there keeps the work linear although each attempt starts at the record's beginning.
        more = self._text.read(max(_BLOCK_BYTES, len(self._buffer)))
        self._ended = not more
        self._buffer += more

    def _endless(self, limit: int) -> ReportFileError:
        if len(self._buffer) <= limit or self.line > 1:
            what = "A quote opens and never closes"
            return UnclosedQuoteError(what, file=self._file, line=self.line)
        what = f"The header has no end within {limit:,} bytes"
        return BadHeaderError(what, file=self._file, line=self.line)
