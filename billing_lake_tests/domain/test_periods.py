"""Billing periods and the spellings in which exports write them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.periods import (
    bounds,
    is_period,
    next_period,
    period_of,
    period_of_range,
    period_of_text,
)

PERIODS = st.builds(
    lambda year, month: f"{year:04d}-{month:02d}", st.integers(1000, 2998), st.integers(1, 12)
)


@given(PERIODS)
def test_a_period_begins_where_the_one_before_it_ends(period: str) -> None:
    assert bounds(period)[1] == bounds(next_period(period))[0]


@given(PERIODS)
def test_a_period_holds_its_first_instant_and_not_its_end(period: str) -> None:
    start, end = bounds(period)
    assert (period_of(start), period_of(end)) == (period, next_period(period))


def test_december_is_followed_by_january() -> None:
    assert next_period("2024-12") == "2025-01"
    assert bounds("2024-12")[1] == datetime(2025, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    ["2025-3", "2025-13", "2025-00", "25-03", "2025-03-01", "2025-03\n", "٢٠٢٥-٠٣", "0000-01", ""],
)
def test_what_is_no_month_of_our_time_is_no_period(text: str) -> None:
    assert not is_period(text)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("20250301T000000.000Z", "20250401T000000.000Z"),
        ("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z"),
        ("2025-03-01", "2025-04-01"),
    ],
)
def test_a_manifest_states_its_month_from_first_instant_to_first_instant(
    start: str, end: str
) -> None:
    assert period_of_range(start, end) == "2025-03"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("20250301T000000.000Z", "20250501T000000.000Z"),
        ("20250302T000000.000Z", "20250401T000000.000Z"),
        ("20250301T010000.000Z", "20250401T000000.000Z"),
        ("", ""),
        ("None", "None"),
    ],
)
def test_a_range_that_is_not_one_month_has_no_period(start: str, end: str) -> None:
    assert period_of_range(start, end) is None


@pytest.mark.parametrize(
    "cell",
    [
        "2025-03-01 00:00:00.0",
        "2025-03-01 00:00:00",
        "2025-03-01T00:00:00Z",
        "2025-03-01T00:00:00.000Z",
        "2025-03-01T00:00:00+00:00",
        "2025-03-01 00:00:00 UTC",
        "2025-03-01 00:00:00Z",
        "2025-03-01T00:00+0000",
        "2025-03-01",
    ],
)
def test_every_spelling_of_a_date_cell_states_its_period(cell: str) -> None:
    assert period_of_text(cell) == "2025-03"


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "NULL",
        "2025-02-30",
        "2025-03",
        "01.03.2025",
        "2025-03-01T25:00:00Z",
        "2025-03-01x",
        "2025-03-01T00:00:00+01:00",
        "9999-03-01",
    ],
)
def test_a_cell_that_is_no_date_states_no_period(cell: str) -> None:
    assert period_of_text(cell) is None
