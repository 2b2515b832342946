"""Column names: AWS's rule and the spellings of the wild."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.column_names import MAX_NAME_BYTES, is_column_name
from billing_lake.formats.legacy_cur.columns import KNOWN_COLUMNS, REQUIRED
from billing_lake.formats.legacy_cur.naming import athena_name, is_header, known_spelling, name_of

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
    assert athena_name(raw) == name
    assert known_spelling(name) == name


@given(st.text(max_size=300))
def test_a_name_is_letters_and_digits_and_single_underscores(raw: str) -> None:
    name = athena_name(raw)
    assert all(c == "_" or c.isalnum() or unicodedata.category(c)[0] == "M" for c in name)
    assert name == name.lower()
    assert is_column_name(name) or not name or len(name.encode()) > MAX_NAME_BYTES
    assert "__" not in name
    assert name == name.strip("_")


@given(st.text(max_size=100))
def test_accents_written_in_one_character_or_two_are_one_name(raw: str) -> None:
    assert athena_name(unicodedata.normalize("NFD", raw)) == athena_name(
        unicodedata.normalize("NFC", raw)
    )


@given(st.text(alphabet=st.characters(categories=["Ll", "Lo", "Nd"]), max_size=20))
def test_no_letter_of_any_script_is_lost(text: str) -> None:
    assert athena_name(f"a{text}").replace("_", "") == unicodedata.normalize(
        "NFC", f"a{text}".lower()
    )


@given(st.text(max_size=200))
def test_naming_a_name_again_changes_nothing(raw: str) -> None:
    assert athena_name(athena_name(raw)) == athena_name(raw)
    assert known_spelling(known_spelling(athena_name(raw))) == known_spelling(athena_name(raw))


def test_no_two_known_columns_share_their_letters() -> None:
    assert {known_spelling(name) for name in KNOWN_COLUMNS} == set(KNOWN_COLUMNS)


def test_a_long_name_loses_underscores_from_left_to_right() -> None:
    raw = "_".join("ab" for _ in range(86))
    name = athena_name(raw)
    assert len(name) == MAX_NAME_BYTES
    assert name.startswith("ababab_ab")


def test_a_header_is_known_in_whatever_spelling() -> None:
    assert is_header(REQUIRED)
    assert is_header(name.replace("_", "").upper() for name in REQUIRED)
    assert not is_header(REQUIRED[1:])


def test_a_header_cell_of_a_known_column_has_the_name_of_the_dictionary() -> None:
    assert name_of("SavingsPlan/savingsPlanArn") == "savings_plan_savings_plan_a_r_n"
