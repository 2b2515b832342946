"""The sensor of an alert policy: reads what fails, warns or is green again, and delivers what is to be said of it.

Its state is kept in the instance's own store of values, not in Dagster's cursor of the sensor: that one is saved when a tick has
ended, and a tick that is killed after a hundred messages would send all of them again. Here the state is saved after each message.

A daemon that is killed may leave a code server behind that goes on with its tick, while the next daemon begins one. So each tick
says that it is the one that sends, and one that finds another there stops.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import dagster as dg

from billing_lake.alerts.policies import Policy
from billing_lake.alerts.rendering import Renderer, title_of
from billing_lake.alerts.state import State
from billing_lake.domain.errors import ConfigurationError, NotDeliveredError, counted, shown
from billing_lake.sensors.alert_events import UnreportedEvents

UI_SETTING = "BILLING_LAKE_UI_URL"
"""Environment variable with the address of the Dagster UI, for links."""

_SENDING = timedelta(seconds=30)
"""How long a tick sends; Dagster ends a tick after 60 s."""

_PLENTY, _SAVE_SHARE = 1_000, 10
"""While more messages than this wait, a tick works this many times as long as it saves: the state is large."""


@dataclass(kw_only=True)
class Report:
    """The result of a tick.

    Attributes:
        queued: Alerts that were found.
        delivered: Messages that were delivered.
        waiting: What is undelivered, and why.
        given_up: What is not tried any more.
    """

    queued: int = 0
    delivered: int = 0
    waiting: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it in words."""
        new, sent = counted(self.queued, "new alert"), counted(self.delivered, "message")
        head = f"{new}, {sent} delivered."
        return "\n".join((*self.given_up, *self.waiting, head))


@dataclass(frozen=True)
class Store:
    """The state of a policy in a Dagster instance.

    Attributes:
        policy: Name of the policy.
        tick: Names the tick that works with it.
    """

    instance: dg.DagsterInstance
    policy: str
    tick: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def key(self) -> str:
        """Name of the value."""
        return f"billing_lake/alerts/{self.policy}"

    @property
    def is_current(self) -> bool:
        """Say whether no later tick has begun."""
        return self._values({self._tick_key}).get(self._tick_key) == self.tick

    def begin(self) -> State:
        """Stop a tick that is still at work, and return the state; a new one where there is none."""
        self.instance.daemon_cursor_storage.set_cursor_values({self._tick_key: self.tick})
        return self.load()

    def load(self) -> State:
        """Return the state; a new one where there is none.

        Raises:
            ConfigurationError: A later release wrote it.
        """
        text = self._values({self.key}).get(self.key)
        try:
            return State.from_json(text) if text else State()
        except ValueError as error:
            what = f"What the alert policy {self.policy} remembers cannot be read: {shown(error)}"
            remedy = "Use the release of Billing Lake that wrote it, or a later one"
            raise ConfigurationError(what, remedy=remedy) from error

    def save(self, state: State) -> None:
        """Save the state, unless a later tick has begun, which has its own."""
        if self.is_current:
            self.instance.daemon_cursor_storage.set_cursor_values({self.key: state.to_json()})

    @property
    def _tick_key(self) -> str:
        return f"{self.key}/tick"

    def _values(self, keys: set[str]) -> Mapping[str, str]:
        return self.instance.daemon_cursor_storage.get_cursor_values(keys)


def watch(
    instance: dg.DagsterInstance, policy: Policy, sensors: Mapping[str, str], ui_url: str = ""
) -> Report:
    """Look once at what happened, and deliver what is due."""
    now = _now()
    store, report, renderer = Store(instance, policy.name), Report(), Renderer(ui_url)
    state = store.begin()
    names = [one.name for one in policy.notifiers]
    groups = UnreportedEvents(instance, policy, sensors, state, now).read()
    report.queued = len(groups)
    for group in groups:
        if policy.digest_at is not None:
            state.digest.titles.append(title_of(group))
        if policy.digest_at is None or policy.digest == "beside":
            message = renderer.message(group)
            state.outbox.put(message, names, policy.due(message.severity, now))
    day = policy.digest_day(now)
    if day != state.digest.day:
        if state.digest.day:
            state.outbox.put(renderer.digest(day, state.digest.titles), names, now)
            state.digest.titles = []
        state.digest.day = day
    report.given_up = state.outbox.give_up(names, now)
    store.save(state)
    try:
        _deliver(store, state, policy, report)
    finally:
        store.save(state)
    report.waiting = state.outbox.summary()
    return report


def _deliver(store: Store, state: State, policy: Policy, report: Report) -> None:
    before = len(state.outbox.waiting)
    saved, pause = time.monotonic(), 0.0
    for _ in state.outbox.deliver(policy.notifiers, _now, _now() + _SENDING):
        if (started := time.monotonic()) - saved >= pause:
            store.save(state)
            saved = time.monotonic()
            pause = _SAVE_SHARE * (saved - started) if len(state.outbox.waiting) > _PLENTY else 0.0
        if not store.is_current:
            break
    report.delivered = before - len(state.outbox.waiting)


def build_alerts(
    policy: Policy, sensors: Mapping[str, str], *, interval_seconds: int, running: bool
) -> dg.SensorDefinition:
    """Build the sensor of ``policy``."""

    @dg.sensor(
        name=f"{policy.name}_alerts",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if running
        else dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Reports what fails, warns, or is green again, of {', '.join(sorted(policy.exports)) or 'no export'} to "
            f"{', '.join(one.name for one in policy.notifiers)}: asset checks, failed runs and failed ticks of sensors, each "
            "once. What a notifier does not take is kept, tried again for a day, and named in each tick."
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        report = watch(context.instance, policy, sensors, os.environ.get(UI_SETTING, ""))
        if report.given_up:
            raise NotDeliveredError(
                "\n".join(report.given_up),
                remedy="Mend the notifier, and look at the alerts in the UI",
            )
        return dg.SkipReason(str(report))

    return alerts


def _now() -> datetime:
    return datetime.now(timezone.utc)
