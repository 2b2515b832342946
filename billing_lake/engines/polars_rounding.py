"""Counting the cells that a decimal type rounds, beside the encoding.

Rounding half even is what the types demand; doing it without saying so is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.schemas import MAX_PRECISION

if TYPE_CHECKING:
    import polars as pl

_FURTHER = 10
"""How many more decimals than the type's are looked at. A difference beyond them is not counted, nor is any in a number
of more than ten digits before the point, which leaves no room for them."""


_SHORTEST = len(".1234567890E-9")
"""Characters below which a number has at most 18 decimals, unless its exponent has two digits."""


def rounded(cell: pl.Expr, scale: int) -> pl.Expr:
    """Return the number of numbers, as text, that differ from themselves rounded to ``scale`` decimals.

    Only cells that are long, or small, can have so many: most are only glanced at. Comparing the number read twice, with its
    own scale and with a finer one, costs a fraction of looking at its digits.
    """
    import polars as pl

    doubtful = cell.filter(_may_round(cell))
    fine = pl.Decimal(MAX_PRECISION, scale + _FURTHER)
    kept = doubtful.cast(pl.Decimal(MAX_PRECISION, scale), strict=False).cast(fine, strict=False)
    return (kept != doubtful.cast(fine, strict=False)).sum()


def _may_round(cell: pl.Expr) -> pl.Expr:
    """Return whether a number, as text, may have more than 18 decimals: by its length, or its small exponent."""
    return (cell.str.len_bytes() >= _SHORTEST) | (cell.str.slice(-3, 1) == "-")
