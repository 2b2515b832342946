"""The proofs: a table that was tampered with is found out, with expected, found and difference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.checks import check_texts, table_proofs
from billing_lake.checks.evaluations import EACH_MONTH
from billing_lake.domain.sources import PeriodKey
from billing_lake_tests.checks.test_schema_diff import run_checks
from billing_lake_tests.engines.test_content import with_cells
from billing_lake_tests.lakes import EXPORT, NO_CAPTURE, TABLE, SampleLake, verdicts

PERIOD = "2025-03"

ROUNDS = 4
"""Loads that race, three at a time."""


def test_rows_that_somebody_appended_are_found_out_to_the_digit(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    table = lake.lake.iceberg.open(TABLE)
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
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["hive", "iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    file = Path(lake.lake.iceberg.files(TABLE, PeriodKey(EXPORT, PERIOD)).files[0].uri)
    file.unlink()
    equals = run_checks(lake, "iceberg_table", PERIOD)["iceberg_table", "equals_delivery", PERIOD]
    assert not equals.passed
    assert file.name in str(equals.description)
    hive = run_checks(lake, "hive_table", PERIOD)["hive_table", "equals_delivery", PERIOD]
    assert hive.passed


def test_a_table_that_still_holds_the_delivery_before_says_so(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    first = lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    second = lake.deliver(PERIOD, restatement=1)
    assert lake.load(PERIOD, assets=["raw_reports", "crawler_table"]).success
    found = run_checks(lake, "iceberg_table", PERIOD)
    for check in ("equals_delivery", "one_delivery_version"):
        verdict = found["iceberg_table", check, PERIOD]
        assert verdict.passed, "it equals the delivery that it says it holds"
        assert verdict.severity == dg.AssetCheckSeverity.ERROR
        assert f"Delivery {second.version} was crawled since" in str(verdict.description)
    versions = found["iceberg_table", "one_delivery_version", PERIOD]
    assert f"All rows are of delivery {first.version}" in str(versions.description)


def test_usage_outside_the_month_warns_with_the_days(make_lake: Callable[..., SampleLake]) -> None:
    lake = make_lake(outputs=["iceberg"])
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


def test_a_check_that_judges_months_says_where_the_verdict_of_each_is(
    make_lake: Callable[..., SampleLake],
) -> None:
    definitions = make_lake().component.definitions
    specs = [
        spec
        for checks in definitions.asset_checks or ()
        if isinstance(checks, dg.AssetChecksDefinition)
        for spec in checks.check_specs
    ]
    assert "readable" in {spec.name for spec in specs if spec.partitions_def is None}
    judging = {spec.name for spec in specs if spec.partitions_def is not None}
    assert judging > {"schema_diff", "equals_delivery", *check_texts.CHECKS_OF_BILLS}
    for spec in specs:
        assert (EACH_MONTH in str(spec.description)) == (spec.partitions_def is not None)


def test_the_proofs_alone_say_what_is_missing_where_nothing_was_loaded(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    found = run_checks(lake, "iceberg_table", PERIOD)
    assert len(found) == 5 + len(check_texts.CHECKS_OF_BILLS)
    assert not any(one.passed for one in found.values())
    lake.deliver(PERIOD)
    assert lake.load(PERIOD, assets=["raw_reports", "crawler_table"]).success
    described = run_checks(lake, "iceberg_table", PERIOD)[
        "iceberg_table", "equals_delivery", PERIOD
    ]
    assert f"There is no table {TABLE}" in str(described.description)


def test_a_run_of_the_proofs_without_a_partition_judges_every_month_that_was_loaded(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    for period in ("2025-01", "2025-02"):
        lake.deliver(period)
    assert lake.load_range("2025-01", "2025-02").success
    found = run_checks(lake, "iceberg_table", None)
    assert {partition for _, _, partition in found} == {"2025-01", "2025-02"}
    assert all(one.passed for one in found.values())


@pytest.mark.parametrize(
    ("output", "later", "kept"),
    [("iceberg", 2, True), ("hive", 1, True), ("hive", 2, False)],
)
def test_a_run_proves_what_it_loaded_while_other_loads_replace_it(
    make_lake: Callable[..., SampleLake],
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    later: int,
    kept: bool,  # noqa: FBT001
) -> None:
    lake = make_lake(outputs=[output])
    first = lake.deliver(PERIOD)
    loads = list(range(1, later + 1))
    judge = table_proofs._TableProofs.judge

    def be_overtaken(self: Any, *args: Any) -> Any:
        while loads:
            lake.deliver(PERIOD, restatement=loads.pop(0))
            assert lake.load(PERIOD).success
        return judge(self, *args)

    monkeypatch.setattr(table_proofs._TableProofs, "judge", be_overtaken)
    result = lake.load(PERIOD)
    assert not loads
    found = {
        check: one
        for (asset, check, _), one in verdicts(result).items()
        if asset != "crawler_table" and check not in check_texts.CHECKS_OF_BILLS
    }
    assert len(found) == 5
    for name, one in found.items():
        if kept and name == "same_content":
            # Of a delivery that is not the latest one to be crawled, the files are not known any more.
            assert one.severity == dg.AssetCheckSeverity.WARN
            assert "are not known here any more" in str(one.description)
        elif kept:
            assert one.passed
        else:
            assert not one.passed
            assert one.severity == dg.AssetCheckSeverity.WARN
            assert "was not proved" in str(one.description)
        assert one.target_materialization_data is not None
        assert one.target_materialization_data.run_id == result.run_id
    assert first.version in str(found["one_delivery_version"].description)


def test_no_verdict_is_false_while_loads_and_checks_of_a_month_race(tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    storage = str(tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(storage, overrides=NO_CAPTURE) as instance:
        lake = SampleLake(tmp_path / "lake", {"outputs": ["hive", "iceberg"]}, instance)
        numbers = iter(range(1, 100))
        lock = threading.Lock()
        lake.deliver(PERIOD)
        assert lake.load(PERIOD).success
        over = threading.Event()

        def load(_: int) -> list[dg.AssetCheckEvaluation]:
            with lock:
                lake.deliver(PERIOD, restatement=next(numbers))
            return list(lake.load(PERIOD).get_asset_check_evaluations())

        def check() -> list[dg.AssetCheckEvaluation]:
            found: list[dg.AssetCheckEvaluation] = []
            while not over.is_set():
                for asset in ("hive_table", "iceberg_table"):
                    found += run_checks(lake, asset, PERIOD).values()
            return found

        with ThreadPoolExecutor(4) as pool:
            checking = pool.submit(check)
            try:
                found = [one for run in pool.map(load, range(ROUNDS)) for one in run]
            finally:
                over.set()
            found += checking.result()
    proofs = [one for one in found if one.check_name not in check_texts.CHECKS_OF_BILLS]
    alarms = [one for one in proofs if not one.passed]
    assert {one.severity for one in alarms} <= {dg.AssetCheckSeverity.WARN}, alarms
    assert any(one.passed and one.check_name == "equals_delivery" for one in found)


def test_a_number_and_a_tag_that_somebody_changed_are_found_by_column(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    table = lake.lake.iceberg.open(TABLE)
    rows = table.scan().to_arrow()
    amounts = rows["line_item_usage_amount"].to_pylist()
    changed = rows.set_column(
        rows.column_names.index("line_item_usage_amount"),
        rows.schema.field("line_item_usage_amount"),
        pa.array([amounts[0] + 1, *amounts[1:]], rows.schema.field("line_item_usage_amount").type),
    )
    tags = rows["resource_tags_user_name"].to_pylist()
    held = next(n for n, tag in enumerate(tags) if tag is not None)
    tags[held] = None
    changed = changed.set_column(
        rows.column_names.index("resource_tags_user_name"),
        rows.schema.field("resource_tags_user_name"),
        pa.array(tags, rows.schema.field("resource_tags_user_name").type),
    )
    table.overwrite(changed)
    equals = run_checks(lake, "iceberg_table", PERIOD)["iceberg_table", "equals_delivery", PERIOD]
    assert not equals.passed
    assert "line_item_usage_amount (sum): expected " in str(equals.description)
    assert "difference +1" in str(equals.description)
    assert "resource_tags_user_name (filled cells): expected " in str(equals.description)


def rewrite(
    lake: SampleLake, output: str, column: str, cells: Callable[[list[Any]], list[Any]]
) -> None:
    """Change cells of a column in the table's file, where it lies."""
    catalog = lake.lake.catalog(output)  # type: ignore[arg-type]
    (file,) = (one.uri for one in catalog.files(TABLE, PeriodKey(EXPORT, PERIOD)).files)
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(with_cells(rows, column, cells), file)


@pytest.mark.parametrize("output", ["hive", "iceberg"])
@pytest.mark.parametrize("column", ["export_name", "billing_period"])
def test_a_row_that_names_another_export_or_month_is_found_although_all_else_is_right(
    make_lake: Callable[..., SampleLake], output: str, column: str
) -> None:
    lake = make_lake(outputs=[output])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    rewrite(lake, output, column, lambda cells: ["2025-04", *cells[1:]])
    found = run_checks(lake, f"{output}_table", PERIOD)
    one_version = found[f"{output}_table", "one_delivery_version", PERIOD]
    assert not one_version.passed
    assert "name another export or period: " in str(one_version.description)
    assert "2025-04" in str(one_version.description)


def test_amounts_that_somebody_made_too_large_to_add_up_fail_the_proof_and_hide_no_verdict(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    most = Decimal("9" * 20)
    rewrite(lake, "iceberg", "line_item_unblended_cost", lambda cells: [most] * 4 + cells[4:])
    found = run_checks(lake, "iceberg_table", PERIOD)
    assert not found["iceberg_table", "equals_delivery", PERIOD].passed
    assert not found["iceberg_table", "same_content", PERIOD].passed


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
