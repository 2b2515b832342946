"""Ticks of the sensor `new_reports`: what the tables hold, what is in the folder, and who is at work."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from billing_lake.domain.schemas import Field
from billing_lake.domain.types import STRING
from billing_lake.sensors import new_reports
from billing_lake.sensors.new_reports import MOST_ATTEMPTS
from billing_lake.sensors.runs import Runs
from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, failure
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row

Make = Callable[..., SampleLake]

MINUTE = timedelta(minutes=1)


def tick(
    lake: SampleLake, cursor: str | None = None, after: timedelta = timedelta(0)
) -> dg.SensorResult:
    """Let the sensor look, some time from now."""
    definitions = lake.definitions
    sensor = definitions.resolve_sensor_def(f"{lake.name}_new_reports")
    context = dg.build_sensor_context(
        instance=lake.instance,
        cursor=cursor,
        resources={"billing_lake": lake.lake},
        sensor_name=sensor.name,
    )
    now = datetime.now(timezone.utc) + after
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(new_reports, "_now", lambda: now)
        return cast("dg.SensorResult", sensor(context))


def periods(result: dg.SensorResult) -> list[str | None]:
    return [request.partition_key for request in result.run_requests or ()]


def reason(result: dg.SensorResult) -> str:
    return str(result.skip_reason.skip_message) if result.skip_reason else ""


def execute(lake: SampleLake, result: dg.SensorResult) -> list[dg.ExecuteInProcessResult]:
    """Start the runs that a tick asks for, as the daemon would."""
    return [
        lake.load(str(request.partition_key), tags=dict(request.tags))
        for request in result.run_requests or ()
    ]


def test_a_delivery_is_asked_for_until_the_tables_hold_it(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    first = tick(lake)
    assert periods(first) == ["2025-03"]
    request = (first.run_requests or [])[0]
    assert request.run_key is None, "Dagster makes one run of a key, ever"
    assert request.tags["billing_lake/delivery_version"] == delivery.version
    assert periods(tick(lake, first.cursor)) == ["2025-03"], "no run came of the first one"
    (run,) = execute(lake, first)
    assert run.success
    second = tick(lake, first.cursor)
    assert periods(second) == []
    assert reason(second) == f"No new deliveries of {EXPORT}."
    assert_tables_equal(lake, delivery)


def test_a_delivery_is_observed_when_it_comes_and_when_it_changes(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    first = lake.deliver("2025-03")
    result = tick(lake)
    for event in result.asset_events:
        lake.instance.report_runless_asset_event(event)
    records = lake.instance.fetch_observations(dg.AssetKey([EXPORT, "delivery"]), 10).records
    (seen,) = [record.asset_observation for record in records]
    assert seen is not None
    assert seen.partition == "2025-03"
    told = {name: value.value for name, value in seen.metadata.items()}
    assert (told["delivery_version"], told["files"]) == (first.version, 2)
    assert told["bytes"] == sum(file.stat().st_size for file in first.files)
    newest = max(file.stat().st_mtime for file in (*first.files, *filter(None, [first.manifest])))
    assert told["delivered_at"] == pytest.approx(newest, abs=0.001)
    again = tick(lake, result.cursor)
    assert again.asset_events == []
    second = lake.deliver("2025-03", restatement=1)
    (changed,) = tick(lake, again.cursor).asset_events
    assert isinstance(changed, dg.AssetObservation)
    assert changed.metadata["delivery_version"].value == second.version


def test_a_delivery_that_comes_back_is_loaded_again(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive", "iceberg"])
    first = lake.deliver("2025-03")
    execute(lake, tick(lake))
    assert first.manifest
    kept = first.manifest.rename(lake.home / "kept")
    second = lake.deliver("2025-03", restatement=1)
    execute(lake, tick(lake))
    assert_tables_equal(lake, second)
    kept.rename(first.manifest)
    back = tick(lake)
    assert periods(back) == ["2025-03"]
    execute(lake, back)
    assert_tables_equal(lake, first)
    assert periods(tick(lake)) == []


def test_what_was_loaded_by_hand_or_by_a_backfill_is_not_loaded_again(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive", "iceberg"])
    for month in ("2025-01", "2025-02", "2025-03"):
        lake.deliver(month)
    assert lake.load("2025-01").success
    assert lake.load_range("2025-02", "2025-03").success
    assert periods(tick(lake)) == []
    shutil.rmtree(lake.home / "values")
    lake.instance.wipe()
    assert periods(tick(lake)) == [], "tables say themselves what they hold"


def test_a_table_that_is_gone_or_was_added_gets_its_months(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    delivery = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    more = SampleLake(lake.home, {"outputs": ["hive", "iceberg"]}, lake.instance)
    added = tick(more)
    assert periods(added) == ["2025-03"]
    execute(more, added)
    assert_tables_equal(more, delivery)
    assert periods(tick(more)) == []
    more.lake.hive.drop(TABLE)
    assert periods(tick(more, after=5 * MINUTE)) == ["2025-03"]


def test_a_lake_that_was_restored_from_a_backup_gets_what_came_since(
    make_lake: Make, tmp_path: Path
) -> None:
    lake = make_lake(outputs=["hive", "iceberg"])
    lake.deliver("2025-02")
    assert lake.load("2025-02").success
    for folder in ("catalog", "warehouse"):
        shutil.copytree(lake.home / folder, tmp_path / "backup" / folder)
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    for folder in ("catalog", "warehouse"):
        shutil.rmtree(lake.home / folder)
        shutil.copytree(tmp_path / "backup" / folder, lake.home / folder)
    assert periods(tick(lake)) == ["2025-03"]


def test_a_restatement_is_asked_for(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    lake.deliver("2025-03")
    execute(lake, tick(lake))
    second = lake.deliver("2025-03", restatement=1)
    asked = tick(lake)
    assert periods(asked) == ["2025-03"]
    execute(lake, asked)
    assert_tables_equal(lake, second)


def test_a_run_that_ends_while_the_sensor_looks_is_not_asked_for_again(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake(outputs=["hive"])
    lake.deliver("2025-03")
    of_runs = Runs.at_work

    def at_work(runs: Runs) -> set[str]:
        assert lake.load("2025-03").success
        return of_runs(runs)

    monkeypatch.setattr(Runs, "at_work", at_work)
    assert periods(tick(lake)) == []


def test_a_month_that_is_left_to_a_run_is_named_since_the_run_may_be_dead(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    lake.deliver("2025-03")
    run = lake.instance.create_run_for_job(
        lake.definitions.resolve_job_def(f"{EXPORT}_load"),
        tags={PARTITION_NAME_TAG: "2025-03"},
        status=dg.DagsterRunStatus.STARTED,
    )
    seen = tick(lake)
    assert periods(seen) == []
    assert "A run is at work on 2025-03, or waits for its turn" in reason(seen)
    lake.instance.report_run_failed(run)
    assert periods(tick(lake)) == ["2025-03"]


def test_an_export_without_anything_is_a_tick_without_anything(make_lake: Make) -> None:
    result = tick(make_lake())
    assert periods(result) == []
    cursor = json.loads(str(result.cursor))
    assert [*cursor.pop("unread")] == ["billing/daily/"], "the folder is not there yet"
    assert cursor == {"looks": {}, "observed": {}, "stale": "", "unreadable": ""}


def test_a_tick_asks_for_the_newest_months_and_the_next_for_the_rest(make_lake: Make) -> None:
    lake = make_lake(sensor_runs_per_tick=2, outputs=["hive"])
    for month in ("2025-01", "2025-02", "2025-03"):
        lake.deliver(month)
    first = tick(lake)
    assert periods(first) == ["2025-03", "2025-02"]
    execute(lake, first)
    second = tick(lake, first.cursor)
    assert periods(second) == ["2025-01"]
    execute(lake, second)
    assert periods(tick(lake, second.cursor)) == []


def test_a_broken_or_waiting_month_stops_no_other_and_is_named(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    broken, waiting, good = (lake.deliver(p) for p in ("2025-01", "2025-02", "2025-03"))
    assert broken.manifest
    broken.manifest.write_text("{ this is no JSON")
    waiting.files[0].unlink()
    first = tick(lake)
    assert periods(first) == [good.period]
    execute(lake, first)
    second = tick(lake, first.cursor)
    assert "2025-01 is broken: " in reason(second)
    assert reason(second).endswith(f"\nNothing else is new for {EXPORT}.")
    assert "2025-02 waits: " in reason(second)
    assert waiting.files[0].name in reason(second)


def test_a_month_before_the_start_is_told_and_not_asked_for(make_lake: Make) -> None:
    lake = make_lake()
    lake.deliver("2024-12")
    result = tick(lake)
    assert periods(result) == []
    assert "2024-12: before the export's `start`" in reason(result)


@pytest.mark.parametrize(
    "cursor", ["no JSON", "[]", '{"looks": {"2025-03": "v1"}}', '{"looks": []}']
)
def test_a_cursor_that_cannot_be_read_changes_nothing(make_lake: Make, cursor: str) -> None:
    lake = make_lake(outputs=["hive"])
    lake.deliver("2025-03")
    first = tick(lake, cursor)
    assert periods(first) == ["2025-03"]
    execute(lake, first)
    assert periods(tick(lake, cursor)) == []


# Runs that fail


def test_a_run_that_failed_for_a_reason_that_passes_is_asked_for_again(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver("2025-03")
    warehouse = lake.home / "warehouse" / "iceberg"
    warehouse.parent.mkdir(parents=True)
    warehouse.write_text("the disk is away for a while")
    assert not execute(lake, tick(lake))[0].success
    warehouse.unlink()
    waiting = tick(lake)
    assert periods(waiting) == []
    assert "2025-03 is asked for again at " in reason(waiting)
    assert "warehouse/iceberg" in reason(waiting), "the cause is named"
    again = tick(lake, after=6 * MINUTE)
    assert periods(again) == ["2025-03"]
    assert execute(lake, again)[0].success
    assert_tables_equal(lake, delivery)
    assert periods(tick(lake, after=6 * MINUTE)) == []


def test_a_month_that_keeps_failing_is_given_up_loudly_until_its_delivery_changes(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver("2025-03")
    warehouse = lake.home / "warehouse" / "iceberg"
    warehouse.parent.mkdir(parents=True)
    warehouse.write_text("the disk is away for good")
    for attempt in range(MOST_ATTEMPTS):
        pause = 5 * 2 ** (attempt - 1) * MINUTE if attempt else timedelta(0)
        if attempt:
            assert periods(tick(lake, after=pause - MINUTE)) == []
        asked = tick(lake, after=pause)
        assert periods(asked) == ["2025-03"], attempt
        execute(lake, asked)
    for days in (1, 30):
        over = tick(lake, after=timedelta(days=days))
        assert periods(over) == []
        assert f"2025-03 was asked for {MOST_ATTEMPTS} times and is not asked for" in reason(over)
    lake.deliver("2025-03", restatement=1)
    assert periods(tick(lake)) == ["2025-03"], "a change of the delivery starts anew"


def test_a_month_that_needs_somebody_is_not_asked_for_again_until_its_delivery_changes(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["hive"])
    delivery = lake.deliver("2025-03")
    good = delivery.files[1].read_bytes()
    delivery.files[1].write_bytes(good[:-20])
    asked = tick(lake, tick(lake).cursor, after=20 * MINUTE)
    assert not execute(lake, asked)[0].success
    told = tick(lake, asked.cursor, after=timedelta(days=30))
    assert periods(told) == []
    assert reason(told).startswith("2025-03 is not asked for again until its delivery changes")
    assert "TruncatedFileError" in reason(told)
    assert delivery.files[1].name in reason(told)
    repaired = lake.deliver("2025-03")
    assert all(run.success for run in execute(lake, tick(lake)))
    assert_tables_equal(lake, repaired)


def test_a_column_that_no_table_can_follow_is_for_somebody_to_decide(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    names = ("line_item_unblended_cost", "export_name", "billing_period")
    lake.lake.hive.create(TABLE, [Field(name, STRING, n) for n, name in enumerate(names, 1)])
    lake.deliver("2025-03")
    (run,) = execute(lake, tick(lake))
    assert not run.success
    told = tick(lake, after=timedelta(days=1))
    assert periods(told) == []
    assert "2025-03 is not asked for again until its delivery changes" in reason(told)


# A delivery at rest


def written(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))


def test_a_month_of_a_hundred_chunks_that_takes_half_an_hour_is_loaded_once(
    make_lake: Make,
) -> None:
    lake = make_lake(layout="overwrite", report="cur", outputs=["hive"])
    start = datetime.now(timezone.utc)
    made = deliver(lake.landing, chunks=100, assembly_folder=False)
    for path in made:
        written(path, start - timedelta(days=1))
    assert lake.load("2025-03").success
    cursor, asked, stamp = None, [], start
    for minute in range(60):
        stamp = start + minute * MINUTE
        if minute < 34:
            # Three chunks a minute; a chunk more than before, and the manifest in between: AWS promises no order.
            for number in range(3 * minute, min(3 * minute + 3, 100)):
                put(made[number], csv_gz([row(), row()]))
                written(made[number], stamp)
        if minute == 20:
            made[-1].write_text(made[-1].read_text().replace('"v1"', '"v2"'))
            written(made[-1], stamp)
        if minute % 5 == 0:
            seen = tick(lake, cursor, after=minute * MINUTE)
            cursor = seen.cursor
            asked += [minute for _ in periods(seen)]
            if periods(seen) == []:
                assert minute < 35 or "2025-03 waits: " in reason(seen)
            else:
                break
    assert asked == [50], "fifteen minutes after it was first seen as it is"


def test_a_folder_that_is_filled_file_by_file_is_one_delivery(make_lake: Make) -> None:
    lake = make_lake(layout="loose", outputs=["hive"])
    cursor = None
    for minute in (0, 5, 10, 15):
        put(lake.landing / f"billing/{minute}.csv.gz", csv_gz([(*row()[:-1], f"{minute}.5")]))
        seen = tick(lake, cursor, after=minute * MINUTE)
        cursor = seen.cursor
        assert periods(seen) == []
        assert "2025-03 waits: files may still be on their way" in reason(seen)
    assert periods(tick(lake, cursor, after=29 * MINUTE)) == []
    assert periods(tick(lake, cursor, after=31 * MINUTE)) == ["2025-03"]
    assert lake.load("2025-03").success, "who asks by hand gets what is there"
    assert lake.profile("hive", "2025-03").rows == 4
    looks = json.loads(str(tick(lake, cursor).cursor))["looks"]
    assert looks == {}, "what is held is not remembered"


def test_a_copied_folder_waits_its_time_and_no_longer(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    delivery = lake.deliver("2025-03")
    assert delivery.manifest
    written(delivery.manifest, datetime.now(timezone.utc) - timedelta(days=100))
    first = tick(lake)
    assert periods(first) == []
    assert "2025-03 waits: " in reason(first)
    assert periods(tick(lake, None, after=60 * MINUTE)) == [], "a lost cursor costs the time"
    assert periods(tick(lake, first.cursor, after=16 * MINUTE)) == ["2025-03"]
    assert lake.load("2025-03").success, "keys that are not written again can be loaded at once"


def test_a_load_by_hand_waits_while_keys_are_written_again_and_says_until_when(
    make_lake: Make,
) -> None:
    lake = make_lake(layout="overwrite", report="cur", outputs=["hive"])
    first, second, manifest = deliver(lake.landing, assembly_folder=False)
    now = datetime.now(timezone.utc)
    written(manifest, now - timedelta(hours=8))
    written(first, now - timedelta(hours=9))
    result = lake.load("2025-03")
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith("UnsettledDeliveryError: 1 of the 2 report files of 2025-03 are newer")
    assert second.name in text
    assert lake.lake.hive.fields(TABLE) is None
    assert "2025-03 waits: " in reason(tick(lake))
    written(second, now - timedelta(minutes=16))
    assert lake.load("2025-03").success, "it has been quiet for long enough"
    written(second, now + timedelta(days=400))
    assert lake.load("2025-03").success, "a time in the future says nothing"
    written(second, now)
    finished = SampleLake(lake.home, {**lake.settings, "quiet_seconds": 0}, lake.instance)
    assert finished.load("2025-03").success, "whoever knows that it is finished can say so"
