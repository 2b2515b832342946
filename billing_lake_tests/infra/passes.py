"""What the two roles do in the deployed lake: loads by both engines, a crawler, tables made and tended, and Dagster itself.

Each is done once for all tests of a process, with refusal on, and written down by the recorder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
import pytest
from click.testing import CliRunner

from billing_lake.cli import main
from billing_lake_tests.assets.test_load import assert_tables_equal, figures, op_config
from billing_lake_tests.infra.deployed import (
    FROM_EXPORTS,
    NAME,
    NAMESPACE,
    Deployed,
    DeployedLake,
)
from billing_lake_tests.infra.fargate import Fargate
from billing_lake_tests.infra.stacks import ROOT
from billing_lake_tests.lakes import NO_CAPTURE, failed, verdicts
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.sensors.test_new_reports import periods, tick
from billing_lake_tests.servers.ports import free_port
from billing_lake_tests.servers.postgres import Postgres

EVERYTHING = ("commands", "glue", "crawler", "tables", "orchestrator")
PERIOD = "2025-03"


class Passes:
    """Everything that the roles do in these tests, each once however many tests want it."""

    def __init__(self, deployed: Deployed, folder: Path, stack: ExitStack) -> None:
        self.deployed = deployed
        self._folder, self._stack = folder, stack
        self._done: set[str] = set()

    def lake(self, engine: str, name: str, **settings: object) -> DeployedLake:
        """Make an export that is delivered into the deployed lake."""
        folder = self._folder / f"dagster-{name}"
        folder.mkdir()
        instance = self._stack.enter_context(
            dg.DagsterInstance.local_temp(str(folder), overrides=NO_CAPTURE)
        )
        return DeployedLake(
            self._folder / name,
            {"name": name, "prefix": "exports", "report": name, **settings},
            instance,
            aws=self.deployed.aws,
            engine=engine,
            job=NAME,
            environment=self.deployed.environment,
            database=str(settings.get("namespace", NAMESPACE)),
        )

    def require(self, *names: str) -> None:
        """Do what has not been done yet, with refusal on."""
        for name in names:
            if name not in self._done:
                self._done.add(name)
                with self.deployed.recorder.refusing():
                    getattr(self, f"_{name}")()

    def _commands(self) -> None:
        """Look into the landing bucket and load what lies there, twice, as somebody with the outputs of the stacks does."""
        lake = self.lake("polars", "with_polars", namespace="billing")
        spec = replace(FROM_EXPORTS, prefix="handed", report=lake.name)
        home = self._folder / "somebody"
        env = {"BILLING_LAKE_HOME": str(home), "BILLING_LAKE_DEFS": str(home / "defs")}

        def run(*arguments: str) -> Any:
            command = [*arguments, f"s3://{lake.bucket}/{spec.prefix}", "--json"]
            done = CliRunner().invoke(main, command, env=env)
            assert done.exit_code == 0, done.output
            return json.loads(done.stdout)

        seen = []
        for restatement in (0, 1):
            delivery = lake.deliver(PERIOD, spec=spec, restatement=restatement)
            assert [one["name"] for one in run("inspect")["exports"]] == [lake.name]
            (told,) = run("load", "--yes")
            assert [one["equal"] for one in told["tables"].values()] == [True, True, True]
            assert_tables_equal(lake, delivery)
            seen.append(figures(delivery))
        assert seen[0] != seen[1]

    def _glue(self) -> None:
        """Load a month that the sensor sees, and then its restatement, by Glue jobs."""
        lake = self.lake("glue", "with_glue")
        for restatement in (0, 1):
            delivery = lake.deliver(PERIOD, restatement=restatement)
            assert periods(tick(lake)) == [PERIOD]
            self._succeeded(lake.load(PERIOD))
            assert_tables_equal(lake, delivery)

    def _succeeded(self, result: dg.ExecuteInProcessResult) -> None:
        assert result.success, [*map(str, self.deployed.recorder.refused)]
        assert failed(verdicts(result)) == []

    def _crawler(self) -> None:
        lake = self.lake("polars", "crawled", crawler="glue", outputs=["hive"])
        lake.deliver(PERIOD)
        self._succeeded(lake.load(PERIOD))
        assert lake.lake.crawled.names() == ()

    def _tables(self) -> None:
        """Make, rebuild, tend and delete tables by their jobs."""
        lake = self.lake("polars", "kept")
        config = op_config("create_s3_table", table=lake.table)
        self._succeeded(lake.run("s3_table_create", config=config))
        delivery = lake.deliver(PERIOD)
        self._succeeded(lake.load(PERIOD))
        self._succeeded(lake.run("kept_rebuild_tables"))
        assert_tables_equal(lake, delivery)
        self._succeeded(lake.run("kept_maintenance"))
        config = op_config("delete_s3_table", table=lake.table, confirm=lake.table)
        self._succeeded(lake.run("s3_table_delete", config=config))

    def _orchestrator(self) -> None:
        """Let Dagster see a delivery of the export that its image has, load it in a task of its own, and tell of a red check."""
        report = f"{NAME}-cur2"
        lake = self.lake("polars", "cur2", format="cur2", report=report, namespace="billing")
        # Of so few rows that days of the month have none.
        spec = replace(FROM_EXPORTS, format="cur2", report=report, rows=60)
        delivery = lake.deliver(PERIOD, spec=spec)
        deployed, ports = self.deployed, {one: free_port() for one in (3000, 4000)}
        ui = UI(ports[3000])
        with Postgres(database="dagster", **self._login()) as postgres:
            fargate = Fargate(
                deployed.aws,
                deployed.dagster,
                NAME,
                deployed.deployment.tasks,
                image=ROOT / "infra" / "image",
                folder=self._folder / "image",
                ports={**ports, 5432: postgres.port},
                extra={"BILLING_LAKE_S3_TABLES_URI": deployed.dagster.iceberg_url},
            )
            with fargate:
                fargate.start_service(f"{NAME}-dagster")
                fargate.wait(lambda: ui.ended_runs() != [], "the sensor asks for a run, which ends")
                ((run_id, status),) = ui.ended_runs()
                assert status == "SUCCESS", fargate.log("run")
                (task,) = (one for one in fargate.tasks.values() if not one.of_service)
                # More than this ECS refuses, and the settings of the instance are part of it.
                assert len(json.dumps(task.overrides)) < 8_192
                assert "STEP_SUCCESS" in ui.log(self._log_key(run_id))
                fargate.wait(lambda: self._alerts() != [], "an alert reaches the topic")
        assert_tables_equal(lake, delivery)
        ((subject, text),) = self._alerts()
        assert subject == f"[WARN] cur2 {PERIOD}: check missing_days warns"
        assert "cur2/iceberg_table" in text

    def _log_key(self, run_id: str) -> list[str]:
        """Return where a run's output is, by what there is of it in the bucket."""
        listed = self.deployed.aws.client("s3").list_objects_v2(
            Bucket=self.deployed.settings["BILLING_LAKE_PIPES_BUCKET"],
            Prefix=f"dagster-logs/storage/{run_id}/",
        )
        (key,) = {one["Key"].rpartition(".")[0] for one in listed["Contents"]}
        return str(key).split("/")[2:]

    def _login(self) -> dict[str, str]:
        """Return what the stack made up for the database, where the containers are told to look for it."""
        secrets = self.deployed.aws.client("secretsmanager")
        task = next(iter(self.deployed.deployment.tasks.values()))
        (arn,) = {
            one["valueFrom"].removesuffix("::").rpartition(":")[0]
            for one in task["containerDefinitions"][0]["secrets"]
        }
        value = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
        return {"user": value["username"], "password": value["password"]}

    def _alerts(self) -> list[tuple[str, str]]:
        """Return subjects and texts of what the deployment's topic has been sent."""
        from moto.backends import get_backend

        aws = self.deployed.aws
        arn = f"arn:aws:sns:{aws.region}:{aws.account}:{NAME}-alerts"
        topic = get_backend("sns")[aws.account][aws.region].topics[arn]
        return [
            (str(subject), message) for _id, message, subject, *_more in topic.sent_notifications
        ]


class UI:
    """What the webserver tells whoever is let in to its port."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ended_runs(self) -> list[tuple[str, str]]:
        """Return ids and states of the runs that are over; none while the webserver starts."""
        query = "{ runsOrError { ... on Runs { results { runId status } } } }"
        try:
            runs = self._ask(query)["runsOrError"]["results"]
        except (URLError, ConnectionError, TimeoutError):
            return []
        over = {"SUCCESS", "FAILURE", "CANCELED"}
        return [(one["runId"], one["status"]) for one in runs if one["status"] in over]

    def log(self, key: list[str]) -> str:
        """Return what a run wrote."""
        query = "query($key: [String!]!) { capturedLogs(logKey: $key) { stderr } }"
        return str(self._ask(query, key=key)["capturedLogs"]["stderr"])

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        asked = Request(self._url, body, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
            return dict(json.load(answer)["data"])


@pytest.fixture(scope="module")
def passes(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passes]:
    """What the roles do; this process has the role of Dagster."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in deployed.environment.items():
            patch.setenv(name, value)
        yield Passes(deployed, tmp_path_factory.mktemp("deployed"), stack)
