"""Runs of the project's own graph through Dagster in this process, recorded in the instance that `make dev` shows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core import errors as dg_errors
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.tags import CODE_LOCATION_TAG, REPOSITORY_LABEL_TAG

from billing_lake.assets.export import DagsterExport
from billing_lake.commands.instance import prepare_instance
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import BillingLakeError, LoadError, SchemaChangeError
from billing_lake.jobs.load import load_job_name
from billing_lake.resources.run_history import keep_run_history_open
from billing_lake.sensors.run_processes import end_dead_runs, process_tag
from billing_lake.sensors.runs import root_cause, run_tags
from billing_lake.tables.exports import TABLE_ASSETS

_LOCATION = "billing_lake"
_TAGS = {
    CODE_LOCATION_TAG: _LOCATION,
    REPOSITORY_LABEL_TAG: f"{SINGLETON_REPOSITORY_NAME}@{_LOCATION}",
}
"""What a run has that was launched from the UI, whose timeline and pages of jobs show no others."""

Metadata = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFault:
    """The reason why a run failed.

    Attributes:
        kind: Class of the error.
        text: What happened, where, and what to do.
        file: The file it happened in, where it was one.
        remedy: What to do.
    """

    kind: str
    text: str
    file: str | None = None
    remedy: str | None = None

    @classmethod
    def of(cls, error: BillingLakeError) -> RunFault:
        """Return the fault that an error of the lake is."""
        kind, remedy = type(error).__name__, error.how or None
        return cls(kind=kind, text=str(error), file=error.file, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class LoadRun:
    """A run that has ended.

    Attributes:
        tables: The metadata of each table's materialization, by the name of its asset: `hive_table`.
        checks: The evaluations of asset checks.
        seconds: How long it took.
        fault: Why it failed; None where it succeeded.
    """

    tables: Mapping[str, Metadata]
    checks: tuple[dg.AssetCheckEvaluation, ...]
    seconds: float
    fault: RunFault | None = None


class Project:
    """The Dagster instance of the lake at ``home``, and definitions whose runs it records.

    Runs of commands that were killed are ended first.
    """

    def __init__(self, home: Path, definitions: dg.Definitions) -> None:
        self._folder = prepare_instance(home)
        os.environ["DAGSTER_HOME"] = str(self._folder)
        os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
        keep_run_history_open()
        self._definitions = definitions
        with self.instance() as instance:
            end_dead_runs(instance)

    def instance(self) -> dg.DagsterInstance:
        """Open the instance; it is to be used as a context."""
        return dg.DagsterInstance.from_config(str(self._folder))

    def run(self, export: DagsterExport, delivery: Delivery) -> LoadRun:
        """Load one billing period, and prove it; the run has the tags of one that the sensor asked for.

        Raises:
            KeyboardInterrupt: Somebody interrupted the run, which Dagster records as a failure.
        """
        started = time.monotonic()
        job = self._definitions.resolve_job_def(load_job_name(export))
        with self.instance() as instance:
            result = job.execute_in_process(
                partition_key=delivery.period,
                instance=instance,
                raise_on_error=False,
                tags={**run_tags(export, delivery), **process_tag(), **_TAGS},
            )
        fault = None
        checks = tuple(result.get_asset_check_evaluations())
        if not result.success:
            fault = _fault(checks, result.all_events)
            if fault.kind == dg_errors.DagsterExecutionInterruptedError.__name__:
                raise KeyboardInterrupt
        made = (
            event.step_materialization_data.materialization
            for event in result.all_events
            if event.is_step_materialization
        )
        return LoadRun(
            tables={
                one.asset_key.path[-1]: {name: value.value for name, value in one.metadata.items()}
                for one in made
                if one.asset_key.path[-1] in TABLE_ASSETS.values()
            },
            checks=checks,
            seconds=time.monotonic() - started,
            fault=fault,
        )

    def materialize(self, key: dg.AssetKey) -> None:
        """Make an asset that has no billing periods, and run its checks."""
        job = self._definitions.resolve_implicit_global_asset_job_def()
        with self.instance() as instance:
            job.execute_in_process(
                instance=instance, asset_selection=[key], tags={**process_tag(), **_TAGS}
            )


def _fault(
    checks: Iterable[dg.AssetCheckEvaluation], events: Iterable[dg.DagsterEvent]
) -> RunFault:
    """Return why a run failed: what the check that held it back says, or else the step that failed first."""
    for check in checks:
        if not check.passed and check.blocking:
            text = check.description or check.check_name
            return RunFault(kind=SchemaChangeError.__name__, text=text)
    for event in events:
        if event.is_step_failure:
            return _of_step(event.step_failure_data)
    text = next((event.message or "" for event in events if event.is_failure), "")
    return RunFault(kind=LoadError.__name__, text=text)


def _of_step(failure: StepFailureData) -> RunFault:
    raised, error = failure.user_failure_data, failure.error
    if raised is not None and raised.description:
        facts = {name: str(value.value) for name, value in raised.metadata.items()}
        kind = facts.get("error", LoadError.__name__)
        text = raised.description.removeprefix(f"{kind}: ")
        return RunFault(kind=kind, text=text, file=facts.get("file"), remedy=facts.get("remedy"))
    if error is None:
        return RunFault(kind=LoadError.__name__, text="A step failed and does not say why")
    root = root_cause(error)
    return RunFault(kind=root.cls_name or LoadError.__name__, text=root.message.strip())
