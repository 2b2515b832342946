"""Column names: the rule by which AWS names CUR columns in Athena, and the spellings that exist in the wild.

Rule (AWS Cost and Usage Reports user guide, "Column names" of the Athena integration), in this order: an underscore before
each capital, lower case, anything but a letter or digit becomes an underscore, runs of underscores become one, none at
either end; a name that is too long loses underscores from left to right.

Letters and digits are those of every script, with the marks that belong to them, composed (NFC), so that `Région` is one name
however its accent is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType

from billing_lake.domain.dictionary import (
    CURRENCY,
    KNOWN_COLUMNS,
    LAKE_COLUMNS,
    PERIOD_START,
    STRING,
    USAGE_START,
    type_of,
)
from billing_lake.domain.errors import (
    BadHeaderError,
    DuplicateHeaderError,
    MissingColumnError,
    shown,
)

MAX_NAME = 255
"""Longest column name of the Glue Data Catalog and Athena, in bytes of UTF-8."""

MAX_COLUMNS = 5_000
"""Most columns of a report file; the widest public ones have some 1,000, and each costs every row."""

REQUIRED_COLUMNS = (PERIOD_START, USAGE_START, CURRENCY, "line_item_unblended_cost")
"""Columns without which a report can be neither dated nor totalled."""

_CAPITAL = re.compile(r"([A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_UNDERSCORES = re.compile("_+")
_DIGEST = 8
_LONGEST = MAX_NAME - len("__999")
_FURTHER = "__"
"""What stands before the number of a further column; no name that `normalise` makes has two underscores in a row."""

_BY_LETTERS = {name.replace("_", ""): name for name in KNOWN_COLUMNS}


@lru_cache(maxsize=1 << 14)
def normalise(raw: str) -> str:
    """Return the Athena name of the header cell ``raw``; empty where nothing of it can stand in a name."""
    if raw.isascii():
        name = _OTHER.sub("_", _CAPITAL.sub(r"_\1", raw).lower())
    else:
        name = _UNDERSCORES.sub("_", _of_any_script(raw))
    name = name.strip("_")
    excess = len(name.encode(errors="replace")) - MAX_NAME
    return name.replace("_", "", excess) if excess > 0 else name


def _of_any_script(raw: str) -> str:
    spaced = "".join(f"_{c}" if c.lower() != c else c for c in raw)
    kept: list[str] = []
    for c in unicodedata.normalize("NFC", spaced.lower()):
        belongs = _is_mark(c) and kept and kept[-1] != "_"
        kept.append(c if c.isalnum() or belongs else "_")
    return "".join(kept)


def _is_mark(c: str) -> bool:
    return unicodedata.category(c)[0] == "M"


def is_column_name(name: str) -> bool:
    """Say whether ``name`` may be a column of a table: lower-case letters, digits and marks of any script, and underscores."""
    return (
        name[:1].isalnum()
        and name == name.lower()
        and all(c == "_" or c.isalnum() or _is_mark(c) for c in name)
        and len(name.encode()) <= MAX_NAME
    )


def _shortened(name: str) -> str:
    """Return ``name`` with room for a number: a tag of 128 letters of a script with long letters is longer than `MAX_NAME`.

    What is cut off is in the digest at the end, so two long names stay two.
    """
    data = name.encode(errors="replace")
    if len(data) <= _LONGEST:
        return name
    start = data[: _LONGEST - _DIGEST - 1].decode(errors="ignore").rstrip("_")
    return f"{start}_{sha256(data).hexdigest()[:_DIGEST]}"


def canonical(name: str) -> str:
    """Return the spelling that the dictionary uses for ``name``, or ``name`` where it is no known column.

    Tools in the wild differ in where they put underscores (`savings_plan_savings_plan_arn`, `product_service_code`,
    `lineitem_unblendedcost`); a known column is known by its letters and digits.
    """
    return _BY_LETTERS.get(name.replace("_", ""), name)


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


def column_names(header: Sequence[str], file: str) -> tuple[str, ...]:
    """Return the column name of each cell of ``header``, in its order.

    Of cells that share a name, the first has it and each further one has it with a number, `name__2`; those that must agree
    have the same.

    Args:
        header: Header cells as the file has them.
        file: The file's name, for errors.

    Raises:
        DuplicateHeaderError: The same cell stands twice.
        BadHeaderError: There are too many cells, or one cannot become a column name or takes a name that the lake itself uses.
    """
    if len(header) > MAX_COLUMNS:
        what = f"The header has {len(header):,} cells; at most {MAX_COLUMNS:,} columns are read"
        raise BadHeaderError(what, file=file, line=1)
    seen: set[str] = set()
    count: dict[str, int] = {}
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
        name = _shortened(name)
        number = count[name] = count.get(name, 0) + 1
        names.append(name if number == 1 or _must_agree(name) else f"{name}{_FURTHER}{number}")
    return tuple(names)


@lru_cache(maxsize=1 << 10)
def origins(columns: tuple[str, ...]) -> Mapping[str, Origin]:
    """Return where each column of a file gets its values from, by the column names of its cells."""
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(columns):
        groups.setdefault(first_of(name), []).append(position)
    found: dict[str, Origin] = {}
    for position, name in enumerate(columns):
        cells = tuple(groups[first_of(name)])
        further = position if name != columns[cells[0]] else None
        found.setdefault(name, Origin(cells, len(cells) > 1 and _must_agree(name), further))
    return MappingProxyType(found)


def merges(header: Sequence[str], names: Sequence[str]) -> tuple[Merge, ...]:
    """Return the groups of header cells that share a column name."""
    groups: dict[str, list[str]] = {}
    for raw, name in zip(header, names, strict=True):
        groups.setdefault(first_of(name), []).append(raw)
    return tuple(Merge(name, tuple(raw)) for name, raw in groups.items() if len(raw) > 1)


def first_of(name: str) -> str:
    """Return the name of the column that has the first value of the cells that ``name`` shares: `tag` for `tag__2`."""
    return name.partition(_FURTHER)[0]


def _must_agree(name: str) -> bool:
    return name == CURRENCY or type_of(name) != STRING


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
    """Refuse a file that lacks a column which the manifest promises; spelling and order make no difference.

    Args:
        header: Header cells as the file has them.
        promised: Header cells as the manifest has them; nothing is compared where it states none.
        file: The file's name, for errors.

    Raises:
        BadHeaderError: A column is missing.
    """
    have, want = (
        Counter(canonical(normalise(raw)) for raw in dict.fromkeys(cells))
        for cells in (header, promised)
    )
    for raw in promised:
        name = canonical(normalise(raw))
        if want[name] > have[name]:
            what = "The header lacks a column that the manifest promises"
            raise BadHeaderError(what, file=file, line=1, column=raw)


def unlisted_columns(names: Sequence[str], promised: Sequence[str]) -> tuple[str, ...]:
    """Return those of the columns ``names`` that a manifest, which promises the header cells ``promised``, does not list."""
    listed = {_shortened(canonical(normalise(raw))) for raw in promised}
    return tuple(name for name in names if listed and first_of(name) not in listed)
