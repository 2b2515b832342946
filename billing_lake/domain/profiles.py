"""Profiles: rows, exact totals, filled cells and usage dates of a delivery or of a table's period.

A load is proved by comparing two profiles, the raw files' and the table's. They are equal or they are not: totals are
decimals and no tolerance exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any, TypeVar

from billing_lake.domain.errors import LoadError

NO_CURRENCY = "(none)"
"""Stands for rows whose currency is NULL."""

Totals = Mapping[str, Mapping[str, Decimal]]
"""Currency, then cost column, to an exact sum."""

_Figure = TypeVar("_Figure", int, Decimal)

EXACT = Context(prec=76)
"""Adds decimals of 38 digits without rounding."""
_LIMIT = Decimal(10) ** 20
"""What the total of a cost, of the type DECIMAL(38,18), stays below."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Holds what a set of rows adds up to.

    Attributes:
        rows: Number of rows.
        totals: Exact sums of every cost column that is present, per currency.
        sums: Exact sums of every other column of decimals or whole numbers, of all currencies together. None where an earlier
            release took the profile.
        filled: Number of cells of each column that are not NULL; a column that is not named has none. None as for ``sums``.
        first_usage: Earliest usage start, ISO 8601 UTC; None without rows.
        last_usage: Latest usage start.
        periods: Billing periods that the rows state, with their number of rows; empty where there is no such column.
        rounded: Decimal columns with cells of more decimals than their type keeps, with the number of cells that are
            rounded (half even). Only raw files have any.
        files: The same of each file.
    """

    rows: int = 0
    totals: Totals = field(default_factory=dict)
    sums: Mapping[str, Decimal] | None = field(default_factory=dict)
    filled: Mapping[str, int] | None = field(default_factory=dict)
    first_usage: str | None = None
    last_usage: str | None = None
    periods: Mapping[str, int] = field(default_factory=dict)
    rounded: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, FileProfile] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Say whether it knows every column: one that an earlier release took knows the costs alone."""
        return self.sums is not None and self.filled is not None

    def in_file(self, name: str, digest: str = "") -> Profile:
        """Return the same profile, as that of the one report file ``name`` with the SHA-256 ``digest``."""
        part = FileProfile(rows=self.rows, totals=self.totals, periods=self.periods, digest=digest)
        return replace(self, files={name: part})

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON values; decimals as text."""
        return {
            "rows": self.rows,
            "totals": _totals_to_json(self.totals),
            "sums": None if self.sums is None else _sums_to_json(self.sums),
            "filled": None if self.filled is None else dict(self.filled),
            "first_usage": self.first_usage,
            "last_usage": self.last_usage,
            "periods": dict(self.periods),
            "rounded": dict(self.rounded),
            "files": {name: file.to_json() for name, file in self.files.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote, that of an earlier release too."""
        sums = value.get("sums")
        return cls(
            **{
                **value,
                "totals": _totals_from_json(value["totals"]),
                "sums": None if sums is None else _sums_from_json(sums),
                "filled": value.get("filled"),
                "files": {
                    name: FileProfile.from_json(file) for name, file in value["files"].items()
                },
            }
        )


@dataclass(frozen=True, kw_only=True)
class FileProfile:
    """Rows, exact totals and stated billing periods of one report file, and the SHA-256 of its bytes where it was taken."""

    rows: int
    totals: Totals
    periods: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON values; decimals as text."""
        return {
            "rows": self.rows,
            "totals": _totals_to_json(self.totals),
            "periods": dict(self.periods),
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FileProfile:
        """Read what `to_json` wrote."""
        return cls(**{**value, "totals": _totals_from_json(value["totals"])})


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


def merge(profiles: Iterable[Profile]) -> Profile:
    """Add up profiles of disjoint rows; the order does not matter."""
    rows = 0
    totals: dict[str, dict[str, Decimal]] = {}
    sums: dict[str, Decimal] | None = {}
    filled: dict[str, int] | None = {}
    periods: dict[str, int] = {}
    rounded: dict[str, int] = {}
    files: dict[str, FileProfile] = {}
    usage: list[str] = []
    for profile in profiles:
        rows += profile.rows
        for currency, columns in profile.totals.items():
            add_totals(totals.setdefault(currency, {}), columns)
        sums = _added(add_totals, sums, profile.sums)
        filled = _added(add_counts, filled, profile.filled)
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
    """Return every figure in which ``found`` differs from ``expected``; one that a side lacks counts as zero.

    Of profiles that are not both whole, rows and totals alone are compared; see `Profile.is_whole`.
    """
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
    if expected.sums is not None and found.sums is not None:
        for column in sorted({*expected.sums, *found.sums}):
            want, have = (side.get(column, Decimal()) for side in (expected.sums, found.sums))
            yield f"{column} (sum)", want, have
    if expected.filled is not None and found.filled is not None:
        for column in sorted({*expected.filled, *found.filled}):
            cells = [side.get(column, 0) for side in (expected.filled, found.filled)]
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


def _added(
    add: Callable[[dict[str, _Figure], Mapping[str, _Figure]], None],
    into: dict[str, _Figure] | None,
    more: Mapping[str, _Figure] | None,
) -> dict[str, _Figure] | None:
    """Return ``into`` with ``more`` added; unknown where either is."""
    if into is None or more is None:
        return None
    add(into, more)
    return into


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


def _totals_to_json(totals: Totals) -> dict[str, dict[str, str]]:
    return {currency: _sums_to_json(columns) for currency, columns in totals.items()}


def _totals_from_json(value: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Decimal]]:
    return {currency: _sums_from_json(columns) for currency, columns in value.items()}


def _sums_to_json(sums: Mapping[str, Decimal]) -> dict[str, str]:
    return {column: format(total, "f") for column, total in sums.items()}


def _sums_from_json(value: Mapping[str, str]) -> dict[str, Decimal]:
    return {column: Decimal(total) for column, total in value.items()}
