"""Column names of FOCUS: its own, in lower case. Every engine here takes `SELECT BilledCost` for `billedcost`.

Tools that write FOCUS differ in case, and some put underscores between the words; a known column is known by its letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from billing_lake.domain.column_names import MAX_NAME_BYTES, is_mark
from billing_lake.formats.focus.columns import KNOWN_COLUMNS, REQUIRED

_UNDERSCORES = re.compile("_+")
_BY_LETTERS = {name.replace("_", ""): name for name in KNOWN_COLUMNS}
_TELLING = (frozenset(REQUIRED), frozenset(("billedcost", "chargecategory")))
"""Columns of which no other format has all: those that a report must have, and two that tell one that lacks some of them."""


@lru_cache(maxsize=1 << 12)
def name_of(raw: str) -> str:
    """Return the column name of the header cell ``raw``; empty where nothing of it can stand in a name."""
    kept: list[str] = []
    for c in unicodedata.normalize("NFC", raw.lower()):
        belongs = is_mark(c) and kept and kept[-1] != "_"
        kept.append(c if c.isalnum() or belongs else "_")
    name = _UNDERSCORES.sub("_", "".join(kept)).strip("_")
    excess = len(name.encode(errors="replace")) - MAX_NAME_BYTES
    name = name.replace("_", "", excess) if excess > 0 else name
    return _BY_LETTERS.get(name.replace("_", ""), name)


def is_header(cells: Iterable[str]) -> bool:
    """Say whether ``cells`` are the header of a report, of whatever version and provider."""
    names = {*map(name_of, cells)}
    return any(names >= telling for telling in _TELLING)
