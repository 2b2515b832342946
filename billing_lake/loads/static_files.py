"""Load static files: given report files, from before the export existed, as the whole of a table of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery, StoredObject, fingerprint_of_texts
from billing_lake.domain.errors import (
    ConfigurationError,
    DeliveryChangedError,
    MixedPeriodsError,
    NoDeliveryError,
    PeriodMismatchError,
    counted,
    shown,
)
from billing_lake.domain.profiles import Profile, merge
from billing_lake.domain.sources import Encoded
from billing_lake.engines.base import Engine, Log
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import read_source
from billing_lake.loads.load import Loaded, Loader
from billing_lake.tables.base import RUN_PROPERTY
from billing_lake.tables.exports import Export, Table

STATIC = "iceberg_static"
"""Name of the asset whose values are the crawls of the static files."""


@dataclass(frozen=True, kw_only=True)
class StaticLoad:
    """Holds what the table of static files holds now.

    Attributes:
        crawls: The files of each billing period.
        loaded: What was done for each.
    """

    table: Table
    crawls: Mapping[str, Crawl]
    loaded: Mapping[str, Loaded]


def load_static_files(
    lake: Lake, export: Export, engine: Engine, keys: Sequence[str], *, run_id: str, log: Log
) -> StaticLoad:
    """Make the table of static files hold the rows of exactly the files ``keys``.

    Every file is read before the first period is replaced: a bad one changes nothing.

    Args:
        lake: The lake.
        export: The export.
        engine: What totals and encodes.
        keys: Keys of the files in the landing area, for example `archive/2023-11-00001.csv.gz`.
        run_id: Id of the run, recorded with each commit.
        log: Takes lines about progress.

    Raises:
        BillingLakeError: A file cannot be loaded, as `crawl_files` says, or the table cannot be written.
    """
    lake.require(("iceberg",), "built_in")
    table = lake.static_table(export)
    crawls = crawl_files(lake, engine, export, keys)
    loader = Loader(
        lake=lake,
        export=export,
        run_id=run_id,
        engine=engine,
        log=log,
        verify=lambda delivery: _verify(lake.storage, delivery),
    )
    loaded = {period: loader.load(table, crawl) for period, crawl in crawls.items()}
    kept = {*lake.values.periods(export.path(STATIC))}
    for period in sorted({*table.periods(), *kept} - crawls.keys()):
        _empty(table, period, run_id)
        lake.values.remove(export.path(STATIC), period)
    for period, crawl in crawls.items():
        lake.values.write(export.path(STATIC), period, crawl)
    return StaticLoad(table=table, crawls=crawls, loaded=loaded)


def crawl_files(
    lake: Lake, engine: Engine, export: Export, keys: Sequence[str]
) -> dict[str, Crawl]:
    """Group files by the billing period that their rows state, and crawl each group.

    Raises:
        ConfigurationError: A file is named under two names.
        NoDeliveryError: A file is not there, or no file holds a row.
        MixedPeriodsError: A file holds rows of several billing periods.
        PeriodMismatchError: A row states no billing period, so nothing says where it belongs.
    """
    groups: dict[str, list[StoredObject]] = {}
    profiles: dict[str, list[Profile]] = {}
    pinned = [_pinned(lake.storage, key) for key in keys]
    _require_distinct(((file.uri, file.key) for file in pinned), "The file is named twice, also as")
    contents: list[tuple[str, str]] = []
    for file in pinned:
        source, _ = read_source(lake.storage, _delivery(export, "", [file]), export.format)
        profile = engine.profile(source)
        _require_one_period(profile, file.key, export.format.roles.period_start)
        if profile.rows:
            # Where an engine takes no digest, the storage's tag stands for the content.
            content = profile.files[file.key].digest or f"{file.size} {file.etag}"
            contents.append((content, file.key))
            _require_distinct(contents, "The file has the very bytes of")
        for period in profile.periods:
            groups.setdefault(period, []).append(file)
            profiles.setdefault(period, []).append(profile)
    if not groups:
        raise NoDeliveryError(
            f"No row in {counted(len(keys), 'file')}",
            remedy="Name files with rows; the table stays as it is",
        )
    return {
        period: _crawl(lake, export, period, groups[period], profiles[period])
        for period in sorted(groups)
    }


def _require_distinct(named: Iterable[tuple[str, str]], what: str) -> None:
    """Refuse a second file that is the same as another one; its rows would count twice.

    Args:
        named: What makes each file what it is, and its key.
        what: What to say of the second one before the key of the first.
    """
    seen: dict[str, str] = {}
    for same, key in named:
        if same in seen:
            remedy = "Name each file once; the table stays as it is"
            raise ConfigurationError(f"{what} {shown(seen[same])}", file=key, remedy=remedy)
        seen[same] = key


def _require_one_period(profile: Profile, key: str, column: str | None) -> None:
    if len(profile.periods) > 1:
        stated = ", ".join(sorted(profile.periods))
        what = f"The file holds rows of several billing periods: {stated}"
        raise MixedPeriodsError(what, file=key)
    lost = profile.rows - sum(profile.periods.values())
    if lost:
        raise PeriodMismatchError(
            f"{lost:,} of {counted(profile.rows, 'row')} {'states' if lost == 1 else 'state'} no billing period",
            remedy=f"Fill the column {column} of these rows, or leave them out; the table stays as it is",
            file=key,
        )


def _crawl(
    lake: Lake,
    export: Export,
    period: str,
    files: Sequence[StoredObject],
    profiles: Sequence[Profile],
) -> Crawl:
    delivery = _delivery(export, period, files)
    source, merged = read_source(lake.storage, delivery, export.format)
    return Crawl(
        table=crawled_table_name(export.name, period, delivery.version),
        delivery=delivery,
        source=source,
        merged=merged,
        profile=merge(profiles),
    )


def _pinned(storage: Storage, key: str) -> StoredObject:
    file = storage.stat(key)
    if file is None:
        remedy = "Name files of the landing storage by their keys, without its root"
        raise NoDeliveryError("There is no such file", file=key, remedy=remedy)
    return file


def _delivery(export: Export, period: str, files: Sequence[StoredObject]) -> Delivery:
    version = fingerprint_of_texts(f"{file.key} {file.size} {file.etag}" for file in files)
    return Delivery(
        export=export.name,
        period=period,
        version=f"static-{version}",
        layout="loose",
        format=export.format.name,
        files=tuple(files),
    )


def _verify(storage: Storage, delivery: Delivery) -> None:
    for file in delivery.files:
        if storage.stat(file.key) != file:
            raise DeliveryChangedError("The file changed while it was loaded", file=file.key)


def _empty(table: Table, period: str, run_id: str) -> None:
    """Remove the rows of a period that the files of this run do not have: the table is overwritten, not added to."""
    table.catalog.replace_period(
        table.name,
        table.key(period),
        Encoded(identity="", version=""),
        properties={RUN_PROPERTY: run_id},
        verify=lambda: None,
    )
