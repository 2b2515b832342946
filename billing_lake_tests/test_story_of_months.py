"""Three months of a payer and one of another, four deliveries each, through a daemon: a late day, a truncated file, a refund after closing, a
hostile tag.

The daemon's sensors find the deliveries and load them; the ledger has the states, the restatements add up, the checks complain of
what is wrong and of nothing else, each complaint is one alert, and what was reported stays readable.

Runs work within the daemon's process, one after the other: a process for each costs more than all that is tested here, and
`test_dagster_dev.py` has them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG

from billing_lake.components import BillingExport
from billing_lake.deployments import LocalLake
from billing_lake.domain.ledger import LedgerRow
from billing_lake.domain.periods import bounds, period_of
from billing_lake.formats.legacy_cur.costs import UNBLENDED
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.months import net_changes, read_restatements
from billing_lake_tests.alerts.services import UI, Webhook
from billing_lake_tests.daemons import Machine
from billing_lake_tests.lakes import RUNS_IN_PROCESS
from billing_lake_tests.prepared import Prepared
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row, write_report

MONTHS = ("2025-01", "2025-02", "2025-03")
HOSTILE = 'resourceTags/user:x"; DROP TABLE billing.costs; --<script>'
LATE_DAY = 10
COST = MINIMAL_HEADER.index("lineItem/UnblendedCost")

OFTEN = {
    "module": "dagster._core.run_coordinator.queued_run_coordinator",
    "class": "QueuedRunCoordinator",
    "config": {"dequeue_interval_seconds": 1},
}
SERVICE = {"kind": "apprise", "name": "service", "url_from": "ALERTS_SERVICE", "style": "text"}


@dataclass
class Payer:
    """A payer's export, and what its deliveries are."""

    home: Path
    name: str
    account: str
    months: Sequence[str] = MONTHS
    limits: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, list[Decimal]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "layout": "loose",
            "prefix": self.name,
            "quiet_seconds": 0,
            "start": MONTHS[0],
            "outputs": ["iceberg"],
            "namespace": "billing",
            "sensor_running": True,
            "sensor_interval_seconds": 4,
            "checks": {"payers": [self.account], **self.limits},
        }

    @property
    def folder(self) -> Path:
        return self.home / "landing" / self.name

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

    def deliver(self, delivery: int, period: str, *, truncated: bool = False) -> None:
        """Put a delivery there at once, as it was written when it was."""
        # Of a truncated file, what says which month it is of has arrived.
        copies = 300 if truncated else 1
        rows = [one for _ in range(copies) for one in self.rows(period, delivery)]
        tag = HOSTILE if delivery else "resourceTags/user:Team"
        made = self.home / "made.csv.gz"
        write_report(made, (*MINIMAL_HEADER, "bill/InvoiceId", tag), rows)
        if truncated:
            made.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
        else:
            total = sum((Decimal(one[COST]) for one in rows), Decimal())
            self.totals.setdefault(period, []).append(total)
        start, end = bounds(period)
        at = start + timedelta(days=15) if delivery == 0 else end + timedelta(days=2 * delivery)
        os.utime(made, (at.timestamp(), at.timestamp()))
        self.folder.mkdir(parents=True, exist_ok=True)
        made.replace(self.folder / f"{period}.csv.gz")

    @property
    def story(self) -> dict[str, list[LedgerRow]]:
        export = BillingExport(name=self.name, **self.settings).export
        ledger = Ledger(lake=LocalLake(self.home), export=export, log=print)
        return {period: ledger.deliveries(period) for period in self.months}


@dataclass(frozen=True)
class Daemon:
    """What a daemon has done."""

    machine: Machine
    instance: dg.DagsterInstance
    webhook: Webhook

    @property
    def titles(self) -> Counter[str]:
        return Counter(one["title"] for one in self.webhook.taken)

    @property
    def runs(self) -> Sequence[dg.DagsterRun]:
        """The runs that have ended, in the order in which they were asked for."""
        return self.instance.get_runs(dg.RunsFilter(statuses=FINISHED_STATUSES), ascending=True)

    def has_run(self, runs: int) -> None:
        ended = dg.RunsFilter(statuses=FINISHED_STATUSES)
        self.machine.wait(lambda: self.instance.get_runs_count(ended) >= runs, pause_seconds=0.5)

    def has_told(self, title: str) -> None:
        self.machine.wait(lambda: title in self.titles)

    def has_looked(self) -> None:
        """Wait until the policy's sensor has looked from begin to end, once more than it was looking already."""
        now = datetime.now(timezone.utc).timestamp()
        (sensor,) = (
            one
            for one in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if one.instigator_name == "night_alerts"
        )

        def looked() -> bool:
            ids = (sensor.instigator_origin_id, sensor.selector_id)
            return any(one.is_completed for one in self.instance.get_ticks(*ids, after=now))

        self.machine.wait(looked)

    def complaints(self, payer: str, period: str) -> list[set[str]]:
        """Return which checks each run of a month that succeeded complained of."""
        found = []
        for run in self.runs:
            if (run.job_name, run.tags[PARTITION_NAME_TAG]) == (f"{payer}_load", period):
                records = self.instance.get_records_for_run(
                    run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
                ).records
                evaluations = (
                    one.event_log_entry.get_dagster_event().asset_check_evaluation_data
                    for one in records
                )
                if run.is_success:
                    found.append({one.check_name for one in evaluations if not one.passed})
        return found


def test_the_story_of_the_months_of_two_payers_is_kept_and_told(
    prepared: Prepared, tmp_path: Path
) -> None:
    home = tmp_path / "lake"
    payers = [
        Payer(home, "payer0", "004512345678"),
        Payer(home, "payer1", "000123456789", ("2025-02",)),
    ]
    now = period_of(datetime.now(timezone.utc))
    last_month = period_of(bounds(now)[0] - timedelta(days=1))
    never_late = {"fresh_warn_hours": 0, "fresh_error_hours": 0}
    stopped = Payer(home, "stopped", "000000000001", limits=never_late)
    with Webhook() as webhook:
        machine = Machine(
            home=tmp_path,
            prepared=prepared,
            exports={one.name: one.settings for one in (*payers, stopped)},
            policies={"night": {"interval_seconds": 4, "notifiers": [SERVICE]}},
            instance={**RUNS_IN_PROCESS, "run_coordinator": OFTEN},
            variables={"ALERTS_SERVICE": webhook.url, "BILLING_LAKE_UI_URL": UI},
        )
        with machine.installed() as instance, machine.daemon():
            daemon = Daemon(machine, instance, webhook)
            stopped.deliver(0, last_month)
            _walk(daemon, payers)
            expected = _alerts(now, payers)
            machine.wait(partial(webhook.has_taken, expected.total()))
            daemon.has_looked()
    _assert_states_and_restatements(home, payers)
    _assert_checks(daemon, payers)
    assert daemon.titles == expected
    _assert_messages(daemon)


def _walk(daemon: Daemon, payers: Sequence[Payer]) -> None:
    """Deliver four times, and let the daemon load each delivery; in between a folder cannot be read for a while."""
    for delivery in range(3):
        for payer in payers:
            for period in payer.months:
                payer.deliver(delivery, period)
        daemon.has_run(1 + 4 * (delivery + 1))
        if delivery == 0:
            folder = payers[0].folder
            aside = folder.rename(folder.with_name("aside"))
            folder.symlink_to(folder)
            daemon.has_told("[ERROR] payer0: sensor payer0_new_reports is red")
            folder.unlink()
            aside.rename(folder)
            daemon.has_told("[RESOLVED] payer0: sensor payer0_new_reports is green again")
    for period in MONTHS:
        payers[0].deliver(3, period)
    daemon.has_run(1 + 4 * 3 + 3)
    payers[1].deliver(3, "2025-02", truncated=True)
    daemon.has_told("[ERROR] payer1 2025-02: run payer1_load is red")
    payers[1].deliver(3, "2025-02")
    daemon.has_run(1 + 4 * 4 + 1)


def _assert_states_and_restatements(home: Path, payers: Sequence[Payer]) -> None:
    lake = LocalLake(home)
    last = {"2025-01": "CLOSED", "2025-02": "RESTATED", "2025-03": "RESTATED"}
    for payer in payers:
        for period, rows in payer.story.items():
            states = [one.month_state for one in rows]
            assert states == ["OPEN", "SETTLING", "CLOSED", last[period]]
            assert [one.costs["USD"] for one in rows] == payer.totals[period]
            found = read_restatements(lake, period, payer.name)
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
        added = [str(rows[1].columns_added) for rows in payer.story.values()]
        assert "script" in "".join(added), (
            "the hostile tag is a column, of the month that came first"
        )
        # A closed month is still what it was when it was closed.
        closed = payer.months[-1]
        table = lake.iceberg.open(f"billing.{payer.name}")
        snapshot = table.snapshot_by_name(f"closed-{closed}")
        assert snapshot is not None
        scan = table.scan(
            row_filter=f"billing_period = '{closed}'",
            snapshot_id=snapshot.snapshot_id,
            selected_fields=(UNBLENDED,),
        )
        assert sum(scan.to_arrow()[UNBLENDED].to_pylist()) == payer.totals[closed][2]
    april = datetime(2025, 4, 1, tzinfo=timezone.utc)
    window = (april + timedelta(days=2), april + timedelta(days=7))
    between = net_changes(read_restatements(lake, "2025-03", "payer0", *window))
    march = payers[0].totals["2025-03"]
    assert sum(one["cost_change"] for one in between) == march[3] - march[0]
    assert {one["charge_type"] for one in between if one["kind"] == "new"} == {"Refund"}


def _assert_checks(daemon: Daemon, payers: Sequence[Payer]) -> None:
    late, settled = {"missing_days", "restatement_size"}, {"restatement_size"}
    after: dict[str, set[str]] = {
        "2025-01": set(),
        "2025-02": {"closed_month_moved", "missing_days", "restatement_size"},
        "2025-03": {"closed_month_moved", "restatement_size"},
    }
    for payer in payers:
        for period in payer.months:
            assert daemon.complaints(payer.name, period) == [set(), late, settled, after[period]]
    failed = [one for one in daemon.runs if not one.is_success]
    assert [(one.job_name, one.tags[PARTITION_NAME_TAG]) for one in failed] == [
        ("payer1_load", "2025-02")
    ], "the truncated file, once"


def _alerts(now: str, payers: Sequence[Payer]) -> Counter[str]:
    """Return the titles of all alerts that are due."""
    both = [(payer.name, period) for payer in payers for period in payer.months]
    return Counter(
        [
            f"[ERROR] stopped {now}: check freshness is red",
            "[ERROR] payer0: sensor payer0_new_reports is red",
            "[RESOLVED] payer0: sensor payer0_new_reports is green again",
            *(f"[WARN] {payer} {period}: 2 warnings" for payer, period in both),
            *(f"[RESOLVED] {p} {period}: check missing_days is green again" for p, period in both),
            "[RESOLVED] payer0 2025-01: check restatement_size is green again",
            "[ERROR] payer0 2025-02: 1 red, 1 warning",
            "[ERROR] payer1 2025-02: run payer1_load is red",
            "[ERROR] payer1 2025-02: 1 red, 1 warning, 1 green again",
            "[ERROR] payer0 2025-03: check closed_month_moved is red",
        ]
    )


def _assert_messages(daemon: Daemon) -> None:
    messages = {one["title"]: one["message"] for one in daemon.webhook.taken}
    assert not any("<script>" in text for text in messages.values())
    refunded = messages["[ERROR] payer0 2025-03: check closed_month_moved is red"]
    assert "| -7.5 | USD |" in refunded
    assert (
        f"{UI}/assets/payer0/iceberg_table?view=checks&checkDetail=closed_month_moved" in refunded
    )
    truncated = messages["[ERROR] payer1 2025-02: run payer1_load is red"]
    assert "payer1/2025-02.csv.gz" in truncated
