"""Types and ids of the lake's columns in Parquet files, as Arrow has them.

Iceberg finds a column by the id that the file carries, and the parts of a map by theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from billing_lake.domain.schemas import Field
from billing_lake.domain.types import (
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    STRING,
    TIMESTAMP,
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    assert_never,
    not_written,
)

if TYPE_CHECKING:
    import pyarrow as pa

_FIELD_ID = b"PARQUET:field_id"
_SIMPLE = {
    "bool": BOOLEAN,
    "date32[day]": DATE,
    "double": DOUBLE,
    "float": FLOAT,
    "int32": INT,
    "int64": LONG,
    "large_string": STRING,
    "string": STRING,
    "string_view": STRING,
    "timestamp[us, tz=UTC]": TIMESTAMP,
}


def arrow_schema(fields: Sequence[Field], *, ids: bool = True) -> pa.Schema:
    """Return fields as an Arrow schema, which carries their ids into Parquet files unless ``ids`` is false.

    Raises:
        SchemaChangeError: The lake does not write a column's type.
    """
    import pyarrow as pa

    return pa.schema(
        _with_id(
            pa.field(one.name, _arrow_type(one.type, iter(one.nested_ids), ids=ids)),
            one.field_id,
            ids=ids,
        )
        for one in fields
    )


def parquet_fields(schema: pa.Schema) -> list[tuple[str, Type, tuple[int | None, ...]]]:
    """Return name and type of each column of a file, with its own id and those of its parts; None for an id that is missing."""
    return [(one.name, _lake_type(one.type), tuple(_ids(one))) for one in schema]


def _arrow_type(type_: Type, nested: Iterator[int], *, ids: bool) -> pa.DataType:  # noqa: C901, PLR0911, RET503 -- a case for each type
    import pyarrow as pa

    match type_:
        case Primitive.STRING:
            return pa.large_string()
        case Primitive.TIMESTAMP:
            return pa.timestamp("us", "UTC")
        case Primitive.DATE:
            return pa.date32()
        case Primitive.INT:
            return pa.int32()
        case Primitive.LONG:
            return pa.int64()
        case Primitive.FLOAT:
            return pa.float32()
        case Primitive.DOUBLE:
            return pa.float64()
        case Primitive.BOOLEAN:
            return pa.bool_()
        case Decimal(precision, scale):
            return pa.decimal128(precision, scale)
        case Map(key, value):
            key_id, value_id = next(nested), next(nested)
            keys = pa.field("key", _arrow_type(key, nested, ids=ids), nullable=False)
            values = pa.field("value", _arrow_type(value, nested, ids=ids))
            return pa.map_(_with_id(keys, key_id, ids=ids), _with_id(values, value_id, ids=ids))
        case Foreign():
            raise not_written(type_)
        case _:
            assert_never(type_)


def _with_id(field: pa.Field, field_id: int, *, ids: bool) -> pa.Field:
    return field.with_metadata({_FIELD_ID: str(field_id)}) if ids else field


def _lake_type(type_: Any) -> Type:
    """Return the type of the lake that is written as Arrow's ``type_``; a foreign one where there is none."""
    import pyarrow.types as t

    if t.is_map(type_):
        return Map(_lake_type(type_.key_type), _lake_type(type_.item_type))
    if t.is_decimal(type_):
        return Decimal(type_.precision, type_.scale)
    return _SIMPLE.get(str(type_)) or Foreign(str(type_))


def _ids(field: pa.Field) -> Iterator[int | None]:
    """Yield the field's id and, in the order of `Field.nested_ids`, those of its parts."""
    yield _id(field)
    yield from _nested_ids(field.type)


def _nested_ids(type_: Any) -> Iterator[int | None]:
    import pyarrow.types as t

    if t.is_map(type_):
        parts = (type_.key_field, type_.item_field)
        yield from map(_id, parts)
        for part in parts:
            yield from _nested_ids(part.type)


def _id(field: pa.Field) -> int | None:
    found = (field.metadata or {}).get(_FIELD_ID)
    return None if found is None else int(found)
