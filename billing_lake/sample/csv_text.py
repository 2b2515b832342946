"""CSV as AWS writes it: cells quoted only where they must be. Light, so that tests can write files without Polars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPECIAL = re.compile(r'[",\r\n]')


def cell(text: str) -> str:
    """One CSV cell, quoted only where it must be."""
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def record(cells: Iterable[str]) -> str:
    """Cells as a piece of a CSV line."""
    return ",".join(map(cell, cells))
