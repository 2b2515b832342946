"""Says what a cell of each type may look like, and searches for the one that does not.

An engine only learns that something in millions of cells is wrong. This reads the rows again, slowly, to say which.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache

from billing_lake.domain.errors import (
    BadValueError,
    EncodingError,
    RaggedRowError,
    ReportFileError,
)
from billing_lake.domain.map_texts import BadMapError, map_of
from billing_lake.domain.periods import moment_of
from billing_lake.domain.records import BadCellError, row_end, split_row
from billing_lake.domain.shared_columns import origins
from billing_lake.domain.types import STRING, TIMESTAMP, Map, Type
from billing_lake.domain.types import Decimal as DecimalType

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_OTHER_ZONE = re.compile(r".*[0-9] ?(?:[+-][0-9]{2}:?[0-9]{0,2}|[A-Z]{1,5})")
_WIDE = Context(prec=400)
_DISAGREE = "Have the period delivered with one of the two columns; no table was changed"


@lru_cache(maxsize=1 << 16)
def fits(text: str, type_: Type) -> bool:
    """Say whether ``text`` is a cell of the type ``type_``; an empty cell is NULL and always fits."""
    if not text:
        return True
    if isinstance(type_, DecimalType):
        precision, scale = type_.precision, type_.scale
        if _NUMBER.fullmatch(text) is None:
            return False
        number = Decimal(text)
        if number and number.adjusted() > precision:
            return False
        rounded = number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
        return abs(rounded) < Decimal(10) ** (precision - scale)
    if type_ == TIMESTAMP:
        return moment_of(text) is not None
    return not isinstance(type_, Map) or _map_fault(text) is None


def find_fault(
    data: bytes,
    first_line: int,
    names: Sequence[str],
    types: Mapping[str, Type],
    file: str,
    nulls: Collection[str],
) -> None:
    """Raise the error that says what is wrong with the rows ``data``; return when nothing is.

    Args:
        data: Whole CSV rows without header.
        first_line: Line of the file that they begin on.
        names: Column name of each cell.
        types: Column name to type.
        file: The file's name, for the error.
        nulls: Texts that mean NULL, and so fit every type.

    Raises:
        ReportFileError: The first fault, by its own class.
    """
    columns = _Checked(names, types, file, nulls)
    start, line = 0, first_line
    while start < len(data):
        end = row_end(data, start) or len(data)
        _check_row(data[start:end], line, columns)
        line += data.count(b"\n", start, end)
        start = end


def unexplained(file: str, reason: str) -> ReportFileError:
    """Return the error for a fault that an engine met and `find_fault` did not see."""
    return ReportFileError(
        f"The engine cannot read the file: {reason.splitlines()[0] if reason else 'no reason'}",
        file=file,
    )


class _Checked:
    """The columns of a file whose cells are looked at."""

    def __init__(
        self, names: Sequence[str], types: Mapping[str, Type], file: str, nulls: Collection[str]
    ) -> None:
        self.names = names
        self.nulls = {"", *nulls}
        self.file = file
        self.typed = [
            (position, type_)
            for position, name in enumerate(names)
            if (type_ := types.get(name, STRING)) != STRING
        ]
        self.agreeing = {
            name: origin.cells for name, origin in origins(tuple(names)).items() if origin.agree
        }


def _check_row(data: bytes, line: int, columns: _Checked) -> None:
    names, file = columns.names, columns.file
    text = _decode(data, line, file).removesuffix("\n").removesuffix("\r")
    try:
        row = split_row(text) if text else []
    except BadCellError as error:
        column = names[error.cell] if error.cell < len(names) else None
        raise error.kind(str(error), file=file, line=line, column=column) from error
    if len(row) != len(names):
        what = f"The row has {len(row):,} cells, the header {len(names):,}"
        raise RaggedRowError(what, file=file, line=line)
    for position, type_ in columns.typed:
        if row[position] not in columns.nulls and not fits(row[position], type_):
            what = _misfit(row[position], type_)
            column = names[position]
            raise BadValueError(what, file=file, line=line, column=column, value=row[position])
    for name, cells in columns.agreeing.items():
        values = dict.fromkeys(row[cell] for cell in cells if row[cell] not in columns.nulls)
        if len(values) > 1:
            what = f"Header cells {' and '.join(str(cell + 1) for cell in cells)} are one column, and the row differs in them"
            value = " | ".join(values)
            raise BadValueError(
                what, remedy=_DISAGREE, file=file, line=line, column=name, value=value
            )


def _misfit(text: str, type_: Type) -> str:
    if isinstance(type_, Map):
        return _map_fault(text) or ""
    if type_ == TIMESTAMP and _OTHER_ZONE.fullmatch(text):
        return "The moment is not in UTC, as those of billing exports are"
    return f"The value is no {type_}"


def _map_fault(text: str) -> str | None:
    """Return why ``text`` is no map; None where it is one."""
    try:
        map_of(text)
    except BadMapError as error:
        return str(error)
    return None


def _decode(data: bytes, line: int, file: str) -> str:
    zero = data.find(0)
    if zero >= 0:
        # Spark's reader drops it from some cells.
        line += data.count(b"\n", 0, zero)
        raise EncodingError("A zero byte is part of no text", file=file, line=line)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        what = f"Byte 0x{data[error.start]:02x} is not UTF-8"
        near = data[max(0, error.start - 20) : error.start + 20].decode("utf-8", "replace")
        raise EncodingError(what, file=file, line=line, value=near) from error
