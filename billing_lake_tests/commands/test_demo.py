"""The demo, run twice in one lake, and once where it must fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from billing_lake.commands.demo import chapters
from billing_lake.commands.lake_sql import LakeSql
from billing_lake.commands.results import as_text
from billing_lake.deployments import LocalLake
from billing_lake.sample import SampleDelivery, SampleSpec, write_delivery
from billing_lake_tests.commands.conftest import TABLE, Runner

# Dagster's own, where it reads defs.yaml.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

ROWS = 300
PERIODS = ["2025-01", "2025-02", "2025-03"]


@dataclass
class Demo:
    home: Path
    first: Result
    second: Result
    deliveries: list[SampleDelivery]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo") / "lake"
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSTER_HOME", "/nonexistent")
    run = Runner(home)
    first = run("demo", "--rows", str(ROWS))
    second = run("demo", "--rows", str(ROWS))
    patch.undo()
    spec = SampleSpec(layout="create-new", rows=ROWS)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    deliveries = [
        write_delivery(
            elsewhere, one.period, spec, restatement=one.restatement, extra_tags=one.extra_tags
        )
        for one in chapters()
    ]
    return Demo(home, first, second, deliveries)


def test_it_works_the_first_and_the_second_time(demo: Demo) -> None:
    for result in (demo.first, demo.second):
        assert result.exit_code == 0, result.output
        assert result.stderr == ""


def test_it_prints_the_totals_that_were_delivered(demo: Demo) -> None:
    for delivery in demo.deliveries:
        cost = as_text(delivery.totals["USD"]["line_item_unblended_cost"])
        assert demo.first.stdout.count(f"{cost} USD") >= 3
        assert delivery.version in demo.first.stdout


def test_it_says_what_was_new_and_what_was_replaced(demo: Demo) -> None:
    assert demo.first.stdout.count(f"replaced {ROWS} rows") == 3
    assert f"replaced delivery {demo.deliveries[1].version}" in demo.first.stdout
    assert demo.second.stdout.count(f"replaced {ROWS} rows") == 12


def test_it_shows_proofs_the_new_column_services_and_the_way_on(demo: Demo) -> None:
    out = demo.first.stdout
    assert out.count(f"✓ {ROWS} = {ROWS} rows") == 9
    assert "resource_tags_user_project" in out
    assert "AmazonEC2" in out
    assert "make dev" in out
    assert "No changes" in demo.second.stdout


def test_its_output_fits_a_narrow_terminal(demo: Demo) -> None:
    assert max(map(len, demo.first.stdout.splitlines())) < 200
    assert "\x1b" not in demo.first.stdout


def test_dagster_s_log_goes_to_a_file_that_is_named(demo: Demo) -> None:
    log = demo.home / "demo.log"
    assert str(log) in demo.first.stdout
    assert "RUN_SUCCESS" in log.read_text()
    assert "RUN_SUCCESS" not in demo.first.output


def test_every_table_holds_the_latest_delivery_of_each_month(demo: Demo) -> None:
    latest = {one.period: one for one in demo.deliveries}
    with LakeSql(LocalLake(demo.home)) as lake_sql:
        for name in (TABLE, f"s3tables.{TABLE}", f"hive.{TABLE}"):
            sql = (
                "SELECT billing_period, delivery_version, count(*), sum(line_item_unblended_cost), "
                f"sum(savings_plan_savings_plan_effective_cost) FROM {name} GROUP BY ALL ORDER BY ALL"
            )
            assert list(lake_sql.ask(sql).rows()) == [
                (
                    period,
                    latest[period].version,
                    ROWS,
                    latest[period].totals["USD"]["line_item_unblended_cost"],
                    latest[period].totals["USD"].get("savings_plan_savings_plan_effective_cost"),
                )
                for period in PERIODS
            ]


def test_the_instance_that_make_dev_opens_has_the_runs_partitions_and_checks(demo: Demo) -> None:
    with dg.DagsterInstance.from_config(str(demo.home / "dagster")) as instance:
        runs = instance.get_runs()
        assert len(runs) == 8
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        assert {run.tags["dagster/partition"] for run in runs} == set(PERIODS)
        key = dg.AssetKey(["cost_and_usage", "iceberg_table"])
        assert instance.get_materialized_partitions(key) == set(PERIODS)
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(key, "equals_delivery")]
        )
        assert len(checks) == 1


def test_a_run_that_fails_is_one_panel_with_the_reason_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        from billing_lake.domain.errors import StorageWriteError

        raise StorageWriteError("The disk is full", file="x.parquet")

    monkeypatch.setattr("billing_lake.catalogs.hive.HiveTables.replace_period", broken)
    result = Runner(tmp_path)("demo", "--rows", "50")
    assert result.exit_code == 1
    assert "The disk is full" in result.stderr
    assert "demo.log" in result.stderr.replace("\n", "").replace("│", "").replace(" ", "")
    assert "Traceback" not in result.output
