"""Billing periods: calendar months, written `YYYY-MM`, the unit in which everything is delivered and replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from billing_lake.domain.errors import ConfigurationError, shown

# Years 1000 to 2999, ASCII digits: anything else is a mistake, and date arithmetic would fail on it.
_YEAR = "([12][0-9]{3})"
_MONTH = "(0[1-9]|1[0-2])"
_PERIOD = re.compile(f"{_YEAR}-{_MONTH}")

_UTC = " ?(?:Z|UTC|[+-]00(?::?00)?)"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]{1,9})?)?"
# Python, Java and Rust read these alike, so that a moment is one for every engine or for none.
MOMENT = f"[1-9][0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_TIME}(?:{_UTC})?)?"
"""A moment as reports write it, as a pattern: always UTC, whether it says so or not."""

UTC_END = f"(?:{_UTC})$"
"""What says UTC at the end of a moment that has a time of day, as a pattern."""

_MOMENT = re.compile(MOMENT)
_UTC_END = re.compile(UTC_END)
_WHOLE_SECONDS = len("2025-03-01T00:00:00")
_FIRST_INSTANT = re.compile(rf"{_YEAR}-?{_MONTH}-?01(?:[T ]00:?00(?::?00(?:\.0+)?)?(?:{_UTC})?)?")


def is_period(text: str) -> bool:
    """Say whether ``text`` is a billing period, `YYYY-MM`."""
    return _PERIOD.fullmatch(text) is not None


def require_period(text: str) -> None:
    """Raise `ConfigurationError` unless ``text`` is a billing period."""
    if not is_period(text):
        what = f"{shown(text)!r} is not a billing period"
        raise ConfigurationError(what, remedy="Write it YYYY-MM")


def next_period(period: str) -> str:
    """Return the month after ``period``."""
    year, month = int(period[:4]), int(period[5:])
    return f"{year + month // 12:04d}-{month % 12 + 1:02d}"


def periods_between(first: str, last: str) -> Iterator[str]:
    """Yield the months from ``first`` to ``last``, both included."""
    while first <= last:
        yield first
        first = next_period(first)


def bounds(period: str) -> tuple[datetime, datetime]:
    """Return the first instant of ``period`` and of the next one, in UTC (the end is exclusive)."""
    return _first_instant(period), _first_instant(next_period(period))


def period_of(moment: datetime) -> str:
    """Return the billing period that ``moment`` (UTC) lies in."""
    return f"{moment.year:04d}-{moment.month:02d}"


def period_of_range(start: str, end: str) -> str | None:
    """Return the month that a manifest's range covers, from its first instant to that of the next month.

    Args:
        start: First instant, `20250301T000000.000Z` or an ISO 8601 spelling of it.
        end: First instant of the next month.

    Returns:
        The billing period; None where the range is not exactly one month.
    """
    first, last = (_FIRST_INSTANT.fullmatch(moment) for moment in (start, end))
    if first is None or last is None:
        return None
    period = f"{first[1]}-{first[2]}"
    return period if f"{last[1]}-{last[2]}" == next_period(period) else None


def period_of_text(moment: str) -> str | None:
    """Return the billing period of a report's date cell, in any spelling that exports use.

    `2025-03-01 00:00:00.0`, `2025-03-01T00:00:00.000Z`, `2025-03-01 00:00:00+00:00`, `2025-03-01`.

    Returns:
        The billing period; None where the cell is no date.
    """
    found = moment_of(moment)
    period = "" if found is None else period_of(found)
    return period if is_period(period) else None


def moment_of(text: str) -> datetime | None:
    """Return the moment that the cell ``text`` of a report states, cut to whole seconds; None where it is none."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(_UTC_END.sub("", text)[:_WHOLE_SECONDS])
    except ValueError:
        return None
    return moment.replace(tzinfo=timezone.utc)


def _first_instant(period: str) -> datetime:
    return datetime(int(period[:4]), int(period[5:]), 1, tzinfo=timezone.utc)
