"""Columns of Iceberg tables: what a new table has, how one follows its deliveries, how it is given other types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.errors import SchemaChangeError
from billing_lake.domain.schemas import Column, Field, SchemaPlan, plan_anew
from billing_lake.domain.schemas import plan as plan_schema
from billing_lake.tables.base import EXPORT, PERIOD

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction
    from pyiceberg.types import NestedField


def shape(fields: Sequence[Field]) -> tuple[Schema, PartitionSpec, dict[str, str]]:
    """Return what a new table is created with: its schema, its partitions by export and billing period, its properties."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema, assign_fresh_schema_ids
    from pyiceberg.transforms import IdentityTransform

    asked = Schema(*nested(fields))
    schema = assign_fresh_schema_ids(asked)
    parts = (
        PartitionField(schema.find_field(name).field_id, 1000 + n, IdentityTransform(), name)
        for n, name in enumerate((EXPORT, PERIOD))
    )
    properties = {
        "format-version": "2",
        "write.parquet.compression-codec": "zstd",
        # Lets readers find columns by name in files without field ids, which Spark writes where there are maps.
        "schema.name-mapping.default": schema.name_mapping.model_dump_json(),
    }
    return schema, PartitionSpec(*parts), properties


def evolve(table: Table, plan: SchemaPlan) -> tuple[Field, ...]:
    """Add the planned columns and make the planned promotions, as far as the table lacks them; return its fields now.

    Raises:
        SchemaChangeError: A planned column has a type that no promotion joins with the planned one.
    """
    have = fields_of(table)
    diff = plan_schema(have, [Column(field.name, field.type) for field in plan.fields]).diff
    if diff.incompatible:
        change = diff.incompatible[0]
        what = f"The column is {change.table} in table {'.'.join(table.name())} and {change.delivery} in the plan"
        raise SchemaChangeError(what, column=change.name)
    if not (diff.added or diff.widened):
        return have
    with table.transaction() as transaction:
        change_columns(transaction, SchemaPlan(fields=plan.fields, diff=diff))
    return fields_of(table)


def change_columns(transaction: Transaction, plan: SchemaPlan) -> None:
    """Change the columns of a table as planned, within ``transaction``."""
    types = {field.name: field for field in nested(plan.fields)}
    diff = plan.diff
    if not (diff.added or diff.widened):
        return
    with transaction.update_schema() as update:
        for change in diff.incompatible:
            update.delete_column(change.name)
        for column in diff.added:
            update.add_column(column.name, types[column.name].field_type)
        for change in diff.widened:
            update.update_column(change.name, types[change.name].field_type)


def replan(table: Table, wanted: Sequence[Column]) -> SchemaPlan:
    """Return the plan by which all rows of an export in the table can be written anew with the columns ``wanted``."""
    return plan_anew(fields_of(table), wanted, table.metadata.last_column_id)


def fields_of(table: Table) -> tuple[Field, ...]:
    """Return a table's fields."""
    return tuple(Field(f.name, str(f.field_type), f.field_id) for f in table.schema().fields)


def nested(fields: Sequence[Field]) -> list[NestedField]:
    """Return fields as pyiceberg has them."""
    from pyiceberg.types import NestedField

    return [NestedField(field_id=f.field_id, name=f.name, field_type=f.type) for f in fields]
