"""Counting the cells that a decimal type rounds, beside the encoding.

Rounding half even is what the types demand; doing it without saying so is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.types import DECIMAL, MAX_PRECISION

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_FURTHER_DIGITS = 10
"""How many more decimals than the type's are looked at. A difference beyond them is not counted, nor is any in a number
of more than ten digits before the point, which leaves no room for them."""

_LEAST_OF_17_DIGITS = 0.01
"""A double of this size or more has no more decimals than a table keeps: its text has 17 digits at most."""


def rounded(cell: pl.Expr, scale: int) -> pl.Expr:
    """Return the number of numbers, as text, that differ from themselves rounded to ``scale`` decimals.

    Only cells that are long, or small, can have so many: most are only glanced at. Comparing the number read twice, with its
    own scale and with a finer one, costs a fraction of looking at its digits.
    """
    import polars as pl

    doubtful = cell.filter(_may_round(cell, scale))
    fine = pl.Decimal(MAX_PRECISION, scale + _FURTHER_DIGITS)
    kept = doubtful.cast(pl.Decimal(MAX_PRECISION, scale), strict=False).cast(fine, strict=False)
    return (kept != doubtful.cast(fine, strict=False)).sum()


def long_doubles(cell: pl.Expr) -> pl.Expr:
    """Return those floating-point numbers, as text, that may have more decimals than a table keeps; the others are not made text."""
    import polars as pl

    is_long = cell.drop_nulls().map_batches(
        _long_doubles, return_dtype=pl.Boolean(), is_elementwise=True
    )
    return cell.drop_nulls().filter(is_long).cast(pl.String)


def are_short(cells: pl.Series) -> bool:
    """Say whether no floating-point number, NULL aside, has more decimals than a table keeps."""
    if cells.null_count() == len(cells):
        return True
    return not _long_ones(cells.to_numpy()).any()


def _long_doubles(cells: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series(_long_ones(cells.to_numpy()))


def _long_ones(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which floating-point numbers may have more decimals than a table keeps.

    Dividing a whole number by a power of ten up to 10**22 gives the double that is nearest to the quotient, so where it gives the one at
    hand, that one has a text of no more decimals. NumPy divides; Polars would multiply by the inverse, which is another number.
    """
    import numpy as np

    values = values.astype(np.float64, copy=False)
    unit = 10.0**DECIMAL.scale
    with np.errstate(over="ignore", invalid="ignore"):
        is_long = np.rint(values * unit) / unit != values
    found: NDArray[np.bool_] = is_long & (np.abs(values) < _LEAST_OF_17_DIGITS)
    return found


def _may_round(cell: pl.Expr, scale: int) -> pl.Expr:
    """Return whether a number, as text, may have more than ``scale`` decimals: by its length, or its small exponent.

    The shortest that do are `.001` and the like, or have the largest exponent of one digit: `.1234567890E-9`.
    """
    shortest = min(scale + 2, max(len("1E-9"), scale - 9 + len(".1E-9")))
    return (cell.str.len_bytes() >= shortest) | (cell.str.slice(-3, 1) == "-")
