"""A lake in a temporary folder and the definitions of one export on it: everything real, nothing shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from billing_lake.components import BillingExport
from billing_lake.deployments import Lake, LocalLake
from billing_lake.deployments.base import LAKE_RESOURCE
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import PeriodKey
from billing_lake.jobs.s3_tables import s3_table_create, s3_table_delete
from billing_lake.sample import SampleDelivery, SampleSpec, write_delivery
from billing_lake.tables.base import TableCatalog

if TYPE_CHECKING:
    from typing_extensions import Self

CHECKS = 1 + 3 * 5 + 11
"""Checks of a load: the schema diff, five proofs of each table, and those of the bill."""

EXPORT = "costs"
TABLE = f"billing.{EXPORT}"
SPEC = SampleSpec(layout="create-new", prefix="billing", report="daily", rows=300, chunks=2)


# Dagster's capture of a step's output redirects the whole process, which threads share with each other and with pytest.
NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}

RUNS_IN_PROCESS = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    **NO_CAPTURE,
}
"""An instance whose runs work in the process that asks for them, one after the other."""


@dataclass(frozen=True)
class SampleLake:
    """A lake, and an export that is delivered to it.

    Attributes:
        home: Folder of the lake.
        settings: Settings of the component that differ from the tests' own.
        instance: The Dagster instance.
    """

    home: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def another_export(self, settings: Mapping[str, Any]) -> Self:
        """Return another export of the same lake."""
        return replace(self, settings=settings)

    @property
    def name(self) -> str:
        return str(self.settings.get("name", EXPORT))

    @property
    def namespace(self) -> str:
        return "billing"

    @property
    def table(self) -> str:
        return f"{self.namespace}.{self.settings.get('table') or self.name}"

    @property
    def lake(self) -> Lake:
        return LocalLake(self.home)

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def component(self) -> BillingExport:
        settings: dict[str, Any] = {
            "name": EXPORT,
            "layout": "create-new",
            "prefix": "billing",
            "report": "daily",
            "start": "2025-01",
            "namespace": self.namespace,
            "static": True,
            **self.settings,
        }
        return BillingExport(**settings)

    @property
    def definitions(self) -> dg.Definitions:
        lake = self.lake
        return dg.Definitions.merge(
            self.component.definitions,
            dg.Definitions(
                jobs=[s3_table_create, s3_table_delete],
                resources={LAKE_RESOURCE: lake},
                executor=dg.in_process_executor,
            ),
        )

    def deliver(self, period: str, **arguments: Any) -> SampleDelivery:
        spec = arguments.pop("spec", SPEC)
        return write_delivery(self.landing, period, spec, **arguments)

    def sync(self) -> None:
        """Have what was put into the landing folder delivered: it is, where the folder is the landing zone."""

    def run(
        self,
        job: str | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        assets: Sequence[str] | None = None,
        **arguments: Any,
    ) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job or f"{self.name}_load").execute_in_process(
            instance=self.instance,
            run_config=dict(config or {}),
            asset_selection=None
            if assets is None
            else [dg.AssetKey([self.name, a]) for a in assets],
            raise_on_error=False,
            **arguments,
        )

    def load(self, period: str, **arguments: Any) -> dg.ExecuteInProcessResult:
        return self.run(partition_key=period, **arguments)

    def load_range(self, first: str, last: str, **arguments: Any) -> dg.ExecuteInProcessResult:
        tags = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        return self.run(tags=tags, **arguments)

    def profile(self, output: str, period: str) -> Profile:
        """Return what a reader of a table finds for a period."""
        catalogs: dict[str, TableCatalog] = {
            "hive": self.lake.hive,
            "iceberg": self.lake.iceberg,
            "s3_table": self.lake.s3_tables,
        }
        source = catalogs[output].files(self.table, PeriodKey(self.name, period))
        return self.lake.reader.profile(self.component.export.format.with_roles(source))


@dataclass(frozen=True)
class SampleLakeOnSpark(SampleLake):
    """The same lake as a `SampleLake` in the same folder, loaded by Spark.

    Attributes:
        session: The tests' Spark session.
    """

    session: Any = field(default=None, kw_only=True)

    @property
    def lake(self) -> Lake:
        from billing_lake.deployments.local_spark import LocalSparkLake

        assert self.session is not None
        return LocalSparkLake(self.home)


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    """Return the text of a step's failure, its cause included."""
    event = next(e for e in result.get_step_failure_events() if e.step_key == step)
    data = event.step_failure_data
    assert data.error is not None
    described = data.user_failure_data.description if data.user_failure_data else None
    return f"{described}\n{data.error.to_string()}"


def failed(
    found: Mapping[tuple[str, str, str | None], dg.AssetCheckEvaluation],
) -> list[tuple[str, str, str | None]]:
    """Return the checks that say that something is wrong; a warning, as of a restatement that moved costs, does not."""
    return [
        key
        for key, one in found.items()
        if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR
    ]


def verdicts(
    result: dg.ExecuteInProcessResult,
) -> dict[tuple[str, str, str | None], dg.AssetCheckEvaluation]:
    """Return the evaluations of a run by asset, check and billing period."""
    return {
        (one.asset_key.path[-1], one.check_name, one.partition): one
        for one in result.get_asset_check_evaluations()
    }
