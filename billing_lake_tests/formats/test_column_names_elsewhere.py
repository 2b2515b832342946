"""Column names of exports stand in the formats, the samples and the named queries, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import billing_lake

_NAME = re.compile(r"\b(?:line_?item_|bill_|identity_|savings_?plan_)\w+", re.IGNORECASE)
_NO_COLUMN = {"savings_plan_balance"}
"""A check, which is called after what it is about."""

_MAY_KNOW = {"formats", "sample", "sql"}


def test_no_other_package_names_a_column_of_an_export() -> None:
    root = Path(billing_lake.__file__).parent
    found = {
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in _MAY_KNOW
        for name in _NAME.findall(path.read_text())
        if name not in _NO_COLUMN
    }
    assert found == set()


def test_the_search_finds_the_columns_that_a_format_knows() -> None:
    columns = Path(billing_lake.__file__).parent / "formats" / "legacy_cur" / "columns.py"
    assert "line_item_unblended_cost" in _NAME.findall(columns.read_text())
