"""Why a run failed, as `billing-lake load` and the demo say it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from billing_lake.commands.runs import LoadRun, Project
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake_tests.lakes import SampleLake
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row, write_report

PERIOD = "2025-03"


@pytest.fixture
def lake(make_lake: Callable[..., SampleLake], monkeypatch: pytest.MonkeyPatch) -> SampleLake:
    """A lake whose environment goes with the test: projects name their Dagster instance in it."""
    for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    made: SampleLake = make_lake(layout="loose", report="", outputs=["iceberg", "s3_table"])
    return made


def run(lake: SampleLake, definitions: dg.Definitions) -> LoadRun:
    """Deliver a row of an account whose leading zeros are gone, and load it."""
    row = minimal_row(account="123456789")
    write_report(lake.landing / "billing" / f"{PERIOD}.csv.gz", MINIMAL_HEADER, [row])
    export = lake.component.export
    delivery = resolve_delivery(lake.lake.storage, export.location, PERIOD)
    return Project(lake.home, definitions).run(export, delivery)


def test_a_check_that_only_complains_is_no_reason_why_a_run_failed(lake: SampleLake) -> None:
    (lake.home / "warehouse").mkdir(parents=True)
    (lake.home / "warehouse" / "s3tables").write_bytes(b"in the way of the second table")
    found = run(lake, lake.definitions)
    complaint = next(one for one in found.checks if one.check_name == "account_ids")
    assert (complaint.passed, complaint.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.fault is not None
    assert found.fault.kind == "StorageWriteError"
    assert "s3tables" in found.fault.text


def test_the_check_that_holds_a_run_back_is_the_reason_why_it_failed(lake: SampleLake) -> None:
    key = dg.AssetKey("raw")
    specs = [
        dg.AssetCheckSpec("complaint", asset=key),
        dg.AssetCheckSpec("gate", asset=key, blocking=True),
    ]

    @dg.asset(key=key, check_specs=specs, partitions_def=lake.component.export.partitions)
    def raw() -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        for one in specs:
            text = f"the {one.name}"
            yield dg.AssetCheckResult(check_name=one.name, passed=False, description=text)
        yield dg.Output(None)

    job = dg.define_asset_job(f"{lake.name}_load", selection=[key])
    found = run(lake, dg.Definitions(assets=[raw], jobs=[job]))
    assert found.fault is not None
    assert (found.fault.kind, found.fault.text) == ("SchemaChangeError", "the gate")


def test_a_run_that_a_killed_command_left_is_ended_by_the_next_one(lake: SampleLake) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import dagster as dg\n"
        "from billing_lake.commands.runs import Project\n"
        "@dg.asset(key='killed')\n"
        "def killed(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "Project(Path(sys.argv[1]), dg.Definitions(assets=[killed])).materialize(dg.AssetKey('killed'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(lake.home)], capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    with dg.DagsterInstance.from_config(str(lake.home / "dagster")) as instance:
        (left,) = instance.get_runs()
        assert left.status == dg.DagsterRunStatus.STARTED
        Project(lake.home, lake.definitions)
        (left,) = instance.get_runs()
        assert left.status == dg.DagsterRunStatus.FAILURE
