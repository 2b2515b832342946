"""Types: their texts, and how one follows another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.errors import SchemaChangeError
from billing_lake.domain.types import (
    INT,
    LONG,
    STRING,
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
    is_written,
    nested_count,
    not_written,
    parse,
    promoted_type,
)

SIMPLE: st.SearchStrategy[Type] = st.sampled_from(Primitive) | st.builds(
    lambda precision, scale: Decimal(precision, min(precision, scale)),
    st.integers(1, 38),
    st.integers(0, 38),
)
TYPES: st.SearchStrategy[Type] = st.recursive(
    SIMPLE, lambda values: st.builds(Map, SIMPLE, values), max_leaves=3
)


@given(TYPES)
def test_a_type_is_read_from_its_text_with_and_without_blanks(type_: Type) -> None:
    assert parse(str(type_)) == parse(str(type_).replace(" ", "")) == type_


@pytest.mark.parametrize(
    "text", ["timestamp", "list<string>", "struct<1: a: optional string>", "decimal", "map<string>"]
)
def test_a_type_that_the_lake_does_not_write_keeps_its_text(text: str) -> None:
    foreign = parse(text)
    assert foreign == Foreign(text)
    assert str(foreign) == text
    assert not is_written(foreign)
    assert not is_written(Map(STRING, foreign))


def test_the_error_for_a_type_that_the_lake_does_not_write_names_it() -> None:
    with pytest.raises(SchemaChangeError, match="columns of the type list<string>"):
        raise not_written(Foreign("list<string>"))


@given(TYPES)
def test_a_type_is_written_and_stays_as_it_is_beside_itself(type_: Type) -> None:
    assert is_written(type_)
    assert promoted_type(type_, type_) == type_


@given(TYPES, TYPES)
def test_whichever_of_two_types_comes_first_the_wider_is_left(one: Type, other: Type) -> None:
    assert promoted_type(one, other) == promoted_type(other, one)


@pytest.mark.parametrize(
    ("table", "delivery", "after"),
    [
        (Map(STRING, INT), Map(STRING, LONG), Map(STRING, LONG)),
        (Map(STRING, LONG), Map(STRING, INT), Map(STRING, LONG)),
        (Map(INT, STRING), Map(LONG, STRING), None),
        (Map(STRING, Decimal(10, 2)), Map(STRING, Decimal(38, 2)), Map(STRING, Decimal(38, 2))),
        (Map(STRING, STRING), STRING, None),
    ],
)
def test_the_values_of_a_map_are_promoted_and_its_keys_are_not(
    table: Type, delivery: Type, after: Type | None
) -> None:
    assert promoted_type(table, delivery) == after


def test_each_map_has_two_parts_that_iceberg_numbers() -> None:
    assert nested_count(STRING) == 0
    assert nested_count(Map(STRING, STRING)) == 2
    assert nested_count(Map(STRING, Map(STRING, LONG))) == 4
