"""Profiles: row count, exact totals per currency and usage dates of a delivery or of a table's period.

A load is proved by comparing two profiles, the raw files' and the table's. They are equal or they are not: totals are
decimals and no tolerance exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any

from billing_lake.domain.errors import LoadError

NO_CURRENCY = "(none)"
"""Stands for rows whose currency is NULL."""

Totals = Mapping[str, Mapping[str, Decimal]]
"""Currency, then cost column, to an exact sum."""

_EXACT = Context(prec=76)
_LIMIT = Decimal(10) ** 20
"""What the total of a column of the type DECIMAL(38,18) stays below."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a set of rows adds up to.

    Attributes:
        rows: Number of rows.
        totals: Exact sums of every cost column that is present, per currency.
        first_usage: Earliest usage start, ISO 8601 UTC; None without rows.
        last_usage: Latest usage start.
        periods: Billing periods that the rows state, with their number of rows; empty where there is no such column.
        rounded: Decimal columns with cells of more decimals than their type keeps, with the number of cells that are
            rounded (half even). Only raw files have any.
        files: The same of each file.
    """

    rows: int = 0
    totals: Totals = field(default_factory=dict)
    first_usage: str | None = None
    last_usage: str | None = None
    periods: Mapping[str, int] = field(default_factory=dict)
    rounded: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, FileProfile] = field(default_factory=dict)

    def in_file(self, name: str, digest: str = "") -> Profile:
        """Return the same profile, as that of the one report file ``name`` with the SHA-256 ``digest``."""
        part = FileProfile(rows=self.rows, totals=self.totals, periods=self.periods, digest=digest)
        return replace(self, files={name: part})

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON values; decimals as text."""
        return {
            "rows": self.rows,
            "totals": _totals_to_json(self.totals),
            "first_usage": self.first_usage,
            "last_usage": self.last_usage,
            "periods": dict(self.periods),
            "rounded": dict(self.rounded),
            "files": {name: file.to_json() for name, file in self.files.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote."""
        return cls(
            **{
                **value,
                "totals": _totals_from_json(value["totals"]),
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
        return _EXACT.subtract(Decimal(self.found), Decimal(self.expected))


def merge(profiles: Iterable[Profile]) -> Profile:
    """Add up profiles of disjoint rows; the order does not matter."""
    rows = 0
    totals: dict[str, dict[str, Decimal]] = {}
    periods: dict[str, int] = {}
    rounded: dict[str, int] = {}
    files: dict[str, FileProfile] = {}
    usage: list[str] = []
    for profile in profiles:
        rows += profile.rows
        for currency, columns in profile.totals.items():
            add_totals(totals.setdefault(currency, {}), columns)
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
        first_usage=min(usage, default=None),
        last_usage=max(usage, default=None),
        periods=periods,
        rounded=rounded,
        files=files,
    )


def compare(expected: Profile, found: Profile) -> list[Difference]:
    """Return every figure in which ``found`` differs from ``expected``; a total that one side lacks counts as zero."""
    differences = []
    if expected.rows != found.rows:
        differences.append(Difference(figure="rows", expected=expected.rows, found=found.rows))
    for currency in sorted({*expected.totals, *found.totals}):
        left, right = expected.totals.get(currency, {}), found.totals.get(currency, {})
        for column in sorted({*left, *right}):
            want, have = left.get(column, Decimal()), right.get(column, Decimal())
            if want != have:
                differences.append(
                    Difference(figure=f"{column} [{currency}]", expected=want, found=have)
                )
    return differences


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
        into[column] = _EXACT.add(into.get(column, Decimal()), total)


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


def _totals_to_json(totals: Totals) -> dict[str, dict[str, str]]:
    return {
        currency: {column: format(total, "f") for column, total in columns.items()}
        for currency, columns in totals.items()
    }


def _totals_from_json(value: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Decimal]]:
    return {
        currency: {column: Decimal(total) for column, total in columns.items()}
        for currency, columns in value.items()
    }
