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

from billing_lake.assets.periods import describe
from billing_lake.domain.errors import BillingLakeError


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check found for one billing period.

    Attributes:
        passed: Whether it is as it should be.
        description: What was found, in words.
        metadata: What was found, in figures and tables.
        severity: How bad it is where it did not pass; where it did, whether there is something to tell.
    """

    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


Judge = Callable[[str, Sequence[str]], Mapping[str, Verdict]]
"""Takes a billing period and names of checks, gives their verdicts."""


def evaluate(
    context: dg.AssetCheckExecutionContext,
    specs: Sequence[dg.AssetCheckSpec],
    known_periods: Sequence[str],
    judge: Judge,
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Judge every billing period of the run by the checks that are selected.

    Args:
        context: The checks' context.
        specs: Their specs, all of one asset.
        known_periods: Periods that are judged where the run has no partition.
        judge: Judges one period.
    """
    selected = [spec for spec in specs if spec.key in context.selected_asset_check_keys]
    names = [spec.name for spec in selected]
    if selected and selected[0].partitions_def is None:
        found = {period: _judged(judge, period, names) for period in known_periods}
        for spec in selected:
            whole = _joined({period: verdicts[spec.name] for period, verdicts in found.items()})
            yield _evaluation(context, spec, None, whole)
    else:
        for period in _periods(context) or known_periods:
            verdicts = _judged(judge, period, names)
            for spec in selected:
                yield _evaluation(context, spec, period, verdicts[spec.name])
    for spec in selected:
        yield dg.Output(None, output_name=spec.get_python_identifier())


def _periods(context: dg.AssetCheckExecutionContext) -> Sequence[str]:
    run = context.op_execution_context
    return run.partition_keys if run.has_partition_key or run.has_partition_key_range else ()


def _judged(judge: Judge, period: str, names: Sequence[str]) -> Mapping[str, Verdict]:
    try:
        return judge(period, names)
    except BillingLakeError as error:
        failed = Verdict(passed=False, description=f"{period}: {describe(error)}")
        return dict.fromkeys(names, failed)


def _joined(verdicts: Mapping[str, Verdict]) -> Verdict:
    if not verdicts:
        return Verdict(passed=False, description="Nothing has been loaded yet; load it first")
    bad = [one for one in verdicts.values() if not one.passed]
    severity = max((one.severity for one in bad), key=_rank, default=dg.AssetCheckSeverity.WARN)
    return Verdict(
        passed=not bad,
        description="\n".join(one.description for one in bad or verdicts.values()),
        metadata={
            f"{period} {name}": value
            for period, one in verdicts.items()
            for name, value in one.metadata.items()
        },
        severity=severity,
    )


def _rank(severity: dg.AssetCheckSeverity) -> int:
    return [dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR].index(severity)


def _evaluation(
    context: dg.AssetCheckExecutionContext,
    spec: dg.AssetCheckSpec,
    period: str | None,
    verdict: Verdict,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=verdict.passed,
        description=verdict.description,
        metadata=dict(verdict.metadata),
        severity=verdict.severity,
        blocking=spec.blocking,
        partition=period,
        target_materialization_data=_latest(context, spec.asset_key, period),
    )


def _latest(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, period: str | None
) -> AssetCheckEvaluationTargetMaterializationData | None:
    records = context.op_execution_context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if period is None else [period]),
        limit=1,
    ).records
    return (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=records[0].storage_id,
            run_id=records[0].run_id,
            timestamp=records[0].timestamp,
        )
        if records
        else None
    )
