"""Column names: AWS's rule, the spellings of the wild, and what is refused."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.dictionary import KNOWN_COLUMNS, LAKE_COLUMNS
from billing_lake.domain.errors import BadHeaderError, DuplicateHeaderError, MissingColumnError
from billing_lake.domain.naming import (
    MAX_COLUMNS,
    MAX_NAME,
    REQUIRED_COLUMNS,
    Merge,
    Origin,
    canonical,
    column_names,
    is_column_name,
    merges,
    normalise,
    origins,
    require_columns,
    require_promised,
    unlisted_columns,
)
from billing_lake.domain.schemas import same_column

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
def test_a_name_is_letters_and_digits_and_single_underscores(raw: str) -> None:
    name = normalise(raw)
    assert all(c == "_" or c.isalnum() or unicodedata.category(c)[0] == "M" for c in name)
    assert name == name.lower()
    assert is_column_name(name) or not name or len(name.encode()) > MAX_NAME
    assert "__" not in name
    assert name == name.strip("_")


@given(st.text(max_size=100))
def test_accents_written_in_one_character_or_two_are_one_name(raw: str) -> None:
    assert normalise(unicodedata.normalize("NFD", raw)) == normalise(
        unicodedata.normalize("NFC", raw)
    )


@given(st.text(alphabet=st.characters(categories=["Ll", "Lo", "Nd"]), max_size=20))
def test_no_letter_of_any_script_is_lost(text: str) -> None:
    assert normalise(f"a{text}").replace("_", "") == unicodedata.normalize(
        "NFC", f"a{text}".lower()
    )


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
    assert column_names([raw], "f") == (name,)


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


@pytest.mark.parametrize(
    "name", ["", "_a", "A", "a b", 'a"', "a.b", "a\n", "🙂", "a" * 256, "é" * 128]
)
def test_what_no_header_cell_becomes_is_no_column(name: str) -> None:
    assert not is_column_name(name)


def test_tags_of_one_name_get_numbers_and_are_reported() -> None:
    header = ["resourceTags/user:CostCenter", "a", "resourceTags/user:cost-center", "a__2", "A"]
    names = column_names(header, "f")
    tag = "resource_tags_user_cost_center"
    assert names == (tag, "a", f"{tag}__2", "a_2", "a__2")
    assert merges(header, names) == (Merge(tag, (header[0], header[2])), Merge("a", ("a", "A")))
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
    names = column_names(header, "f")
    assert names == ("line_item_unblended_cost",) * 2 + ("line_item_currency_code",) * 2
    assert origins(names) == {
        "line_item_unblended_cost": Origin((0, 1), agree=True),
        "line_item_currency_code": Origin((2, 3), agree=True),
    }


def test_a_tag_of_128_letters_of_three_bytes_each_fits_into_a_catalog_and_stays_apart() -> None:
    first, second = column_names([f"user:{'環' * 127}{c}" for c in "境部"], "f")
    assert first != second
    assert {len(name.encode()) <= MAX_NAME for name in (first, f"{second}__999")} == {True}
    assert same_column(first) == first


def test_more_columns_than_anybody_has_are_refused_at_once() -> None:
    with pytest.raises(BadHeaderError, match="5,001 cells; at most 5,000"):
        column_names([f"c{n}" for n in range(MAX_COLUMNS + 1)], "f")


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
    ("header", "promised", "column"),
    [(["a"], ["a", "b"], "b"), (["a-b"], ["a b", "a-b"], "a b")],
)
def test_a_header_that_lacks_a_promised_column_is_refused(
    header: list[str], promised: list[str], column: str
) -> None:
    with pytest.raises(BadHeaderError, match=f"lacks a column .*column {column}"):
        require_promised(header, promised, "f")


def test_columns_that_a_manifest_does_not_list_are_known() -> None:
    assert unlisted_columns(["a", "b_c", "d", "d__2"], ["a", "b/C"]) == ("d", "d__2")
    assert unlisted_columns(["a"], []) == ()
