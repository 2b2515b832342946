"""Two exports of one payer in two formats: each difference of their bills is named, and what cannot be compared is said."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from billing_lake.domain.errors import number
from billing_lake_tests.assets.test_all_costs import PERIOD, SPEC, exports, load, materialize
from billing_lake_tests.lakes import SampleLake

CUR2 = {"format": "cur2", "reconcile": "old"}
FOCUS = {"format": "focus", "reconcile": "old"}


def load_edited(lake: SampleLake, edit: Callable[[list[dict[str, str]]], None]) -> None:
    """Load a month of which ``edit`` has changed the rows."""
    format_ = str(lake.settings["format"])
    made = lake.deliver(PERIOD, spec=replace(SPEC, prefix=lake.name, format=format_))
    with gzip.open(made.files[0], "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    edit(rows)
    with gzip.open(made.files[0], "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert lake.load(PERIOD).success


def load_with(lake: SampleLake, kind: str, cost: str, more: Decimal) -> dict[str, str]:
    """Load a month whose first row of usage, by the column ``kind``, costs ``more``; return that row."""
    changed: list[dict[str, str]] = []

    def edit(rows: list[dict[str, str]]) -> None:
        row = next(one for one in rows if one[kind] == "Usage")
        row[cost] = number(Decimal(row[cost]) + more)
        changed.append(row)

    load_edited(lake, edit)
    return changed[0]


def told(lakes: Sequence[SampleLake]) -> tuple[bool, str, str]:
    """Return whether the check passes, what it says, and its table."""
    found = materialize(lakes)["reconcile"]
    assert found.severity is dg.AssetCheckSeverity.WARN
    table = found.metadata.get("differences")
    return found.passed, str(found.description), "" if table is None else str(table.value)


def test_a_cost_that_changed_by_the_last_digit_is_named_with_both_sums(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={"counts": False}, new=CUR2)
    load(lakes[:1])
    least = Decimal("0.0000000001")
    row = load_with(lakes[1], "line_item_line_item_type", "line_item_unblended_cost", least)
    passed, text, table = told(lakes)
    assert not passed
    assert text.startswith("new and old differ in 1 of ")
    assert text.endswith(f": {PERIOD}")
    (line,) = table.splitlines()[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    names = ("bill_payer_account_id", "line_item_usage_account_id", "line_item_product_code")
    assert cells[:6] == ["new, old", PERIOD, *(row[name] for name in names), "USD"]
    new, old, difference = map(Decimal, cells[6:])
    assert new - old == difference == least


@pytest.mark.parametrize(("less", "told_of"), [("0.01", 0), ("0.010001", 1)])
def test_focus_may_round_a_sum_by_a_cent(make_lake: Any, less: str, told_of: int) -> None:
    lakes = exports(make_lake(), old={}, focus=FOCUS)
    load(lakes[:1])
    row = load_with(lakes[1], "ChargeCategory", "BilledCost", -Decimal(less))
    passed, _, table = told(lakes)
    assert passed is not bool(told_of)
    lines = table.splitlines()[2:]
    assert len(lines) == told_of
    for line in lines:
        assert f"| {row['SubAccountId']} | {row['x_ServiceCode']} | USD |" in line
        assert line.endswith(f"| -{less} |")


def test_months_that_one_of_both_has_are_said_and_are_no_difference(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={}, new=CUR2)
    load(lakes[:1])
    assert told(lakes) == (True, "new and old are not both loaded yet", "")
    lakes[1].deliver("2025-04", spec=replace(SPEC, prefix="new", format="cur2"))
    assert lakes[1].load("2025-04").success
    passed, text, _ = told(lakes)
    assert passed
    assert text.startswith("new and old have no month in common yet; only new has 2025-04 of ")
    assert f"; only old has {PERIOD} of " in text


def test_exports_of_two_payers_have_nothing_to_compare_which_is_told(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={}, new=CUR2)
    load(lakes[:1])

    def edit(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["bill_payer_account_id"] = "999900001111"

    load_edited(lakes[1], edit)
    passed, text, _ = told(lakes)
    assert not passed
    assert text.startswith(f"new and old have no payer in common: {PERIOD}; only new has ")
    assert f"only new has {PERIOD} of 999900001111" in text


def test_a_name_that_is_no_other_export_is_told_with_the_one_that_may_be_meant(
    make_lake: Any,
) -> None:
    lakes = exports(make_lake(), billing={"reconcile": "billing"}, new={"reconcile": "biling"})
    load(lakes[:1])
    passed, text, _ = told(lakes)
    assert not passed
    assert "`reconcile` of billing names billing, which is no other export" in text
    assert (
        "`reconcile` of new names biling, which is no other export; did you mean billing?" in text
    )


def test_where_no_export_names_another_there_is_no_such_check(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={})
    load(lakes)
    assert materialize(lakes).keys() == {"equals_tables", "counted_once"}
