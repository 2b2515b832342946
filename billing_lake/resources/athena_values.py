"""Athena's answers are text; these are the values that they stand for.

A text that is not what its type promises (a year that Python does not have, say) is kept as it is: showing it is better than
failing over it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(?: (UTC|[A-Za-z_/+-]+\d*|[+-]\d\d:\d\d))?"
)


def reader(kind: str) -> Callable[[str], Any]:
    """Return what makes values of a type out of text."""
    read = _READERS.get(kind.lower())
    if read is None:
        return str

    def careful(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, ArithmeticError, KeyError):
            return text

    return careful


def type_name(column: Mapping[str, Any]) -> str:
    """Return the name of a result column's type, in capitals, as a description of a table has it."""
    kind = str(column["Type"]).upper()
    if kind == "DECIMAL":
        return f"DECIMAL({column.get('Precision')},{column.get('Scale')})"
    return kind


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _moment(text: str) -> datetime:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    day, clock, fraction, zone = found.groups()
    moment = datetime.fromisoformat(f"{day} {clock}.{(fraction or '').ljust(6, '0')}")
    return moment if zone is None else moment.replace(tzinfo=_zone(zone))


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    if name[0] in "+-":
        zone = datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
        if zone is not None:
            return zone
    return ZoneInfo(name)


_READERS: dict[str, Callable[[str], Any]] = {
    "bigint": int,
    "boolean": _boolean,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "double": float,
    "float": float,
    "integer": int,
    "real": float,
    "smallint": int,
    "time": time.fromisoformat,
    "timestamp": _moment,
    "timestamp with time zone": _moment,
    "tinyint": int,
}
