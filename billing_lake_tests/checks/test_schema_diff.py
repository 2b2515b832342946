"""The gate: what a delivery changes about the tables, and what stops a load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.types import parse
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, verdicts

COST = "line_item_unblended_cost"


def make_table_with(lake: SampleLake, **types: str) -> None:
    columns = lake_columns([Column(name, parse(type_)) for name, type_ in types.items()])
    lake.lake.iceberg.create(TABLE, plan(None, columns).fields)


def test_an_incompatible_change_stops_the_load_and_no_table_is_touched(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake()
    lake.deliver("2025-03")
    make_table_with(lake, **{COST: "double"})
    before = lake.lake.iceberg.fields(TABLE)
    result = lake.load("2025-03")
    assert not result.success
    verdict = verdicts(result)["crawler_table", "schema_diff", "2025-03"]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.ERROR
    text = str(verdict.description)
    assert f"{COST} is double in iceberg_table and decimal(38, 18) in the delivery" in text
    assert f"{EXPORT}_rebuild_tables" in text
    assert f"| iceberg_table | {COST} | incompatible | double | decimal(38, 18) |" in str(
        verdict.metadata["schema_diff"].value
    )
    assert lake.lake.iceberg.fields(TABLE) == before
    assert lake.lake.hive.tables() == lake.lake.s3_tables.tables() == ()
    assert {e.step_key for e in result.get_step_success_events()} == {
        f"{EXPORT}__raw_reports",
        f"{EXPORT}__crawler_table",
    }


def test_new_missing_and_wider_columns_pass_and_are_listed(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver("2025-03")
    make_table_with(lake, **{COST: "decimal(20, 18)", "an_old_tag": "string"})
    result = lake.load("2025-03")
    assert result.success
    verdict = verdicts(result)["crawler_table", "schema_diff", "2025-03"]
    assert verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    table = str(verdict.metadata["schema_diff"].value)
    assert (
        f"| iceberg_table | {COST} | wider | decimal(20, 18) | decimal(38, 18) | promoted |"
        in table
    )
    assert "| iceberg_table | an_old_tag | missing | string |  | NULL for this period |" in table
    assert "| iceberg_table | line_item_line_item_id | new |" not in table
    assert "| new |" in table
    assert lake.profile("iceberg", "2025-03").rows == delivery.rows
    again = lake.load("2025-03")
    assert "| new |" not in str(
        verdicts(again)["crawler_table", "schema_diff", "2025-03"].metadata["schema_diff"].value
    )


def test_a_column_that_the_manifest_does_not_list_is_loaded_with_a_warning(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver("2025-03")
    (manifest,) = lake.landing.rglob("20250301-20250401/*-Manifest.json")
    stated = json.loads(manifest.read_text())
    stated["columns"] = [one for one in stated["columns"] if one["name"] != "ProductCode"]
    manifest.write_text(json.dumps(stated))
    result = lake.load("2025-03")
    assert result.success
    verdict = verdicts(result)["crawler_table", "schema_diff", "2025-03"]
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "does not list, and that are loaded (1): line_item_product_code" in str(
        verdict.description
    )
    assert verdict.metadata["not_in_manifest"].value == "line_item_product_code"
    assert lake.profile("iceberg", "2025-03").rows == delivery.rows
    assert "line_item_product_code" in {one.name for one in lake.lake.iceberg.fields(TABLE) or ()}


def test_the_gate_alone_says_what_is_missing_where_nothing_was_crawled(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake()
    verdict = run_checks(lake, "crawler_table", "2025-03")[
        "crawler_table", "schema_diff", "2025-03"
    ]
    assert not verdict.passed
    assert f"{EXPORT}/crawler_table has no value for 2025-03" in str(verdict.description)


def run_checks(
    lake: SampleLake, asset: str, period: str | None
) -> dict[tuple[str, str, str | None], dg.AssetCheckEvaluation]:
    """Run the checks of an asset without the asset, as the UI's button does."""
    definitions = lake.definitions
    keys = {
        key
        for checks in definitions.asset_checks or ()
        for key in checks.check_keys
        if key.asset_key == dg.AssetKey([EXPORT, asset])
    }
    job = definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    return verdicts(
        subset.execute_in_process(
            instance=lake.instance, partition_key=period, raise_on_error=False
        )
    )


@pytest.mark.parametrize("catalog", ["iceberg", "hive"])
def test_a_catalog_that_cannot_be_read_is_the_failure_of_the_step_and_no_verdict(
    make_lake: Callable[..., SampleLake], catalog: str
) -> None:
    lake = make_lake()
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    lake.deliver("2025-03", restatement=1)
    database = lake.home / "catalog" / f"{catalog}.db"
    whole = database.read_bytes()
    for beside in (f"{database}-wal", f"{database}-shm"):
        Path(beside).unlink(missing_ok=True)
    database.write_bytes(b"This is no database" * 100)
    result = SampleLake(lake.home, instance=lake.instance).load("2025-03")
    assert not result.success
    (failed,) = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).startswith(("StorageReadError: ", "StorageWriteError: "))
    assert verdicts(result) == {}
    database.write_bytes(whole)
    assert SampleLake(lake.home, instance=lake.instance).load("2025-03").success
