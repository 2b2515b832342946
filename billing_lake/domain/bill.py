"""Describes a bill from above: the figures that the checks of a bill are judged by, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal

from billing_lake.domain.ledger import Amount

DayKey = tuple[str | None, str | None, str | None]
"""Day of usage (`YYYY-MM-DD`), service and currency."""

ChargeKey = tuple[str | None, str | None, str | None]
"""Kind of charge, service and currency."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where on the checks of a bill fail.

    Attributes:
        restatement_percent: Per cent by which the costs of past days may move from one delivery to the next.
        restatement_amount: Units of a currency by which they may.
        fall_percent: Per cent by which the month's total may fall.
        fresh_warn_hours: Age of the open month's delivery from which a check warns.
        fresh_error_hours: Age from which it fails.
        missing_after_days: Days after which a day has to have usage.
        payers: Accounts that may pay; any where it is empty.
        plan_tolerance: Amount by which a Savings Plan's covered usage and its negation may differ in an hour.
        untagged_percent: Per cent of the cost of usage that may carry no tag.
    """

    restatement_percent: float = 1.0
    restatement_amount: float = 100.0
    fall_percent: float = 20.0
    fresh_warn_hours: float = 24.0
    fresh_error_hours: float = 48.0
    missing_after_days: int = 2
    payers: tuple[str, ...] = ()
    plan_tolerance: float = 0.01
    untagged_percent: float = 50.0


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Figures of the rows of a billing period.

    Attributes:
        days: Rows and cost of each day of usage, service and currency.
        used: The days on which something was used, whatever else was charged; all that have rows where nothing says what they are.
        payers: Rows of each account that pays, account that used, and currency.
        charges: Rows and cost of each kind of charge, service and currency.
        negative: The same of the rows alone whose cost is below zero.
        plans: What covered usage and its negation come to, for each Savings Plan and start of usage.
        usage: Cost of the usage that tags belong to, by currency.
        untagged: The part of it that carries no tag.
    """

    days: Mapping[DayKey, Amount] = field(default_factory=dict)
    used: frozenset[str | None] = frozenset()
    payers: Mapping[tuple[str | None, str | None, str | None], int] = field(default_factory=dict)
    charges: Mapping[ChargeKey, Amount] = field(default_factory=dict)
    negative: Mapping[ChargeKey, Amount] = field(default_factory=dict)
    plans: Mapping[tuple[str, datetime | None], Decimal] = field(default_factory=dict)
    usage: Mapping[str | None, Decimal] = field(default_factory=dict)
    untagged: Mapping[str | None, Decimal] = field(default_factory=dict)


FIGURES = tuple(one.name for one in fields(Bill))
"""Names of the figures of a bill."""


@dataclass(frozen=True, kw_only=True)
class TagKeys:
    """Tells which keys of a map are tags of the user's own.

    Attributes:
        begin: What such a key begins with.
        excepted: What keys begin with that are not, although they begin so.
    """

    begin: str = ""
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Charges:
    """Holds what the kinds of charge of a format mean; empty where the format says nothing about it.

    Attributes:
        known: The kinds that there are.
        negative: Those whose cost may be below zero.
        covered: The kind of usage that a Savings Plan covers.
        negation: The kind that takes its on-demand cost back.
        taggable: The kinds of usage that tags belong to.
        account_digits: Number of digits of an account's id.
    """

    known: frozenset[str] = frozenset()
    negative: frozenset[str] = frozenset()
    covered: str = ""
    negation: str = ""
    taggable: frozenset[str] = frozenset()
    account_digits: int = 0
