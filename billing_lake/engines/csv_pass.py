"""One pass over CSV reports: each file is decompressed, cut into blocks and parsed once; the same cells are totalled and encoded.

One thread reads; runs of consecutive blocks go to whichever worker is free, and each worker writes a file of its own, one row group a run.
Memory holds as many runs as there are workers, and two more. The totals are sums over the cells as they were parsed, before
anything is written: a proof that reads the files back still shows a fault of encoding, writing, placing or committing.

What a block holds beyond the usual is read again by the careful way, profile and encoding one after the other: it refuses what
has to be refused, with file, line and column, and gives the same rows and totals for all else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.errors import ReportFileError
from billing_lake.domain.profiles import Profile, merge, require_totals
from billing_lake.domain.types import STRING, Map
from billing_lake.engines.blocks import hashed_blocks
from billing_lake.engines.csv_columns import (
    Known,
    Rows,
    UnexplainedError,
    is_for_one_pass,
)
from billing_lake.engines.polars_encode import encode_reports, finished, unwritable
from billing_lake.engines.polars_profile import profile_reports
from billing_lake.files.parquet_types import arrow_schema

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa
    from typing_extensions import Self

    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Roles, Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.blocks import Block
    from billing_lake.engines.polars_access import Access
    from billing_lake.files.base import Files

_BLOCK_BYTES = 4 << 20
"""Text of a block: what is parsed of it stays in the cache of a core."""

_MOST_WORKERS = 4
_RUNS_BYTES = 128 << 20
"""Text of all workers' runs. Two workers write row groups of 64 MB, some 75,000 rows; smaller ones repeat more."""

_FILE_BYTES = 1 << 30
"""Text that goes into one Parquet file, which comes out at about 100 MB."""

_DICTIONARY_BYTES = 8 << 20
"""Size of a column's dictionary in a row group: a line-item id comes back for every hour of its resource."""

_KEPT_MILLISECONDS = 10_000
"""How long jemalloc keeps pages that nothing uses."""


def convert_reports(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    """Total and write the CSV report files of ``source``; see `Engine.convert`."""
    import polars as pl
    import pyarrow as pa

    if is_for_one_pass(source, target):
        try:
            return _one_pass(source, target, access, log)
        except (UnexplainedError, ReportFileError, pa.ArrowException, pl.exceptions.PolarsError):
            log("convert: the files are read again, carefully")
    profile = profile_reports(source, access, log)
    digests = {name: file.digest for name, file in profile.files.items()}
    return profile, encode_reports(source.with_digests(digests), target, access, log)


def _one_pass(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    size = _RUNS_BYTES // max(workers, 2)
    parts: list[Profile] = []
    pending: set[Future[Profile]] = set()
    with _lasting_pages(), _Writers(target, source.roles, access.files) as writers:
        with ThreadPoolExecutor(workers) as pool:
            try:
                for run in _runs(_blocks(source, access, parts, log), size):
                    pending.add(pool.submit(_convert, run, writers))
                    while len(pending) > workers + 1:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        parts[:] = [merge([*parts, *(one.result() for one in done)])]
                profile = require_totals(merge([*parts, *(one.result() for one in pending)]))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        files = writers.finish()
    return profile, files


def _blocks(
    source: Source, access: Access, parts: list[Profile], log: Log
) -> Iterator[tuple[Rows, Block]]:
    """Yield the blocks of all files; add to ``parts`` the digest of each file that was read."""
    known = Known()
    for number, file in enumerate(source.files, start=1):
        rows = Rows(file, source, known)
        blocks, digest = hashed_blocks(access.files, file, source.compression, _BLOCK_BYTES)
        for block in blocks:
            yield rows, block
        parts.append(Profile().in_file(file.name, digest()))
        done = sum(part.rows for part in parts)
        log(f"convert: {number} of {len(source.files)} files are read, {done:,} rows are written")


def _runs(blocks: Iterator[tuple[Rows, Block]], size: int) -> Iterator[list[tuple[Rows, Block]]]:
    """Yield consecutive blocks, together some ``size`` bytes of text."""
    run: list[tuple[Rows, Block]] = []
    held = 0
    for rows, block in blocks:
        run.append((rows, block))
        held += len(block.data)
        if held >= size:
            yield run
            run, held = [], 0
    if run:
        yield run


def _convert(run: list[tuple[Rows, Block]], writers: _Writers) -> Profile:
    """Write the rows of a run, and return what they add up to."""
    size = sum(len(block.data) for _, block in run)
    found: list[Profile] = []
    batches: list[tuple[SourceFile, pa.RecordBatch]] = []
    run.reverse()
    while run:  # each block is forgotten before the next one is parsed
        rows, block = run.pop()
        batch, profile = rows.read(block)
        found.append(profile.in_file(rows.file.name))
        batches.append((rows.file, batch))
    writers.write(batches, size)
    return merge(found)


@contextmanager
def _lasting_pages() -> Iterator[None]:
    """Let Arrow keep its memory until the block ends.

    The kernel clears each page that a pool gives back and takes again, which is a tenth of the time of a pass; jemalloc keeps its pages
    for as long as it is told to. Not every build of pyarrow has it.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    try:
        pa.jemalloc_set_decay_ms(_KEPT_MILLISECONDS)
    except NotImplementedError:
        yield
        return
    pool = pa.jemalloc_memory_pool()
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
        pool.release_unused()


class _Writers:
    """The Parquet files that are being written: as many as threads write at the same time.

    Left in an error, nothing of them stays.

    Args:
        target: What is written.
        roles: Which of its columns is for what.
        files: Where.
    """

    def __init__(self, target: EncodeTarget, roles: Roles, files: Files) -> None:
        self._target, self._files = target, files
        self._schema = _schema(target)
        self._pruned = _pruned(target, roles)
        self._lock = Lock()
        self._idle: list[_Writer] = []
        self._uris: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._files.make_folder(self._target.folder)
        except OSError as error:
            raise unwritable(error, self._target.folder) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        try:
            self._stack.__exit__(kind, error, trace)
        except OSError as refused:
            error = refused
        for uri in self._uris:
            self._files.remove(uri)
        if isinstance(error, OSError):
            raise unwritable(error, self._target.folder) from error

    def write(self, batches: Sequence[tuple[SourceFile, pa.RecordBatch]], size: int) -> None:
        """Write rows of files, which ``size`` bytes of text held, as a row group of their own."""
        import pyarrow as pa

        tables = [self._table(file, rows) for file, rows in batches if rows.num_rows]
        if not tables:
            return
        table = pa.concat_tables(tables).unify_dictionaries()
        writer = self._taken()
        writer.parquet.write_table(table, row_group_size=len(table))
        writer.size += size
        if writer.size >= _FILE_BYTES:
            writer.stack.close()
            return
        with self._lock:
            self._idle.append(writer)

    def finish(self) -> tuple[EncodedFile, ...]:
        """Complete all files."""
        self._stack.close()
        return tuple(finished(uri, self._files) for uri in sorted(self._uris))

    def _table(self, file: SourceFile, rows: pa.RecordBatch) -> pa.Table:
        """Return ``rows`` of ``file`` as they are written: with constants, and with NULL in columns that the file lacks."""
        import numpy as np
        import pyarrow as pa

        constants = {**self._target.constants, SOURCE_FILE: file.name}
        same = np.zeros(rows.num_rows, np.int32)
        present = {*rows.schema.names}
        columns = [
            pa.DictionaryArray.from_arrays(same, [constants[field.name]])
            if field.name in constants
            else rows[field.name]
            if field.name in present
            else pa.nulls(rows.num_rows, field.type)
            for field in self._schema
        ]
        return pa.table(columns, self._schema)

    def _taken(self) -> _Writer:
        """Return a file that nobody writes at the moment."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            folder, stem = self._target.folder.rstrip("/"), self._target.stem
            uri = f"{folder}/{stem}-{len(self._uris):05d}.parquet"
            self._uris.append(uri)
            writer = _Writer(self._files, uri, self._schema, self._pruned)
            self._stack.push(writer.stack)
            return writer


class _Writer:
    """A Parquet file that is being written; it is whole, or gone, when ``stack`` is closed."""

    def __init__(self, files: Files, uri: str, schema: pa.Schema, pruned: list[str]) -> None:
        import pyarrow.parquet as pq

        self.size = 0
        self.stack = ExitStack()
        stream = self.stack.enter_context(files.create(uri))
        self.parquet = self.stack.enter_context(
            pq.ParquetWriter(
                stream,
                schema,
                compression="zstd",
                compression_level=3,
                use_dictionary=True,
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
                write_batch_size=16_384,
                write_statistics=pruned,
                store_schema=False,
            )
        )


def _pruned(target: EncodeTarget, roles: Roles) -> list[str]:
    """Return the columns that have their least and largest value in the footer: those by which readers leave out row groups.

    The least text of each column would cost a twentieth of the pass and a fifth of the footer.
    """
    chosen = {
        *target.constants,
        SOURCE_FILE,
        roles.account,
        roles.payer,
        roles.charge_type,
        roles.service,
        roles.currency,
    }
    typed = (STRING, Map(STRING, STRING))
    return [one.name for one in target.fields if one.name in chosen or one.type not in typed]


def _schema(target: EncodeTarget) -> pa.Schema:
    """Return the columns of the files: those with one value for all rows of a report file as dictionaries."""
    import pyarrow as pa

    constant = pa.dictionary(pa.int32(), pa.string())
    fields = [
        field.with_type(constant)
        if field.name in (*target.constants, SOURCE_FILE)
        else field.with_type(pa.string())
        if field.type == pa.large_string()
        else field
        for field in arrow_schema(target.fields)
    ]
    return pa.schema(fields)
