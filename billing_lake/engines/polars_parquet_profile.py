"""The profile of Parquet report files: the columns it needs, turned into the lake's types as the encoding turns them.

Both sides of a proof then add up the same numbers, whatever types the provider gave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing_lake.domain.dictionary import DECIMAL, DECIMAL_SCALE, STRING, TIMESTAMP
from billing_lake.domain.profiles import NO_CURRENCY, Profile, merge, require_totals
from billing_lake.domain.text_values import unexplained
from billing_lake.engines.digests import local_digest
from billing_lake.engines.polars_access import said
from billing_lake.engines.polars_parquet import ParquetReport, open_reports
from billing_lake.engines.polars_rounding import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from billing_lake.domain.sources import Source
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access


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

    types = {column.name: column.type for column in source.columns}
    numbers = [name for name in types if types[name] == DECIMAL and name in report.types]
    costs = [name for name in numbers if name in source.costs]
    texts = {name: text for name in numbers if (text := report.text(name)) is not None}
    roles = {"currency": (source.roles.currency, STRING)}
    roles |= {"usage": (source.roles.usage_start, TIMESTAMP)}
    roles |= {"period": (source.roles.period_start, TIMESTAMP)}
    cells = [
        *(report.column(name or "", type_).alias(role) for role, (name, type_) in roles.items()),
        *(report.column(name, DECIMAL).alias(f"cost {name}") for name in costs),
        *(text.alias(f"text {name}") for name, text in texts.items()),
    ]
    usage = pl.col("usage")
    totals = [
        pl.len().alias("rows"),
        usage.min().alias("first"),
        usage.max().alias("last"),
        *(pl.col(f"cost {name}").sum() for name in costs),
        *(rounded(pl.col(f"text {name}"), DECIMAL_SCALE) for name in texts),
    ]
    period = pl.col("period").dt.strftime("%Y-%m")
    groups = report.rows.select(cells).group_by("currency", period).agg(totals)
    try:
        found = groups.collect(engine="streaming").to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        report.check(
            dict.fromkeys(costs, DECIMAL) | {name: type_ for name, type_ in roles.values() if name}
        )
        raise unexplained(report.file.name, said(error)) from error
    return merge(_group(group, costs, texts) for group in found)


def _group(group: Mapping[str, Any], costs: Iterable[str], texts: Iterable[str]) -> Profile:
    """Return the profile of the rows of one currency and one billing period."""
    first, last = group["first"], group["last"]
    return Profile(
        rows=group["rows"],
        totals={group["currency"] or NO_CURRENCY: {name: group[f"cost {name}"] for name in costs}},
        first_usage=first and first.isoformat(),
        last_usage=last and last.isoformat(),
        periods={group["period"]: group["rows"]} if group["period"] else {},
        rounded={name: lost for name in texts if (lost := group[f"text {name}"])},
    )
