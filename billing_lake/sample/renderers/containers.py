"""Writes rendered lines as CSV, packed or not, and as Parquet like that of providers."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from billing_lake.domain.types import STRING, TIMESTAMP, Decimal, Map, Type
from billing_lake.sample.renderers.files import appear_when_complete, csv_line, gzip_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from billing_lake.sample.renderers.files import Note

    Field = Callable[[str], tuple[str, Type]]
    Write = Callable[[memoryview], Any]

_PARQUET_TYPES: dict[Type, Any] = {
    STRING: pa.string(),
    TIMESTAMP: pa.timestamp("ms"),
    Map(STRING, STRING): pa.map_(pa.string(), pa.string()),
}
_ANY_DAY = (2024, 1, 1, 0, 0, 0)
"""The same rows are the same bytes, so a ZIP has no time of its own."""


@contextmanager
def report_writer(
    path: Path, container: str, header: Collection[str], field: Field, note: Note
) -> Iterator[Write]:
    """Open a report file for lines of CSV without a header; it appears under its name when it is complete.

    Args:
        path: The file.
        container: What it is written in; see `spec.CONTAINERS`.
        header: Its header cells.
        field: Returns the name that a column has in Parquet, and its type in the lake.
        note: Sees the file before it has its name.
    """
    if container == "snappy.parquet":
        with (
            appear_when_complete(path, note) as hidden,
            _parquet(hidden, tuple(header), field) as write,
        ):
            yield write
        return
    with _stream(path, container, note) as stream:
        stream.write(f"{csv_line(header)}\n".encode())
        yield stream.write


@contextmanager
def _stream(path: Path, container: str, note: Note) -> Iterator[IO[bytes]]:
    if container == "csv.gz":
        with gzip_writer(path, note) as stream:
            yield stream
        return
    with appear_when_complete(path, note) as hidden:
        if container == "csv":
            with hidden.open("wb") as stream:
                yield stream
            return
        member = zipfile.ZipInfo(path.name.removesuffix(".zip"), _ANY_DAY)
        member.compress_type = zipfile.ZIP_DEFLATED
        with (
            zipfile.ZipFile(hidden, "w") as archive,
            archive.open(member, "w", force_zip64=True) as inner,
        ):
            yield inner


@contextmanager
def _parquet(path: Path, header: Sequence[str], field: Field) -> Iterator[Write]:
    """Write lines of CSV as Parquet: money as doubles, moments in milliseconds, JSON as maps; what is empty is NULL.

    Cells whose columns have one name are one column, with the first of them that holds something, as AWS merges them.
    """
    fields = dict(map(field, header))
    names = [name for name, _ in map(field, header)]
    schema = pa.schema([(name, _parquet_type(type_)) for name, type_ in fields.items()])
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:

        def write(lines: memoryview) -> None:
            cells = pl.read_csv(BytesIO(lines), has_header=False, infer_schema=False)
            merged = cells.select(
                pl.coalesce(pl.nth(*(n for n, own in enumerate(names) if own == name))).alias(name)
                for name in fields
            )
            columns = [_column(merged[name], type_) for name, type_ in fields.items()]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

        yield write


def _parquet_type(type_: Type) -> Any:
    return pa.float64() if isinstance(type_, Decimal) else _PARQUET_TYPES[type_]


def _column(cells: pl.Series, type_: Type) -> pa.Array:
    if isinstance(type_, Decimal):
        return cells.cast(pl.Float64).to_arrow()
    if type_ == TIMESTAMP:
        moments = cells.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms")
        return moments.to_arrow()
    if isinstance(type_, Map):
        maps = [None if text is None else [*_texts(text).items()] for text in cells]
        return pa.array(maps, _parquet_type(type_))
    return cells.to_arrow().cast(pa.string())


def _texts(text: str) -> dict[str, str]:
    return json.loads(text, parse_float=str, parse_int=str)  # type: ignore[no-any-return]
