"""Headers of report files: the column of each cell, and what is refused."""

from __future__ import annotations

import pytest

from billing_lake.domain.column_names import LAKE_COLUMNS, MAX_NAME_BYTES
from billing_lake.domain.errors import BadHeaderError, DuplicateHeaderError, MissingColumnError
from billing_lake.domain.shared_columns import Merge, Origin, merged_cells, origins
from billing_lake.formats.headers import (
    MAX_COLUMNS,
    column_names,
    require_columns,
    require_promised,
    unlisted_columns,
)
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.legacy_cur.columns import REQUIRED


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
    assert column_names([raw], "f", LEGACY_CUR) == (name,)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("resourceTags/user:環境", "resource_tags_user_環境"),
        ("resourceTags/user:Région", "resource_tags_user_région"),
        ("resourceTags/user:ProjetÉté", "resource_tags_user_projet_été"),
        ("costCategory/Straße 1", "cost_category_straße_1"),
        ("resourceTags/user:สภาพแวดล้อม", "resource_tags_user_สภาพแวดล้อม"),
        ("resourceTags/user:☁️", "resource_tags_user"),
        ("resourceTags/user:ЖЯ", "resource_tags_user_ж_я"),
    ],
)
def test_letters_of_every_script_stay(raw: str, name: str) -> None:
    assert column_names([raw], "f", LEGACY_CUR) == (name,)


def test_tags_of_one_name_get_numbers_and_are_reported() -> None:
    header = ["resourceTags/user:CostCenter", "a", "resourceTags/user:cost-center", "a__2", "A"]
    names = column_names(header, "f", LEGACY_CUR)
    tag = "resource_tags_user_cost_center"
    assert names == (tag, "a", f"{tag}__2", "a_2", "a__2")
    assert merged_cells(header, names) == (
        Merge(tag, (header[0], header[2])),
        Merge("a", ("a", "A")),
    )
    found = origins(names)
    assert found[tag] == Origin((0, 2))
    assert found[f"{tag}__2"] == Origin((0, 2), further=2)
    assert found["a_2"] == Origin((3,))


def test_amounts_dates_and_currencies_of_one_name_must_agree() -> None:
    header = [
        "lineItem/UnblendedCost",
        "line_item_unblended_cost",
        "lineItem/CurrencyCode",
        "line_item_currency_code",
    ]
    names = column_names(header, "f", LEGACY_CUR)
    assert names == ("line_item_unblended_cost",) * 2 + ("line_item_currency_code",) * 2
    assert origins(names) == {
        "line_item_unblended_cost": Origin((0, 1), agree=True),
        "line_item_currency_code": Origin((2, 3), agree=True),
    }


def test_a_tag_of_128_letters_of_three_bytes_each_fits_into_a_catalog_and_stays_apart() -> None:
    first, second = column_names([f"user:{'環' * 127}{c}" for c in "境部"], "f", LEGACY_CUR)
    assert first != second
    assert {len(name.encode()) <= MAX_NAME_BYTES for name in (first, f"{second}__999")} == {True}


def test_more_columns_than_anybody_has_are_refused_at_once() -> None:
    with pytest.raises(BadHeaderError, match="5,001 cells; at most 5,000"):
        column_names([f"c{n}" for n in range(MAX_COLUMNS + 1)], "f", LEGACY_CUR)


def test_the_same_cell_twice_is_refused() -> None:
    with pytest.raises(DuplicateHeaderError, match=r"twice \(file f\.csv\.gz, line 1, column a\)"):
        column_names(["a", "b", "a"], "f.csv.gz", LEGACY_CUR)


@pytest.mark.parametrize("raw", ["", "  ", "🙂", '"', "___", "../.."])
def test_a_cell_without_letter_or_digit_is_refused(raw: str) -> None:
    with pytest.raises(BadHeaderError, match="Header cell 2 has no letter or digit"):
        column_names(["a", raw], "f", LEGACY_CUR)


def test_a_cell_of_ten_kilobytes_is_refused_without_being_repeated() -> None:
    with pytest.raises(BadHeaderError, match="10,000 characters") as caught:
        column_names(["x" * 10_000], "f", LEGACY_CUR)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("raw", "name"), [('"; DROP TABLE x', "d_r_o_p_t_a_b_l_e_x"), ("../x", "x"), ("a🙂b", "a_b")]
)
def test_a_hostile_cell_becomes_a_harmless_name(raw: str, name: str) -> None:
    assert column_names([raw], "f", LEGACY_CUR) == (name,)


@pytest.mark.parametrize("name", LAKE_COLUMNS)
def test_the_lakes_own_columns_cannot_be_delivered(name: str) -> None:
    with pytest.raises(BadHeaderError, match="the lake adds itself"):
        column_names([name], "f", LEGACY_CUR)


def test_a_report_without_its_required_columns_is_refused_with_their_names() -> None:
    require_columns(REQUIRED, "f", LEGACY_CUR)
    with pytest.raises(MissingColumnError) as caught:
        require_columns(REQUIRED[1:3], "f", LEGACY_CUR)
    assert REQUIRED[0] in str(caught.value)
    assert REQUIRED[3] in str(caught.value)


def test_a_header_in_another_spelling_and_order_keeps_the_manifests_promise() -> None:
    require_promised(
        ["line_item_unblended_cost", "a"], ["a", "lineItem/UnblendedCost"], "f", LEGACY_CUR
    )
    require_promised(["anything"], [], "f", LEGACY_CUR)


@pytest.mark.parametrize(
    ("header", "promised", "column"),
    [(["a"], ["a", "b"], "b"), (["a-b"], ["a b", "a-b"], "a b")],
)
def test_a_header_that_lacks_a_promised_column_is_refused(
    header: list[str], promised: list[str], column: str
) -> None:
    with pytest.raises(BadHeaderError, match=f"lacks a column .*column {column}"):
        require_promised(header, promised, "f", LEGACY_CUR)


def test_columns_that_a_manifest_does_not_list_are_known() -> None:
    assert unlisted_columns(["a", "b_c", "d", "d__2"], ["a", "b/C"], LEGACY_CUR) == ("d", "d__2")
    assert unlisted_columns(["a"], [], LEGACY_CUR) == ()
