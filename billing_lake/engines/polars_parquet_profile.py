"""The profile of Parquet report files: their columns, turned into the lake's types as the encoding turns them.

Both sides of a proof then add up the same numbers, whatever types the provider gave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from billing_lake.domain.sources import Source
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
    for report in open_reports(source.files, access):
        digest = local_digest(report.file, access.files)
        found = _profile_file(report, source)
        profiles.append(found.in_file(report.file.name, digest))
        rows = sum(profile.rows for profile in profiles)
        log(f"profile: {len(profiles)} of {len(source.files)} files, {rows:,} rows")
    return require_totals(merge(profiles))


def _profile_file(report: ParquetReport, source: Source) -> Profile:
    import polars as pl

    present = {one.name: one.type for one in source.columns if one.name in report.names}
    rounding = [
        rounded(text, type_.scale).alias(name)
        for name, type_ in present.items()
        if isinstance(type_, Decimal) and (text := report.text(name)) is not None
    ]
    roles = {
        _CURRENCY: (source.roles.currency, STRING),
        _USAGE: (source.roles.usage_start, TIMESTAMP),
        _PERIOD: (source.roles.period_start, TIMESTAMP),
    }
    rows = report.rows.select(
        *(report.column(name, type_) for name, type_ in present.items()),
        *(report.column(name or "", type_).alias(role) for role, (name, type_) in roles.items()),
    )
    usage = pl.col(_USAGE)
    ends = [pl.len().alias("rows"), usage.min().alias("first"), usage.max().alias("last")]
    period = pl.col(_PERIOD).dt.strftime("%Y-%m").alias("period")
    losses = report.rows.select(rounding)
    sums = Sums(numbers(present), source.costs, _CURRENCY)
    try:
        found = [
            rows.group_by(_CURRENCY, period).agg(ends),
            rows.select(pl.col(name).count() for name in present),
            losses,
        ]
        groups, filled, lost = (
            frame.to_dicts() for frame in pl.collect_all(found, engine="streaming")
        )
        added = sums.of(rows, [group[_CURRENCY] for group in groups], engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        report.check(present | {name: type_ for name, type_ in roles.values() if name})
        raise credentials_error(error, error_text(error)) or unexplained(
            report.file.name, error_text(error)
        ) from error
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
