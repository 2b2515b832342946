"""Schemas and their difference: what a delivery brings, what a table has, and whether the table may follow.

The gate before every load. A change that Iceberg can make without touching data is planned, anything else is refused
before a byte is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.types import STRING

_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
MAX_PRECISION = 38
"""Most digits of a decimal, in Iceberg, Parquet and every engine."""

_WIDENINGS = {("int", "long"), ("float", "double")}


@dataclass(frozen=True)
class Column:
    """A column by name and Iceberg type."""

    name: str
    type: str


@dataclass(frozen=True)
class Field:
    """A column of a table, with the field id by which Iceberg knows it."""

    name: str
    type: str
    field_id: int


@dataclass(frozen=True)
class TypeChange:
    """A column whose type in the delivery differs from the table's."""

    name: str
    table: str
    delivery: str


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

    @property
    def changes(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.added or self.missing or self.widened or self.incompatible)


@dataclass(frozen=True, kw_only=True)
class SchemaPlan:
    """The schema that files for a table are written with.

    Attributes:
        fields: Every field of the table after its evolution, in its order, with ids.
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
        return SchemaPlan(
            fields=tuple(Field(c.name, c.type, n) for n, c in enumerate(delivery, start=1))
        )
    by_name = {column.name: column for column in delivery}
    known = {existing.name for existing in table}
    added = tuple(c for c in delivery if c.name not in known)
    missing, widened, incompatible, fields = [], [], [], []
    for existing in table:
        column = by_name.get(existing.name)
        if column is None:
            missing.append(Column(existing.name, existing.type))
            fields.append(existing)
            continue
        effect = _effect(existing.type, column.type)
        change = TypeChange(existing.name, existing.type, column.type)
        if effect == "widen":
            widened.append(change)
            fields.append(Field(existing.name, column.type, existing.field_id))
            continue
        if effect == "refuse":
            incompatible.append(change)
        fields.append(existing)
    next_id = max(last_id, *(existing.field_id for existing in table), 0) + 1
    fields += [Field(c.name, c.type, next_id + n) for n, c in enumerate(added)]
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
    known = max(last_id, *(existing.field_id for existing in table), 0)
    planned = plan([one for one in table if one.name not in gone], wanted, known)
    return SchemaPlan(
        fields=planned.fields, diff=replace(planned.diff, incompatible=tuple(clashes))
    )


def parse_decimal(type_: str) -> tuple[int, int] | None:
    """Return precision and scale of a decimal type, or None for another type."""
    match = _DECIMAL.fullmatch(type_)
    return None if match is None else (int(match[1]), int(match[2]))


def fields_to_json(fields: Iterable[Field]) -> list[dict[str, Any]]:
    """Return fields as JSON values."""
    return [asdict(one) for one in fields]


def fields_from_json(value: Iterable[Mapping[str, Any]]) -> tuple[Field, ...]:
    """Read what `fields_to_json` wrote."""
    return tuple(Field(**one) for one in value)


def _effect(table: str, delivery: str) -> Literal["keep", "widen", "refuse"]:
    """Say what becomes of a table's column of type ``table`` when a delivery brings ``delivery``.

    A delivery that is narrower than the table fits as it is: the engine writes the table's type.
    """
    if table == delivery:
        return "keep"
    if (table, delivery) in _WIDENINGS:
        return "widen"
    if (delivery, table) in _WIDENINGS:
        return "keep"
    left, right = parse_decimal(table), parse_decimal(delivery)
    if left is not None and right is not None and left[1] == right[1]:
        return "widen" if right[0] > left[0] else "keep"
    return "refuse"
