"""What the two roles do in the deployed lake: loads by both engines, a crawler, and tables that are made and tended.

Each is done once for all tests of a process, with refusal on, and written down by the recorder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.assets.test_load import assert_tables_equal, figures, op_config
from billing_lake_tests.infra.deployed import (
    NAME,
    NAMESPACE,
    Deployed,
    DeployedLake,
)
from billing_lake_tests.lakes import NO_CAPTURE, failed, verdicts
from billing_lake_tests.sensors.test_new_reports import periods, tick

EVERYTHING = ("polars", "glue", "crawler", "tables")
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
            database=NAMESPACE,
        )

    def require(self, *names: str) -> None:
        """Do what has not been done yet, with refusal on."""
        for name in names:
            if name not in self._done:
                self._done.add(name)
                with self.deployed.recorder.refusing():
                    getattr(self, f"_{name}")()

    def _polars(self) -> None:
        self._load_and_restate("polars")

    def _glue(self) -> None:
        self._load_and_restate("glue")

    def _load_and_restate(self, engine: str) -> None:
        lake = self.lake(engine, f"with_{engine}")
        seen = []
        for restatement in (0, 1):
            delivery = lake.deliver(PERIOD, restatement=restatement)
            assert periods(tick(lake)) == [PERIOD]
            self._succeeded(lake.load(PERIOD))
            assert_tables_equal(lake, delivery)
            seen.append(figures(delivery))
        assert seen[0] != seen[1]

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


@pytest.fixture(scope="module")
def passes(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passes]:
    """What the roles do; this process has the role of Dagster."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in deployed.environment.items():
            patch.setenv(name, value)
        yield Passes(deployed, tmp_path_factory.mktemp("deployed"), stack)
