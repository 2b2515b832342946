"""The job `<export>_remove_orphans`: removes what killed loads left and no table refers to."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import Export
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.loads.orphans import remove_orphans


class RemoveOrphans(dg.Config):
    """Run config of `remove_orphans`."""

    older_than_days: int = Field(
        default=1, ge=1, description="Younger files may belong to a load at work and stay."
    )


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
