"""Results of asset checks, one for each billing period of a run.

Dagster turns the `AssetCheckResult` of a run over several partitions into one that belongs to no partition, while its
storage has a place for one each. An evaluation that names its partition lands there, and the UI shows it there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

# Dagster does not export the class, and an evaluation without it counts as made before the latest materialisation.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.omitted_periods import (
    PASSES,
    OmittedPeriod,
    class_and_text,
    is_failing,
    is_last,
    nothing_to_check,
    omitted_periods,
    raise_failures,
)
from billing_lake.assets.periods import named_failures
from billing_lake.domain.errors import (
    BillingLakeError,
    CredentialsError,
    SchemaChangeError,
    StorageReadError,
    StorageWriteError,
)

EACH_MONTH = "Each month has a verdict of its own, in the tab Partitions; the latest execution may be another month's."
"""Ends the description of a check that has partitions: the UI's page of a check begins with whichever month was judged last."""

_LATEST_MATERIALIZATIONS = 5
"""Materializations of a period that are looked at for that of the run: more loads of it than ever run at once."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a check for one billing period.

    Attributes:
        passed: Whether it is as it should be.
        description: What was found, in words.
        metadata: What was found, in figures and tables.
        severity: How bad it is where it did not pass; where it did, whether there is something to tell.
        is_omitted: Whether nothing was judged, on purpose. Dagster then shows the check as skipped, unless the run fails: what was
            planned and says nothing would be red.
    """

    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    is_omitted: bool = False

    @property
    def is_red(self) -> bool:
        """Say whether it fails the check, and does not only warn."""
        return not self.passed and self.severity == dg.AssetCheckSeverity.ERROR


Materialization = dg.EventLogRecord | None
"""What a verdict is about: the materialization that this run made of a period, or else the latest one; None where there is none."""

Judge = Callable[[str, Sequence[str], Materialization], Mapping[str, Verdict]]
"""Takes a billing period, names of checks, and what was made of it; gives their verdicts."""


CheckEvent = dg.AssetCheckEvaluation | dg.AssetObservation | dg.Output[None]


@dataclass(frozen=True, kw_only=True)
class Checks:
    """The checks of one asset, which are one step.

    Attributes:
        asset: Name of the asset.
        specs: The checks.
        judge: Judges one period.
        known_periods: Gives the periods that are judged where the run has no partition.
        is_empty: Says whether there is nothing to judge of a period without a delivery.
    """

    export: DagsterExport
    asset: str
    specs: Sequence[dg.AssetCheckSpec]
    judge: Judge
    known_periods: Callable[[], Sequence[str]]
    is_empty: Callable[[str], bool]

    def evaluate(self, context: dg.AssetCheckExecutionContext) -> Iterator[CheckEvent]:
        """Judge every billing period of the run by the checks that are selected.

        A period that the run skipped, for want of a delivery, keeps the verdicts that it had, and gets none where nothing was
        ever loaded, which costs nothing; one that failed on the way gets none.

        Raises:
            dagster.Failure: The lake cannot be looked at; or a period failed, and no later step of the run is left to say so.
        """
        selected = [spec for spec in self.specs if spec.key in context.selected_asset_check_keys]
        of_run = _periods(context)
        periods = of_run or self.known_periods()
        with named_failures():
            if selected and selected[0].partitions_def is None:
                yield from self._evaluate_whole(context, selected, periods)
            else:
                yield from self._evaluate_each(context, selected, periods)
        for spec in selected:
            yield dg.Output(None, output_name=spec.get_python_identifier())
        if of_run:
            raise_failures(context, self.export, self.asset, periods)

    def _evaluate_whole(
        self,
        context: dg.AssetCheckExecutionContext,
        selected: Sequence[dg.AssetCheckSpec],
        periods: Sequence[str],
    ) -> Iterator[CheckEvent]:
        names = [spec.name for spec in selected]
        made = _made(context, self.export.key(self.asset), None)
        found = {period: _judged(self.judge, period, names, made) for period in periods}
        for spec in selected:
            of_check = {period: verdicts[spec.name] for period, verdicts in found.items()}
            judged = {period: one for period, one in of_check.items() if not one.is_omitted}
            if of_check and not judged:
                for one in of_check.values():
                    context.log.info(one.description)
                continue
            whole = _joined(judged)
            yield evaluation(spec.key, None, whole, made)

    def _evaluate_each(
        self,
        context: dg.AssetCheckExecutionContext,
        selected: Sequence[dg.AssetCheckSpec],
        periods: Sequence[str],
    ) -> Iterator[CheckEvent]:
        key = self.export.key(self.asset)
        missed = omitted_periods(context, self.export, self.asset) if _periods(context) else {}
        fails = is_failing(context)
        refused: dict[str, Verdict] = {}
        gates: list[tuple[dg.AssetCheckSpec, str, Verdict, Materialization]] = []
        for period in periods:
            if period in missed:
                if not missed[period].failed:
                    yield from self._of_skipped(context, selected, missed[period], fails=fails)
                continue
            made = _made(context, key, period)
            verdicts = _judged(self.judge, period, [spec.name for spec in selected], made)
            for spec in selected:
                verdict = verdicts[spec.name]
                if verdict.is_omitted and not fails:
                    context.log.info(verdict.description)
                    continue
                if spec.blocking and not verdict.passed:
                    refused[period] = verdict
                    gates.append((spec, period, verdict, made))
                else:
                    yield evaluation(spec.key, period, verdict, made)
        # Dagster's gate is open or closed for the whole run; where some periods may pass, later steps leave the others out.
        partly = len(refused) < len(periods) and not is_last(context)
        for spec, period, verdict, made in gates:
            yield evaluation(spec.key, period, verdict, made, blocking=not partly)
        for period, verdict in refused.items() if partly else ():
            reason = verdict.description.removeprefix(f"{period}: ")
            facts = {"error": SchemaChangeError.__name__, PASSES: SchemaChangeError.passes}
            yield OmittedPeriod(
                key=key, period=period, failed=True, reason=reason, facts=facts
            ).observation

    def _of_skipped(
        self,
        context: dg.AssetCheckExecutionContext,
        selected: Sequence[dg.AssetCheckSpec],
        skipped: OmittedPeriod,
        *,
        fails: bool,
    ) -> Iterator[dg.AssetCheckEvaluation]:
        """Repeat the verdicts of a period that this run does not touch: Dagster would show the checks as planned and not done."""
        period = skipped.period
        if self.is_empty(period):
            if fails:
                yield from (nothing_to_check(spec.key, skipped) for spec in selected)
            return
        for spec in selected:
            known = last_evaluation(context.instance, spec.key, PartitionKeyFilter(key=period))
            if known is not None:
                yield known
            else:
                made = _made(context, spec.asset_key, period)
                verdict = _judged(self.judge, period, [spec.name], made)[spec.name]
                yield evaluation(spec.key, period, verdict, made)


def _periods(context: dg.AssetCheckExecutionContext) -> Sequence[str]:
    run = context.op_execution_context
    return run.partition_keys if run.has_partition_key or run.has_partition_key_range else ()


def _judged(
    judge: Judge, period: str, names: Sequence[str], made: Materialization
) -> Mapping[str, Verdict]:
    try:
        return judge(period, names, made)
    except (StorageReadError, StorageWriteError, CredentialsError):
        raise  # a disk, a database or a service that refuses says nothing about the table
    except BillingLakeError as error:
        failed = Verdict(passed=False, description=f"{period}: {class_and_text(error)}")
        return dict.fromkeys(names, failed)


def _joined(verdicts: Mapping[str, Verdict]) -> Verdict:
    if not verdicts:
        return Verdict(passed=False, description="Nothing has been loaded yet; load it first")
    bad = [one for one in verdicts.values() if not one.passed]
    fails = any(one.is_red for one in bad)
    return Verdict(
        passed=not bad,
        description="\n".join(one.description for one in bad or verdicts.values()),
        metadata={
            f"{period} {name}": value
            for period, one in verdicts.items()
            for name, value in one.metadata.items()
        },
        severity=dg.AssetCheckSeverity.ERROR if fails else dg.AssetCheckSeverity.WARN,
    )


def evaluation(
    key: dg.AssetCheckKey,
    period: str | None,
    verdict: Verdict,
    made: Materialization,
    *,
    blocking: bool = False,
) -> dg.AssetCheckEvaluation:
    """Return a verdict as Dagster records it, about what was made of the billing period."""
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=verdict.passed,
        description=verdict.description,
        metadata=dict(verdict.metadata),
        severity=verdict.severity,
        blocking=blocking,
        partition=period,
        target_materialization_data=None
        if made is None
        else AssetCheckEvaluationTargetMaterializationData(
            storage_id=made.storage_id, run_id=made.run_id, timestamp=made.timestamp
        ),
    )


def last_evaluation(
    instance: dg.DagsterInstance,
    key: dg.AssetCheckKey,
    partition: PartitionKeyFilter | None = None,
) -> dg.AssetCheckEvaluation | None:
    """Return what a check said last, of one billing period or of any; None where it never did."""
    earlier = instance.event_log_storage.get_asset_check_execution_history(
        key,
        limit=1,
        status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
        partition_filter=partition,
    )
    return earlier[0].evaluation if earlier else None


def latest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, period: str | None, most: int
) -> Sequence[dg.EventLogRecord]:
    """Return the latest materializations of an asset, of one billing period or of all, the newest first."""
    partitions = None if period is None else [period]
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
    return instance.fetch_materializations(wanted, limit=most).records


def _made(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, period: str | None
) -> Materialization:
    records = latest_materializations(context.instance, key, period, _LATEST_MATERIALIZATIONS)
    of_run = (record for record in records if record.run_id == context.run.run_id)
    return next(of_run, records[0] if records else None)
