"""Counting empty cells without parsing them: by the bits of a CSV block, by the footer of a Parquet file.

To make a text of every cell would add half to the time of a profile, to read every column of a table's files three times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from billing_lake.engines.blocks import bits

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from billing_lake.engines.blocks import Block

_CARRIAGE_RETURN = ord("\r")
_QUOTE = ord('"')
_ROWS_IN_A_BYTE = 255
"""Rows that a byte can count."""


def empty_cells(block: Block, width: int) -> NDArray[np.bool_]:
    """Return for each row of ``block``, of ``width`` cells, in which of them nothing stands, not even quotes."""
    ends, size = _ends(block)
    # An empty cell's end follows upon an end, or stands first, or there is but a line end of Windows between.
    behind = _moved(ends)
    empty = ends & behind
    if b"\r" in block.data:
        returns = _marks(block, _CARRIAGE_RETURN, ends)
        empty |= ends & _moved(returns) & _moved(behind)
    return _series(empty, size).filter(_series(ends, size)).to_numpy().reshape(-1, width)


def quoted_empty_cells(block: Block, width: int) -> NDArray[np.bool_] | None:
    """Return for each row of ``block``, of ``width`` cells, which of them are an empty text in quotes; None where none is."""
    ends, size = _ends(block)
    begins, quotes = _moved(ends), _marks(block, _QUOTE, ends)
    empty = ends & _behind(quotes, 1) & _behind(quotes & begins, 2)
    if b"\r" in block.data:
        returns = _marks(block, _CARRIAGE_RETURN, ends)
        empty |= ends & _behind(returns, 1) & _behind(quotes, 2) & _behind(quotes & begins, 3)
    if not empty.any():
        return None
    return _series(empty, size).filter(_series(ends, size)).to_numpy().reshape(-1, width)


def column_counts(rows: NDArray[np.bool_]) -> list[int]:
    """Return how many rows are true in each column."""
    import numpy as np

    whole = len(rows) // _ROWS_IN_A_BYTE * _ROWS_IN_A_BYTE
    few = (
        rows[:whole]
        .view(np.uint8)
        .reshape(-1, _ROWS_IN_A_BYTE, rows.shape[1])
        .sum(axis=1, dtype=np.uint8)
    )
    counts = few.sum(axis=0, dtype=np.int64) + rows[whole:].sum(axis=0, dtype=np.int64)
    return [int(count) for count in counts]


@dataclass(frozen=True)
class Footer:
    """Holds what the footer of a Parquet file states for all of its row groups.

    Attributes:
        rows: Number of rows.
        nulls: Number of NULLs of each column.
        largest: The largest absolute value of each column of decimals.
    """

    rows: int
    nulls: Mapping[str, int]
    largest: Mapping[str, Decimal]


def read_footer(parquet: BinaryIO) -> Footer:
    """Return what the footer of a Parquet file states."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(parquet)
    nulls: Counter[str] = Counter()
    largest: dict[str, Decimal] = {}
    uncounted: set[str] = set()
    unbounded: set[str] = set()
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            name, stated = chunk.path_in_schema, chunk.statistics
            if stated is None or not stated.has_null_count:
                uncounted.add(name)
                unbounded.add(name)
                continue
            nulls[name] += stated.null_count
            if stated.logical_type.type != "DECIMAL":
                continue
            known = largest.setdefault(name, Decimal())
            if stated.has_min_max:
                largest[name] = max(known, abs(stated.min), abs(stated.max))
            elif stated.null_count < group.num_rows:
                unbounded.add(name)
    return Footer(
        rows=footer.num_rows,
        nulls={name: count for name, count in nulls.items() if name not in uncounted},
        largest={name: most for name, most in largest.items() if name not in unbounded},
    )


def row_groups(parquet: BinaryIO) -> list[tuple[int, int]]:
    """Return the first row, from 0, and the number of rows of each row group of a Parquet file."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(parquet)
    counts = [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]
    return list(zip(accumulate(counts, initial=0), counts, strict=False))


def _ends(block: Block) -> tuple[NDArray[np.uint64], int]:
    """Return where the cells of ``block`` end, its last one too, and how many bits say so."""
    import numpy as np

    ends, size = block.ends, len(block.data)
    if not block.data.endswith(b"\n"):
        # The end of the data ends a cell too.
        ends = np.append(ends, np.zeros(1, np.uint64))
        ends[size >> 6] |= np.uint64(1 << (size & 63))
        size += 1
    return ends, size


def _marks(block: Block, byte: int, ends: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return where ``byte`` stands in ``block``, in as many words as ``ends`` has."""
    import numpy as np

    marks = np.zeros_like(ends)
    found = bits(np.frombuffer(block.data, np.uint8) == byte)
    marks[: len(found)] = found
    return marks


def _behind(words: NDArray[np.uint64], by: int) -> NDArray[np.uint64]:
    """Return the bits of ``words``, each ``by`` places further on."""
    import numpy as np

    moved = words << np.uint64(by)
    moved[1:] |= words[:-1] >> np.uint64(64 - by)
    return moved


def _moved(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the bits of ``words``, each in the next one's place, the first one set."""
    import numpy as np

    moved = _behind(words, 1)
    moved[0] |= np.uint64(1)
    return moved


def _series(words: NDArray[np.uint64], size: int) -> pl.Series:
    """Return the first ``size`` bits of ``words``, which are not copied."""
    import polars as pl
    import pyarrow as pa

    array = pa.BooleanArray.from_buffers(pa.bool_(), size, [None, pa.py_buffer(words)])
    return pl.Series(array)
