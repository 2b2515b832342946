"""Column names: the rule by which AWS names CUR columns in Athena, and the spellings that exist in the wild.

Rule (AWS Cost and Usage Reports user guide, "Column names" of the Athena integration), in this order: an underscore before
each capital, lower case, anything but a letter or digit becomes an underscore, runs of underscores become one, none at
either end; a name that is too long loses underscores from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from billing_lake.domain.dictionary import (
    CURRENCY,
    KNOWN_COLUMNS,
    LAKE_COLUMNS,
    PERIOD_START,
    USAGE_START,
)
from billing_lake.domain.errors import (
    BadHeaderError,
    DuplicateHeaderError,
    MissingColumnError,
    shown,
)

MAX_NAME = 255
"""Longest column name of the Glue Data Catalog and Athena, in characters."""

REQUIRED_COLUMNS = (PERIOD_START, USAGE_START, CURRENCY, "line_item_unblended_cost")
"""Columns without which a report can be neither dated nor totalled."""

_CAPITAL = re.compile(r"([A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")

_BY_LETTERS = {name.replace("_", ""): name for name in KNOWN_COLUMNS}


def normalise(raw: str) -> str:
    """Return the Athena name of the header cell ``raw``; empty where nothing of it can stand in a name."""
    name = _OTHER.sub("_", _CAPITAL.sub(r"_\1", raw).lower()).strip("_")
    excess = len(name) - MAX_NAME
    return name.replace("_", "", excess) if excess > 0 else name


def canonical(name: str) -> str:
    """Return the spelling that the dictionary uses for ``name``, or ``name`` where it is no known column.

    Tools in the wild differ in where they put underscores (`savings_plan_savings_plan_arn`, `product_service_code`,
    `lineitem_unblendedcost`); a known column is known by its letters and digits.
    """
    return _BY_LETTERS.get(name.replace("_", ""), name)


@dataclass(frozen=True)
class Merge:
    """Several header cells that have one column name; the first that is not NULL wins, as in AWS's own tables."""

    name: str
    raw: tuple[str, ...]


def column_names(header: Sequence[str], file: str) -> tuple[str, ...]:
    """Return the column name of each cell of ``header``, in its order; colliding cells get the same name.

    Args:
        header: Header cells as the file has them.
        file: The file's name, for errors.

    Raises:
        DuplicateHeaderError: The same cell stands twice.
        BadHeaderError: A cell cannot become a column name, or takes a name that the lake itself uses.
    """
    seen: set[str] = set()
    names = []
    for position, raw in enumerate(header, start=1):
        if raw in seen:
            what = "The header names the same column twice"
            raise DuplicateHeaderError(what, file=file, line=1, column=raw)
        seen.add(raw)
        name = canonical(normalise(raw))
        if not name:
            what = (
                f"Header cell {position} has no letter or digit that a column name could be made of"
            )
            raise BadHeaderError(what, file=file, line=1, value=raw)
        if len(name) > MAX_NAME:
            what = f"Header cell {position} has {len(raw):,} characters; a column name has at most {MAX_NAME}"
            raise BadHeaderError(what, file=file, line=1, value=shown(raw, 40))
        if name in LAKE_COLUMNS:
            what = f"Header cell {position} takes the name of a column that the lake adds itself"
            raise BadHeaderError(what, file=file, line=1, column=raw)
        names.append(name)
    return tuple(names)


def merges(header: Sequence[str], names: Sequence[str]) -> tuple[Merge, ...]:
    """Return the groups of header cells that share a column name."""
    groups: dict[str, list[str]] = {}
    for raw, name in zip(header, names, strict=True):
        groups.setdefault(name, []).append(raw)
    return tuple(Merge(name, tuple(raw)) for name, raw in groups.items() if len(raw) > 1)


def require_columns(names: Sequence[str], file: str) -> None:
    """Refuse a report file that can be neither dated nor totalled.

    Args:
        names: Column names, as `column_names` gives them.
        file: The file's name, for errors.

    Raises:
        MissingColumnError: One of `REQUIRED_COLUMNS` is missing.
    """
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        what = "The report lacks columns without which it can be neither dated nor totalled"
        raise MissingColumnError(what, file=file, line=1, column=", ".join(missing))


def require_promised(header: Sequence[str], promised: Sequence[str], file: str) -> None:
    """Refuse a file whose header is not the one that the manifest promises, spelling and order apart.

    Args:
        header: Header cells as the file has them.
        promised: Header cells as the manifest has them; nothing is compared where it states none.
        file: The file's name, for errors.

    Raises:
        BadHeaderError: A column is missing, or is one too many.
    """
    if not promised:
        return
    have, want = ({canonical(normalise(raw)) for raw in cells} for cells in (header, promised))
    for raw in promised:
        if canonical(normalise(raw)) not in have:
            what = "The header lacks a column that the manifest promises"
            raise BadHeaderError(what, file=file, line=1, column=raw)
    for raw in header:
        if canonical(normalise(raw)) not in want:
            what = "The header has a column that the manifest does not list"
            raise BadHeaderError(what, file=file, line=1, column=raw)
