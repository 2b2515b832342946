"""Ranges of billing periods: what has no delivery is skipped, what is bad fails alone, the others are loaded and proved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionResolvedStatus as CheckStatus,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from billing_lake.assets import crawler_table, periods
from billing_lake.domain.errors import CommitConflictError, StorageWriteError
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import LONG
from billing_lake.landing.local import LocalStorage
from billing_lake.sample import SampleDelivery
from billing_lake.tables.hive import HiveTables
from billing_lake.tables.iceberg import IcebergTables
from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import EXPORT, NO_CAPTURE, TABLE, SampleLake, failure, verdicts

Make = Callable[..., SampleLake]

MONTHS = [f"2025-{month:02d}" for month in range(1, 7)]
ASSETS = ("raw_reports", "crawler_table", "hive_table", "iceberg_table")
TWO = ["hive", "iceberg"]


def answered(code: str) -> StorageWriteError:
    """Return the error for an answer of AWS."""
    error = StorageWriteError("AWS does not do this")
    error.__cause__ = ClientError({"Error": {"Code": code, "Message": "no"}}, "PutObject")
    return error


def statuses(lake: SampleLake, asset: str) -> dict[str, str]:
    """What the bar of periods shows: `green`, `red` or `missing`."""
    found = lake.instance.get_status_by_partition(
        dg.AssetKey([EXPORT, asset]), MONTHS, lake.component.export.partitions
    )
    shown = {"MATERIALIZED": "green", "FAILED": "red", None: "missing"}
    return {
        month: shown[None if status is None else status.value]
        for month, status in (found or dict.fromkeys(MONTHS)).items()
    }


def proofs(lake: SampleLake, asset: str, check: str = "equals_delivery") -> dict[str, CheckStatus]:
    """What the checks' bar of periods shows."""
    key = dg.AssetCheckKey(dg.AssetKey([EXPORT, asset]), check)
    partitions = lake.component.export.partitions
    state = lake.instance.event_log_storage.get_asset_check_state([(key, partitions)])[key]
    return {
        month: status
        for status, subset in state.subsets.items()
        for month in MONTHS
        if not subset.is_empty and month in subset.subset_value
    }


def take_away(delivery: SampleDelivery) -> None:
    shutil.rmtree(delivery.files[0].parents[1])


def steps_that_failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {str(event.step_key) for event in result.get_step_failure_events()}


def test_months_without_a_delivery_are_skipped_and_stay_as_they_were(make_lake: Make) -> None:
    lake = make_lake(outputs=TWO)
    archived = lake.deliver("2025-01")
    assert lake.load("2025-01").success
    proved = verdicts(lake.load("2025-01"))["iceberg_table", "equals_delivery", "2025-01"]
    take_away(archived)
    good = lake.deliver("2025-03")
    result = lake.load_range(MONTHS[0], MONTHS[-1])
    assert result.success
    assert_tables_equal(lake, archived, good)
    for asset in ASSETS:
        assert {m: s for m, s in statuses(lake, asset).items() if s != "missing"} == {
            "2025-01": "green",
            "2025-03": "green",
        }
    for asset, check in (("iceberg_table", "equals_delivery"), ("crawler_table", "schema_diff")):
        assert proofs(lake, asset, check) == {
            month: CheckStatus.SUCCEEDED if month in ("2025-01", "2025-03") else CheckStatus.SKIPPED
            for month in MONTHS
        }
    found = verdicts(result)
    kept = found["iceberg_table", "equals_delivery", "2025-01"]
    assert kept.description == proved.description
    assert kept.target_materialization_data == proved.target_materialization_data
    assert {period for _, _, period in found} == {"2025-01", "2025-03"}


def test_a_skipped_month_tells_why_on_its_page(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver("2025-01")
    assert lake.load("2025-02").success
    records = lake.instance.fetch_observations(dg.AssetKey([EXPORT, "raw_reports"]), 10).records
    (told,) = [record.asset_observation for record in records]
    assert told is not None
    assert told.partition == "2025-02"
    assert "has no delivery for 2025-02; it has 2025-01" in str(told.description)
    assert told.metadata["outcome"].value == "skipped"


def test_months_loaded_one_run_each_are_skipped_alike(make_lake: Make) -> None:
    lake = make_lake(outputs=TWO, single_run_backfill=False)
    archived, good = lake.deliver("2025-01"), lake.deliver("2025-03")
    assert lake.load("2025-01").success
    take_away(archived)
    runs = {month: lake.load(month) for month in MONTHS}
    assert all(run.success for run in runs.values())
    for asset in ASSETS:
        assert [statuses(lake, asset)[month] for month in MONTHS[:4]] == [
            "green",
            "missing",
            "green",
            "missing",
        ]
    assert [
        event.asset_key.path[-1]
        for event in runs["2025-01"].get_asset_materialization_events()
        if event.asset_key
    ] == []
    assert proofs(lake, "hive_table")["2025-01"] == CheckStatus.SUCCEEDED
    assert_tables_equal(lake, archived, good)


@pytest.mark.parametrize("load", ["one month", "a range"])
def test_an_export_without_any_delivery_is_no_month_to_skip(make_lake: Make, load: str) -> None:
    lake = make_lake(outputs=["iceberg"])
    (lake.landing / "billing/daily").mkdir(parents=True)
    result = lake.load("2025-02") if load == "one month" else lake.load_range(*MONTHS[:2])
    assert not result.success
    assert "NoDeliveryError: " in failure(result, f"{EXPORT}__raw_reports")


def spoil_the_manifest(_: SampleLake, delivery: SampleDelivery) -> None:
    assert delivery.manifest
    delivery.manifest.write_text("{ this is no JSON")


def spoil_a_file(_: SampleLake, delivery: SampleDelivery) -> None:
    delivery.files[0].write_bytes(b"this is no gzip at all")


def spoil_a_column(lake: SampleLake, _: SampleDelivery) -> None:
    """Of all months, only the bad one has the tag."""
    columns = lake_columns([Column("resource_tags_user_project", LONG)])
    lake.lake.iceberg.create(TABLE, plan(None, columns).fields)


def spoil_nothing(_: SampleLake, __: SampleDelivery) -> None:
    """The month fails at its table."""


def no_space_for(
    period: str,
    patch: pytest.MonkeyPatch,
    tables: type[HiveTables | IcebergTables] = HiveTables,
) -> None:
    """Let the disk be full when a period comes to a table."""
    replace: Any = tables.replace_period

    def refuse(self: object, table: str, key: PeriodKey, *args: Any, **more: Any) -> Any:
        if key.period == period:
            raise StorageWriteError("No space is left on the disk")
        return replace(self, table, key, *args, **more)

    patch.setattr(tables, "replace_period", refuse)


@pytest.mark.parametrize(
    ("spoil", "asset", "error"),
    [
        (spoil_the_manifest, "raw_reports", "BrokenManifestError"),
        (spoil_a_file, "crawler_table", "NotGzipError"),
        (spoil_a_column, "crawler_table", "no table was changed"),
        (spoil_nothing, "hive_table", "StorageWriteError"),
    ],
)
def test_a_bad_month_fails_alone_wherever_it_fails(
    make_lake: Make,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[SampleLake, SampleDelivery], None],
    asset: str,
    error: str,
) -> None:
    lake = make_lake(outputs=TWO)
    archived = lake.deliver("2025-01")
    assert lake.load("2025-01").success
    take_away(archived)
    if spoil is spoil_a_column:
        lake.lake.iceberg.drop(TABLE)
        lake.lake.hive.drop(TABLE)
    good = [lake.deliver(month) for month in ("2025-03", "2025-06")]
    bad = lake.deliver("2025-04", extra_tags=("user:Project",))
    spoil(lake, bad)
    if asset == "hive_table":
        no_space_for(bad.period, monkeypatch)
    result = lake.load_range(MONTHS[0], MONTHS[-1])
    assert not result.success
    assert steps_that_failed(result) == {
        f"{EXPORT}__{table}_proofs" for table in ("hive_table", "iceberg_table")
    }
    for table in ("hive_table", "iceberg_table"):
        text = failure(result, f"{EXPORT}__{table}_proofs")
        assert text.startswith(
            f"1 of 6 billing periods failed; the others were loaded into {table}; skipped, because they have no delivery: 3.\n"
            f"2025-04: {asset}: "
        )
        assert error in text
    assert_tables_equal(lake, *good)
    failed_from = ASSETS.index(asset) + (spoil is spoil_a_column)
    for place, name in enumerate(ASSETS):
        assert statuses(lake, name) == {
            "2025-01": "green",
            "2025-02": "missing",
            "2025-03": "green",
            "2025-04": "red" if place >= failed_from else "green",
            "2025-05": "missing",
            "2025-06": "green",
        }, name
    assert lake.lake.iceberg.periods(TABLE, EXPORT) == tuple(
        month
        for month in ("2025-01", "2025-03", "2025-06")
        if month != "2025-01" or spoil is not spoil_a_column
    )
    shown = proofs(lake, "iceberg_table")
    # What was loaded into a table that is gone has no verdict any more.
    gone = {"2025-01"} if spoil is spoil_a_column else set()
    succeeded = {month for month, status in shown.items() if status == CheckStatus.SUCCEEDED}
    assert succeeded == {*MONTHS} - {"2025-04"} - gone
    found = verdicts(result)
    assert found["iceberg_table", "equals_delivery", "2025-06"].passed
    assert ("iceberg_table", "equals_delivery", "2025-04") not in found


def test_a_table_that_fails_turns_no_check_of_a_skipped_month_red(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake(outputs=TWO)
    lake.deliver("2025-03")
    no_space_for("2025-03", monkeypatch, IcebergTables)
    result = lake.load_range("2025-02", "2025-04")
    assert steps_that_failed(result) == {f"{EXPORT}__iceberg_table_proofs"}
    for asset, check in (
        ("crawler_table", "schema_diff"),
        ("hive_table", "equals_delivery"),
        ("hive_table", "unique_line_items"),
    ):
        found = proofs(lake, asset, check)
        assert {found[month] for month in MONTHS[1:4]} == {CheckStatus.SUCCEEDED}, asset


def test_a_month_that_the_first_step_refuses_everywhere_fails_in_its_place(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    for month in MONTHS[:2]:
        spoil_a_file(lake, lake.deliver(month))
    result = lake.load_range(*MONTHS[:2])
    assert steps_that_failed(result) == {f"{EXPORT}__crawler_table"}
    text = failure(result, f"{EXPORT}__crawler_table")
    assert text.startswith("All 2 billing periods failed.\n2025-01: NotGzipError: ")


def test_the_last_step_says_what_failed_where_no_checks_are_run(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    spoil_a_file(lake, lake.deliver("2025-01"))
    lake.deliver("2025-02")
    job = lake.definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey([EXPORT, name]) for name in ("raw_reports", "crawler_table")},
        asset_check_selection=set(),
    )
    result = job.execute_in_process(
        instance=lake.instance, tags=in_range(*MONTHS[:2]), raise_on_error=False
    )
    text = failure(result, f"{EXPORT}__crawler_table")
    assert text.startswith(
        "1 of 2 billing periods failed; the others were loaded into crawler_table."
    )


def test_a_range_of_any_length_looks_at_the_folder_once_for_what_is_not_there(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver("2025-03")
    looked: list[str] = []
    look = LocalStorage.list

    def counting(storage: LocalStorage, prefix: str, **options: Any) -> Any:
        looked.append(prefix)
        return look(storage, prefix, **options)

    monkeypatch.setattr(LocalStorage, "list", counting)
    assert lake.load_range(MONTHS[0], MONTHS[-1], assets=["raw_reports"]).success
    assert len(looked) == 1


@pytest.mark.parametrize(
    ("months", "fault"),
    [
        (MONTHS[:1], CommitConflictError("Other writers kept winning")),
        (MONTHS[:3], CommitConflictError("Other writers kept winning")),
        (MONTHS[:3], answered("SlowDown")),
    ],
)
def test_what_works_soon_is_tried_again_in_one_month_and_in_many(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch, months: list[str], fault: Exception
) -> None:
    lake = make_lake(outputs=["iceberg"])
    deliveries = [lake.deliver(month) for month in months]
    loaded: list[str] = []
    replace = IcebergTables.replace_period

    def lose_the_first(
        self: IcebergTables, table: str, key: PeriodKey, *args: Any, **more: Any
    ) -> Any:
        # The ledger's tables are written with each load, too.
        if table == lake.table:
            loaded.append(key.period)
            if len(loaded) == 1:
                raise fault
        return replace(self, table, key, *args, **more)

    monkeypatch.setattr(IcebergTables, "replace_period", lose_the_first)
    monkeypatch.setattr(periods, "_PAUSE_SECONDS", 0)
    result = lake.load(months[0]) if len(months) == 1 else lake.load_range(months[0], months[-1])
    assert result.success
    assert loaded == [*months, months[0]], "the others first, and none of them twice"
    assert_tables_equal(lake, *deliveries)


def test_a_step_is_tried_again_where_aws_was_busy_and_not_where_a_right_is_missing() -> None:
    with pytest.raises(dg.RetryRequested), periods.named_failures():
        raise answered("SlowDown")
    with pytest.raises(dg.Failure) as caught, periods.named_failures():
        raise answered("AccessDenied")
    assert not caught.value.allow_retries


def test_a_table_alone_for_a_month_that_was_not_crawled_says_what_comes_first(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg"])
    result = lake.load("2025-02", assets=["iceberg_table"])
    text = failure(result, f"{EXPORT}__iceberg_table")
    assert text.startswith("TableError: costs/crawler_table has no value for 2025-02. Materialize ")
    assert "LoadInputError" not in text


def test_a_lake_that_takes_no_values_fails_the_step_with_the_remedy(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver("2025-02")
    (lake.home / "values").write_text("a file where a folder must be")
    text = failure(lake.load("2025-02"), f"{EXPORT}__raw_reports")
    assert text.startswith("StorageWriteError: The value of costs/raw_reports cannot be kept")
    assert "HandleOutputError" not in text


HOME = "BILLING_LAKE_TEST_HOME"


def load_job() -> dg.JobDefinition:
    """The job of the lake in the environment's folder, for runs that go on where another one failed."""
    lake = SampleLake(Path(os.environ[HOME]), {"outputs": TWO})
    return lake.definitions.resolve_job_def(f"{EXPORT}_load")


def in_range(first: str, last: str) -> Mapping[str, str]:
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def test_a_run_that_goes_on_where_another_one_failed_knows_what_that_one_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv(HOME, str(tmp_path / "lake"))
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), NO_CAPTURE) as instance:
        lake = SampleLake(tmp_path / "lake", {"outputs": TWO}, instance)
        archived, good = lake.deliver("2025-01"), lake.deliver("2025-02")
        assert lake.load("2025-01").success
        take_away(archived)
        job, tags = dg.reconstructable(load_job), in_range("2025-01", "2025-03")
        with monkeypatch.context() as patch:
            patch.setattr(crawler_table, "progress", out_of_order)
            first = dg.execute_job(job, instance, tags=tags)
        assert not first.success
        options = dg.ReexecutionOptions.from_failure(first.run_id, instance)
        again = dg.execute_job(job, instance, tags=tags, reexecution_options=options)
        assert again.success
        assert {event.step_key for event in again.get_step_success_events()} >= {
            f"{EXPORT}__crawler_table",
            f"{EXPORT}__hive_table_proofs",
        }
        assert_tables_equal(lake, archived, good)
        assert statuses(lake, "hive_table")["2025-03"] == "missing"


def out_of_order(_: object) -> None:
    raise OSError("The step fails before it comes to any month")


def test_a_skipped_month_is_told_of_deliveries_that_no_month_of_the_export_reaches(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg"], start="2025-02")
    lake.deliver("2025-01")
    for result in (lake.load("2025-02"), lake.load_range("2025-02", "2025-03")):
        assert result.success
        (event,) = (
            one
            for one in result.all_events
            if one.event_type is dg.DagsterEventType.ASSET_OBSERVATION
            and one.partition == "2025-02"
        )
        reason = str(event.asset_observation_data.asset_observation.metadata["reason"].value)
        assert "Its deliveries of 2025-01 are not between `start` and `end`" in reason
