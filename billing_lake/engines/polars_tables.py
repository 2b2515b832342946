"""Reading back what a table holds: totals, quality and a preview, straight from its Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from billing_lake.aws.errors import credentials_error
from billing_lake.domain.column_names import (
    BILLING_PERIOD,
    DELIVERY_VERSION,
    EXPORT_NAME,
    LAKE_COLUMNS,
)
from billing_lake.domain.content import Content, merge_content
from billing_lake.domain.errors import TableError
from billing_lake.domain.periods import bounds
from billing_lake.domain.profiles import EXACT, Profile, merge
from billing_lake.domain.quality import Quality
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import Decimal
from billing_lake.engines.cell_counts import Footer, read_footer, row_groups
from billing_lake.engines.polars_access import error_text
from billing_lake.engines.polars_content import hashed
from billing_lake.engines.polars_parsing import filled
from billing_lake.engines.polars_sums import Sums, numbers
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.schemas import Column
    from billing_lake.domain.sources import Source
    from billing_lake.domain.types import Type
    from billing_lake.engines.polars_access import Access


_SUMS_AT_ONCE = 8
"""Columns of numbers that are added up together: all of a bill's 27 would hold a quarter of a gigabyte of row groups, for no less time."""


def profile_table(source: Source, access: Access) -> Profile:
    """Total the Parquet files of ``source``, one after the other: together they would take memory that grows with them."""
    return merge(_profile_file(replace(source, files=(file,)), access) for file in source.files)


def _profile_file(source: Source, access: Access) -> Profile:
    import polars as pl

    types = {column.name: column.type for column in source.columns}
    # An empty text is no currency either, and must not become a second group of the same name.
    name = _present(source, source.roles.currency)
    currency = filled(pl.col(name)) if name else pl.lit(None, pl.String())
    ends = [pl.len().alias("rows")]
    if usage := _present(source, source.roles.usage_start):
        ends += [pl.col(usage).min().alias("first"), pl.col(usage).max().alias("last")]
    rows = scan(source, access)
    footer = _footer(source, access)
    groups = collect(source, rows.group_by(currency.alias("currency")).agg(ends)).to_dicts()
    moments = [
        group[end].isoformat() for group in groups for end in ("first", "last") if group.get(end)
    ]
    sums = Sums(numbers(types), source.costs, name)
    with _readable(source):
        return Profile(
            rows=sum(group["rows"] for group in groups),
            **sums.of(
                rows,
                [group["currency"] for group in groups],
                scales=_small(footer, types),
                at_once=_SUMS_AT_ONCE,
                engine="streaming",
            ),
            filled=_filled(source, footer, access),
            first_usage=min(moments, default=None),
            last_usage=max(moments, default=None),
        )


def _footer(source: Source, access: Access) -> Footer:
    (file,) = source.files
    with _readable(source), access.files.open(file.uri) as stream:
        return read_footer(stream)


def _small(footer: Footer, types: Mapping[str, Type]) -> dict[str, int]:
    """Return the scale of each column of decimals that are too small for their sum to exceed 128 bits.

    Where a footer understates them, the sum wraps around, and does not equal that of the raw files.
    """
    return {
        name: type_.scale
        for name, most in footer.largest.items()
        if isinstance(type_ := types.get(name), Decimal)
        and EXACT.scaleb(EXACT.multiply(most, footer.rows), type_.scale) < 1 << 127
    }


def _filled(source: Source, footer: Footer, access: Access) -> dict[str, int]:
    """Return the number of filled cells of each column of the report in the file of ``source``.

    Its footer says it, where every reader looks first for rows without a value; what it does not say is counted.
    """
    import polars as pl

    (file,) = source.files
    present = set(access.scan_parquet(file.uri).collect_schema().names())
    names = [one.name for one in source.columns if one.name not in LAKE_COLUMNS]
    unsaid = [name for name in names if name in present and name not in footer.nulls]
    counts = {name: footer.rows - footer.nulls[name] for name in names if name in footer.nulls}
    if unsaid:
        found = collect(source, scan(source, access).select(pl.col(unsaid).count()))
        counts |= found.row(0, named=True)
    return counts


def content_of_table(source: Source, columns: Sequence[Column], access: Access) -> Content:
    """Hash the ``columns`` of a table's Parquet files, row group by row group: whole files would take memory that grows with them."""
    parts = (
        _content_of_file(replace(source, files=(file,)), columns, access) for file in source.files
    )
    return merge_content(part for file in parts for part in file)


def _content_of_file(
    source: Source, columns: Sequence[Column], access: Access
) -> Iterator[Content]:
    (file,) = source.files
    with _readable(source):
        with access.files.open(file.uri) as stream:
            groups = row_groups(stream)
        for start, count in groups:
            rows = scan(source, access).slice(start, count)
            yield hashed(rows, columns, engine="streaming")


def table_quality(source: Source, period: str, access: Access) -> Quality:
    """Look at the Parquet files ``source`` of the billing period ``period``."""
    import polars as pl

    start, end = bounds(period)
    rows = scan(source, access)
    by_key = collect(
        source, rows.group_by(DELIVERY_VERSION, EXPORT_NAME, BILLING_PERIOD).agg(pl.len())
    )
    versions: dict[str, int] = {}
    keys: set[PeriodKey] = set()
    for version, export, of_row, count in by_key.iter_rows():
        versions[version] = versions.get(version, 0) + count
        keys.add(PeriodKey(export, of_row))
    outside: dict[str, int] = {}
    if name := _present(source, source.roles.usage_start):
        usage = pl.col(name)
        stray = (
            rows.filter((usage < start) | (usage >= end))
            .group_by(usage.dt.strftime("%Y-%m-%d"))
            .agg(pl.len())
        )
        outside = dict(sorted(collect(source, stray).iter_rows()))
    return Quality(
        versions=versions,
        keys=frozenset(keys),
        outside=outside,
        duplicates=_duplicates(source, access),
    )


def table_preview(
    source: Source, columns: Sequence[str], rows: int, access: Access
) -> list[dict[str, str]]:
    """Return the first ``rows`` rows of Parquet files, the cells as text."""
    frame = collect(source, scan(source, access).select(columns).head(rows))
    return [
        {name: "" if cell is None else str(cell) for name, cell in row.items()}
        for row in frame.to_dicts()
    ]


def _duplicates(source: Source, access: Access) -> int:
    """Count the rows beyond the first of each (line item id, time interval).

    Sorting eight bytes a row keeps memory bounded; rows whose hashes meet are then compared in full.
    """
    import polars as pl

    id_, time_interval = (
        _present(source, name) for name in (source.roles.line_id, source.roles.time_interval)
    )
    if not id_ or not time_interval:
        return 0
    item, interval = pl.col(id_), pl.col(time_interval)
    hashed = (item.hash(1) ^ interval.hash(2)).alias("hash")
    hashes = collect(source, scan(source, access).select(hashed))["hash"].sort()
    if hashes.n_unique() == len(hashes):
        return 0
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    suspects = scan(source, access).filter(hashed.is_in(repeated.implode())).select(item, interval)
    counts = suspects.group_by(item, interval).agg(pl.len()).select((pl.col("len") - 1).sum())
    return int(collect(source, counts).item())


def _present(source: Source, name: str | None) -> str | None:
    """Return ``name`` where it is a column of ``source``."""
    return name if name is not None and source.type_of(name) is not None else None


def scan(source: Source, access: Access) -> pl.LazyFrame:
    """Return the rows of the Parquet files of ``source``, with all of its columns."""
    import polars as pl

    schema = {column.name: polars_type(column.type) for column in source.columns}
    if not source.files:
        return pl.LazyFrame(schema=schema)
    return access.scan_parquet(
        [file.uri for file in source.files],
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
    )


def collect(source: Source, frame: pl.LazyFrame) -> pl.DataFrame:
    """Return what was asked of the rows of ``source``, streamed.

    Raises:
        TableError: A file is missing or unreadable.
    """
    with _readable(source):
        return frame.collect(engine="streaming")


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Turn what Polars or a storage raises into the error that names the table's files."""
    import polars as pl
    import pyarrow as pa

    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        what = f"The table's files cannot be read: {error_text(error)}"
        files = ", ".join(file.uri for file in source.files[:3])
        raise credentials_error(error, error_text(error)) or TableError(what, file=files) from error
