"""Disturbs a change of a lake again and again, and counts what was done and what was wrong afterwards."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from billing_lake.domain import errors
from billing_lake_tests.torture.changes import NO_STEP, Change, Relocation
from billing_lake_tests.torture.processes import Changes, Told
from billing_lake_tests.torture.writes import Fault

SIZES_BYTES = (0, 1 << 10, 5 << 10, 20 << 10, 40 << 10, 80 << 10)
"""Sizes at which files end on a full disk."""

_NAMED = tuple(f"{name}: " for name in vars(errors) if name.endswith("Error"))
_KILLED = (-signal.SIGKILL, -signal.SIGALRM)

Plan = Callable[[Told], Iterator[Fault]]
"""Chooses the faults of a change, of which one was let end."""


@dataclass
class Figures:
    """What was tried, and what was wrong.

    Attributes:
        kills: Changes that were killed.
        faults: Changes in which the disk refused a write.
        refused: Of these, those that failed by it.
        wholes: Changes that were let end.
        looks: How often a table was read.
        races: Loads and maintenance runs beside others.
        wrong: What was wrong.
    """

    kills: int = 0
    faults: int = 0
    refused: int = 0
    wholes: int = 0
    looks: int = 0
    races: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Add those of another part."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def kills(number: int) -> Plan:
    """Return the plan of some kills, spread over all writes."""
    return lambda whole: (
        Fault("kill", whole.kills * (2 * turn + 1) // (2 * number)) for turn in range(number)
    )


def errors_of_the_disk(number: int) -> Plan:
    """Return the plan of some errors, spread over all writes."""
    return lambda whole: (
        Fault("error", 1 + whole.errors * turn // number) for turn in range(number)
    )


def full_disks(_: Told) -> Iterator[Fault]:
    """Plan full disks of several sizes."""
    return (Fault("size", size) for size in SIZES_BYTES)


def every_kill(choice: random.Random) -> Plan:
    """Return the plan of a kill at every write, in no order, and of one by the clock after every third."""

    def plan(whole: Told) -> Iterator[Fault]:
        while whole.kills:
            writes = list(range(1, whole.kills + 1))
            choice.shuffle(writes)
            for number, write in enumerate(writes, start=1):
                yield Fault("kill", write)
                if number % 3 == 0:
                    yield Fault("clock", choice.uniform(0.01, max(whole.seconds, 0.02)))

    return plan


def every_fault(choice: random.Random) -> Plan:
    """Return the plan of an error at every write, in no order, and of full disks in between."""

    def plan(whole: Told) -> Iterator[Fault]:
        while whole.errors:
            writes = list(range(1, whole.errors + 1))
            choice.shuffle(writes)
            for number, write in enumerate(writes, start=1):
                yield Fault("error", write)
                if number % 10 == 0:
                    yield Fault("size", choice.randrange(0, 100 << 10))

    return plan


def disturb(
    change: Change, plan: Plan, *, whole_every: int = 1, until: float = float("inf")
) -> Figures:
    """Make a change once, then disturb it as planned; return what was done and found.

    Args:
        change: The change.
        plan: Chooses the faults.
        whole_every: After how many faults the change is let end.
        until: When to stop, by `time.monotonic`.
    """
    figures = Figures()
    change.begin()
    home = change.copied.home if isinstance(change, Relocation) else change.lake.home
    changes = Changes(change.name, home, change.settings)
    change.again()
    whole = _whole(changes, change, figures)
    assert whole.kills, figures.wrong
    for number, fault in enumerate(plan(whole), start=1):
        if time.monotonic() > until:
            break
        change.again()
        told = changes.run(fault)
        _judge(change, fault, told, figures)
        if number % whole_every == 0:
            _whole(changes, change, figures)
    figures.looks += change.looks
    return figures


def _whole(changes: Changes, change: Change, figures: Figures) -> Told:
    told = changes.run()
    figures.wholes += 1
    wrong = [*told.said, *change.end()] if told.status == 0 else [f"it ended with {told.status}"]
    figures.wrong += [f"{change.name}, undisturbed: {one}" for one in wrong]
    return told


def _judge(change: Change, fault: Fault, told: Told, figures: Figures) -> None:
    wrong = change.look()
    if fault.kind in {"kill", "clock"}:
        figures.kills += told.status in _KILLED
        ended = {0, *_KILLED}
    else:
        figures.faults += 1
        figures.refused += bool(told.said)
        ended = {0}
        # On a disk that takes nothing, Dagster's own files fail first.
        named = (*_NAMED, NO_STEP) if fault.kind == "size" else _NAMED
        wrong += [f"no error of ours: {one}" for one in told.said if not one.startswith(named)]
    if told.status not in ended:
        wrong.append(f"it ended with {told.status}")
    figures.wrong += [f"{change.name}, {fault}, {told.failed}: {one}" for one in wrong]
