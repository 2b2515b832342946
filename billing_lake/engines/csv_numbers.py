"""Numbers of CSV reports as Arrow's decimals.

pyarrow's own reading of decimals lets blanks, `1E+-5` and `1E0x5` through, a number of 22 digits becomes another one without a word, and
`1E-2147483647` ends the process.
So numbers are read as text, and only texts that cannot be misread are left to it; all others are read by the expressions that the
careful engine uses. Where few texts come again and again, as in a column of rates, each is read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.engines.polars_parsing import decimal, filled
from billing_lake.engines.polars_rounding import rounded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from billing_lake.domain.types import Decimal

_PLUS, _MINUS, _ONE, _NINE, _SMALL_E, _SMALL = b"+-19e "

_LONGEST = 24
_LONGEST_EXPONENT = 4
"""Characters of a number, and of its exponent from the `E` on, which is `E-19` at most: with more than 38 digits behind the point
pyarrow reads past the end of its powers of ten, and the number is another one or the process ends."""

_SAMPLE_CELLS = 1_000
_FEW_TEXTS = 100
"""So few texts in a sample of consecutive cells, and each text of the column is read once."""

_SAFE_HIGH_WORD = 1 << 62
"""What the high words of decimals of 128 bits must add up to less than, so that no sum has more than 38 digits."""


def read_numbers(cells: pa.StringArray, type_: Decimal) -> tuple[pa.Array, int]:
    """Return texts as decimals, and how many of them are rounded.

    Raises:
        polars.exceptions.PolarsError: One is no number, or too large.
    """
    if _repeats(cells):
        distinct = cells.dictionary_encode()
        numbers, lost = _read(distinct.dictionary, type_)
        if not lost:
            return numbers.take(distinct.indices), 0
    return _read(cells, type_)


def _repeats(cells: pa.StringArray) -> bool:
    """Say whether finding the distinct texts of ``cells`` costs less than reading all; it says no where most are NULL."""
    if 2 * cells.null_count > len(cells):
        return False
    sample = cells.slice(len(cells) // 2, _SAMPLE_CELLS)
    return len(sample.dictionary_encode().dictionary) <= _FEW_TEXTS


def _read(cells: pa.StringArray, type_: Decimal) -> tuple[pa.Array, int]:
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.decimal128(type_.precision, type_.scale)
    if _cannot_be_misread(cells, type_):
        try:
            return pc.cast(cells, wanted), 0
        except pa.ArrowInvalid:
            pass  # it has more decimals than are kept, is an empty text in quotes, or no number
    number = filled(pl.col("cell"))
    frame = pl.Series("cell", cells).to_frame().lazy()
    read = frame.select(decimal(number, type_)).collect(engine="in-memory").to_series()
    lost = frame.select(rounded(number, type_.scale)).collect(engine="in-memory").item()
    return read.to_arrow(), int(lost)


def _cannot_be_misread(cells: pa.StringArray, type_: Decimal) -> bool:
    """Say whether pyarrow reads all of ``cells`` rightly, or refuses them.

    None of them has more characters than the type has digits before its point, and beside digits, points and signs there is but
    an `E` before a minus and a small exponent: such a number neither outgrows the type nor is anything but a number.
    """
    import numpy as np

    ends = np.frombuffer(cells.buffers()[1], np.int32, len(cells) + 1, 4 * cells.offset)
    if int(np.diff(ends).max()) > min(type_.precision - type_.scale, _LONGEST):
        return False
    letters = np.frombuffer(cells.buffers()[2], np.uint8, int(ends[-1] - ends[0]), int(ends[0]))
    if not len(letters):
        return False
    if (letters < _PLUS).any():
        return False
    at = np.flatnonzero(letters > _NINE)
    if not len(at):
        return True
    behind, then = (letters[np.minimum(at + n, len(letters) - 1)] for n in (1, 2))
    length = ends[np.searchsorted(ends, at + ends[0], side="right")] - ends[0] - at
    is_small = (length < _LONGEST_EXPONENT) | ((length == _LONGEST_EXPONENT) & (then <= _ONE))
    is_known = ((letters[at] | _SMALL) == _SMALL_E) & (behind == _MINUS) & is_small
    return bool(is_known.all())


def adds_up_safely(numbers: pa.Decimal128Array) -> bool:
    """Say whether no sum of some of ``numbers`` has more digits than pyarrow keeps, which takes no notice."""
    import numpy as np

    buffer = numbers.buffers()[1]
    if buffer is None or numbers.null_count == len(numbers):
        return True
    words: NDArray[np.int64] = np.frombuffer(buffer, np.int64)
    high = words[2 * numbers.offset + 1 : 2 * (numbers.offset + len(numbers)) : 2]
    largest = max(abs(int(high.max())), abs(int(high.min()))) + 1
    return largest * len(numbers) < _SAFE_HIGH_WORD
