"""The profile of Parquet report files: their columns, turned into the lake's types as the encoding turns them.

Both sides of a proof then add up the same numbers, whatever types the provider gave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from billing_lake.aws.errors import credentials_error
from billing_lake.domain.profiles import Profile, add_counts, merge, require_totals
from billing_lake.domain.text_values import unexplained
from billing_lake.domain.types import STRING, TIMESTAMP, Decimal
from billing_lake.engines.digests import local_digest
from billing_lake.engines.polars_access import error_text
from billing_lake.engines.polars_parquet import ParquetReport, open_reports
from billing_lake.engines.polars_rounding import rounded
from billing_lake.engines.polars_sums import Sums, numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import polars as pl

    from billing_lake.domain.sources import Roles, Source
    from billing_lake.domain.types import Type
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access


_CURRENCY, _USAGE, _PERIOD = "the currency", "the usage start", "the period start"
"""Columns of a query, which no column of a table is called like."""


def profile_parquet(source: Source, access: Access, log: Log) -> Profile:
    """Profile the Parquet report files of ``source``.

    Raises:
        ReportFileError: A file is missing or damaged, or holds a value that does not fit.
    """
    profiles: list[Profile] = []
    for report in open_reports(source.files, access, source.columns):
        digest = local_digest(report.file, access.files)
        found = _profile_file(report, source)
        profiles.append(found.in_file(report.file.name, digest))
        rows = sum(profile.rows for profile in profiles)
        log(f"profile: {len(profiles)} of {len(source.files)} files, {rows:,} rows")
    return require_totals(merge(profiles))


def columns_to_total(report: ParquetReport, source: Source) -> list[pl.Expr]:
    """Return the columns of ``report`` in their types, and beside them those that have a role."""
    return [
        *(report.column(name, type_) for name, type_ in _present(report, source).items()),
        *(
            report.column(name or "", type_).alias(role)
            for role, (name, type_) in _roles(source.roles).items()
        ),
    ]


def totals(
    report: ParquetReport,
    source: Source,
    rows: pl.LazyFrame,
    engine: Literal["streaming", "in-memory"],
    exact: Collection[str] = (),
) -> Profile:
    """Return what rows of ``report`` add up to.

    Args:
        report: The file, with all of its rows or some of them.
        source: What it is a part of.
        rows: The `columns_to_total` of these rows.
        engine: How Polars is to go through them.
        exact: Columns of numbers that are known to have no more decimals than are kept.

    Raises:
        polars.exceptions.PolarsError: A value does not fit.
    """
    import polars as pl

    present = _present(report, source)
    rounding = [
        rounded(text, type_.scale).alias(name)
        for name, type_ in present.items()
        if isinstance(type_, Decimal)
        and name not in exact
        and (text := report.to_round(name)) is not None
    ]
    usage = pl.col(_USAGE)
    ends = [pl.len().alias("rows"), usage.min().alias("first"), usage.max().alias("last")]
    # Months are few; to write each row's as text first would take most of the time of all of this.
    month = pl.col(_PERIOD).dt.truncate("1mo").alias("period")
    groups_of_rows = rows.group_by(_CURRENCY, month).agg(ends)
    found = [
        groups_of_rows.with_columns(pl.col("period").dt.strftime("%Y-%m")),
        rows.select(pl.col(name).count() for name in present),
        report.rows.select(rounding),
    ]
    groups, filled, lost = (frame.to_dicts() for frame in pl.collect_all(found, engine=engine))
    sums = Sums(numbers(present), source.costs, _CURRENCY)
    empty = [name for name in present if filled and not filled[0][name]]
    added = sums.of(rows, [group[_CURRENCY] for group in groups], empty, engine=engine)
    moments = [
        group[end].isoformat() for group in groups for end in ("first", "last") if group[end]
    ]
    periods: dict[str, int] = {}
    for group in groups:
        add_counts(periods, {group["period"]: group["rows"]} if group["period"] else {})
    return Profile(
        rows=sum(group["rows"] for group in groups),
        **added,
        filled=filled[0] if filled else {},
        first_usage=min(moments, default=None),
        last_usage=max(moments, default=None),
        periods=periods,
        rounded={name: count for name, count in lost[0].items() if count} if lost else {},
    )


def _profile_file(report: ParquetReport, source: Source) -> Profile:
    import polars as pl

    rows = report.rows.select(columns_to_total(report, source))
    try:
        return totals(report, source, rows, "streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        roles = {name: type_ for name, type_ in _roles(source.roles).values() if name}
        report.check(_present(report, source) | roles)
        raise credentials_error(error, error_text(error)) or unexplained(
            report.file.name, error_text(error)
        ) from error


def _present(report: ParquetReport, source: Source) -> dict[str, Type]:
    return {one.name: one.type for one in source.columns if one.name in report.names}


def _roles(roles: Roles) -> Mapping[str, tuple[str | None, Type]]:
    """Return the columns by which rows are grouped, and what they have to be."""
    return {
        _CURRENCY: (roles.currency, STRING),
        _USAGE: (roles.usage_start, TIMESTAMP),
        _PERIOD: (roles.period_start, TIMESTAMP),
    }
