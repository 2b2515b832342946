"""Encoding: report files become typed Parquet in one streaming pass.

Each report file is scanned by position with a schema of our own, because headers are untrusted and may collide. The scans
are chained and written by one sink, so memory stays flat whatever the size of the month.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.domain.dictionary import SOURCE_FILE, STRING, TIMESTAMP
from billing_lake.domain.errors import ReportFileError, StorageWriteError
from billing_lake.domain.schemas import parse_decimal
from billing_lake.domain.sources import EncodedFile
from billing_lake.engines.blocks import check_magic, line_at, row_blocks
from billing_lake.engines.cells import find_fault, unexplained
from billing_lake.engines.polars_cells import cell_names, filled, text, typed
from billing_lake.engines.polars_rounding import count_rounded, suspects

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from billing_lake.domain.schemas import Field
    from billing_lake.domain.sources import EncodeTarget, Source, SourceFile
    from billing_lake.engines.base import Log

INPUT_PER_FILE = 1 << 30
"""Compressed bytes that go into one Parquet file; it comes out at about a third of that."""

ROW_GROUP = 150_000
"""Rows of a row group: large enough for dictionaries to pay, small enough for memory."""

_REFUSALS = frozenset(
    {
        errno.ENOSPC,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EDQUOT,
        errno.EEXIST,
        errno.ENOTDIR,
    }
)


def encode_reports(source: Source, target: EncodeTarget, log: Log) -> tuple[EncodedFile, ...]:
    """Write the report files of ``source`` as Parquet; see `Engine.encode`."""
    import polars as pl

    written: list[EncodedFile] = []
    done = 0
    try:
        Path(target.folder).mkdir(parents=True, exist_ok=True)
        for source_file in source.files:
            with Path(source_file.uri).open("rb") as raw:
                check_magic(raw, source_file.name)
        for number, files in enumerate(_batches(source.files)):
            path = Path(target.folder) / f"{target.stem}-{number:05d}.parquet"
            written.append(EncodedFile(uri=str(path), rows=0, size=0))
            written[-1] = _write(files, target, path)
            done += len(files)
            rows = sum(file.rows for file in written)
            log(f"encode: {done} of {len(source.files)} files, {rows:,} rows")
    except BaseException as error:
        for file in written:
            Path(file.uri).unlink(missing_ok=True)
        if isinstance(error, OSError | pl.exceptions.PolarsError):
            raise _named(error, source, target) from error
        raise
    for file in written:
        if not file.rows:
            Path(file.uri).unlink()
    return tuple(file for file in written if file.rows)


def _batches(files: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    batch: list[SourceFile] = []
    size = 0
    for file in files:
        more = Path(file.uri).stat().st_size
        if batch and size + more > INPUT_PER_FILE:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += more
    if batch:
        yield batch


def _write(files: Sequence[SourceFile], target: EncodeTarget, path: Path) -> EncodedFile:
    import polars as pl
    import pyarrow.parquet as pq

    scales = {one.name: number[1] for one in target.fields if (number := parse_decimal(one.type))}
    scales = {
        name: scale for name, scale in scales.items() if any(name in f.columns for f in files)
    }
    cells = [_scan(file) for file in files]
    sink = pl.concat(
        rows.select(_column(field, file, target.constants) for field in target.fields)
        for rows, file in zip(cells, files, strict=True)
    ).sink_parquet(
        path,
        compression="zstd",
        row_group_size=ROW_GROUP,
        arrow_schema=_arrow_schema(target.fields),
        lazy=True,
    )
    numbers = pl.concat(
        rows.select(_text(name, file).alias(name) for name in scales)
        for rows, file in zip(cells, files, strict=True)
    )
    doubts = numbers.select(suspects(pl.col(name)).any().alias(name) for name in scales)
    _, doubtful = pl.collect_all([sink, doubts], engine="streaming")
    named = {name: scales[name] for name in scales if doubtful[name].item()}
    return EncodedFile(
        uri=str(path),
        rows=pq.read_metadata(path).num_rows,
        size=path.stat().st_size,
        rounded=count_rounded(numbers, named),
    )


def _scan(file: SourceFile) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_csv(
        file.uri,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys(cell_names(file.columns), pl.String()),
        glob=False,
    )


def _text(name: str, file: SourceFile) -> pl.Expr:
    import polars as pl

    return text(name, file.columns) if name in file.columns else pl.lit(None, pl.String())


def _column(field: Field, file: SourceFile, constants: Mapping[str, str]) -> pl.Expr:
    import polars as pl

    if field.name == SOURCE_FILE:
        return pl.lit(file.name, pl.String()).alias(field.name)
    if field.name in constants:
        return pl.lit(constants[field.name], pl.String()).alias(field.name)
    if field.name not in file.columns:
        return pl.lit(None, polars_type(field.type)).alias(field.name)
    cell = text(field.name, file.columns)
    value = cell if field.type == STRING else typed(filled(cell), field.type)
    return value.alias(field.name)


def polars_type(type_: str) -> pl.DataType:
    """Return the Polars type of an Iceberg type."""
    import polars as pl

    number = parse_decimal(type_)
    if number is not None:
        return pl.Decimal(*number)
    return {
        STRING: pl.String(),
        TIMESTAMP: pl.Datetime("us", "UTC"),
        "int": pl.Int32(),
        "long": pl.Int64(),
        "float": pl.Float32(),
        "double": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
    }[type_]


def _arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Return the fields as an Arrow schema that carries Iceberg's field ids into the files."""
    import pyarrow as pa

    simple = {
        STRING: pa.large_string(),
        TIMESTAMP: pa.timestamp("us", "UTC"),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
    }

    def one(field: Field) -> pa.Field:
        number = parse_decimal(field.type)
        type_ = simple[field.type] if number is None else pa.decimal128(*number)
        return pa.field(field.name, type_, metadata={"PARQUET:field_id": str(field.field_id)})

    return pa.schema([one(field) for field in fields])


def _named(error: Exception, source: Source, target: EncodeTarget) -> Exception:
    """Return ``error`` as one of ours: a full disk, or the fault in the rows that made the engine stop."""
    if isinstance(error, OSError) and _number(error) in _REFUSALS:
        what = f"The lake cannot be written: {error.strerror or error}"
        return StorageWriteError(what, file=target.folder)
    types = {column.name: column.type for column in source.columns}
    try:
        for file in source.files:
            line = 0
            for block in row_blocks(Path(file.uri), file.name):
                line = line or line_at(Path(file.uri), file.name, block.offset)
                find_fault(block.data, line, file.columns, types, file.name)
                line += block.data.count(b"\n")
    except ReportFileError as fault:
        return fault
    return unexplained(", ".join(file.name for file in source.files[:3]), str(error))


def _number(error: OSError) -> int | None:
    """Return the error number, which Polars only writes into the text."""
    if error.errno is not None:
        return error.errno
    return next((number for number in _REFUSALS if f"(os error {number})" in str(error)), None)
