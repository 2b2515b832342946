"""The job `<export>_maintenance` and its schedule: keep the export's tables small and fast."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.jobs.bounds import BOUNDS, require_bounds
from billing_lake.loads.maintenance import maintain
from billing_lake.tables.base import CleanUp, KeptHistory

_SUNDAY_NIGHT = "0 3 * * 0"


def build_maintenance_job(export: DagsterExport, history: KeptHistory) -> dg.JobDefinition:
    """Build the job for ``export``.

    Args:
        export: The export.
        history: How much of the history of its Iceberg tables is kept, unless the run config says otherwise.
    """

    class Maintenance(dg.Config):
        """Run config of the job."""

        keep_days: int = Field(
            default=int(history.days),
            description=f"Days for which a state of a table can be read again after it was replaced, {BOUNDS}.",
        )
        keep_loads: int = Field(
            default=history.loads,
            description=f"Loads of each billing period that can be read again, however old they are, {BOUNDS}.",
        )
        older_than_days: int = Field(
            default=1,
            description=f"Age in days, {BOUNDS}; younger files may belong to a load at work and stay.",
        )
        dry_run: bool = Field(
            default=False,
            description="Only list what would go or be compacted, and the space that comes back; nothing is changed.",
        )

    @dg.op(
        # No op may have the name of a job.
        name=f"{export.name}_maintain",
        description=(
            "Compact small files, remove old history of the tables, and files that no table refers to and no load can be at work on."
        ),
    )
    def keep_tables(
        context: dg.OpExecutionContext,
        config: Maintenance,
        billing_lake: dg.ResourceParam[Lake],
    ) -> None:
        with named_failures():
            require_bounds(
                keep_days=config.keep_days,
                keep_loads=config.keep_loads,
                older_than_days=config.older_than_days,
            )
            what = CleanUp(
                older_than=timedelta(days=config.older_than_days),
                kept=KeptHistory(days=config.keep_days, loads=config.keep_loads),
                dry_run=config.dry_run,
            )
            done = maintain(billing_lake, export, what, progress(context))
        rows = [(place, uri) for place, uris in done.removed.items() for uri in uris]
        compacted = [(place, line) for place, lines in done.compacted.items() for line in lines]
        context.add_output_metadata(
            {
                "would_be_removed" if config.dry_run else "removed": len(rows),
                "would_be_freed_bytes" if config.dry_run else "freed_bytes": done.freed_bytes,
                "files": markdown.table(("of", "file or folder"), rows),
                "compacted": markdown.table(("table", "what"), compacted),
            }
        )

    @dg.job(
        name=f"{export.name}_maintenance",
        executor_def=dg.in_process_executor,
        tags=export.job_tags,
        **export.owned,
        description=(
            f"Keep the tables of {export.name} small and fast: compact small files, remove the history that nobody asked to keep, and "
            "what killed loads left, at least a day old. What a tag names stays. Safe at any time, beside loads too."
        ),
    )
    def maintenance() -> None:
        keep_tables()

    return maintenance


def build_maintenance_schedule(
    export: DagsterExport, job: dg.JobDefinition, *, running: bool
) -> dg.ScheduleDefinition:
    """Build the schedule that starts the job of ``export`` every Sunday at 3:00 UTC."""
    status = dg.DefaultScheduleStatus
    return dg.ScheduleDefinition(
        name=f"{job.name}_weekly",
        job=job,
        cron_schedule=_SUNDAY_NIGHT,
        execution_timezone="UTC",
        default_status=status.RUNNING if running else status.STOPPED,
        description=job.description,
        tags=export.tags,
        **export.owned,
    )
