"""The job `<export>_rebuild_tables`: the way out where a table cannot follow a change of type."""

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import ENGINE_POOL, DagsterExport
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.loads.rebuild import Rebuilder


class Rebuild(dg.Config):
    """Run config of `rebuild_tables`."""

    leave_behind: list[str] = Field(
        default=[],
        description=(
            "Billing periods that the tables hold now and storage has no delivery of any more. The rebuilt tables will not have "
            "them; they stay with the rows from before. A period that is missing and not named here stops the rebuild."
        ),
    )


def build_rebuild_job(export: DagsterExport) -> dg.JobDefinition:
    """Build the job for ``export``."""

    @dg.op(
        name=f"{export.name}_rebuild",
        pool=ENGINE_POOL,
        description="Encode all deliveries anew, prove them, then let each table take them over in one commit.",
    )
    def rebuild(
        context: dg.OpExecutionContext, config: Rebuild, billing_lake: dg.ResourceParam[Lake]
    ) -> None:
        log = progress(context)
        with named_failures():
            rebuilder = Rebuilder(
                lake=billing_lake,
                export=export,
                run_id=context.run.run_id,
                engine=billing_lake.engine(log, context),
                log=log,
            )
            done = rebuilder.run(config.leave_behind)
        context.add_output_metadata(
            {
                "table": export.table,
                "rows_before": markdown.table(
                    ("table", "its rows from before are in"),
                    done.old.items(),
                ),
                "rows": markdown.table(("billing period", "rows"), done.periods.items()),
            }
        )

    @dg.job(
        name=f"{export.name}_rebuild_tables",
        executor_def=dg.in_process_executor,
        tags=export.job_tags,
        **export.owned,
        description=(
            f"Encode all deliveries of {export.name} that are in storage anew, prove every billing period, then exchange columns "
            "and rows of each table in one commit. Readers never miss the table; the rows from before stay under a name of "
            "their own. For changes that no table can follow."
        ),
    )
    def rebuild_tables() -> None:
        rebuild()

    return rebuild_tables
