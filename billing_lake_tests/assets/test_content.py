"""What is loaded is what was totalled, byte for byte: a delivery that is rewritten in place is never loaded as the other one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from billing_lake_tests.engines.report_files import csv_text, report
from billing_lake_tests.engines.test_digests import rewritten
from billing_lake_tests.lakes import EXPORT, SampleLake, failed, failure, verdicts
from billing_lake_tests.reports import minimal_row

COST = "line_item_unblended_cost"
MARCH = "2025-03"

Make = Callable[..., SampleLake]


def total(lake: SampleLake, output: str) -> Decimal:
    """Return the cost that a reader of the table finds."""
    return lake.profile(output, MARCH).totals["USD"][COST]


def test_a_report_rewritten_between_the_passes_fails_the_load_and_changes_no_table(
    make_lake: Make,
) -> None:
    lake = make_lake(layout="loose")
    (lake.landing / "billing").mkdir(parents=True)
    path = report(lake.landing / "billing" / "a.csv.gz", csv_text([minimal_row(cost="1.25")]))
    other = report(lake.home / "other", csv_text([minimal_row(cost="1.52")])).read_bytes()
    assert lake.load(MARCH).success
    assert lake.load(MARCH, assets=["raw_reports", "crawler_table"]).success
    rewritten(path, other)
    result = lake.load(MARCH, assets=["hive_table"])
    text = failure(result, f"{EXPORT}__hive_table")
    assert text.startswith("DeliveryChangedError: The file was rewritten while it was loaded")
    assert "billing/a.csv.gz" in text
    assert total(lake, "hive") == total(lake, "iceberg") == Decimal("1.25")


def test_files_encoded_from_other_bytes_are_not_taken_over_by_the_next_table(
    make_lake: Make,
) -> None:
    lake = make_lake(layout="loose")
    (lake.landing / "billing").mkdir(parents=True)
    path = report(lake.landing / "billing" / "a.csv.gz", csv_text([minimal_row(cost="1.25")]))
    other = report(lake.home / "other", csv_text([minimal_row(cost="1.52")])).read_bytes()
    assert lake.load(MARCH).success
    rewritten(path, other)
    result = lake.load(MARCH, assets=["raw_reports", "crawler_table", "iceberg_table"])
    assert result.success
    assert total(lake, "iceberg") == Decimal("1.52")
    assert failed(verdicts(result)) == []
