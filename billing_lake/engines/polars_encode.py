"""Encoding: report files become typed Parquet in one streaming pass.

Each report file is scanned by position with a schema of our own, because headers are untrusted and may collide. The scans
are chained and written by one sink, so memory stays flat whatever the size of the month.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from billing_lake.aws.errors import credentials_error
from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.errors import ReportFileError, StorageWriteError, UnreadableFileError
from billing_lake.domain.sources import EncodedFile
from billing_lake.domain.text_values import find_fault, unexplained
from billing_lake.domain.types import Type
from billing_lake.engines.blocks import (
    csv_size,
    line_at,
    parquet_size,
    refuse_padding,
    row_blocks,
)
from billing_lake.engines.digests import require_unchanged
from billing_lake.engines.polars_access import error_text, is_s3_error
from billing_lake.engines.polars_parquet import open_reports
from billing_lake.engines.polars_parsing import cell_names, spellings, typed
from billing_lake.files.parquet_types import arrow_schema

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.packing import Compression
    from billing_lake.domain.schemas import Field
    from billing_lake.domain.sources import EncodeTarget, Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access
    from billing_lake.engines.polars_parquet import ParquetReport
    from billing_lake.files.base import Files

INPUT_PER_FILE_BYTES = 256 << 20
"""Compressed bytes that go into one Parquet file, which comes out at about 100 MB; a report file is never divided."""

ROW_GROUP_ROWS = 150_000
"""Rows of a row group: large enough for dictionaries to pay, small enough for memory."""


def encode_reports(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[EncodedFile, ...]:
    """Write the report files of ``source`` as Parquet; see `Engine.encode`."""
    import polars as pl

    csv = partial(_write_csv, nulls=source.nulls, compression=source.compression)
    write = _write_parquet if source.container == "parquet" else csv
    batches = list(_batches(source, access.files))
    written: list[EncodedFile] = []
    done = 0
    try:
        access.files.make_folder(target.folder)
        for number, files in enumerate(batches):
            uri = f"{target.folder.rstrip('/')}/{target.stem}-{number:05d}.parquet"
            write(files, target, uri, access)
            written.append(EncodedFile(uri=uri, rows=0, size=0))
            require_unchanged(files, access.files)
            written[-1] = finished(uri, access.files)
            done += len(files)
            rows = sum(file.rows for file in written)
            log(f"encode: {done} of {len(source.files)} files, {rows:,} rows")
    except BaseException as error:
        for file in written:
            access.files.remove(file.uri)
        if isinstance(error, OSError | pl.exceptions.PolarsError):
            # A file that is being rewritten is no stream of gzip for a while, and that is not what is wrong with it.
            require_unchanged(source.files, access.files)
            raise _named(error, source, target, access) from error
        raise
    for file in written:
        if not file.rows:
            access.files.remove(file.uri)
    return tuple(file for file in written if file.rows)


def _batches(source: Source, files: Files) -> Iterator[list[SourceFile]]:
    """Yield the files that make one Parquet file; each of them is there, and begins as its format says."""
    batch: list[SourceFile] = []
    size = 0
    for file in source.files:
        more = _size(file, source, files)
        if batch and size + more > INPUT_PER_FILE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += more
    if batch:
        yield batch


def _size(file: SourceFile, source: Source, files: Files) -> int:
    if source.container == "parquet":
        return parquet_size(files, file.uri, file.name)
    return csv_size(files, file.uri, file.name, source.compression)


def finished(uri: str, files: Files) -> EncodedFile:
    """Return a finished Parquet file, as its footer has it."""
    import pyarrow.parquet as pq

    with files.open(uri) as stream:
        rows = pq.read_metadata(stream).num_rows
    return EncodedFile(uri=uri, rows=rows, size=files.size(uri))


def _write_parquet(
    files: Sequence[SourceFile], target: EncodeTarget, uri: str, access: Access
) -> None:
    def column(report: ParquetReport, field: Field) -> pl.Expr:
        constant = _constant(field, report.file, target.constants)
        return report.column(field.name, field.type) if constant is None else constant

    reports = open_reports(files, access, target.fields)
    rows = [report.rows.select(column(report, one) for one in target.fields) for report in reports]
    _sink(rows, target, uri, access)


def _write_csv(
    files: Sequence[SourceFile],
    target: EncodeTarget,
    uri: str,
    access: Access,
    nulls: Collection[str],
    compression: Compression,
) -> None:
    import polars as pl

    scans = [access.scan_csv(one, cell_names(one.columns), nulls, compression) for one in files]

    def sink(known: Sequence[Mapping[str, str] | None]) -> None:
        rows = [
            scan.select(_column(field, file, target.constants, spelling) for field in target.fields)
            for scan, file, spelling in zip(scans, files, known, strict=True)
        ]
        _sink(rows, target, uri, access)

    try:
        sink(
            [
                spellings(scan, file.columns, target.fields)
                for scan, file in zip(scans, files, strict=True)
            ]
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or is_s3_error(error)):
            raise
        # Several spellings in one column and quoted empty numbers are legal and rare; the plan that takes them all costs a
        # fifth more, so it is the second try, and its error is the one that counts.
        sink([None] * len(files))


def _sink(rows: Sequence[pl.LazyFrame], target: EncodeTarget, uri: str, access: Access) -> None:
    import polars as pl

    with access.files.create(uri) as stream:
        pl.concat(rows).sink_parquet(
            stream,
            compression="zstd",
            row_group_size=ROW_GROUP_ROWS,
            arrow_schema=arrow_schema(target.fields),
        )


def _column(
    field: Field,
    file: SourceFile,
    constants: Mapping[str, str],
    known: Mapping[str, str] | None,
) -> pl.Expr:
    constant = _constant(field, file, constants)
    if constant is not None:
        return constant
    return typed(field, file, known)


def _constant(field: Field, file: SourceFile, constants: Mapping[str, str]) -> pl.Expr | None:
    """Return the value that all rows of ``file`` have in the lake's own columns; None for a column of the report."""
    import polars as pl

    value = file.name if field.name == SOURCE_FILE else constants.get(field.name)
    return None if value is None else pl.lit(value, pl.String()).alias(field.name)


def unwritable(error: OSError, folder: str) -> StorageWriteError:
    """Return the error for what the storage refused to write into ``folder``."""
    return StorageWriteError(f"The lake cannot be written: {error.strerror or error}", file=folder)


def _named(error: Exception, source: Source, target: EncodeTarget, access: Access) -> Exception:
    """Return ``error`` as one of ours: a refused write or read, or the fault in the rows that made the engine stop."""
    names = ", ".join(file.name for file in source.files[:3])
    if isinstance(error, OSError):
        if is_s3_error(error):
            what = f"S3 does not give a report file: {error_text(error)}"
            return credentials_error(error, error_text(error)) or UnreadableFileError(
                what, file=names
            )
        # What Polars cannot read has no number; everything is written through `Files`, whose errors have one.
        if error.errno is not None:
            return unwritable(error, target.folder)
    types = {column.name: column.type for column in source.columns}
    try:
        if source.container == "parquet":
            wanted = {one.name: one.type for one in target.fields if one.name in types}
            for report in open_reports(source.files, access):
                report.check(wanted)
        else:
            _check_csv(source, types, access.files)
    except ReportFileError as fault:
        return fault
    return unexplained(names, str(error))


def _check_csv(source: Source, types: Mapping[str, Type], files: Files) -> None:
    for file in source.files:
        line = 0
        packed = source.compression
        for block in row_blocks(files, file.uri, file.name, compression=packed):
            line = line or line_at(files, file.uri, file.name, block.offset, packed)
            find_fault(block.data, line, file.columns, types, file.name, source.nulls)
            line += block.data.count(b"\n")
        if packed == "gzip":
            refuse_padding(files, file.uri, file.name)
