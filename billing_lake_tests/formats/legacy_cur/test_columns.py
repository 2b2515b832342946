"""Types that billing columns have by definition."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Type
from billing_lake.formats.legacy_cur.columns import (
    KNOWN_COLUMNS,
    PREVIEW,
    REQUIRED,
    ROLES,
    is_cost,
    type_of,
)
from billing_lake.formats.legacy_cur.naming import athena_name


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("bill_payer_account_id", STRING),
        ("bill_invoice_id", STRING),
        ("identity_time_interval", STRING),
        ("line_item_usage_start_date", TIMESTAMP),
        ("bill_billing_period_end_date", TIMESTAMP),
        ("line_item_unblended_cost", DECIMAL),
        ("line_item_unblended_rate", DECIMAL),
        ("line_item_usage_amount", DECIMAL),
        ("line_item_normalization_factor", DECIMAL),
        ("reservation_upfront_value", DECIMAL),
        ("savings_plan_total_commitment_to_date", DECIMAL),
        ("savings_plan_start_time", STRING),
        ("split_line_item_parent_resource_id", STRING),
        ("reservation_some_future_fee", DECIMAL),
        ("line_item_some_future_cost", DECIMAL),
        ("product_some_cost", STRING),
        ("resource_tags_user_cost", STRING),
        ("resource_tags_user_hourly_rate", STRING),
        ("cost_category_monthly_fee", STRING),
        ("never_seen_before", STRING),
    ],
)
def test_a_column_has_the_type_that_its_name_defines(name: str, type_: Type) -> None:
    assert type_of(name) == type_


@pytest.mark.parametrize(
    "name",
    ["line_item_unblended_cost", "reservation_recurring_fee_for_usage", "discount_edp_discount"],
)
def test_money_belongs_to_the_totals(name: str) -> None:
    assert is_cost(name)


@pytest.mark.parametrize(
    "name", ["line_item_usage_amount", "line_item_unblended_rate", "resource_tags_user_cost"]
)
def test_rates_quantities_and_tags_do_not_belong_to_the_totals(name: str) -> None:
    assert not is_cost(name)


def test_every_cost_column_is_a_decimal() -> None:
    assert all(type_of(name) == DECIMAL for name in KNOWN_COLUMNS if is_cost(name))


def test_every_known_name_obeys_the_naming_rule() -> None:
    assert [name for name in KNOWN_COLUMNS if athena_name(name) != name] == []


def test_the_lakes_columns_are_no_report_columns() -> None:
    assert not set(LAKE_COLUMNS) & set(KNOWN_COLUMNS)


def test_whatever_the_format_names_is_a_column_that_it_knows() -> None:
    assert {*asdict(ROLES).values(), *REQUIRED, *PREVIEW} <= set(KNOWN_COLUMNS)
