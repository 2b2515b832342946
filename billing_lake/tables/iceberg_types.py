"""Types and fields of the lake as Iceberg's library has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.schemas import Field
from billing_lake.domain.types import (
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    assert_never,
    not_written,
    parse,
)

if TYPE_CHECKING:
    from pyiceberg.types import IcebergType, NestedField


def nested_fields(fields: Sequence[Field]) -> list[NestedField]:
    """Return fields as pyiceberg has them.

    Raises:
        SchemaChangeError: The lake does not write a column's type.
    """
    from pyiceberg.types import NestedField

    return [
        NestedField(
            field_id=one.field_id,
            name=one.name,
            field_type=iceberg_type(one.type, one.nested_ids),
            doc=one.description or None,
        )
        for one in fields
    ]


def lake_fields(fields: Sequence[NestedField]) -> tuple[Field, ...]:
    """Return what `nested_fields` makes the other way round."""
    return tuple(
        Field(
            name=one.name,
            type=parse(str(one.field_type)),
            field_id=one.field_id,
            nested_ids=tuple(_ids(one.field_type)),
            description=one.doc or "",
        )
        for one in fields
    )


def iceberg_type(type_: Type, nested_ids: Iterable[int] = ()) -> IcebergType:  # noqa: C901, PLR0911, RET503 -- a case for each type
    """Return a type as pyiceberg has it, with the ids ``nested_ids`` for the parts of a map.

    Raises:
        SchemaChangeError: The lake does not write it.
    """
    from pyiceberg import types as iceberg

    nested = iter(nested_ids)

    match type_:
        case Primitive.STRING:
            return iceberg.StringType()
        case Primitive.TIMESTAMP:
            return iceberg.TimestamptzType()
        case Primitive.DATE:
            return iceberg.DateType()
        case Primitive.INT:
            return iceberg.IntegerType()
        case Primitive.LONG:
            return iceberg.LongType()
        case Primitive.FLOAT:
            return iceberg.FloatType()
        case Primitive.DOUBLE:
            return iceberg.DoubleType()
        case Primitive.BOOLEAN:
            return iceberg.BooleanType()
        case Decimal(precision, scale):
            return iceberg.DecimalType(precision, scale)
        case Map(key, value):
            key_id, value_id = next(nested), next(nested)
            return iceberg.MapType(
                key_id=key_id,
                key_type=iceberg_type(key, nested),
                value_id=value_id,
                value_type=iceberg_type(value, nested),
                value_required=False,
            )
        case Foreign():
            raise not_written(type_)
        case _:
            assert_never(type_)


def _ids(type_: IcebergType) -> Iterator[int]:
    """Yield the ids of a type's parts in the order in which Iceberg gives them, which is that of `Field.nested_ids`."""
    from pyiceberg.types import ListType, MapType, StructType

    parts: tuple[NestedField, ...] = ()
    match type_:
        case MapType():
            parts = (type_.key_field, type_.value_field)
        case ListType():
            parts = (type_.element_field,)
        case StructType():
            parts = type_.fields
    yield from (part.field_id for part in parts)
    for part in parts:
        yield from _ids(part.field_type)
