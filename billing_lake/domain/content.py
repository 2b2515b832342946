"""Content: what the cells of a set of rows are, as hashes that do not depend on the order of rows and files.

Each column has the sum of the hashes of its cells, and all rows together the sum of theirs: values that changed places between
two rows leave every column as it was. Hashes are made and compared in one run, and never kept: another release of the library
that makes them may make others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_MODULUS = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Content:
    """The cells of a set of rows.

    Attributes:
        rows: Number of rows.
        columns: Sum of the hashes of each column's cells, modulo 2**64; equal columns of two names have equal sums.
        whole: Sum of the hashes of whole rows, modulo 2**64.
    """

    rows: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)
    whole: int = 0


def merge_content(parts: Iterable[Content]) -> Content:
    """Add up the content of disjoint rows; the order does not matter."""
    rows = whole = 0
    columns: dict[str, int] = {}
    for part in parts:
        rows += part.rows
        whole = (whole + part.whole) % _MODULUS
        for name, cells in part.columns.items():
            columns[name] = (columns.get(name, 0) + cells) % _MODULUS
    return Content(rows=rows, columns=columns, whole=whole)


def other_columns(expected: Content, found: Content) -> Iterator[tuple[str, str | None]]:
    """Yield each column whose cells differ, and the other one whose expected cells it holds, if there is one."""
    differing = [
        name for name in expected.columns if expected.columns[name] != found.columns.get(name)
    ]
    places = {expected.columns[name]: name for name in differing}
    for name in differing:
        yield name, places.get(found.columns.get(name, -1))
