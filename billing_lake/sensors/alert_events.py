"""Reads from Dagster what failed, warned or got green since the last look: checks, runs and ticks of sensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.event_api import EventLogRecord, EventRecordsFilter
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from billing_lake.alerts.changes import AlertGroup, Severity, StatusChange
from billing_lake.alerts.policies import Policy
from billing_lake.alerts.state import Position, Red, State
from billing_lake.assets.export import EXPORT_TAG
from billing_lake.checks.readable import unreadable_months
from billing_lake.domain.column_names import BILLING_PERIOD
from billing_lake.domain.periods import is_period, periods_between
from billing_lake.sensors.new_reports import MOST_ATTEMPTS
from billing_lake.sensors.runs import asked_times, failure_reasons, root_cause

_LOOK_BACK = timedelta(days=1)
"""How far the first look of a policy goes back."""

_LATE = timedelta(minutes=2)
"""Age at which no event with a lower number will appear any more: transactions that write events take milliseconds."""

_RETRY_DECIDED = timedelta(seconds=5)
"""Age at which Dagster has noted whether it will retry a failed run; it does so right after the event."""

_LONGEST_HOLD = timedelta(hours=1)
"""How long a red check waits for the end of its run."""

_STARTED_FOR = timedelta(minutes=10)
"""Age at which a tick that has not ended is taken for one that never will."""

_EVENTS_AT_ONCE = 200
_LATEST_TICKS = 200

_CHECK = dg.DagsterEventType.ASSET_CHECK_EVALUATION
_FAILED = dg.DagsterEventType.RUN_FAILURE
_SUCCEEDED = dg.DagsterEventType.RUN_SUCCESS
_CANCELED = dg.DagsterEventType.RUN_CANCELED


@dataclass
class _Unread:
    """Events of one kind behind its position; ``stop`` is the last number up to which all of them are here."""

    position: Position
    records: list[EventLogRecord] = field(default_factory=list)
    stop: int | None = None


@dataclass(frozen=True)
class UnreportedEvents:
    """The events that one policy has to report; reading them changes the policy's state.

    Attributes:
        instance: Where it is recorded.
        sensors: The export of each sensor that is watched.
        state: What the policy remembers.
        now: The present.
    """

    instance: dg.DagsterInstance
    policy: Policy
    sensors: Mapping[str, str]
    state: State
    now: datetime

    def read(self) -> list[AlertGroup]:
        """Return what is to be reported, in order."""
        groups: list[AlertGroup] = []
        for record in self._records():
            entry = record.event_log_entry
            if entry.dagster_event_type is _CHECK:
                change = self._of_check(record)
                if change is not None and change.run_id:
                    self.state.held.setdefault(change.run_id, []).append(change)
                elif change is not None:
                    groups.append(AlertGroup(id=f"event-{record.storage_id}", changes=(change,)))
                continue
            run = self.instance.get_run_by_id(entry.run_id)
            of_run = [] if run is None else self._of_run(record, run)
            changes = [*self.state.held.pop(entry.run_id, []), *of_run]
            if changes:
                groups.append(AlertGroup(id=f"run-{entry.run_id}", changes=tuple(changes)))
        groups += self._held_too_long()
        groups += self._ticks()
        return groups

    def _records(self) -> list[EventLogRecord]:
        """Return the events that were not read before, in order, up to the first that cannot be judged yet."""
        newest = self.instance.event_log_storage.get_maximum_record_id() or 0
        positions = self.state.positions
        if any(max((one.after or 0, *one.seen)) > newest for one in positions.values()) or any(
            self._is_numbered_anew(dg.DagsterEventType(kind), one)
            for kind, one in positions.items()
        ):
            # The log was wiped, and numbers its events from 1 again.
            begin = max(one.newest for one in positions.values())
            self.state.positions = {kind: Position(newest=begin, begin=begin) for kind in positions}
        # Checks come last: those of a run whose end is found here are in the log by then, and wait for no end any more.
        read = [self._unread(kind) for kind in (_FAILED, _SUCCEEDED, _CANCELED, _CHECK)]
        stops = [one.stop for one in read if one.stop is not None]
        last = min(stops, default=None)
        found = []
        for one in read:
            settled = True
            for record in one.records:
                number = record.storage_id
                if last is not None and number > last:
                    break
                if number not in one.position.seen:
                    found.append(record)
                    one.position.seen.add(number)
                    one.position.newest = max(one.position.newest, record.timestamp)
                settled = settled and self.now - _moment(record.timestamp) > _LATE
                if settled:
                    one.position.after = number
                    one.position.seen.discard(number)
        return sorted(found, key=lambda record: record.storage_id)

    def _unread(self, kind: dg.DagsterEventType) -> _Unread:
        position = self.state.positions.setdefault(kind.value, Position())
        after, unread = position.after, _Unread(position)
        while True:
            page = self._page(kind, after, position.begin)
            for record in page:
                age = self.now - _moment(record.timestamp)
                undecided = kind is _FAILED and self.instance.run_retries_enabled
                if undecided and age < _RETRY_DECIDED:
                    unread.stop = record.storage_id - 1
                    return unread
                unread.records.append(record)
            if len(page) < _EVENTS_AT_ONCE:
                return unread
            after = page[-1].storage_id
            if any(record.storage_id not in position.seen for record in page):
                unread.stop = after
                return unread

    def _page(
        self, kind: dg.DagsterEventType, after: int | None, begin: float
    ) -> list[EventLogRecord]:
        earliest = max((self.now - _LOOK_BACK).timestamp(), begin)
        since = earliest if after is None else None
        wanted = EventRecordsFilter(kind, after_cursor=after, after_timestamp=since)
        return self._events(wanted, _EVENTS_AT_ONCE, ascending=True)

    def _is_numbered_anew(self, kind: dg.DagsterEventType, position: Position) -> bool:
        """Say whether the log was wiped and has grown since: what was read up to the position is older than ``newest``."""
        if position.after is None or not position.newest:
            return False
        wanted = EventRecordsFilter(kind, before_cursor=position.after + 1)
        last = self._events(wanted, 1, ascending=False)
        return bool(last) and last[0].timestamp > position.newest

    def _events(
        self, wanted: EventRecordsFilter, most: int, *, ascending: bool
    ) -> list[EventLogRecord]:
        storage = self.instance.event_log_storage
        if isinstance(storage, SqliteEventLogStorage):
            # SQLite keeps each run's events in a file of its own, and copies of these kinds in an index that numbers them.
            return list(
                SqlEventLogStorage.get_event_records(storage, wanted, most, ascending=ascending)
            )
        return list(storage.get_event_records(wanted, most, ascending=ascending))

    def _of_check(self, record: EventLogRecord) -> StatusChange | None:
        entry = record.event_log_entry
        found = entry.get_dagster_event().asset_check_evaluation_data
        severity: Severity = "ERROR" if found.severity is dg.AssetCheckSeverity.ERROR else "WARN"
        export, at = found.asset_key.path[0], _moment(record.timestamp)
        tables = (
            value.md_str or ""
            for value in found.metadata.values()
            if isinstance(value, dg.MarkdownMetadataValue)
        )
        change = StatusChange(
            kind="check",
            name=found.check_name,
            is_red=not found.passed and severity in self.policy.severities,
            severity=severity,
            export=export,
            asset="/".join(found.asset_key.path),
            period=found.partition or _named_period(found),
            found=found.description or "",
            table=next((one for one in tables if one.startswith("|")), ""),
            since=at,
            at=at,
            run_id=entry.run_id if self.instance.has_run(entry.run_id) else "",
            stops_load=bool(found.blocking),
        )
        key = f"check {change.asset} {change.name} {change.period}"
        return self._turned(key, change, unreadable_months(found))

    def _of_run(self, record: EventLogRecord, run: dg.DagsterRun) -> list[StatusChange]:
        failed = record.event_log_entry.dagster_event_type is _FAILED
        export, period = _export_of(run), _period_of(run)
        if record.event_log_entry.dagster_event_type is _CANCELED:
            return []
        text, periods = "", _periods_of(run)
        loaded: list[str] = []
        if failed:
            if run.is_complete_and_waiting_to_retry:
                return []
            reasons = failure_reasons(self.instance, run.run_id)
            lasting = bool(reasons) and all(one.lasts for one in reasons)
            asked = asked_times(self.instance, run)
            if not lasting and 0 < asked < MOST_ATTEMPTS and self._is_watched(export):
                return []  # the sensor asks for it again
            if reasons and all(one.is_check for one in reasons) and self._has_red_check(run.run_id):
                return []
            text = (
                "\n".join(one.text for one in reasons)
                or "The run never started, or its process died"
            )
            if reasons and all(one.periods for one in reasons):
                failing = frozenset[str]().union(*(one.periods for one in reasons))
                loaded = [one for one in periods if one not in failing]
                periods = [one for one in periods if one in failing]
        at = _moment(record.timestamp)
        change = StatusChange(
            kind="run",
            name=run.job_name,
            is_red=failed and "ERROR" in self.policy.severities,
            severity="ERROR",
            export=export,
            period=period,
            found=text,
            since=at,
            at=at,
            run_id=run.run_id,
        )
        # A run that judged checks and loaded nothing says nothing of a load that failed.
        is_load = run.asset_selection or not run.asset_check_selection
        kind = "run" if is_load else "checks"
        # What is loaded is judged, too.
        green_kinds = ["run", "checks"] if is_load else ["checks"]
        found = self._turned_in(
            [kind] if failed else green_kinds, periods or [period or run.job_name], change
        )
        # A month that was loaded in a run that failed for other ones is green.
        green = replace(change, is_red=False, found="", period=", ".join(loaded))
        return [*self._turned_in(green_kinds, loaded, green), *found]

    def _turned_in(
        self, kinds: Sequence[str], names: Sequence[str], change: StatusChange
    ) -> list[StatusChange]:
        """Return the change of a run once, if it is one for any of the names, since the first of them turned red."""
        turned = [
            self._turned(f"{kind} {change.export} {name}", change)
            for kind in kinds
            for name in names
        ]
        found = [one for one in turned if one is not None]
        return [min(found, key=lambda one: one.since)] if found else []

    def _is_watched(self, export: str) -> bool:
        """Say whether the export's sensor is switched on; one that never was has no state."""
        sensors = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return any(
            one.is_running and self.sensors.get(one.instigator_name) == export for one in sensors
        )

    def _has_red_check(self, run_id: str) -> bool:
        records = self.instance.get_records_for_run(run_id, of_type=_CHECK).records
        found = [
            one.event_log_entry.get_dagster_event().asset_check_evaluation_data for one in records
        ]
        keys = (
            f"check {'/'.join(one.asset_key.path)} {one.check_name} {one.partition or ''}"
            for one in found
            if one.blocking and not one.passed
        )
        return any(key in self.state.red for key in keys)

    def _turned(
        self, key: str, change: StatusChange, parts: frozenset[str] = frozenset()
    ) -> StatusChange | None:
        """Return the change if it is one and is to be reported, and remember it; one more of its ``parts`` is one, too."""
        if not self.policy.reports(change) and key not in self.state.red:
            return None
        before = self.state.red.get(key)
        if change.is_red:
            since = before.since if before else change.since
            self.state.red[key] = Red(since, change.severity, parts)
            worse = before is not None and (
                (before.severity, change.severity) == ("WARN", "ERROR")
                or bool(parts - before.parts)
            )
            if before is not None and not worse:
                return None
            return change if before is None else _since(change, before)
        if before is None:
            return None
        del self.state.red[key]
        return _since(change, before)

    def _held_too_long(self) -> Iterator[AlertGroup]:
        for run_id, changes in list(self.state.held.items()):
            if self.now - changes[0].at > _LONGEST_HOLD:
                del self.state.held[run_id]
                yield AlertGroup(id=f"run-{run_id}-{len(changes)}", changes=tuple(changes))

    def _ticks(self) -> Iterator[AlertGroup]:
        for sensor in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
            export = self.sensors.get(sensor.instigator_name)
            if export is None:
                continue
            earliest = (self.now - _LOOK_BACK).timestamp()
            after = self.state.ticks.get(sensor.instigator_name, earliest)
            ticks = self.instance.get_ticks(
                sensor.instigator_origin_id, sensor.selector_id, after=after, limit=_LATEST_TICKS
            )
            for tick in reversed(ticks):
                age = self.now - _moment(tick.timestamp)
                if tick.status is TickStatus.STARTED and age < _STARTED_FOR:
                    break
                self.state.ticks[sensor.instigator_name] = tick.timestamp
                change = self._of_tick(tick, sensor.instigator_name, export)
                if change is not None:
                    yield AlertGroup(id=f"tick-{tick.tick_id}", changes=(change,))

    def _of_tick(self, tick: InstigatorTick, name: str, export: str) -> StatusChange | None:
        if tick.status is TickStatus.STARTED:
            return None
        at = _moment(tick.timestamp)
        change = StatusChange(
            kind="sensor",
            name=name,
            is_red=tick.status is TickStatus.FAILURE and "ERROR" in self.policy.severities,
            severity="ERROR",
            export=export,
            found="" if tick.error is None else root_cause(tick.error).message.strip(),
            since=at,
            at=at,
        )
        return self._turned(f"sensor {name}", change)


def _named_period(found: dg.AssetCheckEvaluation) -> str:
    """Return the billing period that an evaluation outside of runs names; nothing where it names none."""
    named = found.metadata.get(BILLING_PERIOD)
    return str(named.value) if isinstance(named, dg.TextMetadataValue) else ""


def _since(change: StatusChange, before: Red) -> StatusChange:
    severity = change.severity if change.is_red else before.severity
    return replace(change, since=before.since, severity=severity)


def _export_of(run: dg.DagsterRun) -> str:
    """Return the export that a run belongs to; nothing where it belongs to none."""
    if EXPORT_TAG in run.tags:
        return run.tags[EXPORT_TAG]
    keys = [
        *(run.asset_selection or ()),
        *(one.asset_key for one in run.asset_check_selection or ()),
    ]
    return keys[0].path[0] if keys else ""


def _period_of(run: dg.DagsterRun) -> str:
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    if first is not None:
        return f"{first} to {run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)}"
    return run.tags.get(PARTITION_NAME_TAG, "")


def _periods_of(run: dg.DagsterRun) -> list[str]:
    """Return the billing periods of a run, each of which turns red and green by itself; nothing for a run that has none."""
    one = run.tags.get(PARTITION_NAME_TAG, "")
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, one)
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    return [*periods_between(first, last)] if is_period(first) and is_period(last) else []


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
