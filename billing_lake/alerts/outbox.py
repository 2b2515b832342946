"""Keeps messages until they are delivered: with growing pauses, for a day, each notifier for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from billing_lake.alerts.notifiers import Notifier
from billing_lake.alerts.rendering import Message, moment_text
from billing_lake.domain.errors import BillingLakeError

KEPT_FOR = timedelta(days=1)
"""For how long delivery is tried, from when the message was due first."""

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_NOTICE = "given-up "


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message that one notifier has not delivered yet.

    Attributes:
        notifier: Name of the notifier.
        since: When it was due first.
        due: When it is tried next.
        attempts: How often it was tried.
        reason: What went wrong last.
    """

    message: Message
    notifier: str
    since: datetime
    due: datetime
    attempts: int = 0
    reason: str = ""

    def failed(self, reason: str, now: datetime) -> Waiting:
        """Return it as it is after one more attempt that failed."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.attempts, 10))
        return replace(self, attempts=self.attempts + 1, reason=reason, due=now + pause)


@dataclass
class Outbox:
    """The messages that wait, in the order in which they were put in.

    Attributes:
        waiting: One entry for each message and notifier.
    """

    waiting: list[Waiting] = field(default_factory=list)

    def put(self, message: Message, notifiers: Sequence[str], due: datetime) -> None:
        """Add a message for each of ``notifiers``."""
        self.waiting += [
            Waiting(message=message, notifier=name, since=due, due=due) for name in notifiers
        ]

    def deliver(
        self, notifiers: Sequence[Notifier], clock: Callable[[], datetime], until: datetime
    ) -> Iterator[None]:
        """Send what is due, a message of each notifier in turn, and yield after each that is away, so that it can be noted.

        A notifier that fails is left alone for this time: its other messages wait for the next, and no other notifier waits
        for it.
        """
        able = list(notifiers)
        while able and (now := clock()) < until:
            for notifier in list(able):
                place = next(
                    (
                        number
                        for number, one in enumerate(self.waiting)
                        if one.notifier == notifier.name and one.due <= now
                    ),
                    None,
                )
                if place is None:
                    able.remove(notifier)
                    continue
                entry = self.waiting[place]
                try:
                    notifier.send(entry.message)
                except Exception as error:  # noqa: BLE001 -- whatever a service does, the others and the message live on
                    able.remove(notifier)
                    # The text of an error that nobody foresaw may have a secret in it.
                    known = isinstance(error, BillingLakeError)
                    reason = str(error) if known else f"{notifier.name}: {type(error).__name__}"
                    self.waiting[place] = entry.failed(reason, clock())
                else:
                    del self.waiting[place]
                yield

    def give_up(self, notifiers: Sequence[str], now: datetime) -> list[str]:
        """Remove what is too old or has no notifier any more, tell the other notifiers, and return what was given up."""
        old: list[Waiting] = []
        kept: list[Waiting] = []
        for one in self.waiting:
            is_old = bool(one.attempts) and now - one.since >= KEPT_FOR
            (old if is_old or one.notifier not in notifiers else kept).append(one)
        self.waiting = kept
        lines = []
        for one in old:
            why = one.reason or "the policy has no such notifier any more"
            line = (
                f"Given up: {one.message.title!r} was not delivered by {one.notifier} since {moment_text(one.since)}, "
                f"after {one.attempts} attempts: {why}"
            )
            lines.append(line)
            if not one.message.id.startswith(_NOTICE):
                others = [name for name in notifiers if name != one.notifier]
                notice = Message(
                    id=f"{_NOTICE}{one.notifier} {one.message.id}",
                    severity="ERROR",
                    title=f"[ERROR] An alert was not delivered by {one.notifier}"[:99],
                    text=f"{line}\n\n{one.message.text}",
                    markdown=f"An alert was not delivered by {one.notifier} for a day.\n\n{one.message.markdown}",
                )
                self.put(notice, others, now)
        return lines

    def summary(self) -> list[str]:
        """Say what each notifier has not delivered, and why."""
        lines = []
        for name in dict.fromkeys(one.notifier for one in self.waiting):
            of_notifier = [one for one in self.waiting if one.notifier == name]
            tried = [one for one in of_notifier if one.attempts]
            line = f"{len(of_notifier)} undelivered by {name}, the oldest since {moment_text(of_notifier[0].since)}"
            if tried:
                line += f"; next attempt at {moment_text(min(one.due for one in tried))}: {tried[-1].reason}"
            lines.append(line)
        return lines
