"""Types of the lake in Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.types import (
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    assert_never,
    not_written,
)

if TYPE_CHECKING:
    import polars as pl


def polars_type(type_: Type) -> pl.DataType:  # noqa: C901, PLR0911, RET503 -- a case for each type
    """Return a type as Polars has it.

    Raises:
        SchemaChangeError: The lake does not write it.
    """
    import polars as pl

    match type_:
        case Primitive.STRING:
            return pl.String()
        case Primitive.TIMESTAMP:
            return pl.Datetime("us", "UTC")
        case Primitive.DATE:
            return pl.Date()
        case Primitive.INT:
            return pl.Int32()
        case Primitive.LONG:
            return pl.Int64()
        case Primitive.FLOAT:
            return pl.Float32()
        case Primitive.DOUBLE:
            return pl.Float64()
        case Primitive.BOOLEAN:
            return pl.Boolean()
        case Decimal(precision, scale):
            return pl.Decimal(precision, scale)
        case Map(key, value):
            return pl.Map(polars_type(key), polars_type(value))
        case Foreign():
            raise not_written(type_)
        case _:
            assert_never(type_)
