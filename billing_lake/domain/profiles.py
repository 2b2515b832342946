"""Profiles: rows, exact totals, filled cells and usage dates of a delivery or of a table's period.

A load is proved by comparing two profiles, the raw files' and the table's. They are equal or they are not: totals are
decimals and no tolerance exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal

from billing_lake.domain.errors import LoadError, number
from billing_lake.domain.json_values import JsonValues

_NO_CURRENCY = "(none)"
_LIKE_NO_CURRENCY = re.compile(r'"*\(none\)"*')

Totals = Mapping[str, Mapping[str, Decimal]]
"""Currency, then cost column, to an exact sum."""

EXACT = Context(prec=76)
"""Adds decimals of 38 digits without rounding."""
_LIMIT = Decimal(10) ** 20
"""What the total of a cost, of the type DECIMAL(38,18), stays below."""


def currency_name(currency: str | None) -> str:
    """Return what the totals of rows with ``currency`` are named by: `(none)` for NULL and empty text, which no text is named by."""
    if not currency:
        return _NO_CURRENCY
    return f'"{currency}"' if _LIKE_NO_CURRENCY.fullmatch(currency) else currency


@dataclass(frozen=True, kw_only=True)
class Profile(JsonValues):
    """Holds what a set of rows adds up to.

    Attributes:
        rows: Number of rows.
        totals: Exact sums of every cost column that is present, per currency.
        sums: Exact sums of every other column of decimals or whole numbers, of all currencies together.
        filled: Number of cells of each column that are not NULL; a column that is not named has none.
        first_usage: Earliest usage start, ISO 8601 UTC; None without rows.
        last_usage: Latest usage start.
        periods: Billing periods that the rows state, with their number of rows; empty where there is no such column.
        rounded: Decimal columns with cells of more decimals than their type keeps, with the number of cells that are
            rounded (half even). Only raw files have any.
        files: The same of each file.
    """

    rows: int = 0
    totals: Totals = field(default_factory=dict)
    sums: Mapping[str, Decimal] = field(default_factory=dict)
    filled: Mapping[str, int] = field(default_factory=dict)
    first_usage: str | None = None
    last_usage: str | None = None
    periods: Mapping[str, int] = field(default_factory=dict)
    rounded: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, FileProfile] = field(default_factory=dict)

    def in_file(self, name: str, digest: str = "") -> Profile:
        """Return the same profile, as that of the one report file ``name`` with the SHA-256 ``digest``."""
        part = FileProfile(rows=self.rows, totals=self.totals, periods=self.periods, digest=digest)
        return replace(self, files={name: part})


@dataclass(frozen=True, kw_only=True)
class FileProfile:
    """Rows, exact totals and stated billing periods of one report file, and the SHA-256 of its bytes where it was taken."""

    rows: int
    totals: Totals
    periods: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure in which a table differs from its delivery."""

    figure: str
    expected: Decimal | int
    found: Decimal | int

    @property
    def difference(self) -> Decimal:
        """Found minus expected."""
        return EXACT.subtract(Decimal(self.found), Decimal(self.expected))

    def __str__(self) -> str:
        """Return the figure with both numbers, for people."""
        return f"{self.figure}: expected {number(self.expected)}, found {number(self.found)}"


def merge(profiles: Iterable[Profile]) -> Profile:
    """Add up profiles of disjoint rows; the order does not matter."""
    rows = 0
    totals: dict[str, dict[str, Decimal]] = {}
    sums: dict[str, Decimal] = {}
    filled: dict[str, int] = {}
    periods: dict[str, int] = {}
    rounded: dict[str, int] = {}
    files: dict[str, FileProfile] = {}
    usage: list[str] = []
    for profile in profiles:
        rows += profile.rows
        for currency, columns in profile.totals.items():
            add_totals(totals.setdefault(currency, {}), columns)
        add_totals(sums, profile.sums)
        add_counts(filled, profile.filled)
        add_counts(periods, profile.periods)
        add_counts(rounded, profile.rounded)
        for name, file in profile.files.items():
            known = files.get(name)
            files[name] = file if known is None else _add_files(known, file)
        usage += [
            moment for moment in (profile.first_usage, profile.last_usage) if moment is not None
        ]
    return Profile(
        rows=rows,
        totals=totals,
        sums=sums,
        filled=filled,
        first_usage=min(usage, default=None),
        last_usage=max(usage, default=None),
        periods=periods,
        rounded=rounded,
        files=files,
    )


def compare(expected: Profile, found: Profile) -> list[Difference]:
    """Return every figure in which ``found`` differs from ``expected``; one that a side lacks counts as zero."""
    return [
        Difference(figure=figure, expected=want, found=have)
        for figure, want, have in _figures(expected, found)
        if want != have
    ]


def _figures(
    expected: Profile, found: Profile
) -> Iterator[tuple[str, Decimal | int, Decimal | int]]:
    """Yield the name of each figure with its value on both sides."""
    yield "rows", expected.rows, found.rows
    for currency in sorted({*expected.totals, *found.totals}):
        left, right = expected.totals.get(currency, {}), found.totals.get(currency, {})
        for column in sorted({*left, *right}):
            yield (
                f"{column} [{currency}]",
                left.get(column, Decimal()),
                right.get(column, Decimal()),
            )
    for column in sorted({*expected.sums, *found.sums}):
        want, have = (side.sums.get(column, Decimal()) for side in (expected, found))
        yield f"{column} (sum)", want, have
    for column in sorted({*expected.filled, *found.filled}):
        cells = [side.filled.get(column, 0) for side in (expected, found)]
        yield f"{column} (filled cells)", cells[0], cells[1]


def require_totals(profile: Profile) -> Profile:
    """Return the profile of report files whose totals a table can hold.

    Raises:
        LoadError: One is too large.
    """
    for columns in profile.totals.values():
        for column, total in columns.items():
            if abs(total) >= _LIMIT:
                raise too_large(column, None)
    return profile


def too_large(column: str, file: str | None) -> LoadError:
    """Return the error for a total that the type of its column cannot hold."""
    what = "A total is too large for DECIMAL(38,18)"
    remedy = "Look for the rows that cannot be right; no table was changed"
    return LoadError(what, remedy=remedy, file=file, column=column)


def add_totals(into: dict[str, Decimal], columns: Mapping[str, Decimal]) -> None:
    """Add ``columns`` to the totals ``into``, exactly."""
    for column, total in columns.items():
        into[column] = EXACT.add(into.get(column, Decimal()), total)


def add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Add ``counts`` to the counts ``into``."""
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count


def _add_files(left: FileProfile, right: FileProfile) -> FileProfile:
    totals = {currency: dict(columns) for currency, columns in left.totals.items()}
    for currency, columns in right.totals.items():
        add_totals(totals.setdefault(currency, {}), columns)
    periods = dict(left.periods)
    add_counts(periods, right.periods)
    return FileProfile(
        rows=left.rows + right.rows,
        totals=totals,
        periods=periods,
        digest=left.digest or right.digest,
    )
