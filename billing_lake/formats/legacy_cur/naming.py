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
from collections.abc import Iterable
from functools import lru_cache

from billing_lake.domain.column_names import MAX_NAME_BYTES, is_mark
from billing_lake.formats.legacy_cur.columns import KNOWN_COLUMNS, REQUIRED

_CAPITAL = re.compile(r"([A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_UNDERSCORES = re.compile("_+")

_MAPS = frozenset(("product", "resource_tags", "cost_category", "discount", "tags"))
"""Columns of CUR 2.0, which has all of the required ones too."""

_BY_LETTERS = {name.replace("_", ""): name for name in KNOWN_COLUMNS}


def name_of(raw: str) -> str:
    """Return the column name of the header cell ``raw``; empty where nothing of it can stand in a name."""
    return known_spelling(athena_name(raw))


def is_header(cells: Iterable[str]) -> bool:
    """Say whether ``cells`` are the header of a report, in whatever spelling; no report has a column of all resource tags."""
    names = {*map(name_of, cells)}
    return names >= {*REQUIRED} and names.isdisjoint(_MAPS)


@lru_cache(maxsize=1 << 14)
def athena_name(raw: str) -> str:
    """Return the Athena name of the header cell ``raw``; empty where nothing of it can stand in a name.

    No name that it returns has two underscores in a row.
    """
    if raw.isascii():
        name = _OTHER.sub("_", _CAPITAL.sub(r"_\1", raw).lower())
    else:
        name = _UNDERSCORES.sub("_", _of_any_script(raw))
    name = name.strip("_")
    excess = len(name.encode(errors="replace")) - MAX_NAME_BYTES
    return name.replace("_", "", excess) if excess > 0 else name


def _of_any_script(raw: str) -> str:
    spaced = "".join(f"_{c}" if c.lower() != c else c for c in raw)
    kept: list[str] = []
    for c in unicodedata.normalize("NFC", spaced.lower()):
        belongs = is_mark(c) and kept and kept[-1] != "_"
        kept.append(c if c.isalnum() or belongs else "_")
    return "".join(kept)


def known_spelling(name: str) -> str:
    """Return the spelling that the dictionary uses for ``name``, or ``name`` where it is no known column.

    Tools in the wild differ in where they put underscores (`savings_plan_savings_plan_arn`, `product_service_code`,
    `lineitem_unblendedcost`); a known column is known by its letters and digits.
    """
    return _BY_LETTERS.get(name.replace("_", ""), name)
