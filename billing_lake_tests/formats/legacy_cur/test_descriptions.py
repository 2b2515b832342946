"""What columns mean: every known one has a sentence, and nothing else claims to be known."""

from __future__ import annotations

import pytest

from billing_lake.formats.legacy_cur import LEGACY_CUR, descriptions
from billing_lake.formats.legacy_cur.columns import KNOWN_COLUMNS


def test_every_known_column_is_described_in_a_sentence() -> None:
    found = {name: LEGACY_CUR.describe(name) for name in KNOWN_COLUMNS}
    assert [name for name, text in found.items() if not text or not text.endswith(".")] == []
    assert descriptions._KNOWN.keys() <= KNOWN_COLUMNS.keys()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resource_tags_user_team", "Tag of the resource"),
        ("resource_tags_aws_created_by", "Tag that AWS gives"),
        ("cost_category_team", "Cost category"),
        ("product_vcpu", "Attribute of the product"),
    ],
)
def test_columns_of_a_family_are_described_by_it(name: str, says: str) -> None:
    assert str(LEGACY_CUR.describe(name)).startswith(says)


def test_a_column_that_nobody_has_seen_yet_has_no_meaning() -> None:
    assert LEGACY_CUR.describe("line_item_something_new") is None
