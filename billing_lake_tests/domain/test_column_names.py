"""What may be a column of a table."""

from __future__ import annotations

import pytest

from billing_lake.domain.column_names import LAKE_COLUMNS, is_column_name


@pytest.mark.parametrize(
    "name", ["", "_a", "A", "a b", 'a"', "a.b", "a\n", "🙂", "a" * 256, "é" * 128]
)
def test_what_no_header_cell_becomes_is_no_column(name: str) -> None:
    assert not is_column_name(name)


def test_the_lakes_own_columns_may_be_columns() -> None:
    assert all(map(is_column_name, LAKE_COLUMNS))
