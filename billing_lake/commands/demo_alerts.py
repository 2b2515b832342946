"""The alerts at the end of the demo: its policy looks at what happened, as the policy's sensor does under a daemon."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from billing_lake.alerts.notifiers import LOGGER
from billing_lake.alerts.policies import Policy
from billing_lake.commands.runs import Project
from billing_lake.components.demo_export import demo_alerts, demo_export
from billing_lake.sensors.alert_events import UnreportedEvents
from billing_lake.sensors.alerts import UI_SETTING, Store, watch


@dataclass(frozen=True)
class DemoAlerts:
    """Looks at what failed or warned in the demo's instance."""

    project: Project

    def forget(self) -> None:
        """Forget what was reported and what is red, so that only what happens from now on is reported.

        A check that stays red is reported once. A demo that is run again tells its story again, alert included.
        """
        with self.project.instance() as instance:
            store = Store(instance, self._policy.name)
            state = store.begin()
            UnreportedEvents(instance, self._policy, {}, state, datetime.now(timezone.utc)).read()
            state.red.clear()
            state.held.clear()
            store.save(state)

    def messages(self) -> list[str]:
        """Look once, deliver what is due, and return what the policy's log notifier wrote."""
        with self.project.instance() as instance, _written() as lines:
            watch(instance, self._policy, {}, os.environ.get(UI_SETTING, ""))
        return lines

    @property
    def _policy(self) -> Policy:
        return demo_alerts().policy(frozenset((demo_export().name,)))


@contextmanager
def _written() -> Iterator[list[str]]:
    """Collect what is written to the log of alerts."""
    lines: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    log, handler = logging.getLogger(LOGGER), Collecting()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
