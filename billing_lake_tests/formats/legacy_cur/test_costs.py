"""The amortised cost of a line; `test_query` computes it over the tables of a lake."""

from __future__ import annotations

import pytest

from billing_lake.formats.legacy_cur.columns import KNOWN_COLUMNS
from billing_lake.formats.legacy_cur.costs import UNBLENDED, amortised_cost


@pytest.mark.parametrize(
    "columns",
    [
        {UNBLENDED},
        {UNBLENDED, "line_item_line_item_type", "savings_plan_used_commitment"},
        {*KNOWN_COLUMNS}
        - {"savings_plan_total_commitment_to_date", "reservation_unused_recurring_fee"},
    ],
)
def test_a_table_without_all_commitment_columns_falls_back_to_the_unblended_cost(
    columns: set[str],
) -> None:
    assert amortised_cost(columns) == "coalesce(line_item_unblended_cost, 0)"


def test_each_commitment_counts_alone_where_the_columns_of_the_other_are_missing() -> None:
    plans = amortised_cost({*KNOWN_COLUMNS} - {"reservation_reservation_a_r_n"})
    reservations = amortised_cost({*KNOWN_COLUMNS} - {"savings_plan_used_commitment"})
    assert ("SavingsPlanNegation" in plans, "RIFee" in plans) == (True, False)
    assert ("SavingsPlanNegation" in reservations, "RIFee" in reservations) == (False, True)
