"""Spells numbers and ids as a report does.

Amounts are integers with a decimal scale until the last moment: sums stay exact, and each spelling is made once.
Numbers look as AWS's Java code prints them (`1.0`, `0.0116`, `1.81E-8`): E-notation below one thousandth.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from billing_lake.sample.random_values import Ints, scramble

ID_LENGTH = 52
_ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)
_ODD = np.uint64(0x9E3779B97F)
_SMALLEST_PLAIN_EXPONENT = -3
_POWERS = 10 ** np.arange(19, dtype=np.int64)


def number_text(mantissa: int, scale: int) -> str:
    """`mantissa` / 10**`scale` as a report spells it."""
    if mantissa == 0:
        return "0.0"
    sign, digits = ("-" if mantissa < 0 else ""), str(abs(mantissa))
    exponent = len(digits) - 1 - scale
    if exponent < _SMALLEST_PLAIN_EXPONENT:
        return f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}E{exponent}"
    digits = digits.zfill(scale + 1)
    point = len(digits) - scale
    return f"{sign}{digits[:point]}.{digits[point:].rstrip('0') or '0'}"


def numbers_text(mantissas: Ints, scales: Ints | int) -> pl.Series:
    """`number_text` of whole arrays."""
    sizes, scale = (
        np.abs(mantissas),
        np.broadcast_to(np.asarray(scales, dtype=np.int64), mantissas.shape),
    )
    tiny = (sizes > 0) & (sizes < _POWERS[np.maximum(scale + _SMALLEST_PLAIN_EXPONENT, 0)])
    texts = pl.concat([_plain(sizes[~tiny], scale[~tiny]), _scientific(sizes[tiny], scale[tiny])])
    position = np.where(tiny, np.count_nonzero(~tiny) + np.cumsum(tiny), np.cumsum(~tiny)) - 1
    ordered = texts.gather(pl.Series(position))
    negative = mantissas < 0
    if not negative.any():
        return ordered
    signs = pl.Series(["", "-"]).gather(pl.Series(negative.astype(np.int64)))
    return pl.select(pl.concat_str(signs, ordered)).to_series()


def ids_text(serials: Ints, key: int) -> pl.Series:
    """Line-item ids: 52 letters and digits, as AWS writes them, different for different serial numbers below 2**40."""
    numbers = serials.astype(np.uint64)
    distinct = (numbers * _ODD) & np.uint64(2**40 - 1)
    salt = scramble(np.array([key], dtype=np.uint64))
    scrambled = [scramble(salt + numbers * np.uint64(8) + np.uint64(word)) for word in range(4)]
    codes = np.concatenate(
        [_five_bits(distinct, 8), *(_five_bits(word, 12) for word in scrambled)], axis=1
    )
    return _fixed_width(_ALPHABET[codes[:, :ID_LENGTH]])


def _plain(sizes: Ints, scales: Ints) -> pl.Series:
    units = _POWERS[scales]
    whole, part = sizes // units, sizes % units
    # A leading one keeps the zeros behind the point.
    decimals = pl.lit(pl.Series(part + units)).cast(pl.String).str.slice(1).str.strip_chars_end("0")
    return pl.select(
        pl.concat_str(pl.lit(pl.Series(whole)).cast(pl.String), pl.lit("."), _or_zero(decimals))
    ).to_series()


def _scientific(sizes: Ints, scales: Ints) -> pl.Series:
    digits = pl.lit(pl.Series(sizes)).cast(pl.String)
    exponent = np.searchsorted(_POWERS, sizes, side="right") - 1 - scales
    return pl.select(
        pl.concat_str(
            digits.str.head(1),
            pl.lit("."),
            _or_zero(digits.str.slice(1).str.strip_chars_end("0")),
            pl.lit("E"),
            pl.lit(pl.Series(exponent)).cast(pl.String),
        )
    ).to_series()


def _or_zero(text: pl.Expr) -> pl.Expr:
    return pl.when(text == "").then(pl.lit("0")).otherwise(text)


def _five_bits(words: NDArray[np.uint64], count: int) -> NDArray[np.uint8]:
    shifts = np.arange(0, 5 * count, 5, dtype=np.uint64)
    return ((words[:, None] >> shifts) & np.uint64(31)).astype(np.uint8)


def _fixed_width(characters: NDArray[np.uint8]) -> pl.Series:
    count, width = characters.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    array = pa.StringArray.from_buffers(
        count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))
    )
    return pl.Series(array)
