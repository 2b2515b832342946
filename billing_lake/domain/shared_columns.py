"""Columns that several cells of a row share, because their header cells have one name: where each value comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

_FURTHER = "__"
"""What stands before the number of a further column."""


@dataclass(frozen=True)
class Merge:
    """Several header cells that have one column name. The column has the first value; see `Origin` for the others."""

    name: str
    raw: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """The cells of a row that a column's value comes from.

    Attributes:
        cells: Their positions. The first of them that holds something is the value.
        agree: Whether all of them that hold something must say the same: a row has one amount, one date and one currency.
        further: Position of the one cell whose value this column has where that is not the first of ``cells``. So each value of
            a row in which several tags with one name differ is kept, in a column of its own.
    """

    cells: tuple[int, ...]
    agree: bool = False
    further: int | None = None


def further_name(name: str, number: int) -> str:
    """Return the name of the ``number``-th column of the cells that share ``name``: `tag__2` for the second `tag`."""
    return name if number == 1 else f"{name}{_FURTHER}{number}"


def first_of(name: str) -> str:
    """Return the name of the column that has the first value of the cells that ``name`` shares: `tag` for `tag__2`."""
    return name.partition(_FURTHER)[0]


@lru_cache(maxsize=1 << 10)
def origins(columns: tuple[str, ...]) -> Mapping[str, Origin]:
    """Return where each column of a file gets its values from, by the column names of its cells.

    Cells that have the very same name must agree; those that need not have further names, see `further_name`.
    """
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(columns):
        groups.setdefault(first_of(name), []).append(position)
    counts = Counter(columns)
    found: dict[str, Origin] = {}
    for position, name in enumerate(columns):
        cells = tuple(groups[first_of(name)])
        further = position if name != columns[cells[0]] else None
        found.setdefault(name, Origin(cells, counts[name] > 1, further))
    return MappingProxyType(found)


def merged_cells(header: Sequence[str], names: Sequence[str]) -> tuple[Merge, ...]:
    """Return the groups of header cells that share a column name."""
    groups: dict[str, list[str]] = {}
    for raw, name in zip(header, names, strict=True):
        groups.setdefault(first_of(name), []).append(raw)
    return tuple(Merge(name, tuple(raw)) for name, raw in groups.items() if len(raw) > 1)
