"""The asset `iceberg_static`: given report files, from before the export existed, as a table of their own."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import ENGINE_POOL, Export
from billing_lake.assets.loading import Loader
from billing_lake.assets.metadata import column_schema, costs
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery, StoredObject, fingerprint
from billing_lake.domain.errors import (
    ConfigurationError,
    DeliveryChangedError,
    MixedPeriodsError,
    NoDeliveryError,
    PeriodMismatchError,
    shown,
)
from billing_lake.domain.profiles import Profile, merge
from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.engines.base import Engine
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import read_source


class StaticFiles(dg.Config):
    """Run config of `iceberg_static`."""

    files: list[str] = Field(
        default=[],
        description=(
            "Keys of the report files (.csv.gz) in the landing storage, for example `archive/2023-11-00001.csv.gz`. "
            "The table holds the rows of exactly these files afterwards. With none the asset is skipped."
        ),
    )


def build_iceberg_static(export: Export, default: Sequence[str] = ()) -> dg.AssetsDefinition:
    """Build the asset for ``export``.

    Args:
        export: The export.
        default: Files that are loaded where the run config names none.
    """

    @dg.asset(
        key=export.key("iceberg_static"),
        # Without partitions it would keep the whole group from being loaded for a range of them.
        group_name=f"{export.name}_static",
        kinds={"iceberg"},
        pool=ENGINE_POOL,
        tags=export.tags,
        dagster_type=cast("dg.DagsterType", dg.Nothing),
        output_required=False,
        owners=list(export.owners) or None,
        metadata={"dagster/table_name": export.static_table},
        description=(
            "Given report files, for example an archive from before the export existed, as an Iceberg table of their own "
            "that is overwritten each time. Run config: the list of files."
            + (f" Without one: {', '.join(default)}." if default else "")
        ),
    )
    def iceberg_static(
        context: dg.AssetExecutionContext,
        config: _config_class(default),  # type: ignore[valid-type]
        billing_lake: dg.ResourceParam[Lake],
    ) -> Iterator[dg.Output[None]]:
        if not config.files:
            context.log.warning(
                "Skipped: no file is named. Name some in the run config (`files`), or as `static_files` of the export"
            )
            return
        with named_failures():
            billing_lake.require(("iceberg",), "built_in")
            log = progress(context)
            # Every file is read before the first period is replaced: a bad one changes nothing.
            engine = billing_lake.engine(log, context)
            crawls = crawl_files(billing_lake, engine, export, config.files)
            loader = Loader(
                lake=billing_lake,
                location=export.location,
                table=export.static_table,
                outputs=("iceberg",),
                run_id=context.run.run_id,
                engine=engine,
                log=log,
                verify=lambda delivery: _verify(billing_lake.storage, delivery),
            )
            loaded = {period: loader.load("iceberg", crawl) for period, crawl in crawls.items()}
            for period in _other_periods(billing_lake, export, crawls):
                _empty(billing_lake, export, period, context.run.run_id)
            for period, crawl in crawls.items():
                billing_lake.values.write(context.asset_key.path, period, crawl)
        whole = merge(crawl.profile for crawl in crawls.values())
        fields = billing_lake.iceberg.fields(export.static_table) or ()
        context.add_output_metadata(
            {
                "dagster/column_schema": column_schema(fields),
                "dagster/row_count": whole.rows,
                "dagster/uri": billing_lake.iceberg.uri(export.static_table),
                **costs(whole, export.format),
                "billing_periods": dg.MetadataValue.md(
                    markdown.table(
                        ("billing period", "files", "rows", "rows before"),
                        (
                            (
                                period,
                                len(crawls[period].delivery.files),
                                one.commit.rows,
                                one.commit.replaced_rows,
                            )
                            for period, one in loaded.items()
                        ),
                    )
                ),
            }
        )
        yield dg.Output(None)

    return iceberg_static


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
        source, _ = read_source(lake.storage, _delivery(export, "", [file]))
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
            f"None of the {len(keys)} files holds a row",
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
            f"{lost:,} of {profile.rows:,} rows state no billing period",
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
    source, merged = read_source(lake.storage, delivery)
    return Crawl(
        table=crawled_table_name(export.name, period, delivery.version),
        delivery=delivery,
        source=source,
        merged=merged,
        profile=merge(profiles),
    )


def _config_class(default: Sequence[str]) -> type[StaticFiles]:
    if not default:
        return StaticFiles
    chosen = list(default)

    class StaticFilesOfExport(StaticFiles):
        """Run config of `iceberg_static`, with the export's own files unless told otherwise."""

        files: list[str] = Field(
            default=chosen, description=StaticFiles.model_fields["files"].description
        )

    return StaticFilesOfExport


def _pinned(storage: Storage, key: str) -> StoredObject:
    file = storage.stat(key)
    if file is None:
        remedy = "Name files of the landing storage by their keys, without its root"
        raise NoDeliveryError("There is no such file", file=key, remedy=remedy)
    return file


def _delivery(export: Export, period: str, files: Sequence[StoredObject]) -> Delivery:
    version = fingerprint(f"{file.key} {file.size} {file.etag}" for file in files)
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


def _other_periods(lake: Lake, export: Export, crawls: dict[str, Crawl]) -> list[str]:
    if lake.iceberg.fields(export.static_table) is None:
        return []
    held = {*lake.iceberg.periods(export.static_table, export.name)}
    held |= {*lake.values.periods(export.key("iceberg_static").path)}
    return sorted(held - crawls.keys())


def _empty(lake: Lake, export: Export, period: str, run_id: str) -> None:
    """Take away a period that the files of this run do not have: the table is overwritten, not added to."""
    lake.iceberg.replace_period(
        export.static_table,
        PeriodKey(export.name, period),
        Encoded(identity="", version=""),
        properties={"billing-lake.run-id": run_id},
        verify=lambda: None,
    )
    lake.values.remove(export.key("iceberg_static").path, period)
