"""Types of the lake in DuckDB."""

from __future__ import annotations

from billing_lake.domain.types import Decimal, Foreign, Map, Primitive, Type, assert_never


def duckdb_type(type_: Type) -> str | None:  # noqa: PLR0911, RET503 -- a case for each type
    """Return a type as DuckDB names it; None for one that the lake does not write, whose column DuckDB reads as it is."""
    match type_:
        case Primitive.STRING:
            return "VARCHAR"
        case Primitive.TIMESTAMP:
            return "TIMESTAMP WITH TIME ZONE"
        case Primitive.INT:
            return "INTEGER"
        case Primitive.LONG:
            return "BIGINT"
        case Primitive():
            return str(type_).upper()
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case Map(key, value):
            parts = [duckdb_type(key), duckdb_type(value)]
            return None if None in parts else f"MAP({', '.join(map(str, parts))})"
        case Foreign():
            return None
        case _:
            assert_never(type_)
