"""Types of the lake's columns, each written once; every engine, catalog and file format has one adapter that translates them.

Written as Iceberg writes them: `string`, `timestamptz`, `decimal(38, 18)`, `map<string, double>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NoReturn, TypeAlias

from billing_lake.domain.errors import SchemaChangeError

MAX_PRECISION = 38
"""Most digits of a decimal, in Iceberg, Parquet and every engine."""

_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_MAP = re.compile(r"map<((?:[^,<>()]|\([^()]*\))+), ?(.+)>")


class Primitive(Enum):
    """A type without parameters."""

    STRING = "string"
    TIMESTAMP = "timestamptz"
    """A moment in UTC, in microseconds."""
    DATE = "date"
    INT = "int"
    """A whole number of 32 bits."""
    LONG = "long"
    """A whole number of 64 bits."""
    FLOAT = "float"
    """A binary number of 32 bits."""
    DOUBLE = "double"
    """A binary number of 64 bits."""
    BOOLEAN = "boolean"

    def __str__(self) -> str:
        """Return the type's text."""
        return self.value


@dataclass(frozen=True)
class Decimal:
    """A decimal number of at most ``precision`` digits, ``scale`` of them behind the point."""

    precision: int
    scale: int

    def __str__(self) -> str:
        """Return the type's text."""
        return f"decimal({self.precision}, {self.scale})"


@dataclass(frozen=True)
class Map:
    """Values of one type by keys of another; a value may be NULL, a key may not."""

    key: Type
    value: Type

    def __str__(self) -> str:
        """Return the type's text."""
        return f"map<{self.key}, {self.value}>"


@dataclass(frozen=True)
class Foreign:
    """A type that the lake does not write, of a column that somebody else added to a table."""

    text: str

    def __str__(self) -> str:
        """Return the type's text."""
        return self.text


Type: TypeAlias = Primitive | Decimal | Map | Foreign

STRING: Final = Primitive.STRING
TIMESTAMP: Final = Primitive.TIMESTAMP
DATE: Final = Primitive.DATE
INT: Final = Primitive.INT
LONG: Final = Primitive.LONG
FLOAT: Final = Primitive.FLOAT
DOUBLE: Final = Primitive.DOUBLE
BOOLEAN: Final = Primitive.BOOLEAN
DECIMAL: Final = Decimal(MAX_PRECISION, 18)
"""Money, rates and quantities: totals are exact, and equal in every engine."""

_PRIMITIVES: Final = {str(one): one for one in Primitive}


@lru_cache(maxsize=256)
def parse(text: str) -> Type:
    """Return the type that is written as ``text``."""
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None:
        return Decimal(int(decimal[1]), int(decimal[2]))
    entries = _MAP.fullmatch(text)
    if entries is not None:
        return Map(parse(entries[1]), parse(entries[2]))
    return _PRIMITIVES.get(text) or Foreign(text)


def is_written(type_: Type) -> bool:
    """Say whether the lake writes values of a type."""
    if isinstance(type_, Map):
        return is_written(type_.key) and is_written(type_.value)
    return not isinstance(type_, Foreign)


def not_written(type_: Foreign) -> SchemaChangeError:
    """Return the error for a column that the lake would have to write and cannot."""
    return SchemaChangeError(
        f"The lake does not write columns of the type {type_}",
        remedy="Give the column another type, or remove it from the table",
    )


def assert_never(type_: NoReturn) -> NoReturn:
    """Let the type checker refuse a `match` that leaves out a type; `typing` has this from Python 3.11 on."""
    raise AssertionError(type_)


def nested_count(type_: Type) -> int:
    """Return the number of ids that Iceberg gives to the parts of a type: two for each map, none for others."""
    return 2 + nested_count(type_.key) + nested_count(type_.value) if isinstance(type_, Map) else 0


def promoted_type(table: Type, delivery: Type) -> Type | None:
    """Return the type of a table's column after a delivery of another type; None where no promotion joins the two.

    A delivery that is narrower than the table fits as it is: the engine writes the table's type.
    """
    match table, delivery:
        case (Primitive.INT, Primitive.LONG) | (Primitive.FLOAT, Primitive.DOUBLE):
            return delivery
        case (Primitive.LONG, Primitive.INT) | (Primitive.DOUBLE, Primitive.FLOAT):
            return table
        case Decimal(have, scale), Decimal(wanted, other) if scale == other:
            return Decimal(max(have, wanted), scale)
        case Map(key, have), Map(other, wanted) if key == other:
            value = promoted_type(have, wanted)
            return None if value is None else Map(key, value)
        case _:
            return table if table == delivery else None
