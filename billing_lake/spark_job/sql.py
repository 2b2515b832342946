"""Cells of report files as Spark SQL: text, decimals and moments, as `domain.text_values` defines them.

Spark's own casts are not enough: they trim blanks, take more spellings of moments than a report may have, and round half up.
Text is written here rather than built through the Column API, which costs a call into the JVM for every node.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from billing_lake.domain.periods import MOMENT, UTC_END
from billing_lake.domain.types import (
    MAX_PRECISION,
    TIMESTAMP,
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    assert_never,
    not_written,
)
from billing_lake.spark_job.map_sql import map_of_text

FAULT = "billing-lake-fault"
"""What begins the message of a query that met a cell which does not fit."""

_SEPARATOR = "\x1f"
_FURTHER_DIGITS = 10
"""How many more decimals than the type's are looked at when rounded cells are counted."""
_NUMBER_CHARACTERS = 1_000
_SHOWN_CHARACTERS = 1_000

_EXPONENTIAL_CHARACTERS = 40
"""Characters of a number with an exponent; nobody writes longer ones, and each needs its share of `_tie`."""
_DIGITS = "[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)"
_NUMBER = rf"\A(?:{_DIGITS}|(?=.{{1,{_EXPONENTIAL_CHARACTERS}}}\z){_DIGITS}[eE][+-]?[0-9]{{1,4}})\z"
_ZERO = r"\A[+-]?[0.]+[eE].*\z"
"""A number of zeros alone, with an exponent."""

_USUAL_MOMENT = (
    r"\A[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,9}+)?+Z?+)?+\z"
)
"""The spellings of nearly all moments; the others cost more to read."""
_ANY_MOMENT = rf"\A(?:{MOMENT})\z"
_EXPONENTS = {9: "[1-9]", 6: "[1-6]", 12: "1[0-2]", 15: "1[3-5]"}
"""By how many decimals an exponent adds at most: those exponents, as a pattern."""


def literal(text: str) -> str:
    """Return ``text`` as a SQL literal; every character that could mean something is written as its number."""
    safe = (
        c if c.isascii() and (c.isalnum() or c in " _./=-:") else f"\\U{ord(c):08x}" for c in text
    )
    return f"'{''.join(safe)}'"


def identifier(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return f"`{name.replace('`', '``')}`"


def spark_type(type_: Type) -> str:  # noqa: RET503 -- a case for each type
    """Return a type as Spark names it.

    Raises:
        SchemaChangeError: The lake does not write it.
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
            return f"map<{spark_type(key)},{spark_type(value)}>"
        case Foreign():
            raise not_written(type_)
        case _:
            assert_never(type_)


def first_text(cells: Sequence[str]) -> str:
    """Return the first of ``cells`` that holds something; where none does, the first that is not NULL."""
    if len(cells) == 1:
        return cells[0]
    return f"coalesce({', '.join([*map(filled, cells), *cells])})"


def filled(cell: str) -> str:
    """Return the text ``cell``, NULL where it is empty."""
    return f"nullif({cell}, '')"


def convert_text(cell: str, type_: Type) -> str:
    """Return the text ``cell`` as ``type_``; NULL where it does not fit."""
    if isinstance(type_, Decimal):
        return decimal(cell, type_.precision, type_.scale)
    if type_ == TIMESTAMP:
        return _moment(cell)
    if isinstance(type_, Map):
        return map_of_text(cell)
    return f"CAST({cell} AS {spark_type(type_)})"


def _moment(cell: str) -> str:
    """Return the text ``cell`` as a moment; NULL where it is none.

    Spark's cast takes more spellings, so the cell is matched first. The session is in UTC: without its Z the cell says the same,
    and Spark takes its time to find out what zone Z may be.
    """
    usual = f"CAST(replace({cell}, 'Z', '') AS TIMESTAMP)"
    other = f"CAST(regexp_replace({cell}, {pattern_literal(UTC_END)}, '') AS TIMESTAMP)"
    return (
        f"CASE WHEN {cell} RLIKE {pattern_literal(_USUAL_MOMENT)} THEN {usual} "
        f"WHEN {cell} RLIKE {pattern_literal(_ANY_MOMENT)} THEN {other} END"
    )


def fail_unless_converted(
    value: str, filled: str, shown: str, type_: Type, column: str, path: str
) -> str:
    """Return ``value``; the query fails where it is NULL although ``filled`` is true.

    Args:
        value: SQL for the cell, converted.
        filled: SQL for whether the cell holds anything.
        shown: SQL for the cell as text, for the error.
        type_: Type of ``value``.
        column: The column's name, for the error.
        path: SQL for the path of the row's file, for the error.
    """
    fault = f"CAST({_raised(shown, column, path)} AS {spark_type(type_)})"
    return f"coalesce({value}, CASE WHEN {filled} THEN {fault} END)"


def fail_unless_agreed(cells: Sequence[str], column: str, path: str) -> str:
    """Return what those of ``cells`` say that hold something; the query fails where they differ."""
    first = first_text(cells)
    differ = " OR ".join(f"{filled(cell)} != {first}" for cell in cells)
    return (
        f"CASE WHEN {differ} THEN CAST({_raised(first, column, path)} AS STRING) ELSE {first} END"
    )


def _raised(shown: str, column: str, path: str) -> str:
    start = literal(f"{FAULT}{_SEPARATOR}{column}")
    message = f"concat_ws({literal(_SEPARATOR)}, {start}, {path}, substr({shown}, 1, {_SHOWN_CHARACTERS}), '')"
    return f"raise_error({message})"


def parse_fault(message: str) -> list[str] | None:
    """Return what a query that failed in `fail_unless_converted` says: column, path and value; None where it failed otherwise."""
    _, found, rest = message.partition(FAULT + _SEPARATOR)
    return rest.split(_SEPARATOR)[:-1] if found else None


def decimal(cell: str, precision: int, scale: int) -> str:
    """Return the text ``cell`` as a decimal, rounded half to even; NULL where it is none or too large."""
    type_ = f"DECIMAL({precision},{scale})"
    careful = f"CASE WHEN {_is_number(cell)} THEN {_half_even(cell, precision, scale)} END"
    return (
        f"CASE WHEN {cell} RLIKE {pattern_literal(_usual(precision, scale))} THEN CAST({cell} AS {type_}) "
        f"WHEN {cell} != '' THEN {careful} END"
    )


def is_rounded(cell: str, scale: int) -> str:
    """Return whether the number ``cell`` has decimals beyond ``scale``.

    A difference beyond ten further decimals does not count, nor does any in a number of more than ten digits before the
    point, which leaves no room for them.
    """
    kept = _half_even(cell, MAX_PRECISION, scale)
    fine = _half_even(cell, MAX_PRECISION, scale + _FURTHER_DIGITS)
    differs = f"CAST({kept} AS DECIMAL({MAX_PRECISION},{scale + _FURTHER_DIGITS})) != {fine}"
    return (
        f"CASE WHEN {cell} RLIKE {pattern_literal(_usual(MAX_PRECISION, scale))} THEN false "
        f"WHEN {_is_number(cell)} THEN {differs} ELSE false END"
    )


def _is_number(cell: str) -> str:
    return (
        f"octet_length({cell}) <= {_NUMBER_CHARACTERS} AND {cell} RLIKE {pattern_literal(_NUMBER)}"
    )


@lru_cache
def _usual(precision: int, scale: int) -> str:
    """Return the pattern of numbers that fit without rounding, as providers write them: Spark's cast can be trusted with those.

    It is tried for every cell: few alternatives, the likeliest first, and each `+` behind a count keeps what it took.
    """
    kinds = [
        f"[0-9]{{0,{scale}}}+",
        *(
            f"[0-9]{{0,{scale - most}}}+E-{exponent}"
            for most, exponent in _EXPONENTS.items()
            if most <= scale
        ),
    ]
    # Where the type has no digits before the point, the cast itself refuses all but a zero there.
    whole = max(1, precision - scale)
    return rf"\A-?[0-9]{{1,{whole}}}+(?:[.](?:{'|'.join(kinds)}))?\z"


def _half_even(cell: str, precision: int, scale: int) -> str:
    """Return the number ``cell`` as a decimal, rounded half to even.

    Spark rounds half up, which differs in ties alone, and only in those with an even digit before the 5: there it becomes a 0.
    Nor does Spark take a zero with a large exponent: it becomes a 0 too, because both groups are empty then.
    """
    even = f"regexp_replace({cell}, {pattern_literal(f'{_tie(scale)}|{_ZERO}')}, '$10$2')"
    return f"CAST({even} AS DECIMAL({precision},{scale}))"


@lru_cache
def _tie(scale: int) -> str:
    """Return the pattern of numbers that lie between two of ``scale`` decimals, the even one nearer to zero.

    Its groups are what stands before and behind the 5. Where the 5 stands depends on the exponent, so each has a pattern.
    """
    kinds = []
    for exponent in range(-_EXPONENTIAL_CHARACTERS - scale, _EXPONENTIAL_CHARACTERS):
        behind = scale + 1 + exponent
        if behind > 1:
            digits = f"[0-9]*[.][0-9]{{{behind - 2}}}[02468]50*"
        elif behind == 1:
            digits = "(?:[0-9]*[02468])?[.]50*"
        else:
            digits = f"(?:[0-9]*[02468])?50{{{-behind}}}(?:[.]0*)?"
        sign = "-" if exponent < 0 else "[+]?"
        power = f"[eE]{sign}0*{abs(exponent)}" if exponent else "(?:[eE][+-]?0+)?"
        kinds.append(digits + power)
    return rf"\A(?=[+-]?(?:{'|'.join(kinds)})\z)([^eE]*)5([0.]*(?:[eE].*)?)\z"


def pattern_literal(regex: str) -> str:
    """Return a regular expression of this program, which has no quotes, as a SQL literal."""
    return "'" + regex.replace("\\", "\\\\") + "'"
