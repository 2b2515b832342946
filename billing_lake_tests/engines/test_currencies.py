"""Rows without a currency: NULL and empty text are one group, and both are counted."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from billing_lake.domain.profiles import compare
from billing_lake.engines.base import Engine
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of, table_of
from billing_lake_tests.reports import minimal_row


def test_null_and_empty_currencies_are_added_up_and_one_that_is_called_so_is_another(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [
        minimal_row(cost="1", currency=""),
        minimal_row(cost="2", currency="EMPTY"),
        minimal_row(cost="4", currency="EUR"),
        minimal_row(cost="8", currency="(none)"),
    ]
    content = csv_text(rows).replace("EMPTY", '""')
    source = source_of(report(tmp_path / "r.csv.gz", content))
    raw = engine.profile(source)
    costs = {
        currency: totals["line_item_unblended_cost"] for currency, totals in raw.totals.items()
    }
    assert costs == {"(none)": Decimal(3), "EUR": Decimal(4), '"(none)"': Decimal(8)}
    table = engine.profile(table_of(source, encode(engine, source, tmp_path / "out")))
    assert compare(raw, table) == []
