"""One step, several billing periods: each is worked on by itself, and a bad one does not spoil the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic

import dagster as dg

# Dagster's own way to store an output and to say nothing about its asset.
from dagster._core.definitions.source_asset import (
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as NO_EVENTS,
)

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.omitted_periods import (
    FAILED_PERIODS,
    OmittedPeriod,
    class_and_text,
    facts_of_error,
    keep_skipped_periods_unchanged,
    omitted_periods,
    raise_failures,
)
from billing_lake.aws.errors import is_transient
from billing_lake.domain.errors import BillingLakeError, CommitConflictError
from billing_lake.values import ValueStore, ValueT

_ATTEMPTS = 3
_PAUSE_SECONDS = 5

StepEvent = dg.AssetMaterialization | dg.AssetObservation | dg.Output[None]


class NothingToDo(Exception):  # noqa: N818  # it is no error
    """Raised by the work on a billing period that has nothing to work on; says why."""


@dataclass(frozen=True)
class Outcome(Generic[ValueT]):
    """The result of one billing period."""

    value: ValueT
    metadata: Mapping[str, Any] = field(default_factory=dict)


def each_period(
    context: dg.AssetExecutionContext,
    export: DagsterExport,
    store: ValueStore,
    work: Callable[[str], Outcome[ValueT]],
) -> Iterator[StepEvent]:
    """Do ``work`` for every billing period of the run that nothing before this step left out, and keep its values.

    Yields:
        What the step tells Dagster: which periods are done, and why the others are not.

    Raises:
        dagster.Failure: Every period failed; or some did, and no later step of the run is left to say so.
    """
    asset = context.asset_key.path[-1]
    periods = list(context.partition_keys)
    before = omitted_periods(context, export, asset)
    for period in periods:
        if period in before:
            context.log.info("%s is left out: %s", period, before[period].reason)
    step = _Step(context, store, work)
    step.run([period for period in periods if period not in before])
    if len(step.done) == len(periods):
        for period, outcome in step.done.items():
            context.add_asset_metadata(outcome.metadata, partition_key=period)
        yield dg.Output(None)
        return
    left = before | {one.period: one for one in step.omitted}
    skipped = [period for period in periods if period in left and not left[period].failed]
    if len(skipped) < len(periods):
        keep_skipped_periods_unchanged(
            context, skipped, [one.period for one in left.values() if one.failed]
        )
    for period, outcome in step.done.items():
        yield dg.AssetMaterialization(
            context.asset_key, partition=period, metadata=outcome.metadata
        )
    if len(step.errors) == len(periods):
        raise _failure(step.errors) from next(iter(step.errors.values()))
    for one in step.omitted:
        yield one.observation
    yield dg.Output(None, metadata={NO_EVENTS: True})
    raise_failures(context, export, asset, periods)


class _Step(Generic[ValueT]):
    """The work of one step."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        store: ValueStore,
        work: Callable[[str], Outcome[ValueT]],
    ) -> None:
        self._context = context
        self._store = store
        self._work: Callable[[str], Outcome[ValueT]] = work
        self.done: dict[str, Outcome[ValueT]] = {}
        self.errors: dict[str, Exception] = {}
        self.omitted: list[OmittedPeriod] = []

    def run(self, periods: list[str]) -> None:
        """Work on ``periods``; where another writer won or AWS was busy, again after all the others."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            lost = []
            for position, period in enumerate(periods, start=1):
                if len(periods) > 1:
                    self._context.log.info(
                        "Billing period %s (%d of %d)", period, position, len(periods)
                    )
                if not self._try(period, last=attempt + 1 == _ATTEMPTS):
                    lost.append(period)
            if not lost:
                break
            periods = lost

    def _try(self, period: str, *, last: bool) -> bool:
        """Work on one period; return False where it should be tried again."""
        try:
            outcome = self._work(period)
            self._store.write(self._context.asset_key.path, period, outcome.value)
        except NothingToDo as nothing:
            self._context.log.warning("%s is skipped: %s", period, nothing)
            self._leave_out(period, str(nothing), failed=False)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other periods are worked on
            if _works_soon(error) and not last:
                self._context.log.warning("%s is tried again: %s", period, class_and_text(error))
                return False
            self._context.log.error("%s failed: %s", period, class_and_text(error))  # noqa: TRY400 -- raised later
            self.errors[period] = error
            self._leave_out(period, class_and_text(error), failed=True, **facts_of_error(error))
        else:
            self.done[period] = outcome
        return True

    def _leave_out(self, period: str, reason: str, *, failed: bool, **facts: Any) -> None:
        key = self._context.asset_key
        self.omitted.append(
            OmittedPeriod(key=key, period=period, failed=failed, reason=reason, facts=facts)
        )


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn an error that was raised on purpose into a failure whose first words in the UI are the error's.

    A lost race and a fault of AWS that passes (throttling, a time-out, a broken connection) are tried again; everything else that
    is raised on purpose needs somebody to do something.

    Raises:
        dagster.RetryRequested: Other writers kept winning, or AWS was busy for longer than calls are repeated.
        dagster.Failure: Any other error on purpose.
    """
    try:
        yield
    except BillingLakeError as error:
        if _works_soon(error):
            raise dg.RetryRequested(_ATTEMPTS - 1, _PAUSE_SECONDS) from error
        raise _failure({"": error}) from error


def _works_soon(error: Exception) -> bool:
    return isinstance(error, CommitConflictError) or is_transient(error)


def _failure(errors: Mapping[str, Exception]) -> Exception:
    """Return the failure of a step that has done nothing."""
    if len(errors) == 1:
        error = next(iter(errors.values()))
        if not isinstance(error, BillingLakeError):
            return error
        return dg.Failure(
            description=class_and_text(error), metadata=facts_of_error(error), allow_retries=False
        )
    lines = [f"{period}: {class_and_text(error)}" for period, error in errors.items()]
    return dg.Failure(
        description="\n".join((f"All {len(errors)} billing periods failed.", *lines)),
        metadata={FAILED_PERIODS: ", ".join(errors)},
        allow_retries=False,
    )
