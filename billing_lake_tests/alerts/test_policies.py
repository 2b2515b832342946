"""When messages wait, and which day's digest is due."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.alerts.notifiers import LogNotifier
from billing_lake.alerts.policies import Policy, QuietHours
from billing_lake_tests.alerts.services import change

BERLIN = ZoneInfo("Europe/Berlin")


def policy(begin: time = time(22), end: time = time(7), **settings: object) -> Policy:
    usual = {
        "name": "finance",
        "exports": frozenset({"cost_and_usage"}),
        "notifiers": [LogNotifier("log")],
        "quiet_hours": QuietHours(begin=begin, end=end),
        "zone": BERLIN,
    }
    return Policy(**{**usual, **settings})  # type: ignore[arg-type]


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001 -- made aware below
    st.integers(0, 23),
    st.integers(0, 23),
)
def test_a_message_never_leaves_in_quiet_hours_and_waits_a_day_at_most(
    moment: datetime, begin: int, end: int
) -> None:
    now = moment.replace(tzinfo=timezone.utc)
    if begin == end:
        return
    due = policy(time(begin), time(end)).due("ERROR", now)
    assert now <= due <= now + timedelta(hours=25)
    here = due.astimezone(BERLIN).time()
    quiet = begin <= here.hour < end if begin < end else here.hour >= begin or here.hour < end
    assert not quiet or due == now


def test_what_may_not_wait_is_sent_at_night() -> None:
    night = datetime(2025, 3, 4, 2, tzinfo=timezone.utc)
    warnings = QuietHours(begin=time(22), end=time(7), severities=frozenset({"WARN"}))
    one = policy(quiet_hours=warnings)
    assert one.due("ERROR", night) == night
    assert one.due("WARN", night) == datetime(2025, 3, 4, 6, tzinfo=timezone.utc)


def test_a_digest_is_due_once_a_day_at_its_time_in_its_zone() -> None:
    one = policy(digest_at=time(8))
    assert one.digest_day(datetime(2025, 3, 4, 6, 59, tzinfo=timezone.utc)) == "2025-03-03"
    assert one.digest_day(datetime(2025, 3, 4, 7, 0, tzinfo=timezone.utc)) == "2025-03-04"
    assert policy().digest_day(datetime(2025, 3, 4, 7, 0, tzinfo=timezone.utc)) == ""


@pytest.mark.parametrize(
    ("facts", "reported"),
    [
        ({}, True),
        ({"export": "other"}, False),
        ({"name": "same_content"}, False),
        ({"severity": "WARN"}, False),
        ({"kind": "run", "name": "cost_and_usage_load"}, True),
    ],
)
def test_a_policy_reports_what_it_names(facts: dict[str, object], *, reported: bool) -> None:
    one = policy(checks=frozenset({"equals_delivery"}), severities=frozenset({"ERROR"}))
    assert one.reports(change(**facts)) is reported
