"""The amortised cost of a line; `test_query` computes it over the tables of a lake."""

from __future__ import annotations

from decimal import Decimal

import duckdb
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


def test_a_month_from_before_the_columns_of_commitments_falls_back_to_the_unblended_cost_as_a_whole() -> (
    None
):
    """The table got the columns with a later month, so this one has NULL in all of them."""
    lines = {
        "SavingsPlanCoveredUsage": 10,
        "SavingsPlanNegation": -10,
        "SavingsPlanRecurringFee": 7,
        "SavingsPlanUpfrontFee": 50,
        "DiscountedUsage": 0,
        "RIFee": 4,
        "Fee": 30,
        "Usage": 1,
    }
    columns = {
        UNBLENDED,
        "line_item_line_item_type",
        "savings_plan_savings_plan_a_r_n",
        "savings_plan_savings_plan_effective_cost",
        "savings_plan_total_commitment_to_date",
        "savings_plan_used_commitment",
        "reservation_reservation_a_r_n",
        "reservation_effective_cost",
        "reservation_unused_amortized_upfront_fee_for_billing_period",
        "reservation_unused_recurring_fee",
    }
    empty = ", ".join(
        f"CAST(NULL AS {'VARCHAR' if one.endswith('a_r_n') else 'DECIMAL(38, 18)'}) AS {one}"
        for one in sorted(columns - {UNBLENDED, "line_item_line_item_type"})
    )
    rows = ", ".join(f"('{kind}', CAST({cost} AS DECIMAL(38, 18)))" for kind, cost in lines.items())
    with duckdb.connect() as connection:
        ((amortised,),) = connection.execute(
            f"SELECT sum({amortised_cost(columns)}) FROM "
            f"(SELECT *, {empty} FROM (VALUES {rows}) AS t (line_item_line_item_type, {UNBLENDED})) AS t"
        ).fetchall()
    assert amortised == Decimal(sum(lines.values()))
