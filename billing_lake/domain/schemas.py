"""Schemas and their difference: what a delivery brings, what a table has, and whether the table may follow.

The gate before every load. A change that Iceberg can make without touching data is planned, anything else is refused
before a byte is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.json_values import JsonValues
from billing_lake.domain.types import STRING, Type, is_written, nested_count, promoted_type


@dataclass(frozen=True)
class Column:
    """A column by name and type."""

    name: str
    type: Type


@dataclass(frozen=True)
class Field(JsonValues):
    """A column of a table, with the field id by which Iceberg knows it.

    Attributes:
        field_id: Its id, unique within the table and never given twice.
        nested_ids: Ids of a type's parts: of a map its key's, its value's, then those of their own parts.
        description: What it means, for people; fields that differ in nothing else are the same.
    """

    name: str
    type: Type
    field_id: int
    nested_ids: tuple[int, ...] = ()
    description: str = field(default="", compare=False)

    @property
    def ids(self) -> tuple[int, ...]:
        """Its own id and those of its parts."""
        return (self.field_id, *self.nested_ids)


@dataclass(frozen=True)
class TypeChange:
    """A column whose type in the delivery differs from the table's."""

    name: str
    table: Type
    delivery: Type


@dataclass(frozen=True, kw_only=True)
class SchemaDiff:
    """The delivery's columns against a table's.

    Attributes:
        added: Columns that the table lacks; they are added.
        missing: Columns that the delivery lacks; they are NULL for its period.
        widened: Columns whose table type is promoted to the delivery's.
        incompatible: Columns whose types no promotion joins; the load must not go on.
    """

    added: tuple[Column, ...] = ()
    missing: tuple[Column, ...] = ()
    widened: tuple[TypeChange, ...] = ()
    incompatible: tuple[TypeChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SchemaPlan:
    """The schema that files for a table are written with.

    Attributes:
        fields: Every field of the table after its evolution that the lake can write, in its order, with ids.
        diff: How it differs from the table as it is.
    """

    fields: tuple[Field, ...]
    diff: SchemaDiff = field(default_factory=SchemaDiff)


def lake_columns(report: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns of a table for the report columns ``report``: theirs, then those the lake adds."""
    return (*report, *(Column(name, STRING) for name in LAKE_COLUMNS))


def plan(table: Sequence[Field] | None, delivery: Sequence[Column], last_id: int = 0) -> SchemaPlan:
    """Plan the schema that takes ``delivery`` into ``table``.

    Args:
        table: Fields of the table; None where it does not exist yet.
        delivery: Columns of the delivery, the lake's own included (see `lake_columns`).
        last_id: The highest field id that the table ever gave, where that of ``table`` may be lower.

    Returns:
        The table's fields, widened where the delivery is wider and allowed, then the new ones with the next free ids, as
        Iceberg will give them. A column that is incompatible keeps the table's type.
    """
    if table is None:
        # Iceberg numbers the columns of a new table first, then the parts of its maps.
        nested = count(len(delivery) + 1)
        return SchemaPlan(
            fields=tuple(_field(c, n, nested) for n, c in enumerate(delivery, start=1))
        )
    by_name = {column.name: column for column in delivery}
    known = {existing.name for existing in table}
    added = tuple(c for c in delivery if c.name not in known)
    missing, widened, incompatible, fields = [], [], [], []
    for existing in table:
        column = by_name.get(existing.name)
        if column is None:
            missing.append(Column(existing.name, existing.type))
            # What files lack is NULL, in a column of somebody else's too.
            fields += [existing] if is_written(existing.type) else []
            continue
        after = promoted_type(existing.type, column.type)
        change = TypeChange(existing.name, existing.type, column.type)
        if after is None:
            incompatible.append(change)
        elif after != existing.type:
            widened.append(change)
        fields.append(replace(existing, type=after or existing.type))
    ids = count(_last_id(table, last_id) + 1)
    fields += [_field(column, next(ids), ids) for column in added]
    diff = SchemaDiff(
        added=added,
        missing=tuple(missing),
        widened=tuple(widened),
        incompatible=tuple(incompatible),
    )
    return SchemaPlan(fields=tuple(fields), diff=diff)


def plan_anew(table: Sequence[Field], wanted: Sequence[Column], last_id: int = 0) -> SchemaPlan:
    """Plan the schema of a table whose rows are all written anew: a column of another type is exchanged for a new one.

    Args:
        table: Fields of the table.
        wanted: The columns of all that is written.
        last_id: The highest field id that the table ever gave.

    Returns:
        The plan. Its difference names the exchanged columns as incompatible and as added; no other field is lost.
    """
    clashes = plan(table, wanted).diff.incompatible
    gone = {change.name for change in clashes}
    kept = [one for one in table if one.name not in gone]
    planned = plan(kept, wanted, _last_id(table, last_id))
    return SchemaPlan(
        fields=planned.fields, diff=replace(planned.diff, incompatible=tuple(clashes))
    )


def columns_of(fields: Iterable[Field]) -> tuple[Column, ...]:
    """Return fields as columns, without their ids."""
    return tuple(Column(one.name, one.type) for one in fields)


def _field(column: Column, field_id: int, nested: Iterator[int]) -> Field:
    """Return ``column`` with its id and, where it is a map, the next of the ids ``nested``."""
    parts = tuple(islice(nested, nested_count(column.type)))
    return Field(column.name, column.type, field_id, parts)


def _last_id(table: Iterable[Field], last_id: int) -> int:
    """Return the highest id of the fields of ``table`` and their parts, or ``last_id`` where that is higher."""
    return max((last_id, *(one_id for one in table for one_id in one.ids)))
