"""The check `schema_diff`: the gate between a crawl and the tables.

Blocking, and on the asset before the ones that write: where it fails, no table changes. In a run over several billing periods
it stops those that it refuses; the others are loaded.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import DagsterExport, without_warnings_of
from billing_lake.checks.evaluations import (
    EACH_MONTH,
    CheckEvent,
    Checks,
    Materialization,
    Verdict,
)
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import counted, in_words
from billing_lake.domain.schemas import SchemaDiff, lake_columns, plan
from billing_lake.formats.headers import unlisted_columns
from billing_lake.loads.staging import remove_staged

SCHEMA_DIFF = "schema_diff"

ChangeRow = tuple[str, str, str, str, str, str]

_SHOWN_CHANGES = 5
_NAMED_COLUMNS = 100

_HEAD = ("table", "column", "change", "type in the table", "type in the delivery", "effect")


def build_schema_diff(export: DagsterExport) -> dg.AssetChecksDefinition:
    """Build the check for ``export``."""
    with without_warnings_of(dg.PreviewWarning):
        spec = dg.AssetCheckSpec(
            SCHEMA_DIFF,
            asset=export.key("crawler_table"),
            blocking=True,
            partitions_def=export.partitions,
            description=(
                "The delivery's columns against those of the tables that are loaded next. New columns are added, missing "
                "ones are NULL for the period, allowed widenings are made; anything else stops the load before a table "
                "changes. It warns of columns that the manifest does not list. "
                f"{EACH_MONTH}"
            ),
        )

    @dg.multi_asset_check(name=f"{export.name}__{SCHEMA_DIFF}", specs=[spec], can_subset=True)
    def schema_diff(
        context: dg.AssetCheckExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[CheckEvent]:
        path = export.key("crawler_table").path

        def judge(period: str, _: Sequence[str], __: Materialization) -> dict[str, Verdict]:
            return {
                SCHEMA_DIFF: _verdict(
                    billing_lake, export, billing_lake.values.get(path, period, Crawl)
                )
            }

        @cache
        def crawled() -> Sequence[str]:
            return billing_lake.values.periods(path)

        checks = Checks(
            export=export,
            asset="crawler_table",
            specs=[spec],
            judge=judge,
            known_periods=crawled,
            is_empty=lambda period: period not in crawled(),
        )
        yield from checks.evaluate(context)

    return schema_diff


def _verdict(lake: Lake, export: DagsterExport, crawl: Crawl) -> Verdict:
    rows: list[ChangeRow] = []
    refused: list[ChangeRow] = []
    new_tables = []
    for table in lake.tables(export):
        name, have = table.asset, table.fields()
        if have is None:
            new_tables.append(name)
            continue
        diff = plan(have, lake_columns(crawl.source.columns)).diff
        stopped = [
            (name, c.name, "incompatible", str(c.table), str(c.delivery), "the load stops")
            for c in diff.incompatible
        ]
        refused += stopped
        rows += [*stopped, *_harmless(name, diff)]
    period = crawl.delivery.period
    unlisted = unlisted_columns(
        [column.name for column in crawl.source.columns], crawl.delivery.columns, export.format
    )
    metadata: dict[str, object] = {
        "delivery_version": crawl.delivery.version,
        "columns_in_delivery": len(crawl.source.columns),
        "changes": len(rows),
    }
    if unlisted:
        metadata["not_in_manifest"] = ", ".join(unlisted[:_NAMED_COLUMNS])
    if rows:
        metadata["schema_diff"] = markdown.table(_HEAD, rows)
    if new_tables:
        metadata["tables_to_be_made"] = ", ".join(new_tables)
    if refused:
        remove_staged(lake, export, period)
        return Verdict(
            passed=False, description=_ways_out(export, period, refused), metadata=metadata
        )
    changed = list(dict.fromkeys(f"{column} ({change})" for _, column, change, *_ in rows))
    described = "No changes"
    if changed:
        described = (
            f"{counted(len(changed), 'changed column')}, which the tables follow: "
            f"{', '.join(changed[:_SHOWN_CHANGES])}{', …' if len(changed) > _SHOWN_CHANGES else ''}"
        )
    if unlisted:
        described += (
            f"; columns that the manifest does not list, and that are loaded ({len(unlisted)}): "
            f"{', '.join(unlisted[:_SHOWN_CHANGES])}"
        )
    return Verdict(
        passed=not unlisted,
        description=f"{period}: {described}",
        metadata=metadata,
        severity=dg.AssetCheckSeverity.WARN,
    )


def _harmless(table: str, diff: SchemaDiff) -> Iterable[ChangeRow]:
    for added in diff.added:
        yield table, added.name, "new", "", str(added.type), "added to the table"
    for missing in diff.missing:
        yield table, missing.name, "missing", str(missing.type), "", "NULL for this period"
    for wider in diff.widened:
        yield table, wider.name, "wider", str(wider.table), str(wider.delivery), "promoted"


def _ways_out(export: DagsterExport, period: str, refused: Sequence[ChangeRow]) -> str:
    columns = (
        f"{column} is {old} in {table} and {new} in the delivery"
        for table, column, _, old, new, _ in refused
    )
    return (
        f"{period}: no table was changed, because these columns changed in a way that no table can follow: {in_words(columns, _SHOWN_CHANGES, '; ')}. "
        "Ways out: if the delivery is wrong, have it delivered again; if the column dictionary is wrong, correct "
        "that of the format, in `billing_lake/formats`; if the new type is right, run the job "
        f"`{export.name}_rebuild_tables`, which builds the tables anew from all deliveries and keeps the old rows."
    )
