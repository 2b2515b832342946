"""The headers of report files, whatever they are written in: CSV has its first row, Parquet its footer."""

from __future__ import annotations

from typing import BinaryIO

from billing_lake.formats.base import Format
from billing_lake.formats.headers import column_names
from billing_lake.landing.headers import read_header, read_period
from billing_lake.landing.parquet_headers import (
    parquet_columns,
    read_parquet_header,
    read_parquet_period,
)


def header_of(
    stream: BinaryIO, key: str, format_: Format, *, is_known: bool = True
) -> tuple[str, ...]:
    """Return the header cells of the report file at ``key``, opened as ``stream``.

    Unless ``is_known``, the file may be of any other format that has such files: its columns are not judged.

    Raises:
        ReportFileError: It has none that can be read.
    """
    container, compression = format_.packing_of(key)
    if container == "parquet":
        return read_parquet_header(stream, key, format_ if is_known else None)
    return read_header(stream, key, compression)


def header_columns(header: tuple[str, ...], key: str, format_: Format) -> tuple[str, ...]:
    """Return the column name of each cell of the ``header`` of the report file at ``key``.

    Raises:
        BadHeaderError: A cell cannot become a column name.
    """
    container, _ = format_.packing_of(key)
    names_of = parquet_columns if container == "parquet" else column_names
    return names_of(header, key, format_)


def promised_cells(cells: tuple[str, ...], key: str, format_: Format) -> tuple[str, ...]:
    """Return which of a manifest's header ``cells`` have a column in the report file at ``key``.

    In Parquet AWS writes one column for all cells that have one name there.
    """
    container, _ = format_.packing_of(key)
    if container != "parquet":
        return cells
    first: dict[str, str] = {}
    for raw in cells:
        first.setdefault(format_.name_of(raw), raw)
    return tuple(first.values())


def first_row_period(stream: BinaryIO, key: str, format_: Format) -> str:
    """Return the billing period that the first row of the report file at ``key`` states.

    Raises:
        ReportFileError: It states none.
    """
    container, compression = format_.packing_of(key)
    if container == "parquet":
        return read_parquet_period(stream, key, format_)
    return read_period(stream, key, format_, compression)
