"""Results of queries as text: a table for people, CSV and JSON for programs.

A decimal is written exactly and in full, without the zeros that only fill its scale. In JSON it is a string: most readers
turn a JSON number into a float, and the last digits of a total would be gone.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click

from billing_lake.commands.terminal import console
from billing_lake.domain.errors import shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from billing_lake.sql.tables import QueryResult

IN_CENTS = "Rounded to cents; --format csv and json give every digit."

_CELL_CHARACTERS = 200
_FOLDED_CHARACTERS = 24
_WIDEST_CHARACTERS = 400
_NUMBERS = (
    "DECIMAL", "DOUBLE", "FLOAT", "REAL", "HUGEINT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT"
)  # fmt: skip


def write_result(result: QueryResult, format_: str, limit: int, *, cents: bool = False) -> None:
    """Write a result to standard output as CSV, as JSON, or as a table of ``limit`` rows, whose decimals are rounded where ``cents``."""
    if format_ == "csv":
        write_csv(result, sys.stdout)
    elif format_ == "json":
        write_json(result, sys.stdout)
    else:
        print_table(result, console(), limit, cents=cents)
        if cents:
            click.echo(IN_CENTS, err=True)


def write_csv(result: QueryResult, out: TextIO) -> None:
    """Write all rows as CSV with a header; NULL is an empty cell."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result.rows():
        writer.writerow(["" if value is None else as_text(value) for value in row])


def write_json(result: QueryResult, out: TextIO) -> None:
    """Write all rows as a JSON array, an object a line; a column name that comes again gets a number."""
    names = _distinct(result.columns)
    before = "[\n"
    for row in result.rows():
        line = json.dumps(dict(zip(names, map(_json, row), strict=True)), ensure_ascii=False)
        out.write(f"{before}  {line}")
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def print_table(result: QueryResult, out: Console, limit: int, *, cents: bool = False) -> None:
    """Print the first ``limit`` rows, all for 0, as a table, or row by row where they are too wide for the terminal or a line of a pipe.

    Where ``cents``, decimals are rounded to two places, and digits stand in groups.
    """
    rows = list(islice(result.rows(), limit + 1 if limit else None))
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if limit else rows
    if cents:
        rows = [tuple(map(_rounded, row)) for row in rows]
    table = rows_table(result.columns, result.types, rows)
    folded = rows_table(result.columns, result.types, rows, fold_at=_FOLDED_CHARACTERS)
    needed = needed_columns(table, out)
    if not out.is_terminal:
        # What reads a pipe takes lines of any length; nobody reads lines of thousands of characters.
        out.width = max(out.width, _WIDEST_CHARACTERS)
    if needed <= out.width:
        out.print(table)
    elif out.is_terminal and needed_columns(folded, out) <= out.width:
        out.print(folded)
    else:
        for one in _records(result, rows):
            out.print(one)
    if more:
        text = f"… the first {limit} rows; --limit 0 shows all of them, --format csv writes them"
        out.print(text, style="dim")
    elif not rows:
        out.print("no rows", style="dim")


def rows_table(
    columns: Sequence[str],
    types: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    fold_at: int | None = None,
) -> RenderableType:
    """Return rows as a table, numbers to the right; ``fold_at`` is the width at which text goes on in the next line."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, kind in zip(columns, types, strict=True):
        right = kind.startswith(_NUMBERS)
        table.add_column(
            shown(name),
            justify="right" if right else "left",
            overflow="fold",
            max_width=None if right else fold_at,
        )
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def as_text(value: Any) -> str:
    """Return a value in full: decimals without trailing zeros or exponent, moments in ISO 8601, `true` and `false`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text in ("-0", "") else text
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(_json(value), ensure_ascii=False)
    return str(value)


def needed_columns(table: RenderableType, out: Console) -> int:
    """Return how wide a terminal has to be so that nothing in ``table`` is folded."""
    from rich.measure import Measurement

    return Measurement.get(out, out.options.update(max_width=1_000_000), table).maximum


def _rounded(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, Decimal) else value


def _json(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _json(one) for name, one in value.items()}
    return as_text(value)


def _cell(value: Any) -> Text:
    from rich.text import Text

    return (
        Text("NULL", style="dim")
        if value is None
        else Text(shown(as_text(value), _CELL_CHARACTERS))
    )


def _records(result: QueryResult, rows: Sequence[Sequence[Any]]) -> Iterator[RenderableType]:
    from rich.table import Table

    for number, row in enumerate(rows, start=1):
        table = Table.grid(padding=(0, 2))
        table.title = f"row {number}"
        table.title_justify = "left"
        for name, value in zip(result.columns, row, strict=True):
            table.add_row(shown(name), _cell(value))
        yield table


def _distinct(names: Sequence[str]) -> list[str]:
    distinct: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in distinct:
            candidate, number = f"{name}_{number}", number + 1
        distinct.append(candidate)
    return distinct
