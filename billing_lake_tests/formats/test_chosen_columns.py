"""Exports that have columns under other names."""

from __future__ import annotations

import pytest

from billing_lake.domain.errors import BadHeaderError, ConfigurationError, MissingColumnError
from billing_lake.domain.sources import MapEntryColumn
from billing_lake.formats.base import Format
from billing_lake.formats.chosen_columns import as_exported
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.headers import column_names, require_columns, unlisted_columns
from billing_lake.formats.legacy_cur import LEGACY_CUR


def test_a_renamed_column_is_found_by_its_role_or_by_its_name_in_the_format() -> None:
    format_ = as_exported(CUR2, {"my cost": "cost", "Begin": "usage_start", "x": "tags"})
    cells = ["my cost", "Begin", "x", "line_item_usage_type"]
    assert column_names(cells, "f", format_) == (
        "line_item_unblended_cost",
        "line_item_usage_start_date",
        "tags",
        "line_item_usage_type",
    )
    renamed = {"line_item_unblended_cost": "my cost", "line_item_usage_start_date": "Begin"}
    header = [renamed.get(name, name) for name in CUR2.required]
    assert format_.is_header(header)
    assert not CUR2.is_header(header)
    require_columns(column_names(header, "f", format_), "f", format_)


def test_the_same_names_give_the_same_format_and_none_the_format_itself() -> None:
    assert as_exported(CUR2, {}) is CUR2
    assert as_exported(CUR2, {"a": "cost", "b": "payer"}) is as_exported(
        CUR2, {"b": "payer", "a": "cost"}
    )


def test_a_role_that_the_format_has_not_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'costs', which cur2 does not have.*usage_start.*cost"
    ):
        as_exported(CUR2, {"a": "costs"})


def test_two_names_for_one_column_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="the column line_item_unblended_cost: a, b"):
        as_exported(CUR2, {"a": "cost", "b": "line_item_unblended_cost"})


def test_keys_of_maps_become_columns_named_after_both() -> None:
    keys = {"resource_tags": ["user_team"], "tags": ["resourceTags/user:Owner"]}
    format_ = as_exported(CUR2, map_keys=keys)
    assert format_.lifted_from(("tags",)) == (
        MapEntryColumn("tags_resource_tags_user_owner", "tags", "resourceTags/user:Owner"),
    )
    assert [one.column for one in format_.lifted_from(("tags", "resource_tags"))] == [
        "resource_tags_user_team",
        "tags_resource_tags_user_owner",
    ]
    assert as_exported(CUR2, map_keys=keys) is format_
    with pytest.raises(BadHeaderError, match="the header has one of that name"):
        column_names(["resource_tags.user_team"], "f", format_)
    assert unlisted_columns(["tags", "resource_tags_user_team"], ["tags"], format_) == ()


@pytest.mark.parametrize(
    ("format_", "keys", "reason"),
    [
        (CUR2, {"team": ["a"]}, r"'team', which is no map of cur2\. Its maps are: cost_category"),
        (LEGACY_CUR, {"tags": ["a"]}, "no map of legacy_cur. It has no maps"),
        (CUR2, {"product": ["sku"]}, "cannot become the column 'product_sku'"),
        (CUR2, {"tags": ["a-b", "a b"]}, "become the column tags_a_b"),
    ],
)
def test_keys_that_cannot_be_columns_are_refused(
    format_: Format, keys: dict[str, list[str]], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        as_exported(format_, map_keys=keys)


def test_a_report_that_lacks_a_required_column_names_it_with_its_role_and_both_remedies() -> None:
    with pytest.raises(MissingColumnError) as caught:
        require_columns(("line_item_unblended_cost",), "f", CUR2)
    text = str(caught.value)
    assert "line_item_usage_start_date (usage start)" in text
    assert "bill_payer_account_id (payer)" in text
    assert "unblended" not in text
    assert "SELECT" in text
    assert "`columns: {my_cost: cost}`" in text
