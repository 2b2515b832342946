"""Cells of report files as Polars expressions: text, decimals and moments, as `cells` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.cells import TIMESTAMP_FORMATS
from billing_lake.domain.schemas import parse_decimal

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


def decimal(cell: pl.Expr, type_: str, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a number of the decimal type ``type_``.

    Where one is none, the query raises, or yields NULL unless ``strict``.
    """
    import polars as pl

    size = parse_decimal(type_)
    return cell if size is None else cell.cast(pl.Decimal(*size), strict=strict)


def moment(cell: pl.Expr, pattern: str | None = None, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a moment in UTC; where one is none, the query raises, or yields NULL unless ``strict``.

    Without ``pattern`` any of the known spellings will do. Cells that none fits go once more through the last one, which then
    raises for them alone.
    """
    import polars as pl

    if pattern is not None:
        return _parsed(cell, pattern, strict=strict)
    found = pl.coalesce([_parsed(cell, each, strict=False) for each in TIMESTAMP_FORMATS])
    if not strict:
        return found
    left = pl.when(found.is_null()).then(cell)
    return pl.coalesce(found, _parsed(left, TIMESTAMP_FORMATS[-1], strict=True))


def spelling_of(cells: pl.Series) -> str | None:
    """Return the pattern that all of ``cells`` fit, or None where there is none or nothing to go by."""
    import polars as pl

    if cells.null_count() == len(cells):
        return None
    for pattern in TIMESTAMP_FORMATS:
        found = cells.to_frame().select(_parsed(pl.first(), pattern, strict=False)).to_series()
        if found.null_count() == cells.null_count():
            return pattern
    return None


def _parsed(cell: pl.Expr, pattern: str, *, strict: bool) -> pl.Expr:
    return cell.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=strict)
