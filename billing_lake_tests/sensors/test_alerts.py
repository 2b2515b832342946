"""The sensor of a policy on Dagster's real event log: each change once, in order, whatever is restarted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorType,
    TickData,
    TickStatus,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.utils import make_new_run_id
from dagster_shared.error import SerializableErrorInfo

from billing_lake.alerts.policies import Policy
from billing_lake.alerts.rendering import Message
from billing_lake.domain.errors import ConfigurationError, NotDeliveredError
from billing_lake.sensors import alerts as sensor
from billing_lake.sensors.alert_events import UnreportedEvents
from billing_lake.sensors.alerts import Store, build_alerts, watch
from billing_lake_tests.lakes import NO_CAPTURE

EXPORT = "acme"


class Service:
    """Takes messages while it is up."""

    def __init__(self) -> None:
        self.name = "service"
        self.is_up = True
        self.taken: list[Message] = []

    def send(self, message: Message) -> None:
        if not self.is_up:
            raise NotDeliveredError("service is down")
        self.taken.append(message)

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.taken]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """SQLite in a folder, as a lake on one machine has it."""
    with dg.DagsterInstance.local_temp(str(tmp_path), NO_CAPTURE) as made:
        yield made


def policy(service: Service, **settings: object) -> Policy:
    usual = {
        "name": "finance",
        "exports": frozenset({EXPORT}),
        "notifiers": [service],
        "zone": ZoneInfo("UTC"),
    }
    return Policy(**{**usual, **settings})  # type: ignore[arg-type]


def evaluate(
    instance: dg.DagsterInstance,
    passed: bool,  # noqa: FBT001
    name: str = "equals_delivery",
    *,
    period: str | None = None,
    export: str = EXPORT,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey([export, "iceberg_table"]),
            check_name=name,
            passed=passed,
            metadata={"differences": dg.MetadataValue.md("| figure |\n| --- |\n| rows |")},
            severity=severity,
            partition=period,
            description="what was found",
        )
    )


def load(
    instance: dg.DagsterInstance,
    *,
    red: str = "",
    failed: str = "",
    tags: dict[str, str] | None = None,
) -> str:
    """Run a load whose gate, proof or table fails, the table for the billing periods ``failed``; gives the run."""

    @dg.asset(key=[EXPORT, "raw"])
    def raw() -> None: ...

    @dg.asset(key=[EXPORT, "table"], deps=[raw])
    def table() -> None:
        if red in {"table", "busy"}:
            named = {"failed_periods": failed} if failed else {}
            raise dg.Failure("the disk is full", metadata={"passes": red == "busy", **named})

    @dg.asset_check(asset=raw, name="gate", blocking=True)
    def gate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=red != "gate", description="a column is gone")

    @dg.asset_check(asset=table, name="proof")
    def proof() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=red != "proof")

    @dg.asset_check(asset=table, name="second")
    def second() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=red != "proof", severity=dg.AssetCheckSeverity.WARN)

    definitions = dg.Definitions(
        assets=[raw, table],
        asset_checks=[gate, proof, second],
        jobs=[dg.define_asset_job("acme_load", tags={"billing_lake/export": EXPORT})],
    )
    result = definitions.resolve_job_def("acme_load").execute_in_process(
        instance=instance, raise_on_error=False, tags=tags
    )
    return result.run_id


def test_a_check_is_reported_when_it_turns_red_and_when_it_turns_green_and_not_between(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    for passed in (True, False, False):
        evaluate(instance, passed)
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme: check equals_delivery is red"]
    assert "| rows |" in service.taken[0].text
    watch(instance, policy(service), {})
    evaluate(instance, passed=False)
    watch(instance, policy(service), {})
    evaluate(instance, passed=True)
    evaluate(instance, passed=False, export="other")
    watch(instance, policy(service), {})
    watch(instance, policy(service), {})
    assert service.titles[1:] == ["[RESOLVED] acme: check equals_delivery is green again"]


def test_each_billing_period_of_a_check_turns_by_itself(instance: dg.DagsterInstance) -> None:
    service = Service()
    evaluate(instance, passed=False, period="2025-01")
    evaluate(instance, passed=False, period="2025-02")
    evaluate(instance, passed=True, period="2025-03")
    watch(instance, policy(service), {})
    assert service.titles == [
        "[ERROR] acme 2025-01: check equals_delivery is red",
        "[ERROR] acme 2025-02: check equals_delivery is red",
    ]


def test_a_warning_that_becomes_an_error_is_reported_again(instance: dg.DagsterInstance) -> None:
    service = Service()
    for severity in (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR):
        evaluate(instance, passed=False, severity=severity)
    watch(instance, policy(service), {})
    assert [title.split()[0] for title in service.titles] == ["[WARN]", "[ERROR]"]


def test_a_blocking_check_and_the_failure_of_its_run_are_one_alert(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    run_id = load(instance, red="gate")
    load(instance, red="gate")
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme: check gate is red"]
    assert f"Run: {run_id}" in service.taken[0].text
    assert "Nothing was written" in service.taken[0].text
    load(instance)
    watch(instance, policy(service), {})
    assert service.titles[1:] == ["[RESOLVED] acme: check gate is green again"]


def test_what_belongs_to_one_run_is_one_message(instance: dg.DagsterInstance) -> None:
    service = Service()
    load(instance, red="proof")
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme: 1 red, 1 warning"]


@pytest.mark.parametrize("pages", range(5))
def test_a_run_that_ends_while_the_policy_looks_is_one_message_at_the_next_look_at_the_latest(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    service, read = Service(), UnreportedEvents._page
    count = itertools.count(1)

    def reading(events: UnreportedEvents, *about: Any) -> list[Any]:
        found = read(events, *about)
        if next(count) == pages:
            load(instance, red="proof")
        return found

    monkeypatch.setattr(UnreportedEvents, "_page", reading)
    watch(instance, policy(service), {})
    if not pages:
        load(instance, red="proof")
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme: 1 red, 1 warning"]


def test_a_failed_run_is_reported_once_until_a_run_succeeds(instance: dg.DagsterInstance) -> None:
    service = Service()
    load(instance, red="table")
    load(instance, red="table")
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme: run acme_load is red"]
    assert "Found: the disk is full" in service.taken[0].text
    load(instance)
    watch(instance, policy(service), {})
    assert service.titles[1:] == ["[RESOLVED] acme: run acme_load is green again"]


def of(first: str, last: str = "") -> dict[str, str]:
    """The tags of a run of a billing period, or of a range."""
    if not last:
        return {PARTITION_NAME_TAG: first}
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def test_each_month_of_a_run_turns_by_itself_whatever_range_it_is_loaded_in(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()

    def seen() -> list[str]:
        service.taken.clear()
        watch(instance, policy(service), {})
        return service.titles

    red, green = (f"run acme_load is {one}" for one in ("red", "green again"))
    load(instance, red="table", tags=of("2024-12", "2025-02"))
    assert seen() == [f"[ERROR] acme 2024-12 to 2025-02: {red}"]
    for month in ("2024-12", "2025-01", "2025-02"):
        load(instance, tags=of(month))
    assert seen() == [
        f"[RESOLVED] acme {one}: {green}" for one in ("2024-12", "2025-01", "2025-02")
    ]
    # The same range fails again, and then one month of it; all of them are loaded in another range.
    load(instance, red="table", tags=of("2024-12", "2025-02"))
    load(instance, red="table", tags=of("2025-01"))
    assert seen() == [f"[ERROR] acme 2024-12 to 2025-02: {red}"]
    load(instance, tags=of("2024-11", "2025-03"))
    assert seen() == [f"[RESOLVED] acme 2024-11 to 2025-03: {green}"]
    load(instance, red="table", tags=of("2025-01"))
    assert seen() == [f"[ERROR] acme 2025-01: {red}"]


def test_a_month_that_was_loaded_in_a_run_that_failed_for_another_one_is_not_red(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    load(instance, red="table", failed="2025-02", tags=of("2025-01", "2025-03"))
    load(instance, red="table", tags=of("2025-03"))
    watch(instance, policy(service), {})
    assert service.titles == [
        "[ERROR] acme 2025-01 to 2025-03: run acme_load is red",
        "[ERROR] acme 2025-03: run acme_load is red",
    ]


def test_a_month_that_fails_alone_is_told_again_after_a_run_that_loaded_it_and_failed_for_another(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    load(instance, red="table", tags=of("2025-01"))
    load(instance, red="table", failed="2025-02", tags=of("2025-01", "2025-02"))
    watch(instance, policy(service), {})
    load(instance, red="table", tags=of("2025-01"))
    watch(instance, policy(service), {})
    run = "run acme_load is"
    assert service.titles == [
        f"[ERROR] acme 2025-01: {run} red",
        "[ERROR] acme: 1 red, 1 green again",
        f"[ERROR] acme 2025-01: {run} red",
    ]
    said = service.taken[1].text
    assert "GREEN again: run of acme_load\nExport: acme, billing period 2025-01\n" in said


def judge(instance: dg.DagsterInstance, period: str, ends: dg.DagsterEventType) -> None:
    """Run the checks of a billing period alone."""
    proof = dg.AssetCheckKey(dg.AssetKey([EXPORT, "table"]), "proof")
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        run_id=make_new_run_id(),
        tags=of(period),
        asset_selection=frozenset(),
        asset_check_selection=frozenset([proof]),
    )
    instance.add_run(run)
    instance.report_dagster_event(dg.DagsterEvent(ends.value, run.job_name), run.run_id)


def test_checks_that_could_not_be_run_are_told_again_after_a_load_that_judged_the_month(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    for _ in range(2):
        judge(instance, "2025-01", dg.DagsterEventType.RUN_FAILURE)
        judge(instance, "2025-01", dg.DagsterEventType.RUN_FAILURE)
        load(instance, tags=of("2025-01"))
    watch(instance, policy(service), {})
    red = "[ERROR] acme 2025-01: run __ASSET_JOB is red"
    green = "[RESOLVED] acme 2025-01: run acme_load is green again"
    assert service.titles == [red, green, red, green]


def test_checks_that_were_run_by_themselves_say_nothing_of_a_load_that_failed(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    load(instance, red="table", tags=of("2025-01"))
    judge(instance, "2025-01", dg.DagsterEventType.RUN_SUCCESS)
    watch(instance, policy(service), {})
    assert service.titles == ["[ERROR] acme 2025-01: run acme_load is red"]


def test_a_failure_that_dagster_will_retry_is_no_alert(instance: dg.DagsterInstance) -> None:
    service = Service()
    load(instance, red="table", tags={WILL_RETRY_TAG: "true"})
    watch(instance, policy(service), {})
    assert service.titles == []
    load(instance, red="table")
    watch(instance, policy(service), {})
    assert len(service.titles) == 1


def switch(
    instance: dg.DagsterInstance, name: str, status: InstigatorStatus = InstigatorStatus.RUNNING
) -> InstigatorState:
    """Switch a sensor on, or off; gives its state."""
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("billing_lake"), "all")
    origin = RemoteInstigatorOrigin(place, name)
    state = InstigatorState(origin, InstigatorType.SENSOR, status)
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        instance.add_instigator_state(state)
    else:
        instance.update_instigator_state(state)
    return state


def test_a_failure_that_the_sensor_will_ask_for_again_is_no_alert_while_the_sensor_is_on(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.sensors.alert_events.MOST_ATTEMPTS", 2)
    service, sensor_name = Service(), "acme_new_reports"

    def ends(identity: str, red: str = "busy") -> list[str]:
        facts = {"export": EXPORT, "billing_period": "2025-03", "delivery_identity": identity}
        before = len(service.taken)
        load(instance, red=red, tags={f"billing_lake/{name}": one for name, one in facts.items()})
        watch(instance, policy(service), {sensor_name: EXPORT})
        return service.titles[before:]

    red, green = (f"acme: run acme_load is {one}" for one in ("red", "green again"))
    assert ends("first") == [f"[ERROR] {red}"], "the sensor was never switched on"
    assert ends("first", red="") == [f"[RESOLVED] {green}"]
    switch(instance, sensor_name)
    assert ends("second") == []
    assert ends("second") == [f"[ERROR] {red}"], "the last attempt"
    assert ends("second", red="") == [f"[RESOLVED] {green}"]
    switch(instance, sensor_name, InstigatorStatus.STOPPED)
    assert ends("third") == [f"[ERROR] {red}"]


def test_alerts_go_on_when_the_event_log_was_wiped_and_counts_from_one_again(
    instance: dg.DagsterInstance,
) -> None:
    service = Service()
    for number in range(9):
        evaluate(instance, passed=False, name=f"check_{number}")
    watch(instance, policy(service), {})
    assert len(service.taken) == 9
    instance.wipe()
    evaluate(instance, passed=True, name="check_0")
    evaluate(instance, passed=False, name="after")
    watch(instance, policy(service), {})
    assert service.titles[9:] == [
        "[RESOLVED] acme: check check_0 is green again",
        "[ERROR] acme: check after is red",
    ]
    watch(instance, policy(service), {})
    assert len(service.taken) == 11


def test_alerts_of_a_log_that_was_wiped_and_has_grown_beyond_what_was_read_are_all_told(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    for number in range(3):
        evaluate(instance, passed=False, name=f"before_{number}")
    watch(instance, policy(service), {})
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    monkeypatch.setattr(sensor, "_now", lambda: later)
    watch(instance, policy(service), {})
    instance.wipe()
    names = [f"after_{number}" for number in range(7)]
    for name in names:
        evaluate(instance, passed=False, name=name)
    for _ in range(2):
        watch(instance, policy(service), {})
    assert [title.split()[3] for title in service.titles[3:]] == names


def test_a_long_backlog_is_read_in_order_and_without_gaps(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.sensors.alert_events._EVENTS_AT_ONCE", 7)
    service = Service()
    names = [f"check_{number:02}" for number in range(30)]
    for name in names:
        evaluate(instance, passed=False, name=name)
    for _ in range(8):
        watch(instance, policy(service), {})
    assert [title.split()[3] for title in service.titles] == names


def test_old_events_leave_no_trace_in_the_state(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    for number in range(20):
        evaluate(instance, passed=False, name=f"check_{number}")
    watch(instance, policy(service), {})
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    monkeypatch.setattr(sensor, "_now", lambda: later)
    watch(instance, policy(service), {})
    position = Store(instance, "finance").load().positions["ASSET_CHECK_EVALUATION"]
    assert position.seen == set()
    assert position.after is not None
    assert len(service.titles) == 20


def test_undelivered_alerts_show_in_the_tick_and_are_sent_when_the_service_is_back(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    service.is_up = False
    evaluate(instance, passed=False)
    alerts = build_alerts(policy(service), {}, interval_seconds=30, running=True)
    tick = alerts(dg.build_sensor_context(instance))
    assert isinstance(tick, dg.SkipReason)
    assert "1 undelivered by service" in str(tick.skip_message)
    assert "service is down" in str(tick.skip_message)
    later = datetime.now(timezone.utc) + timedelta(hours=25)
    with monkeypatch.context() as patch:
        patch.setattr(sensor, "_now", lambda: later - timedelta(hours=2))
        service.is_up = True
        watch(instance, policy(service), {})
    assert len(service.titles) == 1


def test_a_tick_fails_when_it_gives_an_alert_up(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    service.is_up = False
    evaluate(instance, passed=False)
    watch(instance, policy(service), {})
    later = datetime.now(timezone.utc) + timedelta(hours=25)
    monkeypatch.setattr(sensor, "_now", lambda: later)
    alerts = build_alerts(policy(service), {}, interval_seconds=30, running=True)
    with pytest.raises(NotDeliveredError, match="Given up"):
        alerts(dg.build_sensor_context(instance))
    assert isinstance(alerts(dg.build_sensor_context(instance)), dg.SkipReason)


def test_a_tick_that_lives_on_after_its_daemon_stops_when_the_next_one_begins(
    instance: dg.DagsterInstance,
) -> None:
    names = [f"check_{number}" for number in range(10)]
    for name in names[:8]:
        evaluate(instance, passed=False, name=name)

    class Slow(Service):
        def send(self, message: Message) -> None:
            super().send(message)
            if len(self.taken) == 3:
                for name in names[8:]:
                    evaluate(instance, passed=False, name=name)
                watch(instance, policy(self), {})

    service = Slow()
    watch(instance, policy(service), {})
    # What was under way when the second tick began is sent by both.
    assert [title.split()[3] for title in service.titles] == [*names[:3], *names[2:]]
    watch(instance, policy(service), {})
    assert len(service.titles) == len(names) + 1
    assert Store(instance, "finance").load().outbox.waiting == []


def test_a_sensor_whose_ticks_fail_is_reported_once_and_when_it_works_again(
    instance: dg.DagsterInstance,
) -> None:
    service, name = Service(), "acme_new_reports"
    state = switch(instance, name)

    def tick(status: TickStatus, text: str = "") -> InstigatorTick:
        error = None
        if text:
            cause = SerializableErrorInfo(text, [], "StorageReadError")
            error = SerializableErrorInfo("Error in sensor", [], "SensorError", cause)
        data = TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=name,
            instigator_type=InstigatorType.SENSOR,
            status=status,
            timestamp=datetime.now(timezone.utc).timestamp(),
            selector_id=state.selector_id,
            error=error,
        )
        return instance.create_tick(data)

    def look() -> list[str]:
        before = len(service.taken)
        watch(instance, policy(service, checks=frozenset({"schema_diff"})), {name: EXPORT})
        return service.titles[before:]

    tick(TickStatus.SKIPPED)
    assert look() == []
    tick(TickStatus.FAILURE, "the folder cannot be listed")
    assert look() == [f"[ERROR] acme: sensor {name} is red"]
    assert "Found: the folder cannot be listed" in service.taken[0].text
    assert "New deliveries of this export are not noticed" in service.taken[0].text
    tick(TickStatus.FAILURE, "the folder cannot be listed")
    at_work = tick(TickStatus.STARTED)
    assert look() == []
    # The tick that was at work is judged when it has ended, though a later one has ended before it.
    tick(TickStatus.FAILURE, "the folder cannot be listed")
    assert look() == []
    instance.update_tick(at_work.with_status(TickStatus.SUCCESS))
    assert look() == [
        f"[RESOLVED] acme: sensor {name} is green again",
        f"[ERROR] acme: sensor {name} is red",
    ]
    tick(TickStatus.SKIPPED)
    assert look() == [f"[RESOLVED] acme: sensor {name} is green again"]
    assert look() == []


def test_a_red_check_of_a_run_that_does_not_end_is_reported_after_an_hour(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    seen: list[list[str]] = []

    key = dg.AssetKey([EXPORT, "table"])

    @dg.asset(key=key, check_specs=[dg.AssetCheckSpec("proof", asset=key)])
    def table() -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        yield dg.AssetCheckResult(passed=False)
        yield dg.Output(None)

    @dg.asset(key=[EXPORT, "later"], deps=[table])
    def later() -> None:
        for minutes in (1, 59, 61, 90):
            moment = datetime.now(timezone.utc) + timedelta(minutes=minutes)
            with monkeypatch.context() as patch:
                patch.setattr(sensor, "_now", lambda moment=moment: moment)
                watch(instance, policy(service), {})
            seen.append(service.titles)

    assert dg.materialize([table, later], instance=instance).success
    late = ["[ERROR] acme: check proof is red"]
    assert seen == [[], [], late, late]
    watch(instance, policy(service), {})
    assert service.titles == late


def test_a_digest_has_what_happened_and_replaces_single_messages(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    now = datetime.now(timezone.utc)
    one = policy(service, digest_at=now.time().replace(tzinfo=None), digest="instead")
    evaluate(instance, passed=False)
    watch(instance, one, {})
    assert service.titles == []
    monkeypatch.setattr(sensor, "_now", lambda: now + timedelta(days=1, seconds=1))
    watch(instance, one, {})
    (digest,) = service.taken
    assert "1 alert since the last digest" in digest.title
    assert "[ERROR] acme: check equals_delivery is red" in digest.text


@pytest.mark.parametrize(
    "kept", ['{"format": 2}', '{"format": 1', '{"red": {"a": {"since": "?"}}}']
)
def test_a_state_that_cannot_be_read_is_a_named_error_and_is_not_begun_anew(
    instance: dg.DagsterInstance, kept: str
) -> None:
    service, key = Service(), Store(instance, "finance").key
    evaluate(instance, passed=False)
    instance.daemon_cursor_storage.set_cursor_values({key: kept})
    with pytest.raises(
        ConfigurationError, match=r"the alert policy finance remembers.*Use the release"
    ):
        watch(instance, policy(service), {})
    assert service.taken == []
    assert instance.daemon_cursor_storage.get_cursor_values({key}) == {key: kept}
