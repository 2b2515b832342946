"""Who is at work on a billing period, and what became of the runs before."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemotePartitionSetOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.remote_representation.external_data import partition_set_snap_name_for_job_name
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from billing_lake.domain.deliveries import Delivery
from billing_lake.sensors import run_processes
from billing_lake.sensors import runs as runs_module
from billing_lake.sensors.run_processes import PROCESS_TAG, end_dead_runs, process_tag
from billing_lake.sensors.runs import TAG_PREFIX, Attempt, Runs, run_tags
from billing_lake_tests.lakes import EXPORT, SampleLake

Make = Callable[..., SampleLake]

STARTED = dg.DagsterRunStatus.STARTED
MARCH = {PARTITION_NAME_TAG: "2025-03"}
DELIVERY = Delivery(export=EXPORT, period="2025-03", version="v1", layout="create-new", files=())


def runs(lake: SampleLake, after: timedelta = timedelta(0)) -> Runs:
    return Runs(lake.instance, lake.component.export, datetime.now(timezone.utc) + after)


def start(
    lake: SampleLake,
    tags: dict[str, str],
    job: str = f"{EXPORT}_load",
    assets: list[str] | None = None,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> dg.DagsterRun:
    """Record a run as whoever launches one does, its plan included."""
    definition = lake.definitions.resolve_job_def(job)
    selection = None if assets is None else {dg.AssetKey([EXPORT, asset]) for asset in assets}
    if selection is not None:
        definition = definition.get_subset(asset_selection=selection)
    return lake.instance.create_run_for_job(
        definition, tags=tags, status=status, asset_selection=selection
    )


@pytest.mark.parametrize("status", ["STARTED", "STARTING", "NOT_STARTED", "CANCELING"])
def test_a_run_of_a_period_is_at_work_until_it_has_ended(make_lake: Make, status: str) -> None:
    lake = make_lake(outputs=["iceberg"])
    assert runs(lake).at_work() == set()
    run = start(lake, MARCH, status=dg.DagsterRunStatus[status])
    assert runs(lake).at_work() == {"2025-03"}
    lake.instance.report_run_failed(run)
    assert runs(lake).at_work() == set()


def test_a_run_of_a_range_is_at_work_on_each_of_its_periods(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    tags = {ASSET_PARTITION_RANGE_START_TAG: "2025-11", ASSET_PARTITION_RANGE_END_TAG: "2026-02"}
    start(lake, tags)
    assert runs(lake).at_work() == {"2025-11", "2025-12", "2026-01", "2026-02"}


def test_a_run_of_chosen_assets_is_at_work_if_a_table_is_among_them(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive", "iceberg"])
    start(lake, MARCH, "__ASSET_JOB", ["raw_reports", "crawler_table"])
    assert runs(lake).at_work() == set()
    start(lake, MARCH, "__ASSET_JOB", ["iceberg_table"])
    assert runs(lake).at_work() == {"2025-03"}


def test_a_run_of_another_export_is_nobody_here(make_lake: Make) -> None:
    lake = make_lake(outputs=["hive"])
    start(SampleLake(lake.home, {"name": "other"}, lake.instance), MARCH, "other_load")
    assert runs(lake).at_work() == set()


def test_a_run_that_never_ends_is_taken_for_dead_after_a_day(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    start(lake, MARCH)
    assert runs(lake, timedelta(hours=23)).at_work() == {"2025-03"}
    assert runs(lake, timedelta(hours=25)).at_work() == set()


# Dagster makes a backfill with a function of its own that it has given up.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")
def test_a_backfill_that_has_been_requested_counts_before_its_runs_are_there(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg"])
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="assets",
        asset_graph=lake.definitions.resolve_asset_graph(),
        partition_names=["2025-01", "2025-02"],
        asset_selection=[
            dg.AssetKey([EXPORT, name])
            for name in ("raw_reports", "crawler_table", "iceberg_table")
        ],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=lake.instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    lake.instance.add_backfill(backfill)
    assert runs(lake).at_work() == {"2025-01", "2025-02"}
    done = backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS)
    lake.instance.update_backfill(done)
    assert runs(lake).at_work() == set()


@pytest.mark.parametrize("job", [f"{EXPORT}_load", "other_load"])
def test_a_backfill_of_the_load_job_counts_and_that_of_another_does_not(
    make_lake: Make, job: str
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.instance.add_backfill(
        PartitionBackfill(
            backfill_id="job",
            partition_set_origin=RemotePartitionSetOrigin(
                repository_origin=RemoteRepositoryOrigin(
                    RegisteredCodeLocationOrigin("here"), "__repository__"
                ),
                partition_set_name=partition_set_snap_name_for_job_name(job),
            ),
            status=BulkActionStatus.REQUESTED,
            partition_names=["2025-03"],
            from_failure=False,
            reexecution_steps=None,
            tags={},
            backfill_timestamp=time.time(),
        )
    )
    assert runs(lake).at_work() == ({"2025-03"} if job == f"{EXPORT}_load" else set())


def ended(lake: SampleLake, status: dg.DagsterRunStatus, delivery: Delivery = DELIVERY) -> None:
    lake.instance.add_run(
        dg.DagsterRun(
            job_name=f"{EXPORT}_load",
            run_id=str(uuid.uuid4()),
            status=status,
            tags=run_tags(lake.component.export, delivery),
        )
    )


def attempts(lake: SampleLake, delivery: Delivery, after: timedelta = timedelta()) -> list[Attempt]:
    known = runs(lake, after)
    return known.attempts(delivery, known.asked_for({delivery.period})[delivery.period])


def test_attempts_are_counted_since_the_delivery_last_changed(make_lake: Make) -> None:
    lake = make_lake()
    other = Delivery(export=EXPORT, period="2025-03", version="v2", layout="create-new", files=())
    assert attempts(lake, DELIVERY) == []
    for delivery in (DELIVERY, DELIVERY, other, DELIVERY):
        ended(lake, dg.DagsterRunStatus.FAILURE, delivery)
    assert len(attempts(lake, DELIVERY)) == 1, "what came back is tried anew"
    assert attempts(lake, other) == []


@pytest.mark.parametrize("most", [500, 3])
def test_the_latest_runs_of_each_period_are_found_together_and_where_there_are_many_one_by_one(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    lake = make_lake()
    monkeypatch.setattr(runs_module, "_MOST_AT_ONCE", most)
    monkeypatch.setattr(runs_module, "_MOST_LOOKED_AT", 2)
    other = replace(DELIVERY, period="2025-02")
    for delivery in (DELIVERY, other, DELIVERY, DELIVERY):
        ended(lake, dg.DagsterRunStatus.FAILURE, delivery)
    newest = [
        one.run_id
        for one in lake.instance.get_runs()
        if one.tags[f"{TAG_PREFIX}billing_period"] == "2025-03"
    ]
    found = runs(lake).asked_for({"2025-01", "2025-02", "2025-03"})
    assert [one.dagster_run.run_id for one in found["2025-03"]] == newest[:2]
    assert len(found["2025-02"]) == 1
    assert found["2025-01"] == []
    assert runs(lake).asked_for(()) == {}


def test_a_run_that_was_never_started_passes_and_one_that_was_cancelled_is_for_somebody(
    make_lake: Make,
) -> None:
    lake = make_lake()
    ended(lake, dg.DagsterRunStatus.FAILURE)
    (never,) = attempts(lake, DELIVERY)
    assert not never.lasting
    assert "never started, or died" in never.what
    ended(lake, dg.DagsterRunStatus.CANCELED)
    cancelled, _ = attempts(lake, DELIVERY)
    assert cancelled.lasting
    assert "was cancelled" in cancelled.what


def test_a_run_that_succeeded_counts_for_a_day_so_that_nothing_is_loaded_on_and_on(
    make_lake: Make,
) -> None:
    lake = make_lake()
    ended(lake, dg.DagsterRunStatus.SUCCESS)
    (run,) = attempts(lake, DELIVERY, timedelta(hours=23))
    assert not run.lasting
    assert attempts(lake, DELIVERY, timedelta(hours=25)) == []


def tag_of_a_dead_process() -> dict[str, str]:
    code = "from billing_lake.sensors.run_processes import *; print(process_tag()[PROCESS_TAG])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {PROCESS_TAG: done.stdout.strip()}


def test_a_run_whose_process_was_killed_is_ended_and_its_month_is_free(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    run = start(lake, {**MARCH, **tag_of_a_dead_process()})
    assert runs(lake).at_work() == set()
    ended = lake.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    record = lake.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1]
    assert "was killed, or its machine died" in record.message


@pytest.mark.parametrize(
    "tag",
    [{}, process_tag(), {PROCESS_TAG: "another-machine - 1 1"}, {PROCESS_TAG: "?"}],
    ids=["no process", "this one", "of another machine", "unreadable"],
)
def test_a_run_whose_process_may_live_is_left_alone(make_lake: Make, tag: dict[str, str]) -> None:
    assert is_left_alone(make_lake(outputs=["iceberg"]), tag)


def is_left_alone(lake: SampleLake, tag: dict[str, str]) -> bool:
    """Start a run, and say whether it is at work still after a look for dead ones."""
    run = start(lake, {**MARCH, **tag})
    end_dead_runs(lake.instance)
    left = lake.instance.get_run_by_id(run.run_id)
    assert left is not None
    assert runs(lake).at_work() == ({"2025-03"} if left.status == STARTED else set())
    return left.status == STARTED


def test_a_process_that_got_the_number_of_a_killed_one_is_another_one(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_processes, "_started", lambda _: "200")
    tag = process_tag()
    monkeypatch.setattr(run_processes, "_started", lambda _: "300")
    assert not is_left_alone(make_lake(outputs=["iceberg"]), tag)


def test_a_process_that_lives_and_hides_when_it_began_is_taken_for_the_same(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = process_tag()
    monkeypatch.setattr(run_processes, "_started", lambda _: "")
    assert is_left_alone(make_lake(outputs=["iceberg"]), tag)


def test_a_process_of_a_container_that_has_the_hosts_name_is_not_looked_for_here(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = tag_of_a_dead_process()
    monkeypatch.setattr("pathlib.Path.readlink", lambda _: "pid:[1]")
    assert is_left_alone(make_lake(outputs=["iceberg"]), tag)
