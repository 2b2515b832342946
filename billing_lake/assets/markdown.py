"""Tables in Markdown, as the Dagster UI shows them in metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import dagster as dg

from billing_lake.domain.errors import number, shown

_CELL_CHARACTERS = 120
_ROWS = 200


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    cell_characters: int = _CELL_CHARACTERS,
    most: int = _ROWS,
    others: str = "more rows",
) -> dg.MarkdownMetadataValue:
    """Return a Markdown table; cells come from outside, so they are shortened, and nothing in them is markup.

    Args:
        head: Column titles.
        rows: Cells.
        cell_characters: What is shown of a cell.
        most: Rows that are shown.
        others: What the others are called.
    """
    lines = [_line(head, _CELL_CHARACTERS), "|" + " --- |" * len(head)]
    total = 0
    for total, row in enumerate(rows, start=1):
        if total <= most:
            lines.append(_line(row, cell_characters))
    if total > most:
        lines.append(f"\n… and {total - most:,} {others}")
    return dg.MetadataValue.md("\n".join(lines))


def _line(cells: Sequence[object], characters: int) -> str:
    return "| " + " | ".join(_cell(cell, characters) for cell in cells) + " |"


def _cell(cell: object, characters: int) -> str:
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, int | Decimal):
        return number(cell)
    text = shown("" if cell is None else cell, characters)
    for mark in "\\|*`<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text
