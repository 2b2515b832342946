"""Cells of report files as Spark SQL: text, decimals and moments, as `domain.cells` defines them.

Spark's own casts are not enough: they trim blanks, take more spellings of moments than a report may have, and round half up.
Text is written here rather than built through the Column API, which costs a call into the JVM for every node.
"""

from __future__ import annotations

from collections.abc import Sequence

from billing_lake.domain.dictionary import STRING, TIMESTAMP
from billing_lake.domain.schemas import MAX_PRECISION, parse_decimal

FAULT = "billing-lake-fault"
"""What begins the message of a query that met a cell which does not fit."""

_SEPARATOR = "\x1f"
_FURTHER = 10
"""How many more decimals than the type's are looked at when rounded cells are counted."""
_LONGEST_NUMBER = 1_000
_LONGEST_SHORT = 60
_SHOWN = 1_000

_NUMBER = r"\A[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]{1,4})?\z"
_MOMENT = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,9})?Z?)?\z"
_SIMPLE = {
    STRING: "string",
    TIMESTAMP: "timestamp",
    "int": "int",
    "long": "bigint",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
}


def literal(text: str) -> str:
    """Return ``text`` as a SQL literal; every character that could mean something is written as its number."""
    safe = (
        c if c.isascii() and (c.isalnum() or c in " _./=-:") else f"\\U{ord(c):08x}" for c in text
    )
    return f"'{''.join(safe)}'"


def identifier(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return f"`{name.replace('`', '``')}`"


def spark_type(type_: str) -> str:
    """Return the Spark type of an Iceberg type."""
    number = parse_decimal(type_)
    return _SIMPLE[type_] if number is None else f"decimal({number[0]},{number[1]})"


def first_text(cells: Sequence[str]) -> str:
    """Return the first of ``cells`` that is not NULL."""
    return cells[0] if len(cells) == 1 else f"coalesce({', '.join(cells)})"


def converted(cell: str, type_: str) -> str:
    """Return the text ``cell`` as ``type_``; NULL where it does not fit."""
    number = parse_decimal(type_)
    if number is not None:
        return decimal(cell, *number)
    if type_ == TIMESTAMP:
        # The session is in UTC; Spark takes its time to find out what zone Z may be.
        moment = f"CAST(trim(TRAILING 'Z' FROM {cell}) AS TIMESTAMP)"
        return f"CASE WHEN {cell} RLIKE {literal(_MOMENT)} THEN {moment} END"
    return f"CAST({cell} AS {spark_type(type_)})"


def checked(value: str, filled: str, shown: str, type_: str, place: Sequence[str]) -> str:
    """Return ``value``; the query fails where it is NULL although ``filled`` is true.

    Args:
        value: The cell, converted.
        filled: Whether the cell holds anything.
        shown: The cell as text, for the error.
        type_: Iceberg type of ``value``.
        place: SQL texts that say where: a file, a column.
    """
    message = ", ".join([literal(FAULT), *place, f"left(x, {_SHOWN})", "''"])
    # A lambda, as in `_half_even`, to keep the generated code small: what is too long for the JVM's compiler runs slowly.
    fault = f"transform(array({shown}), x -> raise_error(concat_ws({literal(_SEPARATOR)}, {message})))[0]"
    fault = f"CAST({fault} AS {spark_type(type_)})"
    return f"coalesce({value}, CASE WHEN {filled} THEN {fault} END)"


def faults(message: str) -> list[str] | None:
    """Return what a query that failed in `checked` says: file, column and value; None where it failed otherwise."""
    _, found, rest = message.partition(FAULT + _SEPARATOR)
    return rest.split(_SEPARATOR)[:-1] if found else None


def decimal(cell: str, precision: int, scale: int) -> str:
    """Return the text ``cell`` as a decimal, rounded half to even; NULL where it is none or too large."""
    type_ = f"DECIMAL({precision},{scale})"
    careful = f"CASE WHEN {_is_number(cell)} THEN {_half_even(cell, precision, scale)} END"
    return (
        f"CASE WHEN {cell} IS NULL THEN NULL WHEN {_is_short(cell, scale)} "
        f"THEN CAST({cell} AS {type_}) ELSE {careful} END"
    )


def is_rounded(cell: str, scale: int) -> str:
    """Return whether the number ``cell`` has decimals beyond ``scale``.

    A difference beyond ten further decimals does not count, nor does any in a number of more than ten digits before the
    point, which leaves no room for them.
    """
    kept = _half_even(cell, MAX_PRECISION, scale)
    fine = _half_even(cell, MAX_PRECISION, scale + _FURTHER)
    differs = f"CAST({kept} AS DECIMAL({MAX_PRECISION},{scale + _FURTHER})) != {fine}"
    return (
        f"CASE WHEN {cell} IS NULL OR {_is_short(cell, scale)} THEN false "
        f"WHEN {_is_number(cell)} THEN {differs} ELSE false END"
    )


def _is_number(cell: str) -> str:
    return f"octet_length({cell}) <= {_LONGEST_NUMBER} AND {cell} RLIKE {literal(_NUMBER)}"


def _is_short(cell: str, scale: int) -> str:
    """Return whether Spark's cast can be trusted: nothing to trim, and no more than ``scale`` decimals.

    The text behind the point bounds the decimals. One digit of exponent, as in 1.28554E-5, makes up to six more of them than
    that text has characters.
    """
    behind = f"octet_length({cell}) - instr({cell}, '.')"
    return (
        f"octet_length({cell}) <= {_LONGEST_SHORT} AND {cell} >= '!' AND right({cell}, 1) >= '!' "
        f"AND CASE WHEN contains({cell}, 'E') THEN {behind} <= {scale - 6} AND substr({cell}, -2, 1) = '-' "
        f"WHEN contains({cell}, 'e') THEN false ELSE {behind} <= {scale} END"
    )


def _half_even(cell: str, precision: int, scale: int) -> str:
    """Return the number ``cell`` as a decimal, rounded half to even.

    Spark rounds half up, which differs in ties alone: numbers of exactly one decimal too many, whose last digit is a 5. Those
    with an even digit before it lose the 5 as text. Lambdas keep this out of the generated code: few cells need it.
    """
    type_ = f"DECIMAL({precision},{scale})"
    parts = (
        "struct(x AS cell, substring_index(upper(x), 'E', 1) AS mantissa, CASE WHEN contains(upper(x), 'E') "
        "THEN CAST(substring_index(upper(x), 'E', -1) AS INT) ELSE 0 END AS exponent)"
    )
    digits = (
        "struct(p.cell AS cell, trim(TRAILING '0' FROM replace(p.mantissa, '.', '')) AS digits, "
        "CASE WHEN contains(p.mantissa, '.') THEN length(p.mantissa) - instr(p.mantissa, '.') ELSE 0 END - p.exponent "
        "- length(replace(p.mantissa, '.', '')) AS shift)"
    )
    tie = (
        f"right(d.digits, 1) = '5' AND d.shift + length(d.digits) = {scale + 1} "
        "AND substr(d.digits, -2, 1) NOT IN ('1', '3', '5', '7', '9')"
    )
    down = f"CAST(concat(substr(d.digits, 1, length(d.digits) - 1), '0E-{scale + 1}') AS {type_})"
    return (
        f"transform(transform(transform(array({cell}), x -> {parts}), p -> {digits}), "
        f"d -> CASE WHEN {tie} THEN {down} ELSE CAST(d.cell AS {type_}) END)[0]"
    )
