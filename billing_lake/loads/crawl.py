"""Crawl a delivery: read its headers, type its columns, total its rows and register it as a table over the raw files."""

from __future__ import annotations

import uuid

from billing_lake.deployments.base import Lake
from billing_lake.domain.column_names import BILLING_PERIOD, DELIVERY_VERSION, EXPORT_NAME
from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import MixedPeriodsError, PeriodMismatchError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.schemas import Field
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.sources import Encoded, EncodedFile, EncodeTarget, Source
from billing_lake.engines.base import Engine, Log
from billing_lake.formats.base import Format
from billing_lake.landing.deliveries import read_source
from billing_lake.loads.rows_elsewhere import refuse_rows_elsewhere
from billing_lake.loads.staging import (
    fields_to_stage,
    remove_left,
    remove_staged,
    stage,
    staging_folder,
)
from billing_lake.tables.exports import Export


def crawl(
    lake: Lake, export: Export, engine: Engine, delivery: Delivery, log: Log = lambda _: None
) -> Crawl:
    """Crawl a delivery of ``export`` and register it in place of earlier crawls of its billing period.

    Where the engine can encode in the pass that totals, it does, and the files wait for the load that follows; see `staging`.

    Raises:
        ReportFileError: A file cannot be read, or rows of the period lie in files of another one.
        PeriodMismatchError: Rows state another billing period than the delivery's.
    """
    remove_staged(lake, export, delivery.period)
    remove_left(lake, lake.staging)
    source, merged = read_source(lake.storage, delivery, export.format)
    with staging_folder(lake) as folder:
        fields = fields_to_stage(lake, export, source)
        target = None if fields is None else encode_target(delivery, fields, folder)
        converted = None if target is None else engine.convert(source, target)
        profile, files = converted or (engine.profile(source), ())
        found = _understood(delivery, source, merged, profile)
        refuse_rows_elsewhere(lake, engine, export.location, delivery, log)
        lake.crawled.register(found, export.crawler, log)
        if converted and not files:
            lake.files.remove_folder(folder)
        if files:
            stage(lake, export, delivery.period, encoded_as(found, fields or (), files))
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
    return _understood(delivery, source, merged, engine.profile(source))


def encode_target(delivery: Delivery, fields: tuple[Field, ...], folder: str) -> EncodeTarget:
    """Return what files of ``delivery`` are to be: its rows, with the names, types and ids of ``fields``."""
    constants = {
        EXPORT_NAME: delivery.export,
        BILLING_PERIOD: delivery.period,
        DELIVERY_VERSION: delivery.version,
    }
    return EncodeTarget(
        fields=fields, constants=constants, folder=folder, stem=uuid.uuid4().hex[:12]
    )


def encoded_as(crawl: Crawl, fields: tuple[Field, ...], files: tuple[EncodedFile, ...]) -> Encoded:
    """Return the delivery of ``crawl`` as ``files``, which carry ``fields``."""
    return Encoded(
        identity=crawl.delivery.identity,
        version=crawl.delivery.version,
        files=files,
        fields=fields,
        content=crawl.content,
    )


def _understood(
    delivery: Delivery, source: Source, merged: tuple[Merge, ...], profile: Profile
) -> Crawl:
    refuse_other_periods(profile, delivery.period)
    return Crawl(
        table=crawled_table_name(delivery.export, delivery.period, delivery.version),
        delivery=delivery,
        source=source,
        merged=merged,
        profile=profile,
    )


def refuse_other_periods(profile: Profile, period: str) -> None:
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
