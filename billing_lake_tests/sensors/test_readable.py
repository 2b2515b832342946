"""The sensor notices deliveries that cannot be read: they never become a run, so no check that runs with loads tells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from billing_lake.alerts.policies import Policy
from billing_lake.alerts.rendering import Message
from billing_lake.sensors.alerts import watch
from billing_lake_tests.lakes import EXPORT, NO_CAPTURE, SampleLake
from billing_lake_tests.landing.small_deliveries import csv_gz, put, row
from billing_lake_tests.sensors.test_new_reports import tick

KEY = dg.AssetCheckKey(dg.AssetKey([EXPORT, "delivery"]), "readable")
HOUR = timedelta(hours=1)
RED = f"[ERROR] {EXPORT}: check readable is red"
GREEN = f"[RESOLVED] {EXPORT}: check readable is green again"


class Looks:
    """The sensor's looks at a lake, one after the other, and those of an alert policy."""

    name = "service"

    def __init__(self, lake: SampleLake) -> None:
        self.lake = lake
        self.cursor: str | None = None
        self.taken: list[Message] = []

    def send(self, message: Message) -> None:
        self.taken.append(message)

    def after(self, time: timedelta) -> list[dg.AssetCheckEvaluation]:
        """Let the sensor look, some time from now, and return what it says of the folder."""
        result = tick(self.lake, self.cursor, time)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.lake.instance.report_runless_asset_event(event)
        found = [one for one in result.asset_events if isinstance(one, dg.AssetCheckEvaluation)]
        assert {one.asset_check_key for one in found} <= {KEY}
        return found

    def told(self) -> list[str]:
        """Let the alert policy look, and return the titles of what it sends."""
        before = len(self.taken)
        policy = Policy(
            name="finance",
            exports=frozenset({EXPORT}),
            checks=frozenset({"readable"}),
            notifiers=[self],
            zone=ZoneInfo("UTC"),
        )
        watch(self.lake.instance, policy, {})
        return [one.title for one in self.taken[before:]]


Make = Callable[..., Looks]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Give looks at a lake whose instance is SQLite in a folder: one in memory says nothing about the rules of a database."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), NO_CAPTURE) as instance:

        def of(**settings: Any) -> Looks:
            settings = {"outputs": ["iceberg"], "static": False, **settings}
            return Looks(SampleLake(tmp_path / "lake", settings, instance))

        yield of


def spoil(lake: SampleLake, period: str) -> Callable[[], object]:
    """Deliver a month whose manifest cannot be read, and return what mends it."""
    manifest = lake.deliver(period).manifest
    assert manifest is not None
    whole = manifest.read_bytes()
    manifest.write_text("{ this is | no JSON <b>")
    return lambda: manifest.write_bytes(whole)


def run_check(lake: SampleLake) -> dg.AssetCheckEvaluation:
    """Run the check by itself, as the UI does."""
    job = lake.definitions.resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_check_selection={KEY}).execute_in_process(instance=lake.instance)
    (found,) = result.get_asset_check_evaluations()
    return found


def test_a_delivery_that_cannot_be_read_is_told_once_and_when_all_can_be_read_again(
    make: Make,
) -> None:
    looks = make()
    lake = looks.lake
    lake.deliver("2025-03")
    mend_january = spoil(lake, "2025-01")
    assert looks.after(0 * HOUR) == [], "it may be being copied"
    (red,) = looks.after(1 * HOUR)
    assert (red.passed, red.severity, red.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert red.description is not None
    assert red.description.startswith("2025-01 cannot be read: ")
    assert "Have the provider deliver the period again" in red.description
    assert red.metadata["unreadable"].value == ["2025-01"]
    table = str(red.metadata["deliveries"].value)
    assert "Manifest.json" in table
    assert "Have the provider deliver the period again" in table
    assert looks.told() == [RED]
    assert "the export's sensor then loads the month by itself" in looks.taken[-1].text
    assert "| 2025-01 |" in looks.taken[-1].text
    assert looks.after(2 * HOUR) == []

    mend_february = spoil(lake, "2025-02")
    assert looks.after(3 * HOUR) == []
    (more,) = looks.after(4 * HOUR)
    assert more.metadata["unreadable"].value == ["2025-01", "2025-02"]
    assert looks.told() == [RED], "one more month is one more alert"

    mend_january()
    (fewer,) = looks.after(5 * HOUR)
    assert (fewer.passed, fewer.metadata["unreadable"].value) == (False, ["2025-02"])
    assert looks.told() == []
    looks.cursor = None
    assert looks.after(6 * HOUR) == []
    assert [one.passed for one in looks.after(7 * HOUR)] == [False]
    assert looks.told() == [], "a cursor that is lost makes no second alert"

    looks.cursor = None
    mend_february()
    (green,) = looks.after(8 * HOUR)
    assert (green.passed, green.metadata) == (True, {})
    assert looks.told() == [GREEN]
    assert looks.after(9 * HOUR) == []


def test_a_delivery_that_waits_for_its_files_is_told_when_it_has_waited_for_a_day(
    make: Make,
) -> None:
    looks = make()
    delivery = looks.lake.deliver("2025-03")
    whole = delivery.files[0].read_bytes()
    delivery.files[0].unlink()
    for hours in (0, 1, 23):
        assert looks.after(hours * HOUR) == []
    (red,) = looks.after(25 * HOUR)
    assert not red.passed
    assert delivery.files[0].name in str(red.description)
    assert looks.told() == [RED]
    assert not run_check(looks.lake).passed, "it has waited for as long when it is run by hand"
    delivery.files[0].write_bytes(whole)
    assert [one.passed for one in looks.after(26 * HOUR)] == [True]
    assert looks.told() == [GREEN]


def test_a_loose_file_that_is_cut_within_its_header_is_told_when_it_has_not_arrived_for_a_day(
    make: Make,
) -> None:
    looks = make(layout="loose", report="")
    data = csv_gz([row()])
    file = put(looks.lake.landing / "billing/march.csv.gz", data[:20])
    assert looks.after(0 * HOUR) == []
    assert looks.after(23 * HOUR) == []
    (red,) = looks.after(25 * HOUR)
    assert (red.passed, red.metadata["unreadable"].value) == (False, ["billing/march.csv.gz"])
    put(file, data)
    assert [one.passed for one in looks.after(26 * HOUR)] == [True]


def test_a_fault_that_stops_every_month_is_one_reason(make: Make) -> None:
    looks = make(layout="loose", report="", quiet_seconds=0)
    for month in range(1, 7):
        period = f"2025-{month:02d}"
        put(looks.lake.landing / f"billing/{period}.csv.gz", csv_gz([row(period)]))
    put(looks.lake.landing / "billing/<b>|bill.xlsx", b"no report")
    (red,) = looks.after(0 * HOUR)
    assert red.metadata["unreadable"].value == [f"2025-{month:02d}" for month in range(1, 7)]
    assert str(red.description).startswith("2025-01, 2025-02, 2025-03 and 3 more cannot be read: ")
    lines = str(red.metadata["deliveries"].value).splitlines()
    assert len(lines) == 3
    assert "\\<b\\>\\|bill.xlsx" in lines[2]


def test_nothing_is_expected_of_a_month_before_the_start_and_a_folder_has_a_day_to_appear(
    make: Make,
) -> None:
    looks = make()
    assert looks.after(0 * HOUR) == []
    assert looks.after(1 * HOUR) == []
    assert run_check(looks.lake).passed
    (red,) = looks.after(25 * HOUR)
    assert "There is no folder" in str(red.description)
    spoil(looks.lake, "2024-12")
    assert [one.passed for one in looks.after(26 * HOUR)] == [True]
    assert looks.after(99 * HOUR) == []


def test_the_check_can_be_run_by_itself_and_says_what_is_broken_now(make: Make) -> None:
    looks = make()
    mend = spoil(looks.lake, "2025-01")
    red = run_check(looks.lake)
    assert (red.passed, red.metadata["unreadable"].value) == (False, ["2025-01"])
    assert looks.told() == [RED]
    mend()
    assert [one.passed for one in looks.after(0 * HOUR)] == [True], "the sensor says so, too"
    assert looks.told() == [GREEN]
    assert run_check(looks.lake).passed
    assert looks.told() == []
