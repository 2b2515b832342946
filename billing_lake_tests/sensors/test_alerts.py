"""The sensor of a policy on Dagster's real event log: each change once, in order, whatever is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG

from billing_lake.alerts.policies import Policy
from billing_lake.alerts.rendering import Message
from billing_lake.domain.errors import NotDeliveredError
from billing_lake.sensors import alerts as sensor
from billing_lake.sensors.alerts import Store, build_alerts, watch

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
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
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


def load(instance: dg.DagsterInstance, *, red: str = "", tags: dict[str, str] | None = None) -> str:
    """Run a load whose gate, proof or table fails; gives the run."""

    @dg.asset(key=[EXPORT, "raw"])
    def raw() -> None: ...

    @dg.asset(key=[EXPORT, "table"], deps=[raw])
    def table() -> None:
        if red == "table":
            raise dg.Failure("the disk is full", metadata={"passes": False})

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
    assert service.titles == ["[ERROR] acme: 2 red"]


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


def test_a_failure_that_dagster_will_retry_is_no_alert(instance: dg.DagsterInstance) -> None:
    service = Service()
    load(instance, red="table", tags={WILL_RETRY_TAG: "true"})
    watch(instance, policy(service), {})
    assert service.titles == []
    load(instance, red="table")
    watch(instance, policy(service), {})
    assert len(service.titles) == 1


def test_a_long_backlog_is_read_in_order_and_without_gaps(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.sensors.alert_events._PAGE", 7)
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
    assert "1 alerts since the last digest" in digest.title
    assert "[ERROR] acme: check equals_delivery is red" in digest.text
