"""The jobs `s3_table_create` and `s3_table_delete`: an S3 table is made and removed by an operator, never by a load."""

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import TABLE_ASSETS
from billing_lake.assets.periods import named_failures
from billing_lake.deployments import Lake
from billing_lake.domain.errors import (
    ConfigurationError,
    ConfirmationError,
    TableError,
    shown,
)
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.schemas import Field as TableField
from billing_lake.formats.registry import DEFAULT

_SHOWN = 5


class CreateTable(dg.Config):
    """Run config of `s3_table_create`."""

    table: str = Field(
        description="Full name of the table, `<namespace>.<export>`, for example `billing.cost_and_usage`."
    )


class DeleteTable(dg.Config):
    """Run config of `s3_table_delete`."""

    table: str = Field(description="Full name of the table, `<namespace>.<export>`.")
    confirm: str = Field(
        default="",
        description="The table's full name once more. Table, catalog entry and data are gone afterwards.",
    )


def defined_schema() -> tuple[TableField, ...]:
    """Return the schema that an S3 table is made with: every column of the dictionary, then those the lake adds."""
    columns = (Column(name, type_) for name, type_ in DEFAULT.known_columns.items())
    return plan(None, lake_columns(columns)).fields


def create_table(lake: Lake, table: str) -> str:
    """Make an empty S3 table with the defined schema, and its namespace; return what was done, in words.

    Raises:
        ConfigurationError: The name has no namespace.
        TableError: The table exists with other types.
    """
    if "." not in table:
        what = f"{shown(table)!r} has no namespace"
        raise ConfigurationError(what, remedy=f"Write billing.{shown(table)}")
    fields = defined_schema()
    if lake.s3_tables.create(table, fields):
        return f"Made {table} with {len(fields)} columns"
    have = {field.name: field.type for field in lake.s3_tables.fields(table) or ()}
    other = [
        (field.name, field.type, have.get(field.name, "no such column"))
        for field in fields
        if have.get(field.name) != field.type
    ]
    if other:
        listed = "; ".join(f"{name} is {found}, not {want}" for name, want, found in other[:_SHOWN])
        more = f"; and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        what = f"{table} exists with another schema: {listed}{more}"
        raise TableError(what, remedy="Choose another name, or delete the table first")
    more = (
        f" and {len(have) - len(fields)} columns of its deliveries"
        if len(have) > len(fields)
        else ""
    )
    return f"{table} exists already with the defined schema{more}; nothing was done"


def delete_table(lake: Lake, table: str, confirm: str) -> str:
    """Remove an S3 table with its catalog entry and its data; return what was done, in words.

    Raises:
        ConfirmationError: ``confirm`` is not the table's name.
        TableError: There is no such table.
    """
    if confirm != table:
        what = f"Deleting {shown(table)} was not confirmed: `confirm` is {shown(confirm)!r}"
        raise ConfirmationError(what)
    if lake.s3_tables.fields(table) is None:
        known = ", ".join(lake.s3_tables.tables()) or "none"
        remedy = f"Choose one that exists: {known}"
        raise TableError(f"There is no S3 table {shown(table)}", remedy=remedy)
    lake.s3_tables.drop(table)
    return f"Deleted {table}: its catalog entry and its data"


@dg.op(description="Make the table, or say that it is there.")
def create_s3_table(
    context: dg.OpExecutionContext, config: CreateTable, billing_lake: dg.ResourceParam[Lake]
) -> None:
    """Make the S3 table of the run config."""
    with named_failures():
        done = create_table(billing_lake, config.table)
    context.log.info("%s", done)
    head = ("column", "type")
    context.add_output_metadata(
        {
            "result": done,
            "columns": dg.MetadataValue.md(
                markdown.table(head, ((field.name, field.type) for field in defined_schema()))
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
