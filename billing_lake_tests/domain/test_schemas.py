"""The gate: what a table may follow, and what stops a load."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.schemas import (
    Column,
    Field,
    SchemaDiff,
    TypeChange,
    fields_from_json,
    fields_to_json,
    lake_columns,
    parse_decimal,
    plan,
)
from billing_lake.domain.types import DECIMAL, STRING

NAMES = st.lists(
    st.from_regex(r"(line_item|resource_tags_user)_[a-d]{1,3}", fullmatch=True),
    unique=True,
    max_size=8,
)


def columns(names: Iterable[str]) -> tuple[Column, ...]:
    return lake_columns(
        [Column(name, DECIMAL if name.startswith("line") else STRING) for name in names]
    )


def table(**types: str) -> tuple[Field, ...]:
    return tuple(Field(name, type_, n) for n, (name, type_) in enumerate(types.items(), start=1))


@given(NAMES)
def test_a_new_table_gets_the_deliverys_columns_with_ids_from_one(names: list[str]) -> None:
    first = plan(None, columns(names))
    assert [f.name for f in first.fields] == [*names, *LAKE_COLUMNS]
    assert [f.field_id for f in first.fields] == list(range(1, len(names) + 5))
    assert not first.diff.changes


@given(NAMES)
def test_running_a_period_again_is_no_change(names: list[str]) -> None:
    first = plan(None, columns(names))
    again = plan(first.fields, columns(names))
    assert not again.diff.changes
    assert again.fields == first.fields


@given(NAMES, NAMES)
def test_filling_an_old_period_after_a_newer_one_is_no_false_alarm(
    old: list[str], new: list[str]
) -> None:
    after_new = plan(plan(None, columns(old)).fields, columns(new)).fields
    backfill = plan(after_new, columns(old))
    assert backfill.diff == SchemaDiff(missing=backfill.diff.missing)
    assert backfill.fields == after_new


@given(NAMES, NAMES)
def test_a_plan_never_drops_renames_or_renumbers_a_field(old: list[str], new: list[str]) -> None:
    before = plan(None, columns(old)).fields
    after = plan(before, columns(new)).fields
    assert after[: len(before)] == before
    assert len({f.field_id for f in after}) == len(after)


def test_new_columns_come_last_with_the_next_free_ids() -> None:
    planned = plan(table(a="string", b="string"), [Column("c", "string"), Column("a", "string")])
    assert planned.fields[-1] == Field("c", "string", 3)
    assert planned.diff == SchemaDiff(
        added=(Column("c", "string"),), missing=(Column("b", "string"),)
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [("int", "long"), ("float", "double"), ("decimal(20, 18)", "decimal(38, 18)")],
)
def test_a_wider_delivery_promotes_the_table_and_a_narrower_one_fits_as_it_is(
    before: str, after: str
) -> None:
    wider = plan(table(a=before), [Column("a", after)])
    assert wider.fields == (Field("a", after, 1),)
    assert wider.diff == SchemaDiff(widened=(TypeChange("a", before, after),))
    narrower = plan(table(a=after), [Column("a", before)])
    assert narrower.fields == (Field("a", after, 1),)
    assert not narrower.diff.changes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string", "long"),
        ("decimal(38, 18)", "string"),
        ("decimal(38, 18)", "decimal(38, 9)"),
        ("timestamptz", "timestamp"),
        ("double", "decimal(38, 18)"),
    ],
)
def test_any_other_change_of_type_is_refused_and_the_table_keeps_its_type(
    before: str, after: str
) -> None:
    planned = plan(table(a=before), [Column("a", after)])
    assert planned.fields == table(a=before)
    assert planned.diff.incompatible == (TypeChange("a", before, after),)


@pytest.mark.parametrize(
    "spelling", ["LineItem_UnblendedCost", "lineitem_unblendedcost", "LINE_ITEM_UNBLENDED_COST"]
)
def test_a_column_that_a_table_spells_in_another_way_is_another_one_which_files_do_not_have(
    spelling: str,
) -> None:
    delivered = Column("line_item_unblended_cost", "string")
    planned = plan(table(**{spelling: "string"}), [delivered])
    assert planned.diff == SchemaDiff(added=(delivered,), missing=(Column(spelling, "string"),))
    assert planned.fields[-1] == Field(delivered.name, "string", 2)


def test_decimals_are_read_with_and_without_a_space() -> None:
    assert parse_decimal("decimal(38, 18)") == parse_decimal("decimal(38,18)") == (38, 18)
    assert parse_decimal("string") is None


def test_fields_survive_the_way_through_json() -> None:
    fields = table(a="string", b="decimal(38, 18)")
    assert fields_from_json(json.loads(json.dumps(fields_to_json(fields)))) == fields
