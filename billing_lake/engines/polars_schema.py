"""Types of the lake in Polars and in the Arrow schema that carries field ids into Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.schemas import parse_decimal
from billing_lake.domain.types import STRING, TIMESTAMP

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from billing_lake.domain.schemas import Field


def polars_type(type_: str) -> pl.DataType:
    """Return the Polars type of an Iceberg type."""
    import polars as pl

    number = parse_decimal(type_)
    if number is not None:
        return pl.Decimal(*number)
    return {
        STRING: pl.String(),
        TIMESTAMP: pl.Datetime("us", "UTC"),
        "int": pl.Int32(),
        "long": pl.Int64(),
        "float": pl.Float32(),
        "double": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
    }[type_]


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Return the fields as an Arrow schema that carries Iceberg's field ids into the files."""
    import pyarrow as pa

    simple = {
        STRING: pa.large_string(),
        TIMESTAMP: pa.timestamp("us", "UTC"),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
    }

    def one(field: Field) -> pa.Field:
        number = parse_decimal(field.type)
        type_ = simple[field.type] if number is None else pa.decimal128(*number)
        return pa.field(field.name, type_, metadata={"PARQUET:field_id": str(field.field_id)})

    return pa.schema([one(field) for field in fields])
