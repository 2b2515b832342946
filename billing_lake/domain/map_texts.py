"""Maps as reports write them: a cell with one flat JSON object.

Values are kept as the text that stands there: an amount of `1.50E-7` stays that, because it is no number of the lake's own. What is no
such object, or could be read in two ways, is refused: a nested value, a key that stands twice, half a character.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from billing_lake.domain.errors import shown


class BadMapError(ValueError):
    """A cell is no map; the message says why."""


def map_of(text: str) -> dict[str, str | None]:
    """Return the map that the cell ``text`` holds.

    Raises:
        BadMapError: It holds none.
    """
    try:
        found = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse,
        )
    except BadMapError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadMapError(f"The value is no JSON: {shown(error)}") from error
    if not isinstance(found, dict):
        raise BadMapError("The value is no JSON object, as a map is")
    if "\\u" in text:
        _refuse_no_text(found)
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key, value in pairs:
        if isinstance(value, dict | list):
            raise BadMapError(f"The key {shown(key)!r} of the map has a nested value")
        if key in found:
            raise BadMapError(f"The map has the key {shown(key)!r} twice")
        found[key] = str(value).lower() if isinstance(value, bool) else value
    return found


def _refuse(constant: str) -> NoReturn:
    raise BadMapError(f"The value is no JSON: {constant} is no number")


def _refuse_no_text(found: dict[str, str | None]) -> None:
    """Refuse what JSON can spell and no text can hold: half of a surrogate pair, and a zero byte."""
    for text in (*found, *found.values()):
        if text is not None and ("\0" in text or any("\ud800" <= c <= "\udfff" for c in text)):
            raise BadMapError(f"The map has text that is none: {shown(text)!r}")
