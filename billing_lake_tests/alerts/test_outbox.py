"""What is not delivered is kept, tried again with pauses, and given up loudly."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from billing_lake.alerts.outbox import Outbox, Waiting
from billing_lake.alerts.rendering import Message
from billing_lake.alerts.state import Digest, Position, Red, State
from billing_lake.domain.errors import NotDeliveredError
from billing_lake_tests.alerts.services import NOON, change, message


class Service:
    """Takes messages while it is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_up = True
        self.taken: list[str] = []

    def send(self, message: Message) -> None:
        if not self.is_up:
            raise NotDeliveredError(f"{self.name} is down")
        self.taken.append(message.id)


def deliver(outbox: Outbox, services: list[Service], now: datetime) -> None:
    for _ in outbox.deliver(services, lambda: now, now + timedelta(seconds=30)):
        pass


def test_a_notifier_that_is_down_stops_no_other_and_loses_nothing() -> None:
    up, down = Service("up"), Service("down")
    down.is_up = False
    outbox = Outbox()
    for number in range(5):
        outbox.put(message(str(number)), ["down", "up"], NOON)
    deliver(outbox, [down, up], NOON)
    assert up.taken == ["0", "1", "2", "3", "4"]
    assert [one.message.id for one in outbox.waiting] == ["0", "1", "2", "3", "4"]
    (line,) = outbox.summary()
    assert line.startswith("5 undelivered by down, the oldest since 2025-03-04 12:00 UTC")
    assert "down is down" in line
    down.is_up = True
    deliver(outbox, [down, up], NOON + timedelta(minutes=2))
    assert down.taken == ["0", "1", "2", "3", "4"]
    assert up.taken == ["0", "1", "2", "3", "4"]
    assert not outbox.waiting


def test_pauses_grow_up_to_an_hour() -> None:
    down = Service("down")
    down.is_up = False
    outbox = Outbox()
    outbox.put(message(), ["down"], NOON)
    now, pauses = NOON, []
    for _ in range(9):
        deliver(outbox, [down], now)
        pauses.append((outbox.waiting[0].due - now) // timedelta(minutes=1))
        now = outbox.waiting[0].due
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_a_day_a_message_is_given_up_and_the_other_notifiers_say_so_once() -> None:
    up, down = Service("up"), Service("down")
    down.is_up = False
    outbox = Outbox()
    outbox.put(message(), ["up", "down"], NOON)
    deliver(outbox, [up, down], NOON)
    assert outbox.give_up(["up", "down"], NOON + timedelta(hours=23)) == []
    later = NOON + timedelta(hours=24)
    (line,) = outbox.give_up(["up", "down"], later)
    assert "was not delivered by down since 2025-03-04 12:00 UTC, after 1 attempts" in line
    deliver(outbox, [up, down], later)
    assert up.taken == ["one", "given-up down one"]
    assert not outbox.waiting


def test_many_messages_are_given_up_and_delivered_without_comparing_each_with_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up, down = Service("up"), Service("down")
    down.is_up = False
    outbox = Outbox()
    for number in range(200):
        outbox.put(message(str(number)), ["down", "up"], NOON)
    compared: list[object] = []

    def equals(one: Waiting, other: object) -> bool:
        compared.append(other)
        return one is other

    monkeypatch.setattr(Waiting, "__eq__", equals)
    deliver(outbox, [down, up], NOON)
    given_up = outbox.give_up(["up"], NOON + timedelta(days=1))
    assert (len(up.taken), len(given_up)) == (200, 200)
    assert compared == []


def test_a_message_that_nobody_tried_because_no_daemon_ran_is_not_given_up() -> None:
    outbox = Outbox()
    outbox.put(message(), ["up"], NOON)
    assert outbox.give_up(["up"], NOON + timedelta(days=9)) == []
    assert len(outbox.waiting) == 1


def test_an_unforeseen_error_of_a_service_is_told_without_its_text() -> None:
    class Broken(Service):
        def send(self, message: Message) -> None:
            raise RuntimeError(f"https://hooks.example.com/s3cr3t {message.id}")

    outbox = Outbox()
    outbox.put(message(), ["odd"], NOON)
    deliver(outbox, [Broken("odd")], NOON)
    assert "odd: RuntimeError" in outbox.summary()[0]
    assert "s3cr3t" not in outbox.summary()[0]


def test_what_a_policy_remembers_survives_as_text() -> None:
    state = State(
        positions={"ASSET_CHECK_EVALUATION": Position(7, {9, 12}, newest=2.5, begin=1.5)},
        ticks={"acme_new_reports": 1.5},
        red={"check acme/raw schema_diff 2025-03": Red(NOON, "ERROR")},
        held={"run": [change()]},
        digest=Digest("2025-03-04", ["one"]),
    )
    state.outbox.put(message(), ["log"], NOON)
    assert State.from_json(state.to_json()) == state


def test_what_is_written_is_what_earlier_states_look_like_and_a_later_one_is_refused() -> None:
    state = State(held={"run": [change()]}, digest=Digest("2025-03-04", ["one"]))
    state.outbox.put(message(), ["log"], NOON)
    written = json.loads(state.to_json())
    assert written["format"] == 1
    assert written["digest"] == {"day": "2025-03-04", "titles": ["one"]}
    assert written["outbox"][0]["notifier"] == "log"
    written["held"]["run"][0]["at"] = NOON.isoformat()
    assert State.from_json(json.dumps(written)).outbox == state.outbox
    with pytest.raises(ValueError, match="format"):
        State.from_json(json.dumps({**written, "format": 2}))
