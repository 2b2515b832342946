"""Doubles as decimals: each stands for the number that its shortest text says; casting it would bring its binary tail along.

To write that text and to read it takes most of the time of turning a file's columns into the lake's types. Costs and rates have ten decimal
places, so that they are whole numbers of the tenth place, which come quicker.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from billing_lake.domain.types import MAX_PRECISION, Decimal
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

_PLACES = 10

_LARGEST_WHOLE = 10.0**15
"""No two numbers of up to 15 digits are the same double, so that what is found with so many is what the shortest text says."""


def decimal_of(cell: pl.Expr, type_: Decimal, *, strict: bool = True) -> pl.Expr:
    """Return floating-point numbers as decimals; where one is none, the query raises, or yields NULL unless ``strict``."""
    wanted = polars_type(type_)
    read = partial(_decimals, wanted=wanted, scale=type_.scale, strict=strict)
    return cell.map_batches(read, return_dtype=wanted, is_elementwise=True)


def _decimals(cells: pl.Series, wanted: pl.DataType, scale: int, *, strict: bool) -> pl.Series:
    import polars as pl

    is_tried = cells.dtype == pl.Float64 and scale >= _PLACES and cells.null_count() < len(cells)
    found = _whole(cells) if is_tried else None
    found = cells.cast(pl.String) if found is None else found
    return found.cast(wanted, strict=strict)


def _whole(cells: pl.Series) -> pl.Series | None:
    """Return ``cells`` as decimals of a few places; None if some have more."""
    import numpy as np
    import polars as pl
    import pyarrow as pa

    values = cells.fill_null(0.0).to_numpy()
    unit = 10.0**_PLACES
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(values * unit)
        # Dividing gives the double that is nearest to the quotient: this one, if it is the number's.
        fits = (whole / unit == values) & (np.abs(whole) <= _LARGEST_WHOLE)
    if not fits.all():
        return None
    halves = np.empty((len(whole), 2), np.int64)
    halves[:, 0] = whole
    halves[:, 1] = halves[:, 0] >> 63  # the upper half is the sign's alone
    type_ = pa.decimal128(MAX_PRECISION, _PLACES)
    found = pa.Array.from_buffers(type_, len(whole), [None, pa.py_buffer(halves)])
    numbers = pl.Series(cells.name, found)
    return numbers.set(cells.is_null(), None) if cells.null_count() else numbers
