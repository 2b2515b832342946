"""Counting the cells that a decimal type rounds.

Rounding half even is what the types demand; doing it without saying so is not. Nearly no delivery holds such a cell, so a
cheap test that misses none runs beside the encoding, and only the columns it points at are counted, in a second pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from billing_lake.engines.cells import loses_digits

if TYPE_CHECKING:
    import polars as pl

_LONG = len(".1234567890123456789")
_LONG_SMALL = len(".1234567890E-9")
"""Fewest characters of a number with more than 18 decimals: in plain notation, and with an exponent of one digit."""


def suspects(cell: pl.Expr) -> pl.Expr:
    """Return which numbers, as text, may have more than 18 decimals; an exponent of two digits ends in `-dd`."""
    length = cell.str.len_bytes()
    small = (length >= _LONG_SMALL) | (cell.str.slice(-3, 1) == "-")
    return (length >= _LONG) | (cell.str.contains("-", literal=True) & small)


def count_rounded(cells: pl.LazyFrame, scales: Mapping[str, int]) -> dict[str, int]:
    """Count the cells of the columns ``scales``, numbers as text, that have more decimals than their scale."""
    import polars as pl

    counts = {}
    for name, scale in scales.items():
        doubtful = cells.select(pl.col(name)).filter(suspects(pl.col(name)))
        lost = sum(loses_digits(cell, scale) for cell in doubtful.collect(engine="streaming")[name])
        if lost:
            counts[name] = lost
    return counts
