"""Runs of the project's own graph through Dagster in this process, recorded in the instance that `make dev` shows."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

from billing_lake.assets.export import Export
from billing_lake.commands.instance import prepare_instance
from billing_lake.components.demo_export import demo_export
from billing_lake.definitions import defs
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import LoadError
from billing_lake.jobs.load import load_job_name
from billing_lake.loads.exports import TABLE_ASSETS, TableOutput
from billing_lake.sensors.runs import run_tags

_CODE_LOCATION = f"{SINGLETON_REPOSITORY_NAME}@billing_lake"
"""What the user interface knows runs of this project by: its timeline and its pages of jobs show no others."""

Tick = Callable[[str, int], None]
"""Told the name of a step when it starts, with 0, and when it is done, with 1."""


@dataclass(frozen=True, kw_only=True)
class TableLoad:
    """What a run did to one table."""

    output: TableOutput
    rows: int
    files: int
    version: str
    replaced_rows: int
    replaced_version: str | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an asset check found."""

    asset: str
    check: str
    passed: bool
    warns: bool
    description: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that succeeded."""

    loads: tuple[TableLoad, ...]
    evaluations: tuple[Evaluation, ...]
    seconds: float


class Project:
    """The demo's definitions, and the Dagster instance of the lake at ``home``.

    Args:
        home: Folder of the lake.
    """

    def __init__(self, home: Path) -> None:
        self._folder = prepare_instance(home)
        os.environ["DAGSTER_HOME"] = str(self._folder)
        os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
        self.export: Export = demo_export().export
        self._job = defs().resolve_job_def(load_job_name(self.export))
        self.steps = len(self._job.nodes)

    def run(self, delivery: Delivery, tick: Tick) -> Run:
        """Load one billing period, and prove it; the run has the tags of one that the sensor asked for.

        Args:
            delivery: What is there for the billing period.
            tick: Is told how the run gets on.

        Raises:
            LoadError: The run failed.
        """
        started = time.monotonic()
        run_id = str(uuid.uuid4())

        def listen(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event is not None and event.step_key is not None:
                name = event.step_key.removeprefix(f"{self.export.name}__").replace("_", " ")
                if event.is_step_start:
                    tick(name, 0)
                elif event.is_step_success:
                    tick(name, 1)

        with dg.DagsterInstance.from_config(str(self._folder)) as instance:
            instance.add_event_listener(run_id, listen)
            result = self._job.execute_in_process(
                partition_key=delivery.period,
                instance=instance,
                run_id=run_id,
                raise_on_error=False,
                tags={
                    **run_tags(self.export, delivery),
                    REPOSITORY_LABEL_TAG: _CODE_LOCATION,
                },
            )
        events = result.all_events
        if not result.success:
            raise LoadError(f"The run for {delivery.period} failed. {_failure(events)}")
        return Run(
            loads=tuple(self._loads(events)),
            evaluations=tuple(_evaluations(events)),
            seconds=time.monotonic() - started,
        )

    def _loads(self, events: Iterable[dg.DagsterEvent]) -> Iterable[TableLoad]:
        outputs = {self.export.table_key(output): output for output in TABLE_ASSETS}
        for event in events:
            if not event.is_step_materialization:
                continue
            made = event.step_materialization_data.materialization
            if made.asset_key in outputs:
                facts = _plain(made.metadata)
                yield TableLoad(
                    output=outputs[made.asset_key],
                    rows=int(facts["dagster/partition_row_count"]),
                    files=int(facts["files"]),
                    version=str(facts["delivery_version"]),
                    replaced_rows=int(facts["replaced_rows"]),
                    replaced_version=facts.get("replaced_delivery_version"),
                )


def _evaluations(events: Iterable[dg.DagsterEvent]) -> Iterable[Evaluation]:
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            yield Evaluation(
                asset=found.asset_key.path[-1],
                check=found.check_name,
                passed=found.passed,
                warns=found.severity is dg.AssetCheckSeverity.WARN,
                description=found.description or "",
                metadata=_plain(found.metadata),
            )


def _plain(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def _failure(events: Iterable[dg.DagsterEvent]) -> str:
    """Say why a run failed, in the words of the step or the check that failed first."""
    listed = list(events)
    for found in _evaluations(listed):
        if not found.passed and not found.warns:
            return found.description
    for event in listed:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            return "" if failure.error is None else failure.error.message.strip()
    return next((event.message or "" for event in listed if event.is_failure), "")
