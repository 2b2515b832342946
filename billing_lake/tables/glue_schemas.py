"""Columns as the Glue Data Catalog has them: Hive's types, for Athena, beside the lake's own list, for the lake.

Hive knows no field ids and no time zones, so what it shows is a translation. The exact fields are kept as JSON in the
table's parameters, in chunks, because Glue takes at most 512,000 bytes in one value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from billing_lake.domain.errors import SchemaChangeError
from billing_lake.domain.schemas import Field
from billing_lake.domain.types import (
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    assert_never,
    parse,
)
from billing_lake.tables.base import EXPORT, PERIOD

LARGEST_VALUE_CHARACTERS = 400_000
"""Characters in one parameter; Glue's limit is in bytes, and these are ASCII."""

PARTITION_KEYS = (PERIOD, EXPORT)
"""Columns by which a Hive-style table is partitioned: a load replaces one period of one export, so that is a partition."""

_FIELDS = "billing-lake.fields."


def hive_type(column: str, type_: Type) -> str:  # noqa: RET503 -- a case for each type
    """Return a type as Hive names it; ``column`` is for the error.

    Raises:
        SchemaChangeError: A Hive-style table cannot hold it.
    """
    match type_:
        case Primitive.TIMESTAMP:
            return "timestamp"
        case Primitive.LONG:
            return "bigint"
        case Primitive():
            return str(type_)
        case Decimal(precision, scale):
            return f"decimal({precision},{scale})"
        case Map(key, value):
            return f"map<{hive_type(column, key)},{hive_type(column, value)}>"
        case Foreign():
            raise SchemaChangeError(
                f"A Hive-style table cannot hold a column of type {type_}",
                remedy="Give the column another type in the dictionary",
                column=column,
            )
        case _:
            assert_never(type_)


def data_columns(fields: Sequence[Field]) -> list[dict[str, str]]:
    """Return the columns that are read from files.

    The partition keys are in the files too; Athena refuses a table that names a column twice, and reads a key's value from
    the partition.
    """
    return [
        {"Name": field.name, "Type": hive_type(field.name, field.type)}
        for field in fields
        if field.name not in PARTITION_KEYS
    ]


def partition_keys() -> list[dict[str, str]]:
    """Return the partition keys as Glue takes them."""
    return [{"Name": name, "Type": "string"} for name in PARTITION_KEYS]


def parquet_storage(columns: Sequence[Mapping[str, str]], location: str) -> dict[str, Any]:
    """Return the storage descriptor of Parquet files."""
    return {
        "Columns": list(columns),
        "Location": f"{location}/",
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {
            "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            "Parameters": {"serialization.format": "1"},
        },
        "StoredAsSubDirectories": False,
    }


def fields_to_parameters(fields: Sequence[Field]) -> dict[str, str]:
    """Return the table parameters that keep ``fields`` exactly."""
    text = json.dumps(
        [[f.field_id, f.name, str(f.type), *f.nested_ids] for f in fields], separators=(",", ":")
    )
    chunks = [
        text[at : at + LARGEST_VALUE_CHARACTERS]
        for at in range(0, len(text), LARGEST_VALUE_CHARACTERS)
    ]
    return {f"{_FIELDS}{number}": chunk for number, chunk in enumerate(chunks)}


def fields_from_parameters(parameters: Mapping[str, str]) -> tuple[Field, ...]:
    """Read what `fields_to_parameters` wrote.

    Raises:
        ValueError: Somebody changed it.
    """
    numbers = sorted(
        int(name.removeprefix(_FIELDS)) for name in parameters if name.startswith(_FIELDS)
    )
    text = "".join(parameters[f"{_FIELDS}{number}"] for number in numbers)
    return tuple(
        Field(name, parse(type_), field_id, tuple(nested_ids))
        for field_id, name, type_, *nested_ids in json.loads(text)
    )


def without_fields(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that are not the lake's list of fields."""
    return {name: value for name, value in parameters.items() if not name.startswith(_FIELDS)}
