"""The dictionary of CUR 2.0: every column of AWS's guide, with a type and a meaning."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from billing_lake.domain.column_names import LAKE_COLUMNS, is_column_name
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Map, Type
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.cur2.columns import KNOWN_COLUMNS
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.legacy_cur.columns import KNOWN_COLUMNS as LEGACY

TEXTS = Map(STRING, STRING)


def test_the_dictionary_has_the_131_columns_of_the_guide_and_five_of_them_are_maps() -> None:
    assert len(KNOWN_COLUMNS) == 131
    maps = {name for name, type_ in KNOWN_COLUMNS.items() if type_ == TEXTS}
    assert maps == {"product", "resource_tags", "cost_category", "discount", "tags"}


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("bill_payer_account_id", STRING),
        ("line_item_usage_start_date", TIMESTAMP),
        ("savings_plan_end_time", TIMESTAMP),
        ("line_item_unblended_rate", DECIMAL),
        ("reservation_units_per_reservation", DECIMAL),
        ("product_instancesku", STRING),
        ("line_item_some_future_cost", DECIMAL),
        ("resource_tags_user_cost", STRING),
        ("team", STRING),
    ],
)
def test_a_column_has_the_type_that_its_name_defines(name: str, type_: Type) -> None:
    assert CUR2.type_of(name) == type_


def test_what_both_of_awss_reports_have_is_the_same_in_both_but_for_moments_of_commitments() -> (
    None
):
    shared = KNOWN_COLUMNS.keys() & LEGACY.keys()
    other = {name for name in shared if KNOWN_COLUMNS[name] != LEGACY[name]}
    assert other == {
        f"{one}_{end}_time" for one in ("reservation", "savings_plan") for end in ("start", "end")
    }
    assert all(CUR2.is_cost(name) == LEGACY_CUR.is_cost(name) for name in shared)
    assert all(KNOWN_COLUMNS[name] == DECIMAL for name in KNOWN_COLUMNS if CUR2.is_cost(name))


def test_whatever_the_format_names_is_a_column_that_it_knows() -> None:
    named = {*asdict(CUR2.roles).values(), *CUR2.required, *CUR2.preview, *CUR2.headline_costs}
    assert named <= {*KNOWN_COLUMNS}
    assert not {*LAKE_COLUMNS} & {*KNOWN_COLUMNS}


def test_every_known_column_has_its_own_name_and_a_meaning() -> None:
    for name in KNOWN_COLUMNS:
        assert is_column_name(name)
        assert CUR2.name_of(name) == name
        assert CUR2.describe(name)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("product_instanceSKU", "product_instancesku"),
        ("savings_plan_savings_plan_arn", "savings_plan_savings_plan_a_r_n"),
        ("Team", "team"),
        ("resource_tags.user_team", "resource_tags_user_team"),
    ],
)
def test_a_header_cell_becomes_the_column_that_it_is(raw: str, name: str) -> None:
    assert CUR2.name_of(raw) == name


def test_legacy_reports_and_those_of_cur_2_are_told_apart_by_slashes_and_whole_maps() -> None:
    assert CUR2.is_header(KNOWN_COLUMNS)
    assert not LEGACY_CUR.is_header(KNOWN_COLUMNS)
    slashed = ("bill/BillingPeriodStartDate", "lineItem/UsageStartDate", "lineItem/CurrencyCode")
    assert not CUR2.is_header((*slashed, "lineItem/UnblendedCost"))
    assert LEGACY_CUR.is_header((*slashed, "lineItem/UnblendedCost"))
    assert CUR2.is_header((*CUR2.required, "team")), "an export's SQL may leave out maps"
