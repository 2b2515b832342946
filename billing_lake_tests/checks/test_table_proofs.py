"""The proofs: a table that was tampered with is found out, with expected, found and difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from billing_lake.domain.sources import PeriodKey
from billing_lake_tests.checks.test_schema_diff import run_checks
from billing_lake_tests.lakes import EXPORT, TABLE, World

PERIOD = "2025-03"


def test_rows_that_somebody_appended_are_found_out_to_the_digit(
    world: Callable[..., World],
) -> None:
    lake = world(outputs=["iceberg"])
    delivery = lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    table = lake.lake.iceberg.load(TABLE)
    table.append(table.scan().to_arrow())
    found = run_checks(lake, "iceberg_table", PERIOD)
    equals = found["iceberg_table", "equals_delivery", PERIOD]
    assert not equals.passed
    assert equals.severity == dg.AssetCheckSeverity.ERROR
    rows = delivery.rows
    assert f"rows: expected {rows}, found {2 * rows}, difference +{rows}" in str(equals.description)
    cost = "line_item_unblended_cost"
    total = delivery.totals["USD"][cost]
    shown = format(total.normalize(), "f")
    assert f"| {cost} [USD] | {shown} | {2 * total.normalize():f} | {shown} |".replace(
        "[USD]", "\\[USD\\]"
    ) in str(equals.metadata["differences"].value)
    unique = found["iceberg_table", "unique_line_items", PERIOD]
    assert not unique.passed
    assert unique.severity == dg.AssetCheckSeverity.WARN
    assert unique.metadata["duplicates"].value == rows


def test_a_file_that_somebody_deleted_fails_the_proof_with_the_file(
    world: Callable[..., World],
) -> None:
    lake = world(outputs=["hive", "iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    file = Path(lake.lake.iceberg.files(TABLE, PeriodKey(EXPORT, PERIOD)).files[0].uri)
    file.unlink()
    equals = run_checks(lake, "iceberg_table", PERIOD)["iceberg_table", "equals_delivery", PERIOD]
    assert not equals.passed
    assert file.name in str(equals.description)
    hive = run_checks(lake, "hive_table", PERIOD)["hive_table", "equals_delivery", PERIOD]
    assert hive.passed


def test_a_table_that_still_holds_the_delivery_before_says_so(world: Callable[..., World]) -> None:
    lake = world(outputs=["iceberg"])
    first = lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    second = lake.deliver(PERIOD, restatement=1)
    assert lake.load(PERIOD, assets=["raw_reports", "crawler_table"]).success
    found = run_checks(lake, "iceberg_table", PERIOD)
    version = found["iceberg_table", "one_delivery_version", PERIOD]
    assert not version.passed
    assert first.version in str(version.description)
    assert second.version in str(version.description)
    assert not found["iceberg_table", "equals_delivery", PERIOD].passed


def test_usage_outside_the_month_warns_with_the_days(world: Callable[..., World]) -> None:
    lake = world(outputs=["iceberg"])
    delivery = lake.deliver(PERIOD)
    shift_usage(delivery.files[0])
    result = lake.load(PERIOD)
    assert result.success, "usage of another month is legitimate in a bill"
    one = next(
        e for e in result.get_asset_check_evaluations() if e.check_name == "usage_dates_in_period"
    )
    assert not one.passed
    assert one.severity == dg.AssetCheckSeverity.WARN
    assert "| 2024-12-31 |" in str(one.metadata["days"].value)


def test_the_proofs_alone_say_what_is_missing_where_nothing_was_loaded(
    world: Callable[..., World],
) -> None:
    lake = world(outputs=["iceberg"])
    found = run_checks(lake, "iceberg_table", PERIOD)
    assert len(found) == 4
    assert not any(one.passed for one in found.values())
    lake.deliver(PERIOD)
    assert lake.load(PERIOD, assets=["raw_reports", "crawler_table"]).success
    described = run_checks(lake, "iceberg_table", PERIOD)[
        "iceberg_table", "equals_delivery", PERIOD
    ]
    assert f"There is no table {TABLE}" in str(described.description)


def test_a_run_of_the_proofs_without_a_partition_judges_every_month_that_was_loaded(
    world: Callable[..., World],
) -> None:
    lake = world(outputs=["iceberg"])
    for period in ("2025-01", "2025-02"):
        lake.deliver(period)
    assert lake.load_range("2025-01", "2025-02").success
    found = run_checks(lake, "iceberg_table", None)
    assert {partition for _, _, partition in found} == {"2025-01", "2025-02"}
    assert all(one.passed for one in found.values())


def shift_usage(file: Path) -> None:
    """Move the usage dates of a report file's rows to the last day of 2024."""
    import csv
    import gzip

    with gzip.open(file, "rt", newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    position = header.index("lineItem/UsageStartDate")
    for row in rows:
        row[position] = "2024-12-31T05:00:00Z"
    with gzip.open(file, "wt", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
