"""Column names: AWS's rule, the spellings of the wild, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.dictionary import KNOWN_COLUMNS, LAKE_COLUMNS
from billing_lake.domain.errors import BadHeaderError, DuplicateHeaderError, MissingColumnError
from billing_lake.domain.naming import (
    MAX_NAME,
    REQUIRED_COLUMNS,
    Merge,
    canonical,
    column_names,
    merges,
    normalise,
    require_columns,
    require_promised,
)

AWS_VECTORS = {
    "savingsPlan/SavingsPlanARN": "savings_plan_savings_plan_a_r_n",
    "reservation/ReservationARN": "reservation_reservation_a_r_n",
    "product/servicecode": "product_servicecode",
    "product/usagetype": "product_usagetype",
    "pricing/publicOnDemandCost": "pricing_public_on_demand_cost",
    "resourceTags/aws:createdBy": "resource_tags_aws_created_by",
    "costCategory/OUs": "cost_category_o_us",
    "costCategory/Charge type": "cost_category_charge_type",
    "resourceTags/user:COST": "resource_tags_user_c_o_s_t",
    "ExampleColumnName : Example Column Name Continued": (
        "example_column_name_example_column_name_continued"
    ),
}


@pytest.mark.parametrize(("raw", "name"), AWS_VECTORS.items())
def test_a_header_cell_gets_the_name_that_athena_gives_it(raw: str, name: str) -> None:
    assert normalise(raw) == name
    assert canonical(name) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("savings_plan_savings_plan_arn", "savings_plan_savings_plan_a_r_n"),
        ("product_service_code", "product_servicecode"),
        ("product_service_name", "product_servicename"),
        ("product_usage_type", "product_usagetype"),
        ("product_plato_pricing_type", "product_platopricingtype"),
        ("lineitem_unblendedcost", "line_item_unblended_cost"),
        ("lineItem/UnblendedCost", "line_item_unblended_cost"),
    ],
)
def test_spellings_of_the_wild_are_known_by_their_letters(raw: str, name: str) -> None:
    assert column_names([raw], "f") == (name,)


@given(st.text(max_size=300))
def test_a_name_is_lower_case_letters_digits_and_single_underscores(raw: str) -> None:
    name = normalise(raw)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert "__" not in name
    assert name == name.strip("_")


@given(st.text(max_size=200))
def test_naming_a_name_again_changes_nothing(raw: str) -> None:
    assert normalise(normalise(raw)) == normalise(raw)
    assert canonical(canonical(normalise(raw))) == canonical(normalise(raw))


def test_no_two_known_columns_share_their_letters() -> None:
    assert {canonical(name) for name in KNOWN_COLUMNS} == set(KNOWN_COLUMNS)


def test_a_long_name_loses_underscores_from_left_to_right() -> None:
    raw = "_".join("ab" for _ in range(86))
    name = normalise(raw)
    assert len(name) == MAX_NAME
    assert name.startswith("ababab_ab")


def test_colliding_tags_get_one_column_and_are_reported() -> None:
    header = ["resourceTags/user:CostCenter", "a", "resourceTags/user:cost-center"]
    names = column_names(header, "f")
    assert names[0] == names[2] == "resource_tags_user_cost_center"
    assert merges(header, names) == (Merge(names[0], (header[0], header[2])),)


def test_the_same_cell_twice_is_refused() -> None:
    with pytest.raises(DuplicateHeaderError, match=r"twice \(file f\.csv\.gz, line 1, column a\)"):
        column_names(["a", "b", "a"], "f.csv.gz")


@pytest.mark.parametrize("raw", ["", "  ", "🙂", '"', "___", "../.."])
def test_a_cell_without_letter_or_digit_is_refused(raw: str) -> None:
    with pytest.raises(BadHeaderError, match="Header cell 2 has no letter or digit"):
        column_names(["a", raw], "f")


def test_a_cell_of_ten_kilobytes_is_refused_without_being_repeated() -> None:
    with pytest.raises(BadHeaderError, match="10,000 characters") as caught:
        column_names(["x" * 10_000], "f")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("raw", "name"), [('"; DROP TABLE x', "d_r_o_p_t_a_b_l_e_x"), ("../x", "x"), ("a🙂b", "a_b")]
)
def test_a_hostile_cell_becomes_a_harmless_name(raw: str, name: str) -> None:
    assert column_names([raw], "f") == (name,)


@pytest.mark.parametrize("name", LAKE_COLUMNS)
def test_the_lakes_own_columns_cannot_be_delivered(name: str) -> None:
    with pytest.raises(BadHeaderError, match="the lake adds itself"):
        column_names([name], "f")


def test_a_report_without_its_required_columns_is_refused_with_their_names() -> None:
    require_columns(REQUIRED_COLUMNS, "f")
    with pytest.raises(MissingColumnError) as caught:
        require_columns(REQUIRED_COLUMNS[1:3], "f")
    assert REQUIRED_COLUMNS[0] in str(caught.value)
    assert REQUIRED_COLUMNS[3] in str(caught.value)


def test_a_header_in_another_spelling_and_order_keeps_the_manifests_promise() -> None:
    require_promised(["line_item_unblended_cost", "a"], ["a", "lineItem/UnblendedCost"], "f")
    require_promised(["anything"], [], "f")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (["a"], "lacks a column that the manifest promises .*column b"),
        (["a", "b", "c"], "column that the manifest does not list .*column c"),
    ],
)
def test_a_header_that_breaks_the_manifests_promise_is_refused(
    header: list[str], reason: str
) -> None:
    with pytest.raises(BadHeaderError, match=reason):
        require_promised(header, ["a", "b"], "f")
