"""The job `<export>_remove_orphans`: removes what killed loads left and no table refers to.

A load removes after itself what it did not commit, unless it is killed. What stays then costs space and nothing else, so
nobody has to hurry: only what is too old to belong to a load at work is looked at.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import TABLE_ASSETS, Export
from billing_lake.assets.loading import catalog_of
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.engines.base import Log
from billing_lake.tables.base import BEFORE, REBUILT, TableCatalog


class RemoveOrphans(dg.Config):
    """Run config of `remove_orphans`."""

    older_than_days: int = Field(
        default=1, ge=1, description="Younger files may belong to a load at work and stay."
    )


def remove_orphans(lake: Lake, export: Export, age: timedelta, log: Log) -> dict[str, list[str]]:
    """Remove the orphans of an export's tables, and staged files that nobody works on any more.

    Args:
        lake: The lake.
        export: The export.
        age: What is younger stays.
        log: Takes lines about progress.

    Returns:
        Where something was removed, by table or folder, and the URIs of what it was.
    """
    removed: dict[str, list[str]] = {}
    # The table of static files is in the Iceberg catalog, whatever the export is loaded into.
    for output in dict.fromkeys((*export.outputs, "iceberg")):
        if output == "s3_table" and lake.s3_tables.is_managed:
            log("s3_table: the table bucket cleans up by its own rules")
            continue
        catalog = catalog_of(lake, output)
        for table in _tables(export, catalog):
            found = catalog.remove_orphans(table, age)
            log(f"{TABLE_ASSETS[output]} {table}: {len(found)} orphans removed")
            if found:
                removed[f"{TABLE_ASSETS[output]} {table}"] = list(found)
    if staged := _remove_staged(lake, age):
        removed[lake.staging] = staged
    log(f"{lake.staging}: {len(staged)} orphans removed")
    return removed


def _tables(export: Export, catalog: TableCatalog) -> Iterator[str]:
    """Yield the export's tables in a catalog, which may hold others' too: its own, and what rebuilds left of it."""
    beside = (f"{export.table}{REBUILT}", f"{export.table}{BEFORE}")
    for table in catalog.tables():
        if table in {export.table, export.static_table} or table.startswith(beside):
            yield table


def _remove_staged(lake: Lake, age: timedelta) -> list[str]:
    newest: dict[str, datetime] = {}
    for file in lake.files.list(lake.staging):
        name, slash, _ = file.uri.removeprefix(f"{lake.staging}/").partition("/")
        if slash:
            folder = f"{lake.staging}/{name}"
            newest[folder] = max(newest.get(folder, file.modified), file.modified)
    young = datetime.now(timezone.utc) - age
    old = sorted(folder for folder, modified in newest.items() if modified <= young)
    for folder in old:
        lake.files.remove_folder(folder)
    return old


def build_orphans_job(export: Export) -> dg.JobDefinition:
    """Build the job for ``export``."""

    @dg.op(
        name=f"{export.name}_orphans",
        description="Remove files that no table refers to and that are too old to belong to a load at work.",
    )
    def orphans(
        context: dg.OpExecutionContext, config: RemoveOrphans, billing_lake: dg.ResourceParam[Lake]
    ) -> None:
        age = timedelta(days=config.older_than_days)
        with named_failures():
            removed = remove_orphans(billing_lake, export, age, progress(context))
        rows = [(place, uri) for place, uris in removed.items() for uri in uris]
        context.add_output_metadata(
            {
                "removed": len(rows),
                "orphans": dg.MetadataValue.md(markdown.table(("of", "file or folder"), rows)),
            }
        )

    @dg.job(
        name=f"{export.name}_remove_orphans",
        executor_def=dg.in_process_executor,
        tags=export.tags,
        description=(
            f"Remove what killed loads of {export.name} left: files that no table refers to, at least a day old. Safe at any "
            "time, beside loads too."
        ),
    )
    def remove() -> None:
        orphans()

    return remove
