"""Crawl a delivery: read its headers, type its columns, total its rows and register it as a table over the raw files."""

from __future__ import annotations

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import MixedPeriodsError, PeriodMismatchError
from billing_lake.domain.profiles import Profile
from billing_lake.engines.base import Engine, Log
from billing_lake.formats.base import Format
from billing_lake.landing.deliveries import read_source
from billing_lake.loads.rows_elsewhere import refuse_rows_elsewhere
from billing_lake.tables.exports import Export


def crawl(
    lake: Lake, export: Export, engine: Engine, delivery: Delivery, log: Log = lambda _: None
) -> Crawl:
    """Crawl a delivery of ``export`` and register it in place of earlier crawls of its billing period.

    Raises:
        ReportFileError: A file cannot be read, or rows of the period lie in files of another one.
        PeriodMismatchError: Rows state another billing period than the delivery's.
    """
    found = crawl_delivery(lake, engine, delivery, export.format)
    refuse_rows_elsewhere(lake, engine, export.location, delivery, log)
    lake.crawled.register(found, export.crawler, log)
    return found


def crawl_delivery(
    lake: Lake, engine: Engine, delivery: Delivery, format_: Format | None = None
) -> Crawl:
    """Read a delivery's headers, type its columns and total its rows.

    Args:
        lake: The lake.
        engine: What totals.
        delivery: The delivery.
        format_: Its format as the export has it; the one that it names unless given.

    Raises:
        ReportFileError: A file cannot be read.
        PeriodMismatchError: Rows state another billing period than the delivery's.
    """
    source, merged = read_source(lake.storage, delivery, format_)
    profile = engine.profile(source)
    require_period(profile, delivery.period)
    return Crawl(
        table=crawled_table_name(delivery.export, delivery.period, delivery.version),
        delivery=delivery,
        source=source,
        merged=merged,
        profile=profile,
    )


def require_period(profile: Profile, period: str) -> None:
    """Refuse rows of another billing period.

    Raises:
        MixedPeriodsError: A file holds rows of several periods.
        PeriodMismatchError: All rows of a file are of another period.
    """
    if set(profile.periods) <= {period}:
        return
    stated_by_file = {name: file.periods for name, file in profile.files.items()}
    name, stated = next(
        ((name, stated) for name, stated in stated_by_file.items() if not set(stated) <= {period}),
        (None, profile.periods),
    )
    mixed = len(stated) > 1
    counts = ", ".join(f"{rows:,} of {one}" for one, rows in sorted(stated.items()))
    what = f"The file of billing period {period} holds rows of another one: {counts}"
    raise (MixedPeriodsError if mixed else PeriodMismatchError)(what, file=name)
