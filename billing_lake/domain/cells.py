"""What a cell of each type may look like, and the search for the one that does not.

An engine only learns that something in millions of cells is wrong. This reads the rows again, slowly, to say which.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal
from functools import lru_cache

from billing_lake.domain.dictionary import TIMESTAMP
from billing_lake.domain.errors import (
    BadValueError,
    EncodingError,
    RaggedRowError,
    ReportFileError,
    UnclosedQuoteError,
)
from billing_lake.domain.schemas import parse_decimal

TIMESTAMP_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d",
)
"""Spellings of moments in billing exports, as chrono patterns; all of them are UTC."""

_SECONDS = len("2025-03-01T00:00:00")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,9})?Z?)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_WIDE = Context(prec=400)


@lru_cache(maxsize=1 << 16)
def fits(text: str, type_: str) -> bool:
    """Say whether ``text`` is a cell of the type ``type_``; an empty cell is NULL and always fits."""
    if not text:
        return True
    decimal = parse_decimal(type_)
    if decimal is not None:
        precision, scale = decimal
        if _NUMBER.fullmatch(text) is None:
            return False
        number = Decimal(text)
        if number and number.adjusted() > precision:
            return False
        rounded = number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
        return abs(rounded) < Decimal(10) ** (precision - scale)
    if type_ == TIMESTAMP:
        return _MOMENT.fullmatch(text) is not None and _is_moment(text)
    return True


def find_fault(
    data: bytes, first_line: int, names: Sequence[str], types: Mapping[str, str], file: str
) -> None:
    """Raise the error that says what is wrong with the rows ``data``; return when nothing is.

    Args:
        data: Whole CSV rows without header.
        first_line: Line of the file that they begin on.
        names: Column name of each cell.
        types: Column name to type.
        file: The file's name, for the error.

    Raises:
        ReportFileError: The first fault, by its own class.
    """
    csv.field_size_limit(1 << 30)
    # Before Python 3.11 the reader takes no NUL; in an error, the sign for it says more anyway.
    text = _decode(data, first_line, file).replace("\0", "\N{SYMBOL FOR NULL}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = first_line
    try:
        for row in reader:
            _check_row(row, line, names, types, file)
            line = first_line + reader.line_num
    except csv.Error as error:
        what = f"The row cannot be split into cells: {error}"
        raise UnclosedQuoteError(what, file=file, line=line) from error


def find_fault_in(
    blocks: Iterable[tuple[bytes, int]], names: Sequence[str], types: Mapping[str, str], file: str
) -> None:
    """Apply `find_fault` to each of ``blocks`` (bytes, first line)."""
    for data, line in blocks:
        find_fault(data, line, names, types, file)


def unexplained(file: str, reason: str) -> ReportFileError:
    """Return the error for a fault that an engine met and `find_fault` did not see."""
    return ReportFileError(
        f"The engine cannot read the file: {reason.splitlines()[0] if reason else 'no reason'}",
        file=file,
    )


def _check_row(
    row: Sequence[str], line: int, names: Sequence[str], types: Mapping[str, str], file: str
) -> None:
    if len(row) != len(names):
        what = f"The row has {len(row):,} cells, the header {len(names):,}"
        raise RaggedRowError(what, file=file, line=line)
    for name, text in zip(names, row, strict=True):
        type_ = types.get(name)
        if type_ is not None and not fits(text, type_):
            what = f"The value is no {type_.replace(' ', '')}"
            raise BadValueError(what, file=file, line=line, column=name, value=text)


def _decode(data: bytes, first_line: int, file: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        what = f"Byte 0x{data[error.start]:02x} is not UTF-8"
        near = data[max(0, error.start - 20) : error.start + 20].decode("utf-8", "replace")
        raise EncodingError(what, file=file, line=line, value=near) from error


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text[:_SECONDS])
    except ValueError:
        return False
    return True
