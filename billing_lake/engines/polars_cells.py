"""Cells of report files as Polars expressions: text, decimals and moments, as `cells` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.dictionary import TIMESTAMP
from billing_lake.domain.schemas import parse_decimal
from billing_lake.engines.cells import TIMESTAMP_FORMATS

if TYPE_CHECKING:
    import polars as pl


def cell_names(columns: Sequence[str]) -> list[str]:
    """Return a name for each cell of a row, by position: headers are untrusted and may repeat."""
    return [f"cell {position}" for position in range(len(columns))]


def text(name: str, columns: Sequence[str]) -> pl.Expr:
    """Return the text of the column ``name``: its cell, or the first cell that is not NULL where several were merged."""
    import polars as pl

    cells = [
        pl.col(cell)
        for cell, column in zip(cell_names(columns), columns, strict=True)
        if column == name
    ]
    return cells[0] if len(cells) == 1 else pl.coalesce(cells)


def filled(cell: pl.Expr) -> pl.Expr:
    """Return ``cell`` with NULL for a quoted empty text, which only text columns tell from NULL."""
    import polars as pl

    return pl.when(cell != "").then(cell)


def typed(cell: pl.Expr, type_: str, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a value of the type ``type_``."""
    number = parse_decimal(type_)
    if number is not None:
        import polars as pl

        return cell.cast(pl.Decimal(*number), strict=strict)
    return moment(cell, strict=strict) if type_ == TIMESTAMP else cell


def moment(cell: pl.Expr, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a moment in UTC, whichever of the known spellings it has.

    With ``strict``, cells that no spelling fits go once more through the last pattern, which then raises for them alone.
    """
    import polars as pl

    def parsed(expr: pl.Expr, pattern: str, *, strict: bool) -> pl.Expr:
        return expr.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=strict)

    tries = [parsed(cell, pattern, strict=False) for pattern in TIMESTAMP_FORMATS]
    found = pl.coalesce(tries)
    if not strict:
        return found
    left = pl.when(found.is_null()).then(cell)
    return pl.coalesce(found, parsed(left, TIMESTAMP_FORMATS[-1], strict=True))
