"""The demo, run twice in one lake, and once where it must fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from billing_lake.assets.all_costs import ALL_COSTS_KEY
from billing_lake.commands.demo import demo_chapters
from billing_lake.commands.results import as_text
from billing_lake.components.demo_export import demo_alerts, demo_export
from billing_lake.deployments import LocalLake
from billing_lake.deployments.local import DEMO_MARK
from billing_lake.sample import SampleDelivery, SampleSpec, write_delivery
from billing_lake.sensors.alerts import watch
from billing_lake.sql.lake_sql import LakeSql
from billing_lake_tests.commands.conftest import MARCH, TABLE, Runner, write_report

# Dagster's own, where it reads defs.yaml.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

ROOT = Path(__file__).parents[2]
ROWS = 300
PERIODS = ["2025-01", "2025-02", "2025-03"]


@dataclass
class Demo:
    home: Path
    own: Path
    first: Result
    second: Result
    checkout: Path
    own_files: dict[Path, bytes]
    deliveries: list[SampleDelivery]


def follow(checkout: Path, commands: Sequence[str]) -> None:
    """Do in a fresh checkout what the demo advises, with a report of one's own, as far as to the UI."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "billing_lake", checkout / "billing_lake", ignore=without)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    bill = checkout / "my bills" / "acme"
    bill.mkdir(parents=True)
    write_report(bill / "bill 1.csv.gz", "2025-03", MARCH, thin=True)
    load, dev = (command.partition("    # ")[0].strip() for command in commands)
    settings, called, _ = load.partition("billing-lake load")
    assert dev == f"{settings}make dev"
    assert called
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "BILLING_LAKE_HOME"}
    subprocess.run(
        ["bash", "-c", load.replace("FOLDER_OR_BUCKET", "'my bills'")],
        cwd=checkout,
        env={**environment, "PATH": path, "PYTHONPATH": str(checkout)},
        check=True,
        input=b"y\n",
        stdout=subprocess.DEVNULL,
    )


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    own = tmp_path_factory.mktemp("demo") / "lake"
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSTER_HOME", "/nonexistent")
    run = Runner(own)
    first = run("demo", "--rows", str(ROWS))
    checkout = tmp_path_factory.mktemp("checkout")
    follow(checkout, first.stdout.splitlines()[-2:])
    before = files_of(own)
    second = run("demo", "--rows", str(ROWS))
    patch.undo()
    spec = SampleSpec(layout="create-new", rows=ROWS)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    deliveries = [
        write_delivery(
            elsewhere, one.period, spec, restatement=one.restatement, extra_tags=one.extra_tags
        )
        for one in demo_chapters()
    ]
    return Demo(own.with_name("lake-demo"), own, first, second, checkout, before, deliveries)


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
    assert "The story of 2025-02" in out
    assert re.search(r"20250226T\d+Z +OPEN .*\n.*20250304T\d+Z +CLOSED ", out)
    assert len(re.findall(rf"{ROWS} = {ROWS} rows +✓ all \d+ passed", out)) == 8
    warned = r"2025-02 +iceberg .*✓ (\d+) of (\d+) passed, warning: restatement_size"
    (counts,) = re.findall(warned, out)
    assert int(counts[0]) == int(counts[1]) - 1
    follow = "2025-03: 1 changed column, which the tables follow: resource_tags_user_project (new)"
    assert follow in out
    assert "AmazonEC2" in out
    assert "make dev" in out
    assert "restatements 2025-02" in out
    assert "No changes" in demo.second.stdout


def test_it_ends_with_the_story_of_the_restated_month_and_the_alert_it_is_worth(demo: Demo) -> None:
    before, after = (
        one.totals["USD"]["line_item_unblended_cost"]
        for one in demo.deliveries
        if one.period == "2025-02"
    )
    for result in (demo.first, demo.second):
        _, _, end = result.stdout.partition("The story of 2025-02")
        story, _, end = end.partition("Alerts, as the log notifier wrote them")
        alert, _, _ = end.partition("Next")
        assert len(re.findall(r"^ +delivery ", story, re.MULTILINE)) == (
            2 if result is demo.first else 4
        )
        assert f"{as_text(after)} USD" in story
        assert "groups of costs changed" in story
        assert alert.count("WARNING billing_lake.alerts: ") == 1
        assert "[WARN] cost_and_usage 2025-02: check restatement_size warns" in alert
        (moved,) = re.findall(r"past days moved by ([\d.]+) USD, [\d.]+ % of", alert)
        (change,) = re.findall(r"\| AmazonS3 \| USD \| (-[\d.]+) \|", alert)
        # Of the days that were over two days before the first delivery; the others moved, too.
        assert f"{-Decimal(change):.2f}" == moved
        assert 0 < -Decimal(change) < before - after


def test_its_alert_is_of_its_last_run_of_the_month_and_no_daemon_tells_it_again(
    demo: Demo,
) -> None:
    with dg.DagsterInstance.from_config(str(demo.home / "dagster")) as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "2025-02"}))
        for result, run in ((demo.second, runs[0]), (demo.first, runs[2])):
            assert re.findall(r"^ +Run: (\S+)$", result.stdout, re.MULTILINE) == [run.run_id]
        policy = demo_alerts().policy(frozenset(("cost_and_usage",)))
        again = watch(instance, policy, {})
        assert (again.queued, again.delivered, again.waiting) == (0, 0, [])


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
        # The user interface asks for runs by this tag.
        ours = dg.RunsFilter(tags={".dagster/repository": "__repository__@billing_lake"})
        runs = list(instance.get_runs(ours))
        view = runs.pop(0)
        assert view.status is dg.DagsterRunStatus.SUCCESS
        assert instance.get_latest_materialization_event(ALL_COSTS_KEY) is not None
        assert runs.pop(4).job_name == view.job_name, "one for each time that the demo was run"
        assert len(runs) == 8
        assert {run.tags["dagster/code_location"] for run in runs} == {"billing_lake"}
        assert [run.tags["billing_lake/delivery_version"] for run in reversed(runs)] == [
            delivery.version for delivery in (*demo.deliveries, *demo.deliveries)
        ]
        assert {run.tags["billing_lake/export"] for run in runs} == {"cost_and_usage"}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        assert {run.tags["dagster/partition"] for run in runs} == set(PERIODS)
        key = dg.AssetKey(["cost_and_usage", "iceberg_table"])
        # Nor is `restatements` half full, of which two months have none.
        for one in (key, dg.AssetKey(["cost_and_usage", "restatements"])):
            assert instance.get_materialized_partitions(one) == set(PERIODS)
        # Nothing of the graph is grey.
        assert demo_export().export.partitions.get_partition_keys() == PERIODS
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(key, "equals_delivery")]
        )
        assert len(checks) == 1


def test_its_advice_leads_to_a_report_of_one_s_own_which_the_next_demo_leaves_alone(
    demo: Demo,
) -> None:
    assert (demo.checkout / "billing_lake" / "defs" / "acme" / "defs.yaml").is_file()
    with LakeSql(LocalLake(demo.own)) as lake_sql:
        for name in ("billing.acme", "s3tables.billing.acme", "hive.billing.acme"):
            sql = f"SELECT line_item_currency_code, count(*), sum(line_item_unblended_cost) FROM {name} GROUP BY ALL ORDER BY ALL"
            assert list(lake_sql.ask(sql).rows()) == [
                ("EUR", 1, Decimal("1.1")),
                ("USD", len(MARCH) - 1, Decimal("94.600000000000000001")),
            ]
        assert "billing.cost_and_usage" not in {table.name for table in lake_sql.tables}
    assert files_of(demo.own) == demo.own_files


def test_it_writes_nothing_into_a_folder_that_no_demo_made(tmp_path: Path) -> None:
    mine = tmp_path / "lake-demo" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = Runner(tmp_path / "lake")("demo", "--rows", "50")
    assert result.exit_code == 2
    assert "did not make what is in this folder" in result.stderr
    assert list(tmp_path.rglob("*")) == [mine.parent, mine]


def test_it_writes_nothing_where_somebody_put_a_bill_into_its_lake(tmp_path: Path) -> None:
    home = tmp_path / "lake-demo"
    bill = home / "landing/billing/cost-and-usage/20250301-20250401/cost-and-usage-Manifest.json"
    bill.parent.mkdir(parents=True)
    bill.write_text("{}")
    (home / DEMO_MARK).write_text("")
    # The demo's lake may be named itself, as somebody does who looked into it.
    result = Runner(home)("demo", "--rows", "50")
    assert result.exit_code == 2
    assert "there is a file that is no sample" in result.stderr
    assert [path for path in (home / "landing").rglob("*") if path.is_file()] == [bill]


def test_a_run_that_fails_is_one_panel_with_the_reason_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        from billing_lake.domain.errors import StorageWriteError

        raise StorageWriteError("The disk is full", file="x.parquet")

    monkeypatch.setattr("billing_lake.tables.hive.HiveTables.replace_period", broken)
    result = Runner(tmp_path / "lake")("demo", "--rows", "50")
    assert result.exit_code == 1
    assert "The disk is full" in result.stderr
    assert "demo.log" in result.stderr.replace("\n", "").replace("│", "").replace(" ", "")
    assert "Traceback" not in result.output
