"""The check `same_content`: a table that was tampered with is found out cell by cell, and nothing else raises an alarm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from billing_lake.checks import same_content
from billing_lake.domain.sources import PeriodKey
from billing_lake_tests.checks.test_schema_diff import run_checks
from billing_lake_tests.engines.test_content import with_cells
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, verdicts

PERIOD = "2025-03"
PRODUCT, OPERATION = "line_item_product_code", "line_item_operation"
TAG = "resource_tags_user_name"
START = "line_item_usage_start_date"
ITEM = "identity_line_item_id"


def swapped(rows: pa.Table) -> pa.Table:
    names = {PRODUCT: OPERATION, OPERATION: PRODUCT}
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def changed_tag(rows: pa.Table) -> pa.Table:
    return with_cells(rows, TAG, lambda cells: [cell and f"{cell}x" for cell in cells])


def shifted(rows: pa.Table) -> pa.Table:
    hour = timedelta(hours=1)
    return with_cells(rows, START, lambda cells: [cells[0] + hour, *cells[1:]])


def exchanged(rows: pa.Table) -> pa.Table:
    return with_cells(rows, ITEM, lambda cells: [cells[1], cells[0], *cells[2:]])


def dropped(rows: pa.Table) -> pa.Table:
    return rows.slice(1)


def doubled(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def replaced_row(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows.slice(1), rows.slice(1, 1)])


def turned(rows: pa.Table) -> pa.Table:
    return rows.take(pc.sort_indices(rows, [(ITEM, "descending")]))


FOUND = {
    swapped: f"{OPERATION} holds the cells of {PRODUCT}",
    changed_tag: f"columns differs: {TAG} holds other cells",
    shifted: f"{START} holds other cells",
    exchanged: "every column holds the right cells, but some have changed places between rows",
    dropped: "rows instead of",
    doubled: "rows instead of",
    replaced_row: f"{ITEM} holds other cells",
}


def table_files(lake: SampleLake, output: str) -> list[Path]:
    catalog = lake.lake.hive if output == "hive" else lake.lake.iceberg
    return [Path(file.uri) for file in catalog.files(TABLE, PeriodKey(EXPORT, PERIOD)).files]


@pytest.mark.parametrize("output", ["hive", "iceberg"])
def test_each_way_to_tamper_with_a_table_is_found_and_named(
    make_lake: Callable[..., SampleLake], output: str
) -> None:
    lake = make_lake(outputs=[output])
    lake.deliver(PERIOD)
    loaded = verdicts(lake.load(PERIOD))[f"{output}_table", "same_content", PERIOD]
    assert loaded.passed
    assert "Every cell of" in str(loaded.description)
    (file,) = table_files(lake, output)
    before = pq.read_table(file)

    def check(tamper: Callable[[pa.Table], pa.Table]) -> dict[str, dg.AssetCheckEvaluation]:
        pq.write_table(tamper(before), file, row_group_size=100)
        found = run_checks(lake, f"{output}_table", PERIOD)
        return {name: one for (_, name, _), one in found.items()}

    for tamper, text in FOUND.items():
        verdict = check(tamper)["same_content"]
        assert not verdict.passed, tamper
        assert verdict.severity == dg.AssetCheckSeverity.ERROR
        assert text in str(verdict.description), tamper
    assert "| holds the cells of" in str(
        check(swapped)["same_content"].metadata["differences"].value
    )
    hidden = check(exchanged)
    assert hidden["equals_delivery"].passed, "no sum and no count tells"
    assert check(turned)["same_content"].passed
    assert check(lambda rows: rows)["same_content"].passed


def test_a_load_above_the_limit_leaves_the_cells_out_and_the_check_alone_compares_them(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"], same_content_up_to_mb=0)
    lake.deliver(PERIOD)
    result = lake.load(PERIOD)
    assert result.success
    checks = {name for _, name, _ in verdicts(result)}
    assert "equals_delivery" in checks
    assert "same_content" not in checks
    alone = run_checks(lake, "iceberg_table", PERIOD)["iceberg_table", "same_content", PERIOD]
    assert alone.passed


def test_a_delivery_that_is_gone_is_not_compared_and_is_no_alarm(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    first = delivery.files[0].read_bytes()
    delivery.files[0].write_bytes(first + first)
    for _ in range(2):
        # A later run is another process, which does not remember what the files were.
        same_content._raw_content.cache_clear()
        found = run_checks(lake, "iceberg_table", PERIOD)
        same = found["iceberg_table", "same_content", PERIOD]
        assert (same.passed, same.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "cannot be read any more as they were loaded" in str(same.description)
        assert delivery.files[0].name in str(same.description)
        assert found["iceberg_table", "equals_delivery", PERIOD].passed
        delivery.files[0].unlink(missing_ok=True)


def test_a_table_that_holds_another_delivery_than_was_crawled_last_is_not_compared(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    lake.deliver(PERIOD, restatement=1)
    assert lake.load(PERIOD, assets=["raw_reports", "crawler_table"]).success
    same = run_checks(lake, "iceberg_table", PERIOD)["iceberg_table", "same_content", PERIOD]
    assert (same.passed, same.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "are not known here any more" in str(same.description)
