"""The jobs `s3_table_create` and `s3_table_delete`: an S3 table is made and removed by an operator, never by a load."""

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.periods import named_failures
from billing_lake.deployments import Lake
from billing_lake.formats.registry import DEFAULT_FORMAT, FORMATS, format_named
from billing_lake.jobs.bounds import BOUNDS, require_bounds
from billing_lake.loads.s3_tables import KEPT, create_table, defined_schema, delete_table
from billing_lake.tables.base import KeptHistory
from billing_lake.tables.exports import TABLE_ASSETS


class CreateTable(dg.Config):
    """Run config of `s3_table_create`."""

    table: str = Field(
        description="Full name of the table, `<namespace>.<export>`, for example `billing.cost_and_usage`."
    )
    format: str = Field(
        default=DEFAULT_FORMAT.name,
        description=f"Format of the export that is loaded into it, as in its defs.yaml: one of {', '.join(FORMATS)}.",
    )
    keep_days: int = Field(
        default=int(KEPT.days),
        description=f"Days for which AWS keeps the table's snapshots, {BOUNDS}; it maintains S3 tables by itself. Give others by running the job again.",
    )
    keep_snapshots: int = Field(
        default=KEPT.loads,
        description=f"Snapshots of the table that AWS keeps, however old they are, {BOUNDS}.",
    )


class DeleteTable(dg.Config):
    """Run config of `s3_table_delete`."""

    table: str = Field(description="Full name of the table, `<namespace>.<export>`.")
    confirm: str = Field(
        default="",
        description="The table's full name once more. Table, catalog entry and data are gone afterwards.",
    )


@dg.op(description="Make the table, or say that it is there.")
def create_s3_table(
    context: dg.OpExecutionContext, config: CreateTable, billing_lake: dg.ResourceParam[Lake]
) -> None:
    """Make the S3 table of the run config."""
    with named_failures():
        require_bounds(keep_days=config.keep_days, keep_snapshots=config.keep_snapshots)
        format_ = format_named(config.format)
        kept = KeptHistory(days=config.keep_days, loads=config.keep_snapshots)
        done = create_table(billing_lake, config.table, format_, kept)
    context.log.info("%s", done)
    head = ("column", "type")
    context.add_output_metadata(
        {
            "result": done,
            "columns": markdown.table(
                head, ((field.name, field.type) for field in defined_schema(format_))
            ),
        }
    )


@dg.op(description="Remove the table, if its name was typed as confirmation.")
def delete_s3_table(
    context: dg.OpExecutionContext, config: DeleteTable, billing_lake: dg.ResourceParam[Lake]
) -> None:
    """Remove the S3 table of the run config."""
    with named_failures():
        done = delete_table(billing_lake, config.table, config.confirm)
    # What Dagster and the lake know of the table's months went with it: the asset is as before its first load.
    key = dg.AssetKey([config.table.rpartition(".")[2], TABLE_ASSETS["s3_table"]])
    context.instance.wipe_assets([key])
    for period in billing_lake.values.periods(key.path):
        billing_lake.values.remove(key.path, period)
    context.log.info("%s", done)
    context.add_output_metadata({"result": done})


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Make an S3 table before its first load: namespace, the defined schema, no rows. When it exists with that schema, "
        "nothing is done."
    ),
)
def s3_table_create() -> None:
    """Make an S3 table."""
    create_s3_table()


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Delete an S3 table: its catalog entry and its data. Needs the table's full name as `confirm`."
    ),
)
def s3_table_delete() -> None:
    """Delete an S3 table."""
    delete_s3_table()
