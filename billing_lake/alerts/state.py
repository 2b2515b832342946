"""What a policy remembers from tick to tick, as one JSON text: it is written whole, so no part of it can be newer than another.

Whatever was read from the event log is either delivered or in the outbox of the same text. Of two texts that are written one
after the other, by a tick and by one that began before it, either may win: alerts are then sent again, and none is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from billing_lake.alerts.changes import Change, Severity
from billing_lake.alerts.outbox import Outbox, Waiting

_FORMAT = 1


@dataclass
class Position:
    """How far a kind of events has been read.

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
class State:
    """What a policy remembers.

    Attributes:
        positions: How far each kind of events has been read.
        ticks: When the last tick of each sensor was that has been read, in seconds since 1970.
        red: What is red.
        held: Changes of runs that have not ended, by run.
        outbox: Messages that are to be delivered.
        digest_day: Day of the last digest.
        digest_titles: What the next digest has.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)
    red: dict[str, Red] = field(default_factory=dict)
    held: dict[str, list[Change]] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=Outbox)
    digest_day: str = ""
    digest_titles: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "format": _FORMAT,
                "positions": {
                    kind: {**asdict(one), "seen": sorted(one.seen)}
                    for kind, one in self.positions.items()
                },
                "ticks": self.ticks,
                "red": {
                    key: {
                        "since": one.since.isoformat(),
                        "severity": one.severity,
                        "parts": sorted(one.parts),
                    }
                    for key, one in self.red.items()
                },
                "held": {
                    run: [_change_to_value(one) for one in changes]
                    for run, changes in self.held.items()
                },
                "outbox": [one.to_value() for one in self.outbox.waiting],
                "digest": {"day": self.digest_day, "titles": self.digest_titles},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> State:
        """Read what `to_json` wrote."""
        value = json.loads(text)
        if value["format"] != _FORMAT:
            msg = f"the state has format {value['format']}, and this release reads {_FORMAT}"
            raise ValueError(msg)
        return cls(
            positions={
                kind: Position(**{**one, "seen": set(one["seen"])})
                for kind, one in value["positions"].items()
            },
            ticks=value["ticks"],
            red={
                key: Red(
                    datetime.fromisoformat(one["since"]),
                    one["severity"],
                    frozenset(one.get("parts", ())),
                )
                for key, one in value["red"].items()
            },
            held={
                run: [_change_from_value(one) for one in changes]
                for run, changes in value["held"].items()
            },
            outbox=Outbox([Waiting.from_value(one) for one in value["outbox"]]),
            digest_day=value["digest"]["day"],
            digest_titles=value["digest"]["titles"],
        )


def _change_to_value(change: Change) -> dict[str, Any]:
    moments = {"since": change.since.isoformat(), "at": change.at.isoformat()}
    return {**asdict(change), **moments}


def _change_from_value(value: Mapping[str, Any]) -> Change:
    moments = {name: datetime.fromisoformat(value[name]) for name in ("since", "at")}
    return Change(**{**value, **moments})
