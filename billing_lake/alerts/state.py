"""Keeps what a policy remembers from tick to tick, as one JSON text: it is written whole, so no part of it is newer than another.

Whatever was read from the event log is either delivered or in the outbox of the same text. Of two texts that are written one
after the other, by a tick and by one that began before it, either may win: alerts are then sent again, and none is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from billing_lake.alerts.changes import Severity, StatusChange
from billing_lake.alerts.outbox import Outbox, Waiting


@dataclass
class Position:
    """The position up to which a kind of events has been read.

    Attributes:
        after: Number of an event; all up to it have been read.
        seen: Numbers of later events that have been read. Databases may show an event after one with a higher number.
        newest: When the newest event that has been read happened, in seconds since 1970.
        begin: Moment of the log's first event where it was wiped, in seconds since 1970.
    """

    after: int | None = None
    seen: set[int] = field(default_factory=set)
    newest: float = 0.0
    begin: float = 0.0


@dataclass(frozen=True)
class Red:
    """Something that is red.

    Attributes:
        since: When it turned red.
        severity: How bad it is.
        parts: What of it is red, where it has parts that turn red by themselves.
    """

    since: datetime
    severity: Severity
    parts: frozenset[str] = frozenset()


@dataclass
class Digest:
    """The digest that is sent next."""

    day: str = ""
    titles: list[str] = field(default_factory=list)


@dataclass
class State:
    """The memory of a policy.

    Attributes:
        format: Number of the shape that it is written in.
        positions: How far each kind of events has been read.
        ticks: When the last tick of each sensor was that has been read, in seconds since 1970.
        red: What is red.
        held: Changes of runs that have not ended, by run.
        outbox: Messages that are to be delivered.
        digest: The digest that is sent next.
    """

    format: Literal[1] = 1
    positions: dict[str, Position] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)
    red: dict[str, Red] = field(default_factory=dict)
    held: dict[str, list[StatusChange]] = field(default_factory=dict)
    outbox: Annotated[
        Outbox,
        BeforeValidator(lambda waiting: {"waiting": waiting}),
        PlainSerializer(lambda outbox: outbox.waiting, return_type=list[Waiting]),
    ] = field(default_factory=Outbox)
    digest: Digest = field(default_factory=Digest)

    def to_json(self) -> str:
        """Return it as text."""
        return _adapter().dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> State:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is of a later release.
        """
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[State]:
    return TypeAdapter(State)
