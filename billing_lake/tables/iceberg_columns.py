"""Columns of Iceberg tables: what a new table has, how one follows its deliveries, how it is given other types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.schemas import Column, Field, SchemaPlan, plan_anew
from billing_lake.domain.types import Map, Type
from billing_lake.tables.base import EXPORT, PERIOD
from billing_lake.tables.iceberg_types import iceberg_type, lake_fields, nested_fields
from billing_lake.tables.schema_changes import plan_evolution

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.update.schema import UpdateSchema


def new_table_schema(fields: Sequence[Field]) -> tuple[Schema, PartitionSpec, dict[str, str]]:
    """Return what a new table is created with: its schema, its partitions by export and billing period, its properties."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema, assign_fresh_schema_ids
    from pyiceberg.transforms import IdentityTransform

    asked = Schema(*nested_fields(fields))
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
    from billing_lake.tables.iceberg_transactions import LakeTransaction

    have = fields_of(table)
    diff = plan_evolution(".".join(table.name()), have, plan).diff
    if not (diff.added or diff.widened):
        return have
    with LakeTransaction(table) as transaction:
        change_columns(transaction, SchemaPlan(fields=plan.fields, diff=diff))
    return fields_of(table)


def change_columns(transaction: Transaction, plan: SchemaPlan) -> None:
    """Change the columns of a table as planned, within ``transaction``."""
    planned = {field.name: field for field in plan.fields}
    diff = plan.diff
    if not (diff.added or diff.widened):
        return
    with transaction.update_schema() as update:
        for change in diff.incompatible:
            update.delete_column(change.name)
        for column in diff.added:
            field = planned[column.name]
            type_ = iceberg_type(field.type, field.nested_ids)
            update.add_column(field.name, type_, doc=field.description or None)
        for change in diff.widened:
            _promote(update, (change.name,), planned[change.name].type)


def plan_table_rebuild(table: Table, wanted: Sequence[Column]) -> SchemaPlan:
    """Return the plan by which all rows of an export in the table can be written anew with the columns ``wanted``."""
    return plan_anew(fields_of(table), wanted, table.metadata.last_column_id)


def fields_of(table: Table) -> tuple[Field, ...]:
    """Return a table's fields."""
    return lake_fields(table.schema().fields)


def _promote(update: UpdateSchema, path: tuple[str, ...], type_: Type) -> None:
    """Change the type of a column; of a map, only the type of its values can change."""
    if isinstance(type_, Map):
        _promote(update, (*path, "value"), type_.value)
    else:
        update.update_column(path, iceberg_type(type_))
