"""The sensor notices that the open month is not delivered any more, which no check that runs with loads can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from billing_lake.alerts.policies import Policy
from billing_lake.alerts.rendering import Message
from billing_lake.sensors import new_reports
from billing_lake.sensors.alerts import watch
from billing_lake_tests.lakes import EXPORT, NO_CAPTURE, SampleLake
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row, write_report

MARCH = "2025-03"
NOON = datetime(2025, 3, 10, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)

Verdict = tuple[str | None, bool, str]


class Looks:
    """The sensor's looks at a lake, one after the other."""

    def __init__(self, lake: SampleLake) -> None:
        self.lake = lake
        self.cursor: str | None = None

    def at(self, moment: datetime) -> list[Verdict]:
        """Let the sensor look as the daemon does, and return what it says of the open month."""
        sensor = self.lake.definitions.resolve_sensor_def(f"{EXPORT}_new_reports")
        context = dg.build_sensor_context(
            instance=self.lake.instance,
            cursor=self.cursor,
            resources={"billing_lake": self.lake.lake},
            sensor_name=sensor.name,
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(new_reports, "_now", lambda: moment)
            result = cast("dg.SensorResult", sensor(context))
        self.cursor = result.cursor
        for event in result.asset_events:
            self.lake.instance.report_runless_asset_event(event)
        found = [one for one in result.asset_events if isinstance(one, dg.AssetCheckEvaluation)]
        assert {(one.check_name, one.blocking) for one in found} <= {("freshness", False)}
        return [
            (str(one.metadata["billing_period"].value), one.passed, one.severity.value)
            for one in found
        ]


SETTINGS: dict[str, Any] = {"layout": "loose", "report": "", "outputs": ["iceberg"]}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """SQLite in a folder: what an instance in memory stores says nothing about the rules of a database."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), NO_CAPTURE) as made:
        yield made


@pytest.fixture
def looks(tmp_path: Path, instance: dg.DagsterInstance) -> Looks:
    return Looks(SampleLake(tmp_path / "lake", SETTINGS, instance))


def deliver(lake: SampleLake, at: datetime, period: str = MARCH) -> None:
    start = f"{period}-01T00:00:00.000Z"
    end = f"{period[:5]}{int(period[5:]) + 1:02d}-01T00:00:00.000Z"
    row = minimal_row(start=start, end=start, period_start=start, period_end=end)
    path = lake.landing / "billing" / f"{period}.csv.gz"
    write_report(path, MINIMAL_HEADER, [row])
    os.utime(path, (at.timestamp(), at.timestamp()))


def test_a_month_that_is_delivered_no_more_turns_yellow_then_red_and_green_when_it_is(
    looks: Looks,
) -> None:
    class Service:
        name = "service"

        def __init__(self) -> None:
            self.taken: list[Message] = []

        def send(self, message: Message) -> None:
            self.taken.append(message)

    service, lake = Service(), looks.lake
    policy = Policy(
        name="finance",
        exports=frozenset({EXPORT}),
        checks=frozenset({"freshness"}),
        notifiers=[service],
        zone=ZoneInfo("UTC"),
    )

    def told() -> list[str]:
        before = len(service.taken)
        watch(lake.instance, policy, {})
        return [one.title for one in service.taken[before:]]

    deliver(lake, NOON)
    assert lake.load(MARCH).success
    assert looks.at(NOON + 23 * HOUR) == []
    assert looks.at(NOON + 25 * HOUR) == [(MARCH, False, "WARN")]
    check = dg.AssetCheckKey(dg.AssetKey([EXPORT, "iceberg_table"]), "freshness")
    summary = lake.instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    said = summary[check].evaluation
    assert said is not None
    assert said.description == f"{MARCH}: the open month was delivered 25 hours ago"
    assert said.target_materialization_data is not None
    assert told() == [f"[WARN] {EXPORT} {MARCH}: check freshness warns"]
    assert looks.at(NOON + 26 * HOUR) == []
    assert looks.at(NOON + 49 * HOUR) == [(MARCH, False, "ERROR")]
    assert told() == [f"[ERROR] {EXPORT} {MARCH}: check freshness is red"]
    looks.cursor = None
    assert looks.at(NOON + 50 * HOUR) == [(MARCH, False, "ERROR")]
    assert told() == [], "a cursor that is lost makes no second alert"
    deliver(lake, NOON + 51 * HOUR)
    assert lake.load(MARCH).success
    assert looks.at(NOON + 52 * HOUR) == [(MARCH, True, "WARN")]
    assert told() == [f"[RESOLVED] {EXPORT} {MARCH}: check freshness is green again"]
    assert looks.at(NOON + 53 * HOUR) == []


def test_a_later_delivery_that_is_not_loaded_does_not_make_the_tables_any_fresher(
    looks: Looks,
) -> None:
    deliver(looks.lake, NOON)
    assert looks.lake.load(MARCH).success
    deliver(looks.lake, NOON + 30 * HOUR)
    assert looks.at(NOON + 31 * HOUR) == [(MARCH, False, "WARN")]


def test_a_month_of_which_nothing_comes_is_missed_where_the_month_before_was_delivered(
    looks: Looks,
) -> None:
    april = datetime(2025, 4, 1, tzinfo=timezone.utc)
    deliver(looks.lake, april - 4 * HOUR)
    assert looks.at(april + 23 * HOUR) == []
    assert looks.at(april + 25 * HOUR) == [("2025-04", False, "WARN")]
    assert looks.at(april + 49 * HOUR) == [("2025-04", False, "ERROR")]
    # Who did not mend it in a month was told, and an archive is no bill that is missing.
    assert looks.at(datetime(2025, 5, 20, tzinfo=timezone.utc)) == []
    # The first delivery is not late before it could be loaded.
    deliver(looks.lake, NOON, period="2025-05")
    assert looks.at(datetime(2025, 5, 20, tzinfo=timezone.utc)) == [("2025-05", False, "ERROR")]
    deliver(looks.lake, datetime(2025, 5, 19, 20, tzinfo=timezone.utc), period="2025-05")
    assert looks.at(datetime(2025, 5, 20, tzinfo=timezone.utc)) == [("2025-05", True, "WARN")]


def test_an_export_that_has_ended_is_not_missed(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    looks = Looks(SampleLake(tmp_path / "lake", {**SETTINGS, "end": MARCH}, instance))
    april = datetime(2025, 4, 1, tzinfo=timezone.utc)
    deliver(looks.lake, april)
    assert looks.at(april + 99 * HOUR) == []
