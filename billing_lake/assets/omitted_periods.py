"""Billing periods that a run leaves out: those without a delivery, and those that failed on the way.

Dagster lets a step succeed or fail as a whole. A step over several periods therefore succeeds where one of them can go on,
notes each of the others as an observation of its asset, which later steps of the run read, and the last step fails for all
that failed. A period without a delivery is no failure: it stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.instance import RUNLESS_RUN_ID

from billing_lake.assets.export import DagsterExport
from billing_lake.domain.errors import BillingLakeError

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

PASSES = "passes"
"""Metadata of a failure: whether the same delivery may be loaded later without anybody mending it."""

FAILED_PERIODS = "failed_periods"
"""Metadata of a failure: the billing periods that failed, where the others of the run did not."""

_OUTCOME, _REASON = "outcome", "reason"
_SKIPPED, _FAILED = "skipped", "failed"


@dataclass(frozen=True, kw_only=True)
class OmittedPeriod:
    """A billing period that a step did not do.

    Attributes:
        key: The step's asset.
        failed: Whether it failed; otherwise there was nothing to do.
        reason: Why, in words.
        facts: Why, in particulars: class of the error, file, line, remedy.
    """

    key: dg.AssetKey
    period: str
    failed: bool
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def observation(self) -> dg.AssetObservation:
        """The note that the UI shows with the period, and that later steps read."""
        return dg.AssetObservation(
            self.key,
            partition=self.period,
            description=self.reason,
            metadata={
                _OUTCOME: _FAILED if self.failed else _SKIPPED,
                _REASON: self.reason,
                **self.facts,
            },
        )


def class_and_text(error: Exception) -> str:
    """Return an error's class and text."""
    return f"{type(error).__name__}: {error}"


def facts_of_error(error: Exception) -> dict[str, Any]:
    """Return the particulars of an error, as metadata."""
    facts: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, BillingLakeError):
        facts |= {
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "remedy": error.how or None,
            PASSES: error.passes,
        }
    return {name: fact for name, fact in facts.items() if fact is not None}


def omitted_periods(
    context: Context, export: DagsterExport, asset: str
) -> dict[str, OmittedPeriod]:
    """Return what the steps that ``asset`` builds on, its own included, have left out so far, by billing period.

    A run that goes on where another one failed takes over what that one left out.
    """
    found: dict[str, OmittedPeriod] = {}
    lacking = {export.key(name) for name in export.steps_up_to(asset)}
    for run in _runs(context):
        done = {key for key in lacking if _had(run, key)}
        lacking -= done
        for one in _noted(context.instance, run.run_id):
            if one.key in done:
                found.setdefault(one.period, one)
        if not lacking:
            break
    return found


def is_last(context: Context) -> bool:
    """Say whether no later step of the run builds on this one."""
    step = context.op_execution_context
    later = step.job_def.dependency_structure.output_to_downstream_inputs_for_node(step.op.name)
    names = {one.node_name for inputs in later.values() for one in inputs}
    chosen = context.run.step_keys_to_execute
    return not (names if chosen is None else names.intersection(chosen))


def raise_failures(
    context: Context, export: DagsterExport, asset: str, periods: Sequence[str]
) -> None:
    """Fail for all that failed on the way to ``asset``, unless a later step of the run will.

    Raises:
        dagster.Failure: A period failed.
    """
    if not is_last(context):
        return
    missed = omitted_periods(context, export, asset)
    failed = [missed[period] for period in periods if period in missed and missed[period].failed]
    if not failed:
        return
    skipped = [period for period in periods if period in missed and not missed[period].failed]
    _evaluate_silent_checks(context, [missed[period] for period in skipped])
    rest = len(periods) - len(failed) - len(skipped)
    heads = [f"{len(failed)} of {len(periods)} billing periods failed"]
    if rest:
        heads.append(
            f"the others were loaded into {asset}"
            if asset.endswith("_table")
            else "the others went through"
        )
    if skipped:
        heads.append(f"skipped, because they have no delivery: {len(skipped)}")
    lines = [f"{one.period}: {one.key.path[-1]}: {one.reason}" for one in failed]
    lines.append(f"Load these billing periods again: {', '.join(one.period for one in failed)}")
    raise dg.Failure(
        description="\n".join(("; ".join(heads) + ".", *lines)),
        metadata={FAILED_PERIODS: ", ".join(one.period for one in failed)},
        allow_retries=False,
    )


def is_failing(context: Context) -> bool:
    """Say whether a step of the run has noted that a billing period failed, so that the run is going to fail."""
    return any(one.failed for one in _noted(context.instance, context.run.run_id))


def nothing_to_check(check: dg.AssetCheckKey, skipped: OmittedPeriod) -> dg.AssetCheckEvaluation:
    """Return the result of a check of a billing period that nothing was ever loaded for."""
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        partition=skipped.period,
        passed=True,
        description=f"{skipped.period}: nothing is loaded, so there is nothing to check. {skipped.reason}",
        metadata={},
    )


def _evaluate_silent_checks(context: Context, skipped: Sequence[OmittedPeriod]) -> None:
    """Give the checks of finished steps a result for the periods that they said nothing about, since the run fails.

    Dagster takes a check that was planned and has no result for skipped where the run succeeds, and for failed where it fails.
    """
    instance, run_id, types = context.instance, context.run.run_id, dg.DagsterEventType
    finished = {one.step_key for one in instance.all_logs(run_id, of_type=types.STEP_SUCCESS)}
    results = {
        (one.asset_check_key, one.partition)
        for entry in instance.all_logs(run_id, of_type=types.ASSET_CHECK_EVALUATION)
        for one in [entry.get_dagster_event().asset_check_evaluation_data]
    }
    for entry in instance.all_logs(run_id, of_type=types.ASSET_CHECK_EVALUATION_PLANNED):
        planned = entry.get_dagster_event()
        check = planned.asset_check_planned_data.asset_check_key
        for one in skipped if planned.step_key in finished else ():
            if (check, one.period) not in results:
                event = DagsterEvent(
                    types.ASSET_CHECK_EVALUATION.value,
                    context.run.job_name,
                    step_key=planned.step_key,
                    event_specific_data=nothing_to_check(check, one),
                )
                instance.report_dagster_event(event, run_id=run_id)


def keep_skipped_periods_unchanged(
    context: dg.AssetExecutionContext, skipped: Sequence[str], failed: Sequence[str]
) -> None:
    """Keep Dagster from showing the skipped periods of the step's asset as failed; call it before its materializations are told.

    Dagster takes every period that a failed run planned and did not materialize for failed. A plan that belongs to no run
    takes the place of this run's. What is told of the asset last has to be of this run: that is the run that the UI shows.
    """
    for period, run_id in [
        *((period, RUNLESS_RUN_ID) for period in skipped),
        *((period, context.run.run_id) for period in failed[:1] if skipped),
    ]:
        event = DagsterEvent.build_asset_materialization_planned_event(
            context.run.job_name,
            context.op_execution_context.op.name,
            AssetMaterializationPlannedData(context.asset_key, partition=period),
        )
        context.instance.report_dagster_event(event, run_id=run_id)


def _runs(context: Context) -> Iterator[dg.DagsterRun]:
    run: dg.DagsterRun | None = context.run
    while run is not None:
        yield run
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None


def _had(run: dg.DagsterRun, key: dg.AssetKey) -> bool:
    """Say whether a run had the step of an asset."""
    steps, assets = run.step_keys_to_execute, run.asset_selection
    return (steps is None or "__".join(key.path) in steps) and (not assets or key in assets)


def _noted(instance: dg.DagsterInstance, run_id: str) -> Iterator[OmittedPeriod]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
        event = entry.get_dagster_event()
        noted = event.asset_observation_data.asset_observation
        metadata = {name: value.value for name, value in noted.metadata.items()}
        outcome = metadata.get(_OUTCOME)
        if noted.partition is not None and outcome in (_SKIPPED, _FAILED):
            yield OmittedPeriod(
                key=noted.asset_key,
                period=noted.partition,
                failed=outcome == _FAILED,
                reason=str(metadata[_REASON]),
            )
