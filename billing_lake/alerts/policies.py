"""Decides which changes a policy reports, to whom, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

from billing_lake.alerts.changes import Severity, StatusChange
from billing_lake.alerts.notifiers import Notifier

DigestUse = Literal["beside", "instead"]


@dataclass(frozen=True, kw_only=True)
class QuietHours:
    """Hours in which messages wait.

    Attributes:
        begin: When they begin.
        end: When they end; before ``begin`` where that is the next day.
        severities: What waits.
    """

    begin: time
    end: time
    severities: frozenset[Severity] = frozenset(("WARN", "ERROR"))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Decides which changes are reported, to whom, and when.

    Attributes:
        name: Names it.
        exports: Exports whose changes it reports.
        checks: Names of the checks that it reports; all where there are none.
        severities: How bad what it reports has to be.
        notifiers: Where it sends messages to.
        quiet_hours: When messages wait.
        digest_at: When a digest of the day is sent, if it is.
        digest: Whether the digest comes beside single messages or instead of them.
        zone: Zone of all times of day.
    """

    name: str
    exports: frozenset[str]
    checks: frozenset[str] = frozenset()
    severities: frozenset[Severity] = frozenset(("WARN", "ERROR"))
    notifiers: Sequence[Notifier]
    quiet_hours: QuietHours | None = None
    digest_at: time | None = None
    digest: DigestUse = "beside"
    zone: ZoneInfo

    def reports(self, change: StatusChange) -> bool:
        """Say whether it reports a change; runs and sensors have no check to be chosen by."""
        return (
            change.export in self.exports
            and change.severity in self.severities
            and (change.kind != "check" or not self.checks or change.name in self.checks)
        )

    def due(self, severity: Severity, now: datetime) -> datetime:
        """Return when a message that is made now may be sent."""
        quiet = self.quiet_hours
        if quiet is None or severity not in quiet.severities:
            return now
        here = now.astimezone(self.zone)
        clock = here.time().replace(tzinfo=None)
        overnight = quiet.end <= quiet.begin
        inside = (
            clock >= quiet.begin or clock < quiet.end
            if overnight
            else quiet.begin <= clock < quiet.end
        )
        if not inside:
            return now
        day = here.date() + timedelta(days=1 if overnight and clock >= quiet.begin else 0)
        return datetime.combine(day, quiet.end, self.zone).astimezone(timezone.utc)

    def digest_day(self, now: datetime) -> str:
        """Return the day whose digest is the latest one due, as `YYYY-MM-DD`; empty where there are none."""
        if self.digest_at is None:
            return ""
        here = now.astimezone(self.zone)
        earlier = here.time().replace(tzinfo=None) < self.digest_at
        return str(here.date() - timedelta(days=1 if earlier else 0))
