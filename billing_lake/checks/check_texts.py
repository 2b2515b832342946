"""Why each check of a bill is made, and how what it complains of is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.domain.errors import in_words, shown

CHECKS_OF_BILLS = {
    "restatement_size": (
        "The costs of past days moved little since the delivery before, and the month's total did not fall by much: a delivery that "
        "lacks files, or a mistake at the provider, would show here."
    ),
    "closed_month_moved": (
        "The costs of a month that was closed by invoices are still those that were reported then. They are kept under the tag "
        "closed-<period>."
    ),
    "freshness": "The open month was delivered lately: a bill that is not delivered any more looks like a cheap month.",
    "missing_days": "Every day up to two days before the delivery has usage: a day without any was most likely not delivered.",
    "one_currency_per_payer": "Each account that pays is billed in one currency, so that its costs can be added up.",
    "negative_costs": "Costs below zero belong to credits, refunds, discounts and the like, and to nothing else.",
    "unknown_charge_types": "Every kind of charge is known: a new one may have to be counted in another way.",
    "account_ids": "Accounts are text of 12 digits: a spreadsheet takes the zeros before the first digit away.",
    "payer_allow_list": "Only accounts that are listed in `checks.payers` pay: another one's bill does not belong here.",
    "savings_plan_balance": (
        "For each Savings Plan and hour, what its covered usage would have cost and what is taken back of it are the same."
    ),
    "untagged_share": "Most of the cost of usage carries a tag of your own, so that somebody can be asked about it.",
}
"""The checks, with the reason of each."""

MOST_ROWS = 20
"""Rows of a table of what a check complains of."""

_NAMED = 3
_PERCENT = Decimal(100)


def percent_of(part: Decimal, whole: Decimal) -> float:
    """Return a part in per cent; a part of nothing is all of it."""
    if not whole:
        return 100.0 if part else 0.0
    return float(_PERCENT * abs(part) / abs(whole)) if part else 0.0


def in_cents(amount: Decimal) -> str:
    """Return an amount in cents."""
    return f"{round(amount, 2) + 0:,f}"


def first_names(names: Iterable[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return in_words((shown(name, 40) for name in names), _NAMED)


def offending_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """Return the first rows of what a check complains of, as a table."""
    return markdown.table(head, rows, most=MOST_ROWS)
