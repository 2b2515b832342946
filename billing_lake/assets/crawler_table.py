"""The asset `crawler_table`: what a delivery's columns are and what its raw files add up to."""

from collections.abc import Iterator

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import ENGINE_POOL, DagsterExport
from billing_lake.assets.metadata import (
    column_schema,
    cost_metadata,
    engine_facts,
    usage_metadata,
    without_none,
)
from billing_lake.assets.periods import Outcome, StepEvent, each_period
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.engines.base import facts_of
from billing_lake.formats.base import Format
from billing_lake.loads.crawl import crawl


def build_crawler_table(export: DagsterExport) -> dg.AssetsDefinition:
    """Build the asset for ``export``."""

    @export.asset(
        "crawler_table",
        kinds={"table", "csv"},
        pool=ENGINE_POOL,
        deps=[export.key("raw_reports")],
        description=(
            "The delivery as a table over its raw files, typed by the column dictionary, with its row count and exact "
            "totals. It is dropped when all tables of the export are loaded, and stays where a load failed."
        ),
    )
    def crawler_table(
        context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[StepEvent]:
        log = progress(context)
        engine = billing_lake.engine(log, context)

        def crawl_period(period: str) -> Outcome[Crawl]:
            delivery = billing_lake.values.get(export.key("raw_reports").path, period, Delivery)
            found = crawl(billing_lake, export, engine, delivery, log)
            return Outcome(
                found, {**_metadata(found, export.format), **engine_facts(facts_of(engine))}
            )

        yield from each_period(context, export, billing_lake.values, crawl_period)

    return crawler_table


def _version(crawl: Crawl, format_: Format) -> str | None:
    """Return which version of the format's specification the report follows, in words; None where there are no versions."""
    if format_.version_of is None:
        return None
    columns = [one.name for one in crawl.source.columns]
    return crawl.delivery.format_version or format_.version_of(columns) or "not told"


def _metadata(crawl: Crawl, format_: Format) -> dict[str, object]:
    profile = crawl.profile
    return without_none(
        **{
            "dagster/column_schema": column_schema(crawl.source.columns, format_),
            "dagster/partition_row_count": profile.rows,
            "dagster/table_name": crawl.table,
            **cost_metadata(profile, format_),
            **usage_metadata(profile),
        },
        delivery_version=crawl.delivery.version,
        format_version=_version(crawl, format_),
        files=len(crawl.delivery.files),
        bytes=crawl.delivery.size,
        rows_by_file=markdown.table(
            ("file", "rows"), ((name, file.rows) for name, file in profile.files.items())
        ),
        merged_columns=markdown.table(
            (
                "column",
                "header cells; other values of the further ones are in columns of their own",
            ),
            ((merge.name, ", ".join(merge.raw)) for merge in crawl.merged),
        )
        if crawl.merged
        else None,
        rounded_cells=markdown.table(
            ("column", "cells with more decimals than the type keeps, rounded half even"),
            profile.rounded.items(),
        )
        if profile.rounded
        else None,
    )
