"""Nested columns of Parquet as JSON text: every value spelled as it is in a column of text, keys in the file's order, no blanks.

Polars' own JSON spells numbers in another way, and Spark's leaves out what is NULL; this text is the same in every engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import polars as pl

    Spell = Callable[[pl.Expr, pl.DataType], pl.Expr | None]
    from polars.datatypes.classes import DataTypeClass

    _Part = pl.DataType | DataTypeClass

_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
_ESCAPES = {chr(code): f"\\u{code:04X}" for code in range(0x20)}
_ESCAPES |= {character: f"\\{letter}" for character, letter in _SHORT.items()}


def json_text(cell: pl.Expr, found: pl.DataType, spell: Spell) -> pl.Expr | None:
    """Return ``cell``, a list, a map or a struct, as JSON text; None where it is none, or something in it has no spelling.

    Args:
        cell: The cell; NULL stays NULL.
        found: Its type.
        spell: Returns a plain value as text, NULL where it does not fit; None for a type that has no spelling.
    """
    import polars as pl

    if isinstance(found, pl.Struct):
        members = _members(cell, found, spell)
        return None if members is None else pl.when(cell.is_not_null()).then(members)
    if isinstance(found, pl.List):
        item = _value(pl.element(), found.inner, spell)
        return None if item is None else _joined(cell, "[", item, "]")
    if isinstance(found, pl.Map):
        pairs = cell.cast(pl.List(pl.Struct({"key": found.key, "value": found.value})))
        key = spell(pl.element().struct.field("key"), cast("pl.DataType", found.key))
        value = _value(pl.element().struct.field("value"), found.value, spell)
        if key is None or value is None:
            return None
        return _joined(pairs, "{", pl.concat_str(_quoted(key), pl.lit(":"), value), "}")
    return None


def _members(cell: pl.Expr, found: pl.Struct, spell: Spell) -> pl.Expr | None:
    import polars as pl

    # A name that begins with ^, or is *, would be a pattern for names.
    numbered = cell.struct.rename_fields([f"field {n}" for n in range(len(found.fields))])
    parts: list[pl.Expr] = []
    for n, field in enumerate(found.fields):
        value = _value(numbered.struct.field(f"field {n}"), field.dtype, spell)
        if value is None:
            return None
        name = json.dumps(field.name, ensure_ascii=False)
        parts += [pl.lit(f"{',' if n else '{'}{name}:"), value]
    return pl.concat_str(*parts, pl.lit("}"))


def _joined(cells: pl.Expr, start: str, item: pl.Expr, end: str) -> pl.Expr:
    import polars as pl

    joined = cells.list.eval(item).list.join(",", ignore_nulls=False)
    return pl.concat_str(pl.lit(start), joined, pl.lit(end))


def _value(cell: pl.Expr, type_: _Part, spell: Spell) -> pl.Expr | None:
    """Return a part of a nested cell as JSON text; NULL is `null`."""
    import polars as pl

    found = cast("pl.DataType", type_)
    if found == pl.Null():
        return pl.lit("null")
    if found.is_nested():
        value = json_text(cell, found, spell)
    else:
        value = spell(cell, found)
        if value is not None and not (found.is_numeric() or found == pl.Boolean()):
            value = _quoted(value)
    return None if value is None else pl.when(cell.is_null()).then(pl.lit("null")).otherwise(value)


def _quoted(text: pl.Expr) -> pl.Expr:
    import polars as pl

    escaped = text.str.replace_many([*_ESCAPES], [*_ESCAPES.values()])
    return pl.concat_str(pl.lit('"'), escaped, pl.lit('"'))
