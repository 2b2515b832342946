"""Column names of CUR 2.0, whose header cells are names already, and how its headers are told from those of legacy CUR."""

from __future__ import annotations

from collections.abc import Iterable

from billing_lake.formats.cur2.columns import KNOWN_COLUMNS
from billing_lake.formats.legacy_cur.columns import REQUIRED
from billing_lake.formats.legacy_cur.naming import athena_name

_BY_LETTERS = {name.replace("_", ""): name for name in KNOWN_COLUMNS}


def name_of(raw: str) -> str:
    """Return the column name of the header cell ``raw``; empty where nothing of it can stand in a name.

    AWS's own pages spell some names otherwise than its files (`product_instanceSKU`); a known column is known by its letters.
    """
    name = athena_name(raw)
    return _BY_LETTERS.get(name.replace("_", ""), name)


def is_header(cells: Iterable[str]) -> bool:
    """Say whether ``cells`` may be the header of a report.

    Legacy CUR has the same columns for dates and costs. It writes them with a slash, or in Athena's spelling, as here; then whole maps
    tell CUR 2.0, and where an export leaves them out, nothing does.
    """
    cells = tuple(cells)
    return {*map(name_of, cells)} >= {*REQUIRED} and not any("/" in cell for cell in cells)
