"""The sensor `new_reports`: asks for a run for each delivery that is new, once.

It reacts to what commits a delivery (the manifest, or the files themselves where there is none) and remembers one
identity per billing period. A delivery that waits or is broken stops no other one; the tick says which and why.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from billing_lake.assets.export import Export
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import shown
from billing_lake.jobs.load import load_job_name
from billing_lake.storage.deliveries import find_deliveries

TAG = "billing_lake/"
"""What the names of a run's tags begin with."""

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What one look at an export's folder leads to.

    Attributes:
        requests: Deliveries that a run is requested for.
        cursor: Identity of the delivery that was last asked for, by billing period.
        later: Number of new deliveries that are left for the next ticks.
        notes: What a person should know.
    """

    requests: tuple[Delivery, ...]
    cursor: Mapping[str, str]
    later: int
    notes: tuple[str, ...]


def decide(findings: Findings, seen: Mapping[str, str], periods: Sequence[str], limit: int) -> Tick:
    """Decide which deliveries to ask for.

    The newest billing periods go first: the open month is what people look at, and each delivery is asked for once, so that
    older ones get their turn.

    Args:
        findings: What is in the export's folder.
        seen: The cursor as it was.
        periods: The partitions of the export's assets.
        limit: Most requests of one tick.
    """
    allowed = set(periods)
    new = [
        delivery
        for period, delivery in sorted(findings.deliveries.items(), reverse=True)
        if period in allowed and seen.get(period) != delivery.identity
    ]
    requests = tuple(new[:limit])
    # A period that waits or is broken for now keeps its entry: when its old delivery comes back, it is not news.
    kept = {*findings.deliveries, *findings.waiting, *findings.broken} & allowed
    cursor = {period: identity for period, identity in seen.items() if period in kept}
    cursor.update((delivery.period, delivery.identity) for delivery in requests)
    outside = sorted(findings.deliveries.keys() - allowed)
    notes = [
        *(f"{period} waits: {reason}" for period, reason in sorted(findings.waiting.items())),
        *(f"{place} is broken: {reason}" for place, reason in sorted(findings.broken.items())),
    ]
    if outside:
        notes.append(
            f"{', '.join(outside[:_SHOWN])}: before the export's `start` or in the future; not loaded"
        )
    return Tick(
        requests=requests,
        cursor=dict(sorted(cursor.items())),
        later=len(new) - len(requests),
        notes=tuple(notes),
    )


def build_new_reports(
    export: Export,
    *,
    interval_seconds: int,
    runs_per_tick: int,
    running: bool,
) -> dg.SensorDefinition:
    """Build the sensor for ``export``.

    Args:
        export: The export.
        interval_seconds: Least seconds between two ticks.
        runs_per_tick: Most runs that one tick asks for.
        running: Whether the sensor runs without being switched on.
    """

    @dg.sensor(
        name=f"{export.name}_new_reports",
        job_name=load_job_name(export),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if running
        else dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Asks for a run for each new or changed delivery of {export.name}, newest billing period first, at most "
            f"{runs_per_tick} a tick."
        ),
    )
    def new_reports(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult:
        tick = decide(
            find_deliveries(lake.storage, export.location),
            _read_cursor(context),
            export.partitions.get_partition_keys(),
            runs_per_tick,
        )
        for note in tick.notes:
            context.log.warning("%s", note)
        if tick.later:
            context.log.info("%d more new deliveries are left for the next ticks", tick.later)
        return dg.SensorResult(
            run_requests=[_request(export, delivery) for delivery in tick.requests],
            skip_reason=None if tick.requests else _skip_reason(export, tick),
            cursor=json.dumps(tick.cursor),
        )

    return new_reports


def _request(export: Export, delivery: Delivery) -> dg.RunRequest:
    return dg.RunRequest(
        # Run keys are remembered for ever: one that named the period alone would never load a restatement.
        run_key=f"{export.name}/{delivery.period}:{delivery.identity}",
        partition_key=delivery.period,
        tags={
            f"{TAG}export": export.name,
            f"{TAG}billing_period": delivery.period,
            f"{TAG}delivery_version": shown(delivery.version, 200),
        },
    )


def _skip_reason(export: Export, tick: Tick) -> str:
    more = f"\n… and {len(tick.notes) - _SHOWN} more" if len(tick.notes) > _SHOWN else ""
    return "\n".join((f"No new deliveries of {export.name}.", *tick.notes[:_SHOWN])) + more


def _read_cursor(context: dg.SensorEvaluationContext) -> dict[str, str]:
    """Return the cursor; one that somebody broke by hand counts as none, and run keys keep runs from doubling."""
    try:
        value = json.loads(context.cursor or "{}")
        return {str(period): str(identity) for period, identity in value.items()}
    except (ValueError, AttributeError):
        context.log.warning(
            "The cursor is no JSON object and is begun anew: %s", shown(context.cursor)
        )
        return {}
