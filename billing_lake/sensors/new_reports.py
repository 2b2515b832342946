"""The sensor `new_reports`: asks for a run for each billing period whose tables do not hold the delivery in storage.

What it wants is a state, so it asks the tables what they hold, and Dagster who is at work; its cursor may be lost. A run is
asked for whenever a delivery is at rest, a table holds another one, and no run is at work on the period. One that failed
for a reason that passes is asked for again, later each time and `MOST_ATTEMPTS` times; one that needs somebody is asked for
again when the delivery changes. A delivery that waits or is broken stops no other one; the tick says which and why.

A delivery is at rest where its files say so (`Delivery.is_committed`), and else when the sensor has seen it unchanged for
the export's `quiet_seconds`. Two looks of one sensor are compared: its clock need not agree with that of the storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache

import dagster as dg
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from billing_lake.assets.delivery import delivery_observation
from billing_lake.assets.export import DagsterExport
from billing_lake.checks import freshness, readable
from billing_lake.checks.evaluations import Verdict
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import in_words, shown
from billing_lake.domain.periods import period_of
from billing_lake.jobs.load import load_job_name
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.sensors.runs import Attempt, Runs, run_tags
from billing_lake.tables.exports import held_by_all

MOST_ATTEMPTS = 6
"""Runs that are asked for, for one delivery."""

_FIRST_PAUSE = timedelta(minutes=5)
"""Time after the first failed run; it doubles with each."""

_SHOWN_NOTES = 10


@dataclass(frozen=True)
class SeenDelivery:
    """A delivery as the sensor has seen it."""

    identity: str
    since: AwareDatetime


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The memory of a tick for the next one; losing it costs time and observations only.

    Attributes:
        looks: Deliveries that have to be seen again, by billing period.
        observed: Identity of the delivery that was last observed, by billing period.
        stale: What was last said of the open month's age: the month, the delivery and how bad it was; empty while all is well.
        unread: Since when each month has had no delivery that can be read.
        unreadable: Fingerprint of what was last said of those; empty while all is well.
    """

    looks: Mapping[str, SeenDelivery] = field(default_factory=dict)
    observed: Mapping[str, str] = field(default_factory=dict)
    stale: str = ""
    unread: Mapping[str, AwareDatetime] = field(default_factory=dict)
    unreadable: str = ""

    def to_json(self) -> str:
        """Return it as text: `{"looks": {"2025-03": {"identity": …, "since": …}}, "observed": {"2025-03": …}, …}`."""
        return _cursors().dump_json(self).decode()


@cache
def _cursors() -> TypeAdapter[Cursor]:
    return TypeAdapter(Cursor)


@dataclass(kw_only=True)
class Tick:
    """The result of one look at an export's folder.

    Attributes:
        found: Deliveries of the export's billing periods that are complete, by period.
        requests: Deliveries that a run is requested for.
        looks: Deliveries that have to be seen again, by billing period.
        later: Number of deliveries that are left for the next ticks.
        at_work: Billing periods that are left alone because a run is at work on them, or waits for its turn.
        notes: What a person should know.
        alarms: What a person has to do something about.
        freshness: Whether the open month is delivered still; None where nothing is expected.
        stale: What there is to remember of that; see `Cursor`.
        findings: All that is in the folder.
    """

    found: dict[str, Delivery] = field(default_factory=dict)
    requests: list[Delivery] = field(default_factory=list)
    looks: dict[str, SeenDelivery] = field(default_factory=dict)
    later: int = 0
    at_work: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    freshness: Verdict | None = None
    stale: str = ""
    findings: Findings = field(default_factory=Findings)


def decide_requests(
    findings: Findings,
    looks: Mapping[str, SeenDelivery],
    *,
    held: Mapping[str, str],
    runs: Runs,
    periods: Sequence[str],
    limit: int,
    quiet_seconds: int,
    now: datetime,
) -> Tick:
    """Decide which deliveries to ask for, the newest billing periods first: the open month is what people look at.

    Args:
        findings: What is in the export's folder.
        looks: What the tick before this one had to see again.
        held: Identity of the delivery that all tables hold, by billing period.
        runs: What is known of runs; it is asked about what the tables do not hold.
        periods: The partitions of the export's assets.
        limit: Most requests of one tick.
        quiet_seconds: For how long a delivery has to stay the same where nothing else says that it is finished.
        now: The present.
    """
    tick, allowed, quiet = Tick(findings=findings), set(periods), timedelta(seconds=quiet_seconds)
    tick.found = {
        period: delivery
        for period, delivery in sorted(findings.deliveries.items())
        if period in allowed
    }
    wanted = [one for one in reversed(tick.found.values()) if held.get(one.period) != one.identity]
    at_work = runs.at_work() if wanted else set()
    asked_for = runs.asked_for({one.period for one in wanted} - at_work)
    for delivery in wanted:
        period = delivery.period
        seen = looks.get(period)
        if seen is None or seen.identity != delivery.identity or seen.since > now:
            seen = SeenDelivery(delivery.identity, now)
        if not delivery.is_committed:
            tick.looks[period] = seen
            if now - seen.since < quiet:
                tick.notes.append(
                    f"{period} waits: files may still be on their way, since nothing says that this delivery is finished. It was "
                    f"seen as it is for the first time at {seen.since:%H:%M:%S} UTC, and is loaded if it stays so until "
                    f"{_moment(seen.since + quiet)} (`quiet_seconds`)"
                )
                continue
        if period in at_work:
            tick.at_work.append(period)
            continue
        if _holds_back(tick, period, runs.attempts(delivery, asked_for[period]), now):
            continue
        if len(tick.requests) < limit:
            tick.requests.append(delivery)
        else:
            tick.later += 1
    tick.notes += findings.notes
    outside = sorted(findings.deliveries.keys() - allowed)
    if outside:
        tick.notes.append(
            f"{', '.join(outside[:_SHOWN_NOTES])}: before the export's `start` or in the future; not loaded"
        )
    return tick


def _holds_back(tick: Tick, period: str, attempts: Sequence[Attempt], now: datetime) -> bool:
    """Say whether what became of earlier runs forbids another one now; the tick says why."""
    if not attempts:
        return False
    last = attempts[0]
    until = "is not asked for again until its delivery changes"
    if last.lasting:
        tick.alarms.append(f"{period} {until}; somebody has to mend it and load it: {last.what}")
        return True
    if len(attempts) >= MOST_ATTEMPTS:
        tick.alarms.append(f"{period} was asked for {MOST_ATTEMPTS} times and {until}: {last.what}")
        return True
    again = last.ended + _FIRST_PAUSE * 2 ** (len(attempts) - 1)
    if now < again:
        tick.notes.append(f"{period} is asked for again at {_moment(again)}: {last.what}")
        return True
    return False


def look_at_export(
    export: DagsterExport,
    lake: Lake,
    instance: dg.DagsterInstance,
    looks: Mapping[str, SeenDelivery],
    *,
    limit: int,
    now: datetime,
) -> Tick:
    """Look at an export's folder, its tables and its runs, and decide which deliveries to ask for."""
    findings = find_deliveries(lake.storage, export.location)
    held = held_by_all(lake.tables(export))
    tick = decide_requests(
        findings,
        looks,
        held=held,
        runs=Runs(instance, export, now),
        periods=export.periods,
        limit=limit,
        quiet_seconds=export.location.quiet_seconds,
        now=now,
    )
    if tick.requests:
        # A run that ended after the tables were asked, and before runs were, is one that they do not tell of.
        held = held_by_all(lake.tables(export))
        tick.requests = [one for one in tick.requests if held.get(one.period) != one.identity]
    tick.freshness = freshness.judge_open_month(lake, export, tick.found, held, now)
    if tick.freshness is not None and not tick.freshness.passed:
        period = period_of(now)
        tick.stale = f"{period} {held.get(period, '')} {tick.freshness.severity.value}"
    return tick


def build_new_reports(
    export: DagsterExport,
    *,
    interval_seconds: int,
    runs_per_tick: int,
    running: bool,
) -> dg.SensorDefinition:
    """Build the sensor for ``export``."""

    @dg.sensor(
        name=f"{export.name}_new_reports",
        job_name=load_job_name(export),
        minimum_interval_seconds=interval_seconds,
        tags=export.tags,
        **export.owned,
        default_status=dg.DefaultSensorStatus.RUNNING
        if running
        else dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Asks for a run for each billing period whose tables do not hold the delivery of {export.name} that is in "
            f"storage, newest billing period first, at most {runs_per_tick} a tick. A run that failed is asked for again, "
            f"{MOST_ATTEMPTS} times at most, if its reason may pass. Each new delivery is noted as an observation of the asset "
            "`delivery`, and the checks `freshness` and `readable` are judged."
        ),
    )
    def new_reports(
        context: dg.SensorEvaluationContext, billing_lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult:
        cursor, now = _read_cursor(context), _now()
        tick = look_at_export(
            export, billing_lake, context.instance, cursor.looks, limit=runs_per_tick, now=now
        )
        unread = readable.waiting_since(export, tick.findings, cursor.unread, now)
        failing = readable.failing_months(export, tick.findings, unread, now)
        verdict = readable.judge_deliveries(export, tick.findings, failing)
        unreadable = readable.fingerprint_of(verdict)
        events = list(_events(export, context.instance, tick, cursor, period_of(now)))
        if unreadable != cursor.unreadable or (
            verdict.passed and readable.has_recovered(context.instance, export, unread)
        ):
            events.append(readable.readable_evaluation(export, verdict))
        for alarm in tick.alarms:
            context.log.error("%s", alarm)
        for note in tick.notes:
            context.log.warning("%s", note)
        if tick.later:
            context.log.info("%d more deliveries are left for the next ticks", tick.later)
        return dg.SensorResult(
            # No run keys: Dagster makes one run of each, ever, and a delivery may come back, or fail and be asked for again.
            run_requests=[
                dg.RunRequest(partition_key=one.period, tags=run_tags(export, one))
                for one in tick.requests
            ],
            skip_reason=None if tick.requests else _skip_reason(export, tick),
            cursor=Cursor(
                looks=tick.looks,
                observed={period: one.identity for period, one in tick.found.items()},
                stale=tick.stale,
                unread=unread,
                unreadable=unreadable,
            ).to_json(),
            asset_events=events,
        )

    return new_reports


def _events(
    export: DagsterExport, instance: dg.DagsterInstance, tick: Tick, cursor: Cursor, open_month: str
) -> Iterator[dg.AssetObservation | dg.AssetCheckEvaluation]:
    """Yield what was not so at the last look."""
    for period, delivery in tick.found.items():
        if cursor.observed.get(period) != delivery.identity:
            yield delivery_observation(export, delivery)
    if tick.freshness is not None and tick.stale != cursor.stale:
        yield freshness.freshness_evaluation(export, instance, open_month, tick.freshness)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _skip_reason(export: DagsterExport, tick: Tick) -> str:
    """Return why no run is asked for: what somebody has to mend first, then what waits."""
    lines = [*tick.alarms, *tick.notes]
    if tick.at_work:
        lines.append(
            f"A run is at work on {in_words(sorted(tick.at_work), _SHOWN_NOTES)}, or waits for its turn. If its process was killed, "
            "terminate it in Dagster's list of runs and load the month by hand"
        )
    if not lines:
        return f"No new deliveries of {export.name}."
    more = [f"… and {len(lines) - _SHOWN_NOTES} more"] if len(lines) > _SHOWN_NOTES else []
    return "\n".join((*lines[:_SHOWN_NOTES], *more, f"Nothing else is new for {export.name}."))


def _read_cursor(context: dg.SensorEvaluationContext) -> Cursor:
    """Return the cursor; what cannot be read counts as never seen, which costs the time to wait and nothing else."""
    try:
        return _cursors().validate_json(context.cursor or "{}")
    except ValidationError:
        context.log.warning(
            "The cursor cannot be read and is begun anew: %s", shown(context.cursor)
        )
        return Cursor()
