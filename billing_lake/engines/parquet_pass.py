"""One pass over Parquet reports: each file is read and decoded once; the same cells are totalled and encoded.

Polars reads and hands out batches of rows, file after file; whichever worker is free turns a batch's columns into the lake's types,
totals them and writes them, as one row group. Values and totals come from the expressions of the careful way, profile and encoding one
after the other, so they cannot differ. What does not fit is left to that way, which refuses it with file and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from billing_lake.domain.profiles import Profile, merge
from billing_lake.engines.digests import local_digest
from billing_lake.engines.one_pass import (
    UnexplainedError,
    Writers,
    in_parallel,
    lasting_pages,
    once_or_carefully,
    run_bytes,
    runs_of,
)
from billing_lake.engines.parquet_keys import refuse_repeated_keys, stated_keys
from billing_lake.engines.polars_parquet import has_maps, open_reports, readable
from billing_lake.engines.polars_parquet_profile import (
    columns_to_total,
    profile_parquet,
    totals,
)
from billing_lake.engines.polars_rounding import are_short

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from billing_lake.domain.schemas import Column
    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access
    from billing_lake.engines.polars_parquet import ParquetReport

_RUN_ROWS = 50_000
_RUN_CELLS = 10_000_000
"""Rows and cells of a run, whichever are reached first: what each of the workers holds, as it comes and as it is written."""


def convert_parquet(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    """Total and write the Parquet report files of ``source``; see `Engine.convert`."""
    fields = {field.name: field.type for field in target.fields}
    fits = all(fields.get(column.name) == column.type for column in source.columns)
    one_pass = _one_pass if fits else None
    return once_or_carefully(one_pass, profile_parquet, source, target, access, log)


def _one_pass(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    import pyarrow as pa

    parts: list[Profile] = []
    size = max(1, min(_RUN_ROWS, _RUN_CELLS // max(1, len(source.columns))))
    text = pa.string_view()  # what Polars has its text in, so that none is copied
    with lasting_pages(), Writers(target, source.roles, access.files, text) as writers:
        batches = _batches(source, access, size, parts, log)
        runs = runs_of(batches, lambda one: one[1].height, size)
        convert = partial(_convert, source=source, size=size, writers=writers)
        profile = in_parallel(runs, convert, parts)
        return profile, writers.finish()


def _batches(
    source: Source, access: Access, size: int, parts: list[Profile], log: Log
) -> Iterator[tuple[ParquetReport, pl.DataFrame]]:
    """Yield the rows of all files, of each at least a batch; add to ``parts`` the digest of each file.

    Raises:
        UnexplainedError: Not all keys of maps came out.
    """
    import polars as pl

    for number, report in enumerate(open_reports(source.files, access), start=1):
        digest = local_digest(report.file, access.files)
        wanted = {one.name for one in source.columns} | {one.map for one in report.file.lifted}
        types = {name: report.types[name] for name in report.types if name in wanted}
        yield report, pl.DataFrame(schema=types)
        with readable(report.file):
            keys = _Keys(report, source.columns, access)
            for rows in report.rows.select(*types).collect_batches(chunk_size=size):
                keys.count(rows)
                yield report, rows
            keys.require_all()
        parts.append(Profile().in_file(report.file.name, digest))
        done = sum(part.rows for part in parts)
        log(
            f"convert: {number} of {len(source.files)} files are read, {done:,} rows are written so far"
        )


class _Keys:
    """The keys of the maps of a file, counted as its rows come out: Polars drops one that stands twice in a map."""

    def __init__(self, report: ParquetReport, columns: Sequence[Column], access: Access) -> None:
        import polars as pl

        counted, others = dict[int, str](), dict[int, str]()
        for place, name in report.keyed(columns).items():
            found = report.types[name]
            is_plain = isinstance(found, pl.Map) and not found.value.is_nested()
            if is_plain and report.file.only is None:  # all rows come out
                counted[place] = name
            elif has_maps(found):
                others[place] = name
        if others:
            refuse_repeated_keys(report.file, others, access)
        self._stated = stated_keys(report.file, counted, access) if counted else {}
        self._came = dict.fromkeys(self._stated, 0)

    def count(self, rows: pl.DataFrame) -> None:
        import polars as pl

        # One without entries, or none, is stated as a key, too.
        keys = pl.col([*self._came]).map.len().fill_null(1).clip(1).sum()
        for name, came in rows.select(keys).to_dicts()[0].items() if self._came else ():
            self._came[name] += came

    def require_all(self) -> None:
        if self._came != self._stated:
            raise UnexplainedError


def _convert(
    run: list[tuple[ParquetReport, pl.DataFrame]], source: Source, size: int, writers: Writers
) -> Profile:
    """Write the rows of a run, and return what they add up to."""
    import polars as pl

    found: list[Profile] = []
    tables: list[tuple[SourceFile, pa.Table]] = []
    held = sum(rows.height for _, rows in run)
    run.reverse()
    while run:  # each batch is forgotten before the next one is converted
        report, rows = run.pop()
        some = replace(report, rows=rows.lazy())
        typed = some.rows.select(columns_to_total(some, source)).collect(engine="in-memory")
        # To look costs less than to ask the engine.
        exact = [one.name for one in rows if one.dtype.is_float() and are_short(one)]
        _require_all_keys(rows, typed)
        profile = totals(some, source, typed.lazy(), "in-memory", exact)
        found.append(profile.in_file(report.file.name))
        tables.append((report.file, typed.to_arrow(compat_level=pl.CompatLevel.newest())))
    writers.write(tables, run_bytes() * held // size)
    return merge(found)


def _require_all_keys(rows: pl.DataFrame, typed: pl.DataFrame) -> None:
    """Compare lists of keys and values with the maps that they have become.

    Raises:
        UnexplainedError: A list has a key twice, of which a map keeps the last.
    """
    import polars as pl

    for name, found in rows.schema.items():
        is_map = isinstance(found, pl.List) and isinstance(typed.schema.get(name), pl.Map)
        if is_map and rows[name].list.len().sum() != typed[name].map.len().sum():
            raise UnexplainedError
