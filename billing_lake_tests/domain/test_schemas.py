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
    lake_columns,
    plan,
)
from billing_lake.domain.types import DECIMAL, LONG, STRING, Map, parse

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
    return tuple(
        Field(name, parse(type_), n) for n, (name, type_) in enumerate(types.items(), start=1)
    )


@given(NAMES)
def test_a_new_table_gets_the_deliverys_columns_with_ids_from_one(names: list[str]) -> None:
    first = plan(None, columns(names))
    assert [f.name for f in first.fields] == [*names, *LAKE_COLUMNS]
    assert [f.field_id for f in first.fields] == list(range(1, len(names) + 5))
    assert first.diff == SchemaDiff()


@given(NAMES)
def test_running_a_period_again_is_no_change(names: list[str]) -> None:
    first = plan(None, columns(names))
    again = plan(first.fields, columns(names))
    assert again.diff == SchemaDiff()
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
    planned = plan(table(a="string", b="string"), [Column("c", STRING), Column("a", STRING)])
    assert planned.fields[-1] == Field("c", STRING, 3)
    assert planned.diff == SchemaDiff(added=(Column("c", STRING),), missing=(Column("b", STRING),))


@pytest.mark.parametrize(
    ("before", "after"),
    [("int", "long"), ("float", "double"), ("decimal(20, 18)", "decimal(38, 18)")],
)
def test_a_wider_delivery_promotes_the_table_and_a_narrower_one_fits_as_it_is(
    before: str, after: str
) -> None:
    wider = plan(table(a=before), [Column("a", parse(after))])
    assert wider.fields == table(a=after)
    assert wider.diff == SchemaDiff(widened=(TypeChange("a", parse(before), parse(after)),))
    narrower = plan(table(a=after), [Column("a", parse(before))])
    assert narrower.fields == table(a=after)
    assert narrower.diff == SchemaDiff()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string", "long"),
        ("decimal(38, 18)", "string"),
        ("decimal(38, 18)", "decimal(38, 9)"),
        ("timestamptz", "date"),
        ("map<string, int>", "map<date, int>"),
        ("map<string, int>", "map<string, string>"),
        ("double", "decimal(38, 18)"),
    ],
)
def test_any_other_change_of_type_is_refused_and_the_table_keeps_its_type(
    before: str, after: str
) -> None:
    planned = plan(table(a=before), [Column("a", parse(after))])
    assert planned.fields == table(a=before)
    assert planned.diff.incompatible == (TypeChange("a", parse(before), parse(after)),)


@pytest.mark.parametrize(
    "spelling", ["LineItem_UnblendedCost", "lineitem_unblendedcost", "LINE_ITEM_UNBLENDED_COST"]
)
def test_a_column_that_a_table_spells_in_another_way_is_another_one_which_files_do_not_have(
    spelling: str,
) -> None:
    delivered = Column("line_item_unblended_cost", STRING)
    planned = plan(table(**{spelling: "string"}), [delivered])
    assert planned.diff == SchemaDiff(added=(delivered,), missing=(Column(spelling, STRING),))
    assert planned.fields[-1] == Field(delivered.name, STRING, 2)


def test_the_parts_of_a_map_are_numbered_as_iceberg_numbers_them() -> None:
    tags = Column("tags", Map(STRING, STRING))
    nested = Column("nested", Map(STRING, Map(STRING, LONG)))
    first = plan(None, [tags, Column("a", STRING)]).fields
    assert first == (Field("tags", tags.type, 1, (3, 4)), Field("a", STRING, 2))
    later = plan(first, [tags, nested, Column("b", STRING)])
    assert later.fields[2:] == (
        Field("nested", nested.type, 5, (6, 7, 8, 9)),
        Field("b", STRING, 10),
    )
    assert plan(first, [Column("b", STRING)], last_id=11).fields[-1].field_id == 12


def test_a_map_keeps_the_ids_of_its_parts_when_its_values_are_promoted() -> None:
    (before,) = plan(None, [Column("m", Map(STRING, parse("int")))]).fields
    planned = plan((before,), [Column("m", Map(STRING, LONG))])
    assert planned.fields == (Field("m", Map(STRING, LONG), 1, (2, 3)),)
    assert planned.diff.widened == (TypeChange("m", before.type, Map(STRING, LONG)),)


def test_files_lack_a_column_that_somebody_else_added_with_a_type_of_his_own() -> None:
    have = table(a="string", theirs="list<string>")
    planned = plan(have, [Column("a", STRING), Column("b", STRING)])
    assert planned.fields == (have[0], Field("b", STRING, 3))
    assert planned.diff.missing == (Column("theirs", parse("list<string>")),)
    refused = plan(have, [Column("theirs", STRING)]).diff.incompatible
    assert refused == (TypeChange("theirs", parse("list<string>"), STRING),)


def test_fields_survive_the_way_through_json() -> None:
    columns = [Column("a", STRING), Column("b", Map(STRING, DECIMAL))]
    fields = plan(None, columns).fields
    told = json.loads(json.dumps([one.to_json() for one in fields]))
    assert tuple(map(Field.from_json, told)) == fields
