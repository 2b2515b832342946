"""The assets `hive_table`, `iceberg_table` and `s3_table`: one delivery, loaded into one table each."""

from collections.abc import Iterator, Mapping

import dagster as dg

from billing_lake.assets.export import ENGINE_POOL, DagsterExport
from billing_lake.assets.ledger import ledger_materializations
from billing_lake.assets.metadata import (
    PREVIEW_ROWS,
    column_schema,
    cost_metadata,
    engine_facts,
    preview_table,
    proof_figures,
    without_none,
)
from billing_lake.assets.periods import Outcome, StepEvent, each_period
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import BillingLakeError
from billing_lake.domain.sources import Encoded
from billing_lake.loads.load import Loaded, Loader, drop_crawled_table, encoded_files
from billing_lake.tables.base import Commit
from billing_lake.tables.exports import TABLE_ASSETS, Table, TableOutput

_KINDS: Mapping[TableOutput, set[str]] = {
    "hive": {"hive", "parquet"},
    "iceberg": {"iceberg"},
    "s3_table": {"iceberg", "s3"},
}

_DESCRIPTIONS: Mapping[TableOutput, str] = {
    "hive": (
        "The export as typed Parquet in Hive layout. The delivery is encoded once for all tables; the partition is switched, "
        "so that a reader sees the old month or the new one."
    ),
    "iceberg": (
        "The export as an Apache Iceberg table: the billing period is replaced in one snapshot, new columns are added."
    ),
    "s3_table": "The export as an S3 Tables table, loaded with the same files and the same commit.",
}


def build_table(export: DagsterExport, output: TableOutput) -> dg.AssetsDefinition:
    """Build the asset that loads the table of ``output``."""
    first = export.first_output(output)
    sources = ["crawler_table"] if first is None else ["crawler_table", TABLE_ASSETS[first]]

    @export.asset(
        TABLE_ASSETS[output],
        kinds=_KINDS[output],
        pool=ENGINE_POOL,
        freshness_policy=export.freshness,
        deps=[export.key(name) for name in sources],
        description=_DESCRIPTIONS[output],
    )
    def table(
        context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[StepEvent]:
        log = progress(context)
        loader = Loader(
            lake=billing_lake,
            export=export,
            run_id=context.run.run_id,
            engine=billing_lake.engine(log, context),
            log=log,
        )

        def load(period: str) -> Outcome[Encoded]:
            crawl = billing_lake.values.get(export.path("crawler_table"), period, Crawl)
            table = billing_lake.table(export, output)
            loaded = loader.load(table, crawl, encoded_files(billing_lake, export, first, period))
            drop_crawled_table(billing_lake, export, output, crawl)
            for one in ledger_materializations(export, loaded.recorded.values()):
                context.log_event(one)
            return Outcome(loaded.encoded, _metadata(billing_lake, export, table, crawl, loaded))

        yield from each_period(context, export, billing_lake.values, load)

    return table


def _metadata(
    lake: Lake, export: DagsterExport, table: Table, crawl: Crawl, loaded: Loaded
) -> dict[str, object]:
    commit, recorded = loaded.commit, loaded.recorded.get(crawl.delivery.period)
    first = export.first_output(table.output)
    if loaded.while_crawled:
        encoded = "in the pass that totalled the delivery, for crawler_table"
    elif loaded.encoded_here or first is None:
        encoded = "for this table"
    else:
        encoded = f"for {TABLE_ASSETS[first]}, whose files this table shares"
    return without_none(
        **{
            "dagster/column_schema": column_schema(loaded.fields, export.format),
            "dagster/partition_row_count": commit.rows,
            "dagster/table_name": table.full_name,
            "dagster/uri": table.uri,
            **engine_facts(loaded.facts),
            **cost_metadata(crawl.profile, export.format),
        },
        delivery_version=crawl.delivery.version,
        delivery_identity=crawl.delivery.identity,
        month_state=None if recorded is None else recorded.row.month_state,
        replaced_delivery_version=commit.replaced_version,
        replaced_rows=commit.replaced_rows,
        # As text: a snapshot id has more digits than a number in a browser keeps.
        snapshot_id=None if commit.snapshot_id is None else str(commit.snapshot_id),
        generation=commit.generation,
        # What a reader of Iceberg files is given, where the folder in `dagster/uri` says nothing to it.
        iceberg_metadata=commit.metadata_location,
        files=commit.files,
        bytes=commit.size,
        bytes_read=crawl.delivery.size if loaded.encoded_here else 0,
        encoded=encoded,
        seconds=round(loaded.seconds, 3),
        raw_figures=proof_figures(crawl.profile),
        preview=_preview(lake, export, table, commit, crawl.delivery.period),
    )


def _preview(
    lake: Lake, export: DagsterExport, table: Table, commit: Commit, period: str
) -> dg.MarkdownMetadataValue | None:
    """Return the first rows of what was loaded; None where two more loads have replaced it since."""
    try:
        source = table.files(period, commit)
        names = [name for name in export.format.preview if source.type_of(name) is not None]
        return preview_table(lake.reader.preview(source, names, PREVIEW_ROWS))
    except BillingLakeError:
        return None
