"""Reading back what a table holds: totals, quality and a preview, straight from its Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from billing_lake.domain.dictionary import DELIVERY_VERSION
from billing_lake.domain.errors import TableError
from billing_lake.domain.periods import bounds
from billing_lake.domain.profiles import NO_CURRENCY, Profile, merge
from billing_lake.domain.quality import Quality
from billing_lake.engines.polars_access import said
from billing_lake.engines.polars_parsing import filled
from billing_lake.engines.polars_schema import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.sources import Source
    from billing_lake.engines.polars_access import Access


def profile_table(source: Source, access: Access) -> Profile:
    """Total the Parquet files of ``source``, one after the other: together they would take memory that grows with them."""
    return merge(_profile_file(replace(source, files=(file,)), access) for file in source.files)


def _profile_file(source: Source, access: Access) -> Profile:
    import polars as pl

    exprs = [pl.len().alias("rows"), *(pl.col(name).sum() for name in source.costs)]
    if usage := _present(source, source.roles.usage_start):
        exprs += [pl.col(usage).min().alias("first"), pl.col(usage).max().alias("last")]
    name = _present(source, source.roles.currency)
    # An empty text is no currency either, and must not become a second group of the same name.
    currency = filled(pl.col(name)) if name else pl.lit(None, pl.String())
    groups = _collect(
        source, _scan(source, access).group_by(currency.alias("currency")).agg(exprs)
    ).to_dicts()
    moments = [
        group[end].isoformat() for group in groups for end in ("first", "last") if group.get(end)
    ]
    return Profile(
        rows=sum(group["rows"] for group in groups),
        totals={
            group["currency"] or NO_CURRENCY: {name: group[name] for name in source.costs}
            for group in groups
        },
        first_usage=min(moments, default=None),
        last_usage=max(moments, default=None),
    )


def table_quality(source: Source, period: str, access: Access) -> Quality:
    """Look at the Parquet files ``source`` of the billing period ``period``."""
    import polars as pl

    start, end = bounds(period)
    rows = _scan(source, access)
    versions = _collect(source, rows.group_by(DELIVERY_VERSION).agg(pl.len()))
    outside: dict[str, int] = {}
    if name := _present(source, source.roles.usage_start):
        usage = pl.col(name)
        stray = (
            rows.filter((usage < start) | (usage >= end))
            .group_by(usage.dt.strftime("%Y-%m-%d"))
            .agg(pl.len())
        )
        outside = dict(sorted(_collect(source, stray).iter_rows()))
    return Quality(
        versions=dict(versions.iter_rows()),
        outside=outside,
        duplicates=_duplicates(source, access),
    )


def table_preview(
    source: Source, columns: Sequence[str], rows: int, access: Access
) -> list[dict[str, str]]:
    """Return the first ``rows`` rows of Parquet files, the cells as text."""
    frame = _collect(source, _scan(source, access).select(columns).head(rows))
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
        _present(source, name) for name in (source.roles.line_item_id, source.roles.time_interval)
    )
    if not id_ or not time_interval:
        return 0
    item, interval = pl.col(id_), pl.col(time_interval)
    hashed = (item.hash(1) ^ interval.hash(2)).alias("hash")
    hashes = _collect(source, _scan(source, access).select(hashed))["hash"].sort()
    if hashes.n_unique() == len(hashes):
        return 0
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    suspects = _scan(source, access).filter(hashed.is_in(repeated.implode())).select(item, interval)
    counts = suspects.group_by(item, interval).agg(pl.len()).select((pl.col("len") - 1).sum())
    return int(_collect(source, counts).item())


def _present(source: Source, name: str | None) -> str | None:
    """Return ``name`` where it is a column of ``source``."""
    return name if name is not None and source.type_of(name) is not None else None


def _scan(source: Source, access: Access) -> pl.LazyFrame:
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


def _collect(source: Source, frame: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        what = f"The table's files cannot be read: {said(error)}"
        raise TableError(what, file=", ".join(file.uri for file in source.files[:3])) from error
