"""Report files from public sources, where they lie beside the checkout: what others wrote loads to the known totals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from billing_lake.cli import main
from billing_lake.deployments import LocalLake
from billing_lake.sql.lake_sql import LakeSql
from billing_lake_tests.lakes import SampleLake, SampleLakeOnSpark
from billing_lake_tests.reports import write_manifest

DATA = Path(__file__).parents[2] / "shared" / "data"
COST = "line_item_unblended_cost"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the public report files are not here")


# PySpark leaves its sockets to the garbage collector.
SPARK = pytest.param(
    "spark", marks=pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
)


# The program is Spark's; test_formats_agree.py has a month of each format on Glue.
GLUE = pytest.param("glue", marks=pytest.mark.every_variant)


@pytest.fixture(params=["polars", SPARK, GLUE])
def make(request: pytest.FixtureRequest) -> Callable[..., SampleLake]:
    """Make lakes that one of the engines loads."""
    if request.param == "glue":
        on_aws: Callable[..., SampleLake] = partial(
            request.getfixturevalue("make_aws_lake"), "glue"
        )
        return on_aws
    make_lake = request.getfixturevalue("make_lake")
    if request.param == "polars":
        return cast("Callable[..., SampleLake]", make_lake)

    def on_spark(**settings: Any) -> SampleLake:
        lake: SampleLake = make_lake(**settings)
        session = request.getfixturevalue("spark")
        return SampleLakeOnSpark(lake.home, lake.settings, lake.instance, session=session)

    return on_spark


def check(lake: SampleLake, period: str, rows: int, cost: str) -> None:
    assert lake.load(period).success
    for output in ("hive", "iceberg", "s3_table"):
        profile = lake.profile(output, period)
        assert profile.rows == rows
        assert profile.totals["USD"][COST] == Decimal(cost)


def test_the_two_loose_reports_of_the_replaced_system_load_to_their_known_total(
    make: Callable[..., SampleLake],
) -> None:
    lake = make(layout="loose", prefix="billing", report="")
    (lake.landing / "billing").mkdir(parents=True)
    for number in (1, 2):
        shutil.copy(DATA / f"cost-and-usage-report-0000{number}.csv.gz", lake.landing / "billing")
    lake.sync()
    check(lake, "2025-03", 40_000, "2018.16023732")


def test_a_real_anonymised_report_loads_to_its_known_total(make: Callable[..., SampleLake]) -> None:
    lake = make(layout="overwrite", prefix="cur", report="real", start="2023-01")
    folder = lake.landing / "cur" / "real" / "20231101-20231201"
    folder.mkdir(parents=True)
    shutil.copy(DATA / "anonymised-legacy-cur-2023-11.csv.gz", folder / "real-00001.csv.gz")
    write_manifest(
        folder / "real-Manifest.json",
        period="2023-11",
        reportName="real",
        bucket=lake.landing.name,
        columns=(),
        report_keys=["cur/real/20231101-20231201/real-00001.csv.gz"],
    )
    lake.sync()
    check(lake, "2023-11", 1_281, "1.6823086974")


def test_the_sample_of_focus_loads_month_by_month_and_adds_up_to_its_known_total(
    make: Callable[..., SampleLake],
) -> None:
    lake = make(format="focus", layout="loose", prefix="", report="focus-*.csv.gz", start="2024-09")
    lake.landing.mkdir(parents=True, exist_ok=True)
    shutil.copy(DATA / "focus-1.0-sample.csv.gz", lake.landing)
    lake.sync()
    months = {"2024-09": (999, Decimal("20.28022672899")), "2024-10": (1, Decimal("0.24"))}
    for month in months:
        assert lake.load(month).success
    for output in ("hive", "iceberg", "s3_table"):
        profiles = {month: lake.profile(output, month) for month in months}
        assert {
            month: (one.rows, one.totals["USD"]["billedcost"]) for month, one in profiles.items()
        } == months
        costs = [one.totals["USD"]["billedcost"] for one in profiles.values()]
        assert sum(costs) == Decimal("20.52022672899")


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")
def test_one_command_tells_of_all_of_them_and_loads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("load", str(DATA), "--yes", "--json", "--outputs", "iceberg")
    done = CliRunner().invoke(main, arguments, env={"BILLING_LAKE_HOME": ""})
    results = json.loads(done.stdout)
    told = {(one["export"], one["period"]): one for one in results}
    assert {
        key: (one["format"], one["files"], one["tables"]["iceberg"]) for key, one in told.items()
    } == {
        key: (format_, files, {"rows": rows, "equal": True})
        for key, format_, files, rows in (
            (("anonymised_legacy_cur", "2023-11"), "legacy_cur", 1, 1_281),
            (("cost_and_usage_report", "2025-03"), "legacy_cur", 2, 40_000),
            (("focus", "2024-09"), "focus", 1, 999),
            (("focus", "2024-10"), "focus", 1, 1),
        )
    }
    costs = [
        Decimal(one["totals"]["USD"]["billedcost"]) for one in results if one["export"] == "focus"
    ]
    assert sum(costs) == Decimal("20.52022672899")
    assert done.exit_code == 0
    with LakeSql(LocalLake(tmp_path / "lake")) as lake:
        sql = "SELECT export_name, count(*), sum(billedcost) FROM billing.all_costs GROUP BY ALL"
        assert sorted(lake.ask(sql).rows()) == [
            ("anonymised_legacy_cur", 1_281, Decimal("1.6823086974")),
            ("cost_and_usage_report", 40_000, Decimal("2018.16023732")),
            ("focus", 1_000, Decimal("20.52022672899")),
        ]
