"""Counting the cells that a decimal type rounds, beside the encoding.

Rounding half even is what the types demand; doing it without saying so is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.types import MAX_PRECISION

if TYPE_CHECKING:
    import polars as pl

_FURTHER = 10
"""How many more decimals than the type's are looked at. A difference beyond them is not counted, nor is any in a number
of more than ten digits before the point, which leaves no room for them."""


def rounded(cell: pl.Expr, scale: int) -> pl.Expr:
    """Return the number of numbers, as text, that differ from themselves rounded to ``scale`` decimals.

    Only cells that are long, or small, can have so many: most are only glanced at. Comparing the number read twice, with its
    own scale and with a finer one, costs a fraction of looking at its digits.
    """
    import polars as pl

    doubtful = cell.filter(_may_round(cell, scale))
    fine = pl.Decimal(MAX_PRECISION, scale + _FURTHER)
    kept = doubtful.cast(pl.Decimal(MAX_PRECISION, scale), strict=False).cast(fine, strict=False)
    return (kept != doubtful.cast(fine, strict=False)).sum()


def _may_round(cell: pl.Expr, scale: int) -> pl.Expr:
    """Return whether a number, as text, may have more than ``scale`` decimals: by its length, or its small exponent.

    The shortest that do are `.001` and the like, or have the largest exponent of one digit: `.1234567890E-9`.
    """
    shortest = min(scale + 2, max(len("1E-9"), scale - 9 + len(".1E-9")))
    return (cell.str.len_bytes() >= shortest) | (cell.str.slice(-3, 1) == "-")
