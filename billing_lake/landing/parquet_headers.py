"""The footers of Parquet report files: their columns, and the billing period that a loose file states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from billing_lake.domain.errors import (
    BadHeaderError,
    BadValueError,
    DuplicateHeaderError,
    EmptyFileError,
    MissingColumnError,
    NotParquetError,
    ReportFileError,
    TruncatedFileError,
    shown,
)
from billing_lake.domain.periods import period_of_text
from billing_lake.domain.types import Map
from billing_lake.formats.base import Format
from billing_lake.formats.headers import MAX_COLUMNS, column_names

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_ENTRY_PARTS = 2
_NESTED = "Have the column left out, or written as JSON text (in BigQuery: TO_JSON_STRING)"


def read_parquet_header(stream: BinaryIO, file: str, format_: Format | None) -> tuple[str, ...]:
    """Return the names of the columns of a Parquet report file.

    Args:
        stream: The file; it can be sought.
        file: Its name, for errors.
        format_: Says which columns may be nested; None where that is to be found out by the names.

    Raises:
        EmptyFileError: It has no bytes, or no columns.
        NotParquetError: It is no Parquet.
        TruncatedFileError: Its footer is not there, or damaged.
        BadHeaderError: A column is nested, and nothing says how it is read.
    """
    with opened_parquet(stream, file) as parquet:
        schema = parquet.schema_arrow
    if not schema.names:
        raise EmptyFileError("The file has no columns", file=file)
    for one in schema if len(schema) <= MAX_COLUMNS else ():
        if format_ is not None and not _is_read(one, format_):
            what = f"The column is of the nested type {shown(one.type)}, and what is read are plain columns and maps of text"
            raise BadHeaderError(what, file=file, column=one.name, remedy=_NESTED)
    return tuple(schema.names)


def parquet_columns(header: tuple[str, ...], file: str, format_: Format) -> tuple[str, ...]:
    """Return the column name of each column of a Parquet file, which are as many.

    Raises:
        BadHeaderError: Two have one column name, or any error of `column_names`.
    """
    names = column_names(header, file, format_)
    plain = [format_.name_of(raw) for raw in header]
    for position, name in enumerate(plain):
        first = plain.index(name)
        if first != position:
            what = (
                f"Two columns have one name, {shown(header[first])} and {shown(header[position])}"
            )
            raise DuplicateHeaderError(what, file=file, column=header[position])
    return names


def read_parquet_period(stream: BinaryIO, file: str, format_: Format) -> str:
    """Return the billing period that the first row of a loose Parquet file states.

    Raises:
        ReportFileError: It has no rows, no such column, or no date in it; or any error of `read_parquet_header`.
    """
    header = read_parquet_header(stream, file, format_)
    names = parquet_columns(header, file, format_)
    column = format_.roles.period_start
    if column is None or column not in names:
        what = "The file has no column that states its billing period"
        raise MissingColumnError(what, file=file, column=column)
    stream.seek(0)
    with opened_parquet(stream, file) as parquet:
        own = header[names.index(column)]
        first = next(parquet.iter_batches(batch_size=1, columns=[own]), None)
        cell = first.column(0)[0] if first is not None and first.num_rows else None
    if cell is None:
        what = "The file has no rows, and so no billing period"
        raise ReportFileError(what, remedy="Remove it, or have it delivered with rows", file=file)
    text = moment_text(cell)
    period = period_of_text(text)
    if period is None:
        what = "The first row states no billing period"
        raise BadValueError(what, file=file, column=column, value=text)
    return period


@contextmanager
def opened_parquet(stream: BinaryIO, file: str) -> Iterator[pq.ParquetFile]:
    """Open the Parquet file ``stream``.

    Raises:
        EmptyFileError: It has no bytes.
        NotParquetError: It is no Parquet.
        TruncatedFileError: It is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = stream.read(len(_MAGIC))
    if not start:
        raise EmptyFileError("The file has no bytes", file=file)
    if start != _MAGIC:
        what = f"The file is no Parquet; it begins with the bytes {start.hex(' ')}"
        raise NotParquetError(what, file=file)
    stream.seek(0)
    try:
        with pq.ParquetFile(stream) as parquet:
            yield parquet
    except (pa.ArrowException, EOFError, OSError) as error:
        # Arrow raises an OSError without a number for damage in a file, too.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"The Parquet file is damaged or ends early: {shown(error)}"
        raise TruncatedFileError(what, file=file) from error


def _is_read(field: pa.Field, format_: Format) -> bool:
    """Say whether a column is plain, a map where the format has one, or becomes text."""
    import pyarrow.types as t

    if not t.is_nested(field.type):
        return True
    name = format_.name_of(field.name)
    if isinstance(format_.type_of(name), Map):
        return _is_map(field.type)
    return format_.nested_as_text(name) and _has_text(field.type)


def _is_map(type_: pa.DataType) -> bool:
    import pyarrow.types as t

    if _is_list(type_) and t.is_struct(type_.value_type):
        entry = type_.value_type
        keyed = [entry.field(n).name for n in range(entry.num_fields)] == ["key", "value"]
        return keyed and not any(t.is_nested(entry.field(n).type) for n in range(_ENTRY_PARTS))
    return t.is_map(type_) and not t.is_nested(type_.key_type) and not t.is_nested(type_.item_type)


def _has_text(type_: pa.DataType) -> bool:
    """Say whether every engine writes the values of a type alike, as text or within JSON text."""
    import pyarrow.types as t

    if t.is_map(type_):
        return not t.is_nested(type_.key_type) and all(
            map(_has_text, (type_.key_type, type_.item_type))
        )
    if t.is_struct(type_) or _is_list(type_):
        return all(_has_text(type_.field(n).type) for n in range(type_.num_fields))
    if t.is_timestamp(type_):
        return bool(type_.unit != "ns")
    texts = (t.is_string, t.is_large_string, t.is_string_view, t.is_boolean, t.is_date32, t.is_null)
    numbers = (t.is_integer, t.is_float32, t.is_float64, t.is_decimal)
    return any(one(type_) for one in (*texts, *numbers))


def _is_list(type_: pa.DataType) -> bool:
    import pyarrow.types as t

    return bool(t.is_list(type_) or t.is_large_list(type_))


def moment_text(cell: pa.Scalar) -> str:
    """Return the text of a cell that states a moment, as reports of CSV write it; empty for NULL."""
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_timestamp(cell.type):
        # One of another zone is the same moment in UTC; one without a zone is UTC, as to the engines.
        cell = cell.cast(pa.timestamp("us", cell.type.tz and "UTC"), safe=False)
    value: Any = cell.as_py()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else str(value or "")
