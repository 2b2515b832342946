"""Runs of the project's own graph through Dagster in this process, recorded in the instance that `make dev` shows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.storage.tags import CODE_LOCATION_TAG, REPOSITORY_LABEL_TAG

from billing_lake.assets.export import Export
from billing_lake.commands.instance import prepare_instance
from billing_lake.components.demo_export import demo_export
from billing_lake.definitions import defs
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import LoadError
from billing_lake.jobs.load import load_job_name
from billing_lake.loads.exports import TABLE_ASSETS
from billing_lake.sensors.runs import run_tags

_LOCATION = "billing_lake"
_TAGS = {
    CODE_LOCATION_TAG: _LOCATION,
    REPOSITORY_LABEL_TAG: f"{SINGLETON_REPOSITORY_NAME}@{_LOCATION}",
}
"""What a run has that was launched from the UI, whose timeline and pages of jobs show no others."""

Metadata = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that succeeded.

    Attributes:
        tables: The metadata of each table's materialization, by the name of its asset: `hive_table`.
        checks: The evaluations of asset checks.
        seconds: How long it took.
    """

    tables: Mapping[str, Metadata]
    checks: tuple[dg.AssetCheckEvaluation, ...]
    seconds: float


class Project:
    """The definitions of one export, and the Dagster instance of the lake at ``home``.

    Args:
        home: Folder of the lake.
        export: The export that is loaded; the demo's unless given.
    """

    def __init__(self, home: Path, export: Export | None = None) -> None:
        self._folder = prepare_instance(home)
        os.environ["DAGSTER_HOME"] = str(self._folder)
        os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
        self.export = demo_export().export if export is None else export
        self._job = defs().resolve_job_def(load_job_name(self.export))

    def run(self, delivery: Delivery) -> Run:
        """Load one billing period, and prove it; the run has the tags of one that the sensor asked for.

        Raises:
            LoadError: The run failed.
        """
        started = time.monotonic()
        with dg.DagsterInstance.from_config(str(self._folder)) as instance:
            result = self._job.execute_in_process(
                partition_key=delivery.period,
                instance=instance,
                raise_on_error=False,
                tags={**run_tags(self.export, delivery), **_TAGS},
            )
        checks = tuple(result.get_asset_check_evaluations())
        if not result.success:
            reason, facts = _failure(checks, result.all_events)
            what = f"The run for {delivery.period} failed. {reason}"
            raise LoadError(what, file=facts.get("file"), remedy=facts.get("remedy"))
        made = (
            event.step_materialization_data.materialization
            for event in result.all_events
            if event.is_step_materialization
        )
        return Run(
            tables={
                one.asset_key.path[-1]: {name: value.value for name, value in one.metadata.items()}
                for one in made
                if one.asset_key.path[-1] in TABLE_ASSETS.values()
            },
            checks=checks,
            seconds=time.monotonic() - started,
        )


def _failure(
    checks: Iterable[dg.AssetCheckEvaluation], events: Iterable[dg.DagsterEvent]
) -> tuple[str, dict[str, Any]]:
    """Return why a run failed, and particulars of it: what the check or the step says that failed first."""
    for check in checks:
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
            return check.description or check.check_name, {}
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                facts = failure.user_failure_data.metadata
                return failure.user_failure_data.description, {
                    name: fact.value for name, fact in facts.items()
                }
            return "" if failure.error is None else failure.error.message.strip(), {}
    return next((event.message or "" for event in events if event.is_failure), ""), {}
