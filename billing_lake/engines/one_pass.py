"""Holds what the passes that total and encode at once have in common: their runs, their threads, and the Parquet files that they write.

Each thread writes a file of its own, one row group a run. Memory holds as many runs as there are threads, and one more. What does not fit
a pass is read again by the careful way, profile and encoding one after the other, which refuses it by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.errors import ReportFileError
from billing_lake.domain.profiles import Profile, merge, require_totals
from billing_lake.engines.polars_encode import encode_reports, finished, unwritable
from billing_lake.files.parquet_types import arrow_schema

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa
    from typing_extensions import Self

    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Roles, Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access
    from billing_lake.files.base import Files

    Converted = tuple[Profile, tuple[EncodedFile, ...]]
    """What `Engine.convert` returns."""

    Profiling = Callable[[Source, Access, Log], Profile]
    Converting = Callable[[Source, EncodeTarget, Access, Log], Converted]

_Part = TypeVar("_Part")
_Run = TypeVar("_Run")

_MOST_WORKERS = 4
_RUNS_BYTES = 128 << 20
"""Text of all workers' runs. Two workers write row groups of 64 MB, some 75,000 rows; smaller ones repeat more."""

_FILE_BYTES = 1 << 30
"""Text that goes into one Parquet file, which comes out at about 100 MB."""

_DICTIONARY_BYTES = 8 << 20
"""Size of a column's dictionary in a row group: a line-item id comes back for every hour of its resource."""

LAYOUT: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 2,
    "use_dictionary": True,
    "dictionary_pagesize_limit": _DICTIONARY_BYTES,
    "write_batch_size": 16_384,
    "store_schema": False,
}
"""How pyarrow writes the files; `make bench ARGS=--layout` measures what other ways would cost and gain.

Which columns have statistics, `_stated` says.
"""

_KEPT_MILLISECONDS = 100_000
"""How long jemalloc keeps pages that nothing uses."""


class UnexplainedError(Exception):
    """Rows are not what a pass reads: the careful way reads the files again, and finds and names the fault, if it is one."""


def once_or_carefully(
    one_pass: Converting | None,
    profile: Profiling,
    source: Source,
    target: EncodeTarget,
    access: Access,
    log: Log,
) -> Converted:
    """Return what ``one_pass`` finds and writes; where there is none, or something does not fit it, what the careful way does."""
    import polars as pl
    import pyarrow as pa

    if one_pass is not None:
        try:
            return one_pass(source, target, access, log)
        except (UnexplainedError, ReportFileError, pa.ArrowException, pl.exceptions.PolarsError):
            log("convert: the files are read again, carefully")
    found = profile(source, access, log)
    digests = {name: file.digest for name, file in found.files.items()}
    return found, encode_reports(source.with_digests(digests), target, access, log)


def runs_of(
    parts: Iterable[_Part], size_of: Callable[[_Part], int], size: int
) -> Iterator[list[_Part]]:
    """Yield consecutive parts, together of some ``size``."""
    run: list[_Part] = []
    held = 0
    for part in parts:
        run.append(part)
        held += size_of(part)
        if held >= size:
            yield run
            run, held = [], 0
    if run:
        yield run


def run_bytes() -> int:
    """Return how many bytes of text make a run."""
    return _RUNS_BYTES // max(_workers(), 2)


def in_parallel(
    runs: Iterable[_Run], convert: Callable[[_Run], Profile], parts: list[Profile]
) -> Profile:
    """Convert ``runs``, one in each thread, and return what they and ``parts`` add up to.

    Args:
        runs: What makes a row group each; taken one after the other, in the thread of the caller.
        convert: Writes the rows of a run, and totals them.
        parts: What was found so far; ``runs`` may add to it.

    Raises:
        LoadError: A total is too large for a table.
    """
    workers = _workers()
    pending: set[Future[Profile]] = set()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for run in runs:
                pending.add(pool.submit(convert, run))
                while len(pending) > workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    parts[:] = [merge([*parts, *(one.result() for one in done)])]
            return require_totals(merge([*parts, *(one.result() for one in pending)]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _workers() -> int:
    return min(_MOST_WORKERS, os.cpu_count() or 1)


@contextmanager
def lasting_pages() -> Iterator[None]:
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


class Writers:
    """The Parquet files that are being written: as many as threads write at the same time.

    Left in an error, nothing of them stays.

    Args:
        target: What is written.
        roles: Which of its columns is for what.
        files: Where.
        text: Arrow's type of the texts that come; `string` unless given.
        text_in_maps: That of keys and values of maps; ``text`` unless given.
    """

    def __init__(
        self,
        target: EncodeTarget,
        roles: Roles,
        files: Files,
        text: pa.DataType | None = None,
        text_in_maps: pa.DataType | None = None,
    ) -> None:
        self._target, self._files = target, files
        self._pruned = {
            roles.account,
            roles.payer,
            roles.charge_type,
            roles.service,
            roles.currency,
        }
        self._schema = _schema(target, text, text_in_maps)
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

    def write(
        self, parts: Sequence[tuple[SourceFile, pa.RecordBatch | pa.Table]], size: int
    ) -> None:
        """Write rows of files, which ``size`` bytes of text held, as a row group of their own."""
        import pyarrow as pa

        tables = [self._table(file, rows) for file, rows in parts if rows.num_rows]
        if not tables:
            return
        table = pa.concat_tables(tables).unify_dictionaries()
        writer = self._taken(table)
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

    def _table(self, file: SourceFile, rows: pa.RecordBatch | pa.Table) -> pa.Table:
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

    def _taken(self, rows: pa.Table) -> _Writer:
        """Return a file that nobody writes at the moment; it may begin with ``rows``."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            folder, stem = self._target.folder.rstrip("/"), self._target.stem
            uri = f"{folder}/{stem}-{len(self._uris):05d}.parquet"
            self._uris.append(uri)
            stated = _stated(rows, self._pruned)
            writer = _Writer(self._files, uri, self._schema, stated)
            self._stack.push(writer.stack)
            return writer


class _Writer:
    """A Parquet file that is being written; it is whole, or gone, when ``stack`` is closed."""

    def __init__(self, files: Files, uri: str, schema: pa.Schema, stated: list[str]) -> None:
        import pyarrow.parquet as pq

        self.size = 0
        self.stack = ExitStack()
        stream = self.stack.enter_context(files.create(uri))
        parquet = pq.ParquetWriter(stream, schema, write_statistics=stated, **LAYOUT)
        self.parquet = self.stack.enter_context(parquet)


def _stated(rows: pa.Table, pruned: set[str | None]) -> list[str]:
    """Return the columns that have statistics in a file that begins with ``rows``.

    Readers leave out row groups by numbers, moments and the columns ``pruned``. Of the others, whose least and largest texts nobody asks
    for, a proof finds the filled cells in the statistics; but where each row has a text, comparing all of them costs four times what
    counting them does. Keys and values of maps have none: they do not say how many maps there are, nor where a key has a value.
    """
    import pyarrow as pa

    texts = (pa.string(), pa.string_view())
    return [
        field.name
        for field, cells in zip(rows.schema, rows.columns, strict=True)
        if not pa.types.is_map(field.type)
        and (field.name in pruned or field.type not in texts or cells.null_count)
    ]


def _schema(
    target: EncodeTarget, text: pa.DataType | None, text_in_maps: pa.DataType | None
) -> pa.Schema:
    """Return the columns of the files: those with one value for all rows of a report file as dictionaries."""
    import pyarrow as pa

    constant = pa.dictionary(pa.int32(), pa.string())
    text = text or pa.string()
    fields = [
        field.with_type(constant)
        if field.name in (*target.constants, SOURCE_FILE)
        else _with_text(field, text, text_in_maps or text)
        for field in arrow_schema(target.fields)
    ]
    return pa.schema(fields)


def _with_text(field: pa.Field, text: pa.DataType, in_maps: pa.DataType) -> pa.Field:
    """Return ``field`` with the type ``text`` for text, or ``in_maps``."""
    import pyarrow as pa

    if field.type == pa.large_string():
        return field.with_type(text)
    if pa.types.is_map(field.type):
        parts = (field.type.key_field, field.type.item_field)
        key, item = (_with_text(one, in_maps, in_maps) for one in parts)
        return field.with_type(pa.map_(key, item))
    return field
