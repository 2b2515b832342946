"""Nested columns of Parquet as JSON text in Spark SQL, spelled as every other engine spells it.

Spark's own `to_json` leaves out what is NULL and writes `1.0E-7`; only the quoting of text is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from billing_lake.spark_job import sql

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, MapType

    Spell = Callable[[str, str], str | None]

_UNQUOTED = frozenset({"tinyint", "smallint", "int", "bigint", "float", "double", "boolean"})


def json_text(cell: str, found: DataType, spell: Spell, depth: int = 0) -> str | None:
    """Return SQL for ``cell``, an array, a map or a struct, as JSON text; None where it is none, or something in it has no spelling.

    Args:
        cell: SQL for the cell; NULL stays NULL, and is what becomes of a map that has a key twice, and of whatever it lies in.
        found: Its type.
        spell: Returns SQL for a plain value as text, given SQL for it and its type, which fails for one that does not fit; None for a
            type that has no spelling.
        depth: How many lists it lies in.
    """
    from pyspark.sql.types import ArrayType, MapType, StructType

    one = f"e{depth}"
    if isinstance(found, StructType):
        parts = []
        for n, field in enumerate(found.fields):
            value = _value(f"{cell}.{sql.identifier(field.name)}", field.dataType, spell, depth)
            if value is None:
                return None
            name = json.dumps(field.name, ensure_ascii=False)
            parts += [sql.literal(f"{',' if n else '{'}{name}:"), value]
        return f"CASE WHEN {cell} IS NOT NULL THEN concat({', '.join(parts)}, '}}') END"
    if isinstance(found, ArrayType):
        item = _value(one, found.elementType, spell, depth + 1)
        if item is None:
            return None
        items = f"transform({cell}, {one} -> {item})"
        return _whole(items, _joined(items, "[]"), found.elementType, one)
    return _map_text(cell, found, spell, depth) if isinstance(found, MapType) else None


def _map_text(cell: str, found: MapType, spell: Spell, depth: int) -> str | None:
    one = f"e{depth}"
    key = spell(f"{one}.key", found.keyType.simpleString())
    value = _value(f"{one}.value", found.valueType, spell, depth + 1)
    if key is None or value is None:
        return None
    item = f"concat({_quoted(key)}, ':', {value})"
    entries = f"transform(map_entries({cell}), {one} -> {item})"
    text = _whole(entries, _joined(entries, "{}"), found.valueType, one)
    return f"IF(size(array_distinct(map_keys({cell}))) = size(map_keys({cell})), {text}, NULL)"


def _whole(texts: str, joined: str, found: DataType, one: str) -> str:
    """Return ``joined``, which leaves out what is NULL in ``texts``; NULL instead, where something of the type ``found`` may be."""
    if "map<" not in found.simpleString():
        return joined
    return f"IF(exists({texts}, {one} -> {one} IS NULL), NULL, {joined})"


def _joined(texts: str, brackets: str) -> str:
    return f"concat('{brackets[0]}', array_join({texts}, ','), '{brackets[1]}')"


def _value(cell: str, found: DataType, spell: Spell, depth: int) -> str | None:
    """Return SQL for a part of a nested cell as JSON text; NULL is `null`."""
    plain = found.simpleString()
    if plain == "void":
        return "'null'"
    value = json_text(cell, found, spell, depth)
    if value is None:
        value = spell(cell, plain)
        if value is not None and plain not in _UNQUOTED and not plain.startswith("decimal("):
            value = _quoted(value)
    return None if value is None else f"CASE WHEN {cell} IS NULL THEN 'null' ELSE {value} END"


def _quoted(text: str) -> str:
    # Behind the brackets there are quotes, so that they alone are taken away.
    return f"trim(BOTH '[]' FROM to_json(array({text})))"
