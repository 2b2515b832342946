"""The story of a month, from its deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from billing_lake.commands.months import _of_month
from billing_lake.domain.ledger import LedgerRow
from billing_lake.loads.months import MonthStory, untold_changes

NOW = datetime(2025, 3, 10, tzinfo=timezone.utc)


def delivered(costs: Mapping[str, str]) -> LedgerRow:
    return LedgerRow(
        export_name="costs",
        billing_period="2025-03",
        delivery_version="v",
        delivery_identity="i",
        format="legacy_cur",
        month_state="OPEN",
        delivered_at=NOW,
        loaded_at=NOW,
        run_id="r",
        report_files=1,
        report_bytes=1,
        line_items=1,
        invoiced_items=0,
        costs={currency: Decimal(cost) for currency, cost in costs.items()},
        totals="{}",
    )


@pytest.mark.parametrize(
    ("deliveries", "told"),
    [
        ([{"EUR": "2", "USD": "5"}, {"USD": "6"}], [("EUR", 0, -2), ("USD", 6, 1)]),
        ([{"EUR": "2"}, {"USD": "6"}, {"USD": "6"}], [("USD", 6, 0)]),
        ([{"USD": "5"}, {}], [("USD", 0, -5)]),
        ([{"USD": "5"}], [("USD", 5, None)]),
        ([{}], [(None, None, None)]),
    ],
)
def test_a_currency_that_the_last_delivery_lacks_has_come_to_nothing_and_is_told(
    deliveries: list[dict[str, str]], told: list[tuple[str | None, int | None, int | None]]
) -> None:
    month = MonthStory(deliveries=[delivered(costs) for costs in deliveries])
    rows = [(row["currency"], row["total"], row["change"]) for row in _of_month(month, NOW)]
    assert rows == told


def test_what_came_between_deliveries_that_could_not_be_compared_is_told_to_the_digit() -> None:
    costs = [{"USD": "1"}, {"USD": "3.5", "EUR": "1"}, {"USD": "4"}]
    days = [NOW + timedelta(days=number) for number in range(3)]
    deliveries = [
        replace(delivered(each), delivered_at=day) for each, day in zip(costs, days, strict=True)
    ]
    month = MonthStory(deliveries=deliveries)

    def change(currency: str | None, amount: str) -> dict[str, object]:
        return {"export_name": "costs", "currency": currency, "cost_change": Decimal(amount)}

    first = [change("USD", "3"), change("USD", "-0.5"), change("EUR", "1")]
    second = [change("USD", "0.5"), change("EUR", "-1")]
    assert untold_changes([month], [*first, *second]) == {}
    assert untold_changes([month], first) == {
        ("costs", "EUR"): Decimal(-1),
        ("costs", "USD"): Decimal("0.5"),
    }
    assert untold_changes([month], second, since=days[2]) == {}
    assert untold_changes([month], first, until=days[2]) == {}
    lone = MonthStory(
        deliveries=[
            replace(one, costs={"(none)": Decimal(n)}) for n, one in enumerate(deliveries[:2])
        ]
    )
    assert untold_changes([lone], [change(None, "1")]) == {}
