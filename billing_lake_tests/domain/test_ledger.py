"""What changed between two deliveries, and the state that a month has."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.ledger import (
    Amount,
    CostGroup,
    LedgerRow,
    MonthState,
    cost_changes,
    month_state_of,
    with_delivery,
)
from billing_lake.domain.profiles import EXACT

IN_MONTH = datetime(2025, 3, 20, tzinfo=timezone.utc)
AFTER = datetime(2025, 4, 1, tzinfo=timezone.utc)

amounts = st.builds(
    Amount, st.integers(1, 5), st.integers(-(10**30), 10**30).map(lambda n: Decimal(f"{n}E-18"))
)
groups = st.dictionaries(st.tuples(*[st.sampled_from([None, "a", "b"])] * 4), amounts, max_size=5)


def row(
    identity: str = "x",
    *,
    at: datetime = AFTER,
    items: int = 2,
    invoiced: int | None = 0,
    state: MonthState = "OPEN",
) -> LedgerRow:
    return LedgerRow(
        export_name="costs",
        billing_period="2025-03",
        delivery_version=identity,
        delivery_identity=identity,
        format="legacy_cur",
        month_state=state,
        delivered_at=at,
        loaded_at=at,
        run_id="",
        report_files=1,
        report_bytes=1,
        line_items=items,
        invoiced_items=invoiced,
        costs={"USD": Decimal(1)},
        totals="{}",
    )


@given(groups, groups)
def test_what_was_and_what_changed_make_what_is_to_the_last_digit(
    before: dict[CostGroup, Amount], after: dict[CostGroup, Amount]
) -> None:
    made = dict(before)
    for one in cost_changes(before, after):
        if one.kind == "gone":
            assert EXACT.add(made.pop(one.group).cost, one.cost_change) == 0
        else:
            assert one.after is not None
            assert EXACT.add(one.cost_before, one.cost_change) == one.after.cost
            assert (one.kind == "new") == (one.group not in before)
            made[one.group] = one.after
    assert made == after
    assert cost_changes(after, after) == []


@pytest.mark.parametrize(
    ("now", "before", "moved", "state"),
    [
        (row(at=IN_MONTH), None, False, "OPEN"),
        (row(at=IN_MONTH, invoiced=2), None, False, "OPEN"),
        (row(invoiced=1), None, False, "SETTLING"),
        (row(invoiced=None), None, False, "SETTLING"),
        (row(items=0), None, False, "SETTLING"),
        (row(invoiced=2), None, False, "CLOSED"),
        (row(invoiced=2), row("b", state="SETTLING"), True, "CLOSED"),
        (row(invoiced=2), row("b", state="CLOSED"), False, "CLOSED"),
        (row(invoiced=2), row("b", state="CLOSED"), True, "RESTATED"),
        (row(invoiced=1), row("b", state="CLOSED"), True, "RESTATED"),
        (row(invoiced=2), row("b", state="RESTATED"), False, "RESTATED"),
    ],
)
def test_a_month_is_closed_when_it_is_over_and_every_row_has_an_invoice_and_restated_when_money_moves_then(
    now: LedgerRow,
    before: LedgerRow | None,
    moved: bool,  # noqa: FBT001
    state: MonthState,
) -> None:
    assert month_state_of(now, before, moved=moved) == state


def test_an_open_month_settles_by_itself_when_it_is_over() -> None:
    assert row(state="OPEN").state_at(IN_MONTH) == "OPEN"
    assert row(state="OPEN").state_at(AFTER) == "SETTLING"
    assert row(state="CLOSED").state_at(AFTER) == "CLOSED"


def test_a_delivery_has_one_row_and_rows_are_in_the_order_of_loads() -> None:
    first, second, again = row("a", at=IN_MONTH), row("b"), row("a")
    assert with_delivery(with_delivery([], second), first) == [first, second]
    assert with_delivery([first, second], again) == [second, again]
    assert LedgerRow.from_row(first.to_row()) == first
