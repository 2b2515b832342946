"""Encoding: report files become typed Parquet in one streaming pass.

Each report file is scanned by position with a schema of our own, because headers are untrusted and may collide. The scans
are chained and written by one sink, so memory stays flat whatever the size of the month.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.domain.cells import find_fault, unexplained
from billing_lake.domain.dictionary import SOURCE_FILE, STRING, TIMESTAMP
from billing_lake.domain.errors import ReportFileError, StorageWriteError
from billing_lake.domain.schemas import parse_decimal
from billing_lake.domain.sources import EncodedFile
from billing_lake.engines.blocks import check_magic, line_at, row_blocks
from billing_lake.engines.polars_cells import cell_names, decimal, filled, moment, spelling_of, text

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from billing_lake.domain.schemas import Field
    from billing_lake.domain.sources import EncodeTarget, Source, SourceFile
    from billing_lake.engines.base import Log

INPUT_PER_FILE = 256 << 20
"""Compressed bytes that go into one Parquet file, which comes out at about 100 MB; a report file is never divided."""

ROW_GROUP = 150_000
"""Rows of a row group: large enough for dictionaries to pay, small enough for memory."""

_SAMPLE = 1_000

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

    try:
        _sink(files, target, path, [_spellings(file, target.fields) for file in files])
    except pl.exceptions.PolarsError:
        # Several spellings in one column and quoted empty numbers are legal and rare; the plan that takes
        # them all costs a fifth more, so it is the second try, and its error is the one that counts.
        _sink(files, target, path, [None] * len(files))
    rows = pq.read_metadata(path).num_rows
    return EncodedFile(uri=str(path), rows=rows, size=path.stat().st_size)


def _sink(
    files: Sequence[SourceFile],
    target: EncodeTarget,
    path: Path,
    spellings: Sequence[Mapping[str, str] | None],
) -> None:
    import polars as pl

    pl.concat(
        _scan(file).select(
            _column(field, file, target.constants, spelling) for field in target.fields
        )
        for file, spelling in zip(files, spellings, strict=True)
    ).sink_parquet(
        path,
        compression="zstd",
        row_group_size=ROW_GROUP,
        arrow_schema=_arrow_schema(target.fields),
    )


def _spellings(file: SourceFile, fields: Sequence[Field]) -> dict[str, str]:
    """Return the pattern of each column of moments that all of its first cells fit."""
    names = [one.name for one in fields if one.type == TIMESTAMP and one.name in file.columns]
    head = _scan(file).head(_SAMPLE).select(text(name, file.columns).alias(name) for name in names)
    return {column.name: pattern for column in head.collect() if (pattern := spelling_of(column))}


def _scan(file: SourceFile) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_csv(
        file.uri,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys(cell_names(file.columns), pl.String()),
        glob=False,
    )


def _column(
    field: Field,
    file: SourceFile,
    constants: Mapping[str, str],
    spellings: Mapping[str, str] | None,
) -> pl.Expr:
    import polars as pl

    if field.name == SOURCE_FILE:
        return pl.lit(file.name, pl.String()).alias(field.name)
    if field.name in constants:
        return pl.lit(constants[field.name], pl.String()).alias(field.name)
    if field.name not in file.columns:
        return pl.lit(None, polars_type(field.type)).alias(field.name)
    cell = text(field.name, file.columns)
    if field.type == STRING:
        return cell.alias(field.name)
    known = spellings or {}
    cell = filled(cell) if spellings is None else cell
    value = (
        moment(cell, known.get(field.name))
        if field.type == TIMESTAMP
        else decimal(cell, field.type)
    )
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
