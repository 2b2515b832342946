"""Checks of the bill itself: whether it moved, whether it is whole, whether its figures can be right.

The checks know no column: roles and kinds of charge come from the format. One reading of the table serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any

import dagster as dg

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.ledger import changes_table
from billing_lake.checks import freshness
from billing_lake.checks.check_texts import (
    MOST_ROWS,
    first_names,
    in_cents,
    offending_table,
    percent_of,
)
from billing_lake.checks.evaluations import Verdict
from billing_lake.deployments import Lake
from billing_lake.domain.bill import Bill, Limits, TagKeys
from billing_lake.domain.errors import SnapshotGoneError, counted, shown
from billing_lake.domain.ledger import LedgerRow
from billing_lake.domain.periods import bounds
from billing_lake.domain.profiles import EXACT
from billing_lake.domain.sources import Source
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.ledger_rows import delivered_at

_ONE = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The billing period of a table that is judged.

    Attributes:
        identity: Identity of the delivery that the table holds.
        delivered: When it was delivered, where that is known.
        source: The table's files, with their roles.
        at: The present.
    """

    period: str
    identity: str | None
    delivered: datetime | None
    source: Source
    at: datetime


class BillChecks:
    """The checks of one billing period."""

    def __init__(self, lake: Lake, export: DagsterExport, now: Judged) -> None:
        self._lake = lake
        self._export = export
        self._now = now
        self._ledger = Ledger(lake=lake, export=export, log=lambda _: None)

    def judge(self, name: str) -> Verdict:
        """Return the verdict of the check ``name``."""
        judges: Mapping[str, Callable[[], Verdict]] = {
            "restatement_size": self._restatement_size,
            "closed_month_moved": self._closed_month_moved,
            "freshness": self._freshness,
            "missing_days": self._missing_days,
            "one_currency_per_payer": self._one_currency,
            "negative_costs": self._negative_costs,
            "unknown_charge_types": self._unknown_charge_types,
            "account_ids": self._account_ids,
            "payer_allow_list": self._payers,
            "savings_plan_balance": self._savings_plans,
            "untagged_share": self._untagged,
        }
        return judges[name]()

    @property
    def _limits(self) -> Limits:
        return self._export.limits

    @cached_property
    def _bill(self) -> Bill:
        format_ = self._export.format
        return self._lake.reader.bill(self._now.source, self._cost, format_.charges, self._tags)

    @property
    def _tags(self) -> Mapping[str, TagKeys | None]:
        return self._export.format.tags(one.name for one in self._now.source.columns)

    @property
    def _cost(self) -> str:
        return next(iter(self._export.format.headline_costs))

    @cached_property
    def _deliveries(self) -> Sequence[LedgerRow]:
        """The deliveries before the one that is judged."""
        rows = self._ledger.deliveries(self._now.period)
        return [one for one in rows if one.delivery_identity != self._now.identity]

    @property
    def _delivered(self) -> datetime:
        return self._now.delivered or self._now.at

    def _restatement_size(self) -> Verdict:
        if not self._deliveries:
            return self._good("this is the month's first delivery")
        before = self._deliveries[-1]
        try:
            files = self._export.format.with_roles(self._ledger.files(before))
        except SnapshotGoneError as gone:
            return self._good(f"the delivery before cannot be compared any more: {gone.what}")
        old = self._lake.reader.bill(files, self._cost, figures=("days",)).days
        new = self._bill.days
        last = (before.at - 2 * _ONE).date().isoformat()
        moved: dict[tuple[str | None, str | None], Decimal] = {}
        past: dict[str | None, Decimal] = {}
        totals: dict[str | None, tuple[Decimal, Decimal]] = {}
        for day, service, currency in {**old, **new}:
            key = (day, service, currency)
            was, is_ = (side[key].cost if key in side else Decimal() for side in (old, new))
            sums = totals.get(currency, (Decimal(), Decimal()))
            totals[currency] = (EXACT.add(sums[0], was), EXACT.add(sums[1], is_))
            if day is not None and day <= last:
                change = EXACT.subtract(is_, was)
                place = (service, currency)
                moved[place] = EXACT.add(moved.get(place, Decimal()), change)
                past[currency] = EXACT.add(past.get(currency, Decimal()), was)
        faults = [*self._moves(moved, past), *self._falls(totals)]
        table = offending_table(
            ("service", "currency", "change of past days"),
            sorted(
                ((*key, one) for key, one in moved.items() if one), key=lambda row: -abs(row[2])
            ),
        )
        text = (
            "; ".join(faults) or f"past days moved little since delivery {before.delivery_version}"
        )
        return self._verdict(
            not faults, text, {"services": table, "delivery_before": before.delivery_version}
        )

    def _moves(
        self,
        moved: Mapping[tuple[str | None, str | None], Decimal],
        past: Mapping[str | None, Decimal],
    ) -> Iterable[str]:
        """Say in which currencies past days moved by too much; what one service gains and another loses adds up."""
        for currency, whole in past.items():
            size = sum((abs(one) for (_, of), one in moved.items() if of == currency), Decimal())
            percent = percent_of(size, whole)
            limits = self._limits
            if percent > limits.restatement_percent or size > limits.restatement_amount:
                yield (
                    f"past days moved by {in_cents(size)} {shown(currency or '')}, {percent:.2f} % of {in_cents(whole)}; at most "
                    f"{limits.restatement_percent:g} % and {limits.restatement_amount:g} {shown(currency or '')} are expected"
                )

    def _falls(self, totals: Mapping[str | None, tuple[Decimal, Decimal]]) -> Iterable[str]:
        for currency, (was, is_) in totals.items():
            percent = percent_of(EXACT.subtract(was, is_), was)
            if 0 < was > is_ and percent >= self._limits.fall_percent:
                yield (
                    f"the total fell by {percent:.1f} %, from {in_cents(was)} to {in_cents(is_)} {shown(currency or '')}: is the delivery "
                    "whole?"
                )

    def _closed_month_moved(self) -> Verdict:
        closed = next((one for one in self._deliveries if one.month_state == "CLOSED"), None)
        if closed is None:
            return self._good("no earlier delivery closed the month")
        try:
            files = self._export.format.with_roles(self._ledger.files(closed))
        except SnapshotGoneError as gone:
            return self._verdict(
                passed=False, text=f"the closed month cannot be compared any more: {gone.what}"
            )
        moved = [one for one in self._ledger.compare(files, self._now.source) if one.cost_change]
        if not moved:
            return self._good(
                f"the costs are those of delivery {closed.delivery_version}, which closed the month"
            )
        text = (
            f"{counted(len(moved), 'group')} of costs {'differs' if len(moved) == 1 else 'differ'} from delivery {closed.delivery_version}, which closed the month. The reported numbers "
            f"are kept; `billing-lake restatements {self._now.period}` shows what changed when"
        )
        return self._verdict(
            passed=False,
            text=text,
            metadata={
                "changes": changes_table(moved, MOST_ROWS),
                "delivery_closed": closed.delivery_version,
            },
            severity=dg.AssetCheckSeverity.ERROR,
        )

    def _freshness(self) -> Verdict:
        return freshness.judge_age(
            self._limits, self._now.period, self._now.delivered, self._now.at
        )

    def _missing_days(self) -> Verdict:
        start, end = bounds(self._now.period)
        last = min(end, self._delivered - self._limits.missing_after_days * _ONE).date()
        wanted = (start.date() + number_ * _ONE for number_ in range((last - start.date()).days))
        missing = [day for day in wanted if day.isoformat() not in self._bill.used]
        if not missing:
            return self._good("every day that is over has usage")
        text = f"{counted(len(missing), 'day')} without usage: {first_names(map(date.isoformat, missing))}"
        return self._verdict(
            passed=False,
            text=text,
            metadata={"days": offending_table(("day",), ((day,) for day in missing))},
        )

    def _one_currency(self) -> Verdict:
        found: dict[str | None, dict[str | None, int]] = {}
        for (payer, _, currency), items in self._bill.payers.items():
            counts = found.setdefault(payer, {})
            counts[currency] = counts.get(currency, 0) + items
        mixed = {payer: counts for payer, counts in found.items() if len(counts) > 1}
        rows = (
            (payer, currency, items)
            for payer, counts in mixed.items()
            for currency, items in counts.items()
        )
        text = (
            f"{counted(len(mixed), 'account')} with costs in several currencies"
            if mixed
            else "each account pays in one currency"
        )
        return self._verdict(
            not mixed, text, {"payers": offending_table(("payer", "currency", "rows"), rows)}
        )

    def _negative_costs(self) -> Verdict:
        allowed = self._export.format.charges.negative
        if not allowed:
            return self._unasked("the format does not say where costs below zero belong")
        strays = {key: one for key, one in self._bill.negative.items() if key[0] not in allowed}
        rows = sorted(
            ((*key, one.items, one.cost) for key, one in strays.items()), key=lambda row: row[-1]
        )
        items = sum(one.items for one in strays.values())
        text = (
            f"{counted(items, 'row')} of other kinds with a cost below zero"
            if items
            else "costs below zero are where they belong"
        )
        head = ("kind of charge", "service", "currency", "rows", "cost")
        return self._verdict(
            not items, text, {"rows_below_zero": items, "groups": offending_table(head, rows)}
        )

    def _unknown_charge_types(self) -> Verdict:
        known = self._export.format.charges.known
        if not known:
            return self._unasked("the format does not say which kinds of charge there are")
        found = {key: one for key, one in self._bill.charges.items() if key[0] not in known}
        kinds = sorted({key[0] or "" for key in found})
        text = (
            f"unknown kinds of charge: {first_names(kinds)}"
            if kinds
            else "all kinds of charge are known"
        )
        head = ("kind of charge", "service", "currency", "rows", "cost")
        rows = ((*key, one.items, one.cost) for key, one in found.items())
        return self._verdict(not kinds, text, {"groups": offending_table(head, rows)})

    def _account_ids(self) -> Verdict:
        digits = self._export.format.charges.account_digits
        if not digits:
            return self._unasked("the format does not say what the id of an account looks like")
        bad: dict[tuple[str, str], int] = {}
        for (payer, account, _), items in self._bill.payers.items():
            for role, one in (("pays", payer), ("used", account)):
                if one is None or len(one) != digits or not (one.isascii() and one.isdigit()):
                    bad[role, one or ""] = bad.get((role, one or ""), 0) + items
        text = (
            f"{counted(len(bad), 'account id')} not of {digits} digits: {first_names(sorted({one for _, one in bad}))}"
            if bad
            else f"all ids of accounts have {digits} digits"
        )
        table = offending_table(
            ("account that", "id", "rows"), ((*key, items) for key, items in bad.items())
        )
        return self._verdict(not bad, text, {"accounts": table}, dg.AssetCheckSeverity.ERROR)

    def _payers(self) -> Verdict:
        allowed = set(self._limits.payers)
        if not allowed:
            return self._unasked("`checks.payers` lists none")
        others: dict[str, int] = {}
        for (payer, _, _), items in self._bill.payers.items():
            if payer not in allowed:
                others[payer or ""] = others.get(payer or "", 0) + items
        text = (
            f"others than the listed accounts pay: {first_names(sorted(others))}"
            if others
            else "only listed accounts pay"
        )
        table = offending_table(("payer", "rows"), others.items())
        return self._verdict(not others, text, {"payers": table}, dg.AssetCheckSeverity.ERROR)

    def _savings_plans(self) -> Verdict:
        if not self._export.format.charges.covered:
            return self._unasked("the format does not say what a Savings Plan covers")
        limit = Decimal(str(self._limits.plan_tolerance))
        off = [
            (plan, start, one)
            for (plan, start), one in self._bill.plans.items()
            if abs(one) > limit
        ]
        off.sort(key=lambda row: -abs(row[2]))
        text = (
            f"{counted(len(off), 'hour')} of Savings Plans out of balance, the worst by {in_cents(off[0][2])}"
            if off
            else f"{len(self._bill.plans):,} hours of Savings Plans balance"
        )
        return self._verdict(
            not off, text, {"hours": offending_table(("Savings Plan", "hour", "remains"), off)}
        )

    def _untagged(self) -> Verdict:
        if not self._tags:
            return self._unasked("there is no column of your own tags")
        rows = [
            (
                currency,
                self._bill.untagged.get(currency, Decimal()),
                cost,
                round(percent_of(self._bill.untagged.get(currency, Decimal()), cost), 1),
            )
            for currency, cost in self._bill.usage.items()
        ]
        most = max((row[3] for row in rows), default=0.0)
        limit = self._limits.untagged_percent
        text = f"{most:.1f} % of the cost of usage carries no tag; at most {limit:g} % are expected"
        table = offending_table(("currency", "untagged", "usage", "per cent"), rows)
        return self._verdict(most <= limit, text, {"untagged_percent": most, "shares": table})

    def _good(self, text: str) -> Verdict:
        return self._verdict(passed=True, text=text)

    def _unasked(self, why: str) -> Verdict:
        return self._verdict(passed=True, text=f"nothing was judged: {why}")

    def _verdict(
        self,
        passed: bool,  # noqa: FBT001 -- the first thing that a verdict says
        text: str,
        metadata: Mapping[str, Any] | None = None,
        severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    ) -> Verdict:
        return Verdict(
            passed=passed,
            description=f"{self._now.period}: {text}",
            metadata={} if passed or metadata is None else metadata,
            severity=severity,
        )


def judged_now(period: str, identity: str | None, delivery: Any, source: Source) -> Judged:
    """Return what is judged: the delivery is None where it is not known any more."""
    at = datetime.now(timezone.utc)
    delivered = None if delivery is None else delivered_at(delivery)
    return Judged(period=period, identity=identity, delivered=delivered, source=source, at=at)
