"""Three months of two payers, four deliveries each: a late day, a truncated delivery, a refund after closing, a hostile tag.

The ledger has the states, the restatements add up, the checks complain of what is wrong and of nothing else, and what was reported
stays readable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from billing_lake.checks.reasons import DESCRIPTIONS
from billing_lake.domain.periods import bounds
from billing_lake.domain.story import LedgerRow
from billing_lake.formats.legacy_cur.costs import UNBLENDED
from billing_lake.loads.months import net, restatements
from billing_lake.loads.story import Ledger
from billing_lake_tests.lakes import SampleLake, verdicts
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row, write_report

MONTHS = ("2025-01", "2025-02", "2025-03")
HOSTILE = 'resourceTags/user:x"; DROP TABLE billing.costs; --<script>'
PAYERS = ("004512345678", "000123456789")
LATE_DAY = 10


@dataclass
class Payer:
    """A payer's export, and what its deliveries are."""

    lake: SampleLake
    account: str
    totals: dict[str, list[Decimal]] = field(default_factory=dict)

    def rows(self, period: str, delivery: int) -> Iterator[tuple[str, ...]]:
        """Make the rows of one of the four deliveries: open, a day missing, closed, and what came after."""
        start, end = bounds(period)
        days = (end - start).days
        invoice = "" if delivery < 2 else f"invoice-{period}"
        for day in range(1, 16 if delivery == 0 else days + 1):
            if (delivery == 1 and day == LATE_DAY) or (
                (delivery, period) == (3, "2025-02") and day % 2
            ):
                continue
            yield self.row(period, day, invoice, cost="10", product="AmazonEC2")
            yield self.row(period, day, invoice, cost="2.000000000000000001")
        if (delivery, period) == (3, "2025-03"):
            yield self.row(period, 1, "refund", cost="-7.5", type="Refund")
        if (delivery, period) == (3, "2025-01"):
            yield self.row(period, 1, invoice, cost="0")

    def row(self, period: str, day: int, invoice: str, **cells: str) -> tuple[str, ...]:
        moment = f"{period}-{day:02d}T00:00:00.000Z"
        start, end = (f"{one:%Y-%m-%dT%H:%M:%S.000Z}" for one in bounds(period))
        made = minimal_row(
            start=moment,
            end=moment,
            period_start=start,
            period_end=end,
            payer=self.account,
            line_item_id=os.urandom(8).hex(),
            **cells,
        )
        return (*made, invoice, "mine")

    def deliver(self, delivery: int) -> None:
        for period in MONTHS:
            rows = list(self.rows(period, delivery))
            path = self.lake.landing / self.lake.name / f"{period}.csv.gz"
            header = (
                *MINIMAL_HEADER,
                "bill/InvoiceId",
                HOSTILE if delivery else "resourceTags/user:Team",
            )
            write_report(path, header, rows)
            start, end = bounds(period)
            at = start + timedelta(days=15) if delivery == 0 else end + timedelta(days=2 * delivery)
            os.utime(path, (at.timestamp(), at.timestamp()))
            place = MINIMAL_HEADER.index("lineItem/UnblendedCost")
            self.totals.setdefault(period, []).append(
                sum((Decimal(one[place]) for one in rows), Decimal())
            )

    def load(self) -> dict[str, set[str]]:
        """Load all months in one run; return which checks of the bill failed in each."""
        result = self.lake.load_range(MONTHS[0], MONTHS[-1])
        assert result.success
        found: dict[str, set[str]] = {period: set() for period in MONTHS}
        for (_, check, period), one in verdicts(result).items():
            if not one.passed:
                assert check in DESCRIPTIONS, one
                assert period is not None
                found[period].add(check)
        return found

    @property
    def story(self) -> dict[str, list[LedgerRow]]:
        ledger = Ledger(lake=self.lake.lake, export=self.lake.component.export, log=print)
        return {period: ledger.deliveries(period) for period in MONTHS}


def test_the_story_of_three_months_of_two_payers_is_kept_and_told(
    make_lake: Callable[..., SampleLake],
) -> None:
    shared = make_lake()
    payers = []
    for number, account in enumerate(PAYERS):
        settings: dict[str, Any] = {
            "name": f"payer{number}",
            "layout": "loose",
            "prefix": f"payer{number}",
            "report": "",
            "outputs": ["iceberg"],
            "static": False,
            "checks": {"payers": [account]},
        }
        payers.append(Payer(SampleLake(shared.home, settings, shared.instance), account))
    complaints: dict[int, list[dict[str, set[str]]]] = {}
    for delivery in range(4):
        for payer in payers:
            payer.deliver(delivery)
            complaints.setdefault(delivery, []).append(payer.load())

    quiet: dict[str, set[str]] = {period: set() for period in MONTHS}
    assert complaints[0] == [quiet] * 2
    assert (
        complaints[1] == [{period: {"missing_days", "restatement_size"} for period in MONTHS}] * 2
    ), "a day was late"
    assert complaints[2] == [{period: {"restatement_size"} for period in MONTHS}] * 2
    after = {
        "2025-01": set(),
        "2025-02": {"closed_month_moved", "missing_days", "restatement_size"},
        "2025-03": {"closed_month_moved", "restatement_size"},
    }
    assert complaints[3] == [after] * 2, "truncated in February, refunded in March"

    last = {"2025-01": "CLOSED", "2025-02": "RESTATED", "2025-03": "RESTATED"}
    for payer in payers:
        for period, rows in payer.story.items():
            states = [one.month_state for one in rows]
            assert states == ["OPEN", "SETTLING", "CLOSED", last[period]]
            assert [one.costs["USD"] for one in rows] == payer.totals[period]
            found = restatements(payer.lake.lake, period, payer.lake.name)
            moved = [
                sum(
                    one["cost_change"]
                    for one in found
                    if one["after_identity"] == row.delivery_identity
                )
                for row in rows[1:]
            ]
            assert moved == [
                b - a for a, b in zip(payer.totals[period], payer.totals[period][1:], strict=False)
            ]
        assert "script" in str(payer.story["2025-01"][1].columns_added)
        _assert_reported(payer)

    april = datetime(2025, 4, 1, tzinfo=timezone.utc)
    window = (april + timedelta(days=2), april + timedelta(days=7))
    between = net(restatements(payers[0].lake.lake, "2025-03", "payer0", *window))
    march = payers[0].totals["2025-03"]
    assert sum(one["cost_change"] for one in between) == march[3] - march[0]
    assert {one["charge_type"] for one in between if one["kind"] == "new"} == {"Refund"}


def _assert_reported(payer: Payer) -> None:
    """The closed March is still what it was when it was closed."""
    table = payer.lake.lake.iceberg.open(payer.lake.table)
    snapshot = table.snapshot_by_name("closed-2025-03")
    assert snapshot is not None
    scan = table.scan(
        row_filter="billing_period = '2025-03'",
        snapshot_id=snapshot.snapshot_id,
        selected_fields=(UNBLENDED,),
    )
    assert sum(scan.to_arrow()[UNBLENDED].to_pylist()) == payer.totals["2025-03"][2]
