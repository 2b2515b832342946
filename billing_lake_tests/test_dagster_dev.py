"""What people use: the webserver, the daemon and its sensor, runs in processes of their own; on the services of AWS.

Everything else that tests look at happens in the process of the tests, where no run launcher is.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_graphql.cli import execute_query

from billing_lake.deployments import LocalLake
from billing_lake.domain.sources import PeriodKey
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.sample import write_delivery
from billing_lake_tests.assets.test_load import figures
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import RUNS_IN_PROCESS, SPEC
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.servers.ports import free_port

ROOT = Path(__file__).parents[1]
WORKSPACE = ROOT / "workspace.yaml"
EXPORT = "cost_and_usage"
TABLE = f"billing.{EXPORT}"


@dataclass(frozen=True)
class Dev:
    """A running `dagster dev`, as its user interface sees it."""

    instance: dg.DagsterInstance
    port: int

    @property
    def client(self) -> Any:
        """What the user interface sends its requests with."""
        from dagster_graphql import DagsterGraphQLClient

        return DagsterGraphQLClient("127.0.0.1", port_number=self.port)

    def run(self) -> dg.DagsterRun:
        """Return the newest run."""
        return self.instance.get_runs(limit=1)[0]

    def is_up(self) -> bool:
        """Say whether the webserver answers."""
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    def wait(self, wanted: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s"
            time.sleep(0.5)


@contextmanager
def dagster_dev(home: Path, variables: dict[str, str]) -> Iterator[Dev]:
    """Run `dagster dev` as `make dev` does."""
    home.mkdir()
    shutil.copy(ROOT / "billing_lake" / "commands" / "dagster.yaml", home)
    port = free_port()
    environment = {
        **os.environ,
        **variables,
        "DAGSTER_HOME": str(home),
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    dagster = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE)]
    with (home / "dev.log").open("w") as log:
        process = subprocess.Popen(
            [*dagster, "-h", "127.0.0.1", "-p", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=home,
            start_new_session=True,
        )
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            dev = Dev(instance, port)
            dev.wait(dev.is_up, "the webserver answers")
            yield dev
    except BaseException:
        print((home / "dev.log").read_text()[-4_000:])
        raise
    finally:
        try:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            # Its servers and runs would go on without it.
            os.killpg(process.pid, signal.SIGKILL)
            raise


# Dagster's client speaks to its GraphQL library as to an older one.
@pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning")
def test_a_delivery_is_loaded_by_the_daemon_and_cancelling_its_run_stops_the_glue_run(
    make_aws_lake: Callable[..., SampleLakeOnAws], aws: Aws, glue_job: str, tmp_path: Path
) -> None:
    lake = make_aws_lake("glue")
    delivery = lake.deliver("2025-03", spec=replace(SPEC, report="cost-and-usage"))
    before = len(aws.glue.runs.of(glue_job))
    tables = [catalog.tables() for catalog in (lake.lake.hive, lake.lake.iceberg)]

    def glue_runs() -> list[str]:
        return [run.state for run in aws.glue.runs.of(glue_job)][before:]

    aws.glue.runs.hold(glue_job)
    sensor = f"{EXPORT}_new_reports"
    with dagster_dev(tmp_path / "dagster", lake.variables) as dev:
        selector = {**REPOSITORY, "sensorName": sensor}
        answer = dev.client._execute(START_SENSOR, {"selector": selector})["startSensor"]
        assert answer["__typename"] == "Sensor", answer
        dev.wait(lambda: glue_runs() == ["RUNNING"], "the sensor's run starts a Glue run")
        cancelled = dev.run()
        assert cancelled.tags["dagster/partition"] == "2025-03"
        assert cancelled.tags["dagster/sensor_name"] == sensor
        dev.client.terminate_run(cancelled.run_id)
        dev.wait(lambda: dev.run().is_finished, "the run is cancelled")
        assert dev.run().status == dg.DagsterRunStatus.CANCELED
        assert glue_runs() == ["STOPPED"]
        # Other tests of this process keep theirs in the same account.
        assert [catalog.tables() for catalog in (lake.lake.hive, lake.lake.iceberg)] == tables
        assert list(lake.lake.files.list(lake.lake.staging)) == []

        aws.glue.runs.release(glue_job)
        again = dev.client.submit_job_execution(
            f"{EXPORT}_load", tags={"dagster/partition": "2025-03"}
        )
        dev.wait(lambda: dev.run().run_id == again and dev.run().is_finished, "the month is loaded")
        assert dev.run().status == dg.DagsterRunStatus.SUCCESS
    assert "Warning: " not in (tmp_path / "dagster" / "dev.log").read_text()
    assert glue_runs() == ["STOPPED", "SUCCEEDED"], "one run of Glue a month"
    for catalog in (lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables):
        source = catalog.files(TABLE, PeriodKey(EXPORT, "2025-03"))
        assert figures(lake.lake.reader.profile(LEGACY_CUR.with_roles(source))) == figures(delivery)


START_SENSOR = """mutation($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on PythonError { message } }
}"""

REPOSITORY = {
    "repositoryLocationName": "billing_lake",
    "repositoryName": "__repository__",
}

BACKFILL = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""

STATUS = """query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { partitionStats { numPartitions numMaterialized numFailed } }
  }
}"""


# Dagster, of a function of its own.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")
def test_backfills_over_a_month_without_a_delivery_load_the_others_in_one_run_and_in_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ask as the user interface does, and do what the daemon does; that one would pause for half a minute between its looks."""
    periods = ("2025-01", "2025-02", "2025-03")
    home, exports = tmp_path / "lake", ("in_one", "in_many")
    for period in (periods[0], periods[2]):
        write_delivery(home / "landing", period, SPEC)
    for name in exports:
        settings = {
            "name": name,
            "layout": SPEC.layout,
            "prefix": SPEC.prefix,
            "report": SPEC.report,
            "start": periods[0],
            "end": periods[2],
            "outputs": ["hive"],
            "single_run_backfill": name == "in_one",
            "counts": name == "in_one",
        }
        file = tmp_path / "exports" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        component = {"type": "billing_lake.components.BillingExport", "attributes": settings}
        file.write_text(json.dumps(component), encoding="utf-8")
    monkeypatch.setenv("BILLING_LAKE_HOME", str(home))
    monkeypatch.setenv("BILLING_LAKE_DEFS", str(tmp_path / "exports"))
    assets = ("raw_reports", "crawler_table", "hive_table")
    target = WorkspaceFileTarget([str(WORKSPACE)])
    with (
        dg.instance_for_test(RUNS_IN_PROCESS, temp_dir=str(tmp_path)) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):

        def ask(query: str, **variables: object) -> dict[str, Any]:
            answer = execute_query(workspace, query, variables)
            assert "errors" not in answer, answer
            (found,) = answer["data"].values()
            return dict(found)

        backfills = {}
        for name in exports:
            selection = [{"path": [name, asset]} for asset in assets]
            params = {"assetSelection": selection, "partitionNames": list(periods)}
            answer = ask(BACKFILL, params=params)
            assert answer["__typename"] == "LaunchBackfillSuccess", answer
            backfills[name] = answer["backfillId"]

        def are_over() -> bool:
            found = [instance.get_backfill(one) for one in backfills.values()]
            return all(one and one.status in BULK_ACTION_TERMINAL_STATUSES for one in found)

        looks = itertools.takewhile(lambda _look: not are_over(), range(10))
        for _look in looks:
            backfilled = execute_backfill_iteration(workspace, logging.getLogger(__name__))
            dequeued = QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(workspace)
            assert [one for one in (*backfilled, *dequeued) if one is not None] == []
        assert are_over()
        for name, backfill_id in backfills.items():
            runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
            assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
            assert len(runs) == (1 if name == "in_one" else len(periods))
            for asset in assets:
                status = ask(STATUS, key={"path": [name, asset]})["partitionStats"]
                assert status == {"numPartitions": 3, "numMaterialized": 2, "numFailed": 0}, asset
    held = LocalLake(home).hive
    for name in exports:
        assert held.periods(f"billing.{name}", name) == (periods[0], periods[2])
