"""Asks Dagster about an export's runs: which billing periods are being loaded, and how earlier runs ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from dagster_shared.error import SerializableErrorInfo

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.omitted_periods import FAILED_PERIODS, PASSES
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import shown
from billing_lake.jobs.load import load_job_name
from billing_lake.sensors.run_processes import end_if_dead

TAG_PREFIX = "billing_lake/"
"""What the names of a run's tags begin with."""

_EXPORT = f"{TAG_PREFIX}export"
_PERIOD = f"{TAG_PREFIX}billing_period"
_IDENTITY = f"{TAG_PREFIX}delivery_identity"

_DEAD_AFTER = timedelta(days=1)
"""Age at which a run that has not ended is taken for one that never will: its process died and nobody noticed."""

_FORGOTTEN_AFTER = timedelta(days=1)
"""Age at which a run that succeeded is no reason to wait: whoever removes a table wants it loaded again."""

_MOST_LOOKED_AT = 20
"""Runs of a billing period that are looked at."""

_MOST_AT_ONCE = 500
"""Runs of several billing periods that are looked at; where there are more, each period is looked at by itself."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A run that was asked for and has ended without the tables holding the delivery.

    Attributes:
        ended: When.
        lasting: Whether somebody has to mend something before another run can succeed; otherwise it may pass by itself.
        what: What became of it.
    """

    ended: datetime
    lasting: bool
    what: str


def run_tags(export: DagsterExport, delivery: Delivery) -> dict[str, str]:
    """Return the tags of a run that loads ``delivery``."""
    return {
        _EXPORT: export.name,
        _PERIOD: delivery.period,
        f"{TAG_PREFIX}delivery_version": shown(delivery.version, 200),
        _IDENTITY: delivery.identity,
    }


@dataclass(frozen=True)
class Runs:
    """The runs of an export."""

    instance: dg.DagsterInstance
    export: DagsterExport
    now: datetime

    def at_work(self) -> set[str]:
        """Return the billing periods that a run works on or is going to, whoever asked for it."""
        since = self.now - _DEAD_AFTER
        periods = set(self.export.periods)
        running = self.instance.get_run_records(
            dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, created_after=since)
        )
        found = {
            period
            for record in running
            if self._loads(record.dagster_run)
            and not end_if_dead(self.instance, record.dagster_run)
            for period in _periods(record.dagster_run, periods)
        }
        requested = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED], created_after=since)
        for backfill in self.instance.get_backfills(filters=requested):
            if backfill.job_name == load_job_name(self.export):
                found.update(backfill.partition_names or ())
            elif backfill.asset_backfill_data is not None:
                subsets = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
                for key in self._tables:
                    if key in subsets:
                        found.update(subsets[key].get_partition_keys())
        return found

    def asked_for(self, periods: Collection[str]) -> dict[str, list[dg.RunRecord]]:
        """Return the latest runs that were asked for, for each of these billing periods, newest first.

        One question to Dagster is enough unless there were many runs.
        """
        if not periods:
            return {}
        found: dict[str, list[dg.RunRecord]] = {period: [] for period in periods}
        records = self._records(list(periods), _MOST_AT_ONCE)
        if len(records) == _MOST_AT_ONCE:
            return {period: self._records([period], _MOST_LOOKED_AT) for period in periods}
        for record in records:
            found[record.dagster_run.tags[_PERIOD]].append(record)
        return {period: of_period[:_MOST_LOOKED_AT] for period, of_period in found.items()}

    def attempts(self, delivery: Delivery, asked_for: Iterable[dg.RunRecord]) -> list[Attempt]:
        """Return those of the runs of a period that were asked for this delivery since the period's delivery last changed, newest first."""
        return list(self._since_change(asked_for, delivery.identity))

    def _records(self, periods: list[str], most: int) -> list[dg.RunRecord]:
        tags = {_EXPORT: self.export.name, _PERIOD: periods}
        return list(self.instance.get_run_records(dg.RunsFilter(tags=tags), limit=most))

    def _since_change(self, records: Iterable[dg.RunRecord], identity: str) -> Iterator[Attempt]:
        for record in records:
            run = record.dagster_run
            ended = _ended(record)
            if run.tags.get(_IDENTITY) != identity:
                return
            if run.is_success and ended < self.now - _FORGOTTEN_AFTER:
                return
            yield self._attempt(run, ended)

    def _attempt(self, run: dg.DagsterRun, ended: datetime) -> Attempt:
        name = f"run {run.run_id[:8]}"
        if run.status == dg.DagsterRunStatus.CANCELED:
            return Attempt(ended=ended, lasting=True, what=f"{name} was cancelled")
        if run.is_success:
            what = f"{name} succeeded, and the tables do not hold what it was asked for"
            return Attempt(ended=ended, lasting=False, what=what)
        reasons = failure_reasons(self.instance, run.run_id)
        what = shown("; ".join(one.text for one in reasons) or "it never started, or died", 400)
        lasting = bool(reasons) and all(one.lasts for one in reasons)
        return Attempt(ended=ended, lasting=lasting, what=f"{name} failed: {what}")

    def _loads(self, run: dg.DagsterRun) -> bool:
        """Say whether a run loads one of the export's tables, from whatever job or selection it was started."""
        if run.execution_plan_snapshot_id is None:
            return run.job_name == load_job_name(self.export)
        steps = self.instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        tables = {key.to_python_identifier() for key in self._tables}
        return not tables.isdisjoint(steps.step_keys_to_execute)

    @property
    def _tables(self) -> list[dg.AssetKey]:
        return [self.export.table_key(output) for output in self.export.outputs]


def asked_times(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    """Return how many runs were asked for, for the delivery that the sensor asked for ``run`` for; 0 where it did not."""
    names = (_EXPORT, _PERIOD, _IDENTITY)
    if any(name not in run.tags for name in names):
        return 0
    return instance.get_runs_count(dg.RunsFilter(tags={name: run.tags[name] for name in names}))


def _periods(run: dg.DagsterRun, periods: Iterable[str]) -> set[str]:
    """Return the billing periods of a run of one period, or of a range."""
    tags = run.tags
    one = tags.get(PARTITION_NAME_TAG)
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG, one)
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG, one)
    if first is None or last is None:
        return set()
    return {period for period in periods if first <= period <= last}


def _ended(record: dg.RunRecord) -> datetime:
    if record.end_time is None:
        return record.update_timestamp.astimezone(timezone.utc)
    return datetime.fromtimestamp(record.end_time, timezone.utc)


@dataclass(frozen=True)
class FailureReason:
    """The reason why a step failed.

    Attributes:
        text: What it says.
        lasts: Whether somebody has to mend something before another run can succeed.
        is_check: Whether an asset check held it back.
        periods: The billing periods that failed, where the others of the run did not.
    """

    text: str
    lasts: bool
    is_check: bool = False
    periods: frozenset[str] = frozenset()


def failure_reasons(instance: dg.DagsterInstance, run_id: str) -> list[FailureReason]:
    """Return why the steps of a run failed; nothing where it never started, or died."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    return [
        _reason(record.event_log_entry.get_dagster_event().step_failure_data) for record in records
    ]


def _reason(failure: StepFailureData) -> FailureReason:
    raised, error = failure.user_failure_data, failure.error
    if raised is not None and raised.description:
        passes, failed = (raised.metadata.get(name) for name in (PASSES, FAILED_PERIODS))
        periods = str(failed.value).split(", ") if failed is not None else ()
        lasts = passes is not None and not passes.value
        return FailureReason(raised.description, lasts, periods=frozenset(periods))
    if error is None:
        return FailureReason("", lasts=False)
    # A check that holds back what is downstream judges the delivery, and will judge the same one in the same way.
    is_check = error.cls_name == "DagsterAssetCheckFailedError"
    text = root_cause(error).message.strip()
    return FailureReason(text, lasts=is_check, is_check=is_check)


def root_cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """Return the error that others were raised from."""
    return error if error.cause is None else root_cause(error.cause)
