"""A billing period from the delivery to the three tables, with everything real."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from billing_lake.domain import errors
from billing_lake.domain.errors import number
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import PeriodKey
from billing_lake.sample import SampleDelivery, SampleSpec
from billing_lake.tables.base import TableCatalog
from billing_lake_tests.lakes import CHECKS, EXPORT, TABLE, SampleLake, failed, failure, verdicts

OUTPUTS = ("hive", "iceberg", "s3_table")

Make = Callable[..., SampleLake]


def figures(
    found: Profile | SampleDelivery,
) -> tuple[int, dict[str, dict[str, Decimal]]]:
    totals = {
        currency: {name: total for name, total in columns.items() if total}
        for currency, columns in found.totals.items()
    }
    return found.rows, totals


def assert_tables_equal(lake: SampleLake, *deliveries: SampleDelivery) -> None:
    for delivery in deliveries:
        for output in lake.component.outputs:
            assert figures(lake.profile(output, delivery.period)) == figures(delivery), output


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    event = next(
        m
        for m in result.get_asset_materialization_events()
        if m.asset_key == dg.AssetKey([EXPORT, asset])
    )
    found = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in found.items()}


def test_a_month_is_in_all_three_tables_to_the_last_digit_and_every_proof_passes(
    make_lake: Make,
) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, delivery)
    found = verdicts(result)
    assert failed(found) == []
    assert {partition for _, _, partition in found} == {"2025-03"}
    assert len(found) == CHECKS
    assert all(one.target_materialization_data for one in found.values())
    assert lake.lake.crawled.names() == (), "after a successful load the crawled table is dropped"
    assert not list(Path(lake.lake.staging).glob("*"))
    assert_everything_is_told(result, delivery)
    assert_bytes_are_shared(lake, result)


def assert_everything_is_told(result: dg.ExecuteInProcessResult, delivery: SampleDelivery) -> None:
    total = delivery.totals["USD"]["line_item_unblended_cost"]
    cost = float(total)
    catalogs = {"hive_table": "hive", "iceberg_table": "iceberg", "s3_table": "s3tables"}
    for asset, catalog in catalogs.items():
        told = metadata(result, asset)
        schema = told["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert {"line_item_unblended_cost", "delivery_version"} <= {c.name for c in schema.columns}
        assert all(c.description for c in schema.columns)
        assert told["dagster/partition_row_count"] == delivery.rows
        assert told["dagster/table_name"] == f"{catalog}.{TABLE}"
        assert Path(str(told["dagster/uri"])).is_dir()
        assert told["delivery_version"] == delivery.version
        table = str(told["totals"]).splitlines()
        assert table[0] == "| USD | cost |"
        assert table[2] == f"| {number(total)} | line_item_unblended_cost |"
        assert told["unblended_cost_usd"] == cost
        assert str(told["preview"]).count("\n") == 6
    assert metadata(result, "iceberg_table")["snapshot_id"]
    assert metadata(result, "raw_reports")["files"] == 2
    crawled = metadata(result, "crawler_table")
    assert crawled["dagster/partition_row_count"] == delivery.rows
    assert crawled["unblended_cost_usd"] == cost
    first, last = (
        datetime.fromtimestamp(float(str(crawled[name])), timezone.utc)
        for name in ("first_usage", "last_usage")
    )
    assert "2025-03-01" <= first.isoformat() <= last.isoformat() < "2025-04-01"


def assert_bytes_are_shared(lake: SampleLake, result: dg.ExecuteInProcessResult) -> None:
    key = PeriodKey(EXPORT, "2025-03")
    inodes = {
        Path(file.uri).stat().st_ino
        for catalog in (lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables)
        for file in catalog.files(TABLE, key).files
    }
    assert len(inodes) == 1
    assert "in the pass that totalled" in str(metadata(result, "hive_table")["encoded"])
    assert metadata(result, "hive_table")["bytes_read"] == 0
    assert not [*Path(lake.lake.staging).iterdir()]
    assert metadata(result, "hive_table")["engine"] == "polars"
    assert metadata(result, "crawler_table")["engine"] == "polars"
    assert (
        metadata(result, "s3_table")["encoded"] == "for hive_table, whose files this table shares"
    )
    assert "engine" not in metadata(result, "s3_table")


def test_a_restatement_replaces_the_month_and_says_what_it_replaced(make_lake: Make) -> None:
    lake = make_lake()
    first = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    second = lake.deliver("2025-03", restatement=1)
    assert figures(first) != figures(second)
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, second)
    told = metadata(result, "iceberg_table")
    assert told["replaced_delivery_version"] == first.version
    assert told["replaced_rows"] == first.rows


def test_loading_the_same_delivery_again_changes_nothing(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    assert lake.load("2025-03").success
    assert_tables_equal(lake, delivery)


def test_a_column_that_is_new_in_the_third_month_is_added_and_old_months_stay(
    make_lake: Make,
) -> None:
    lake = make_lake()
    before = lake.deliver("2025-01")
    assert lake.load("2025-01").success
    after = lake.deliver("2025-03", extra_tags=("user:Project",))
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, before, after)
    for catalog in (lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables):
        names = [field.name for field in catalog.fields(TABLE) or ()]
        assert "resource_tags_user_project" in names
    diff = verdicts(result)["crawler_table", "schema_diff", "2025-03"]
    assert diff.passed
    assert diff.severity == dg.AssetCheckSeverity.WARN
    assert "resource_tags_user_project" in str(diff.metadata["schema_diff"].value)
    again = lake.load("2025-01")
    assert again.success, "a back-fill of an older month gives no false alarm"
    assert verdicts(again)["crawler_table", "schema_diff", "2025-01"].passed
    assert metadata(again, "s3_table")["encoded"] == "for hive_table, whose files this table shares"


@pytest.mark.parametrize("outputs", [["iceberg"], ["s3_table"], ["iceberg", "s3_table"], ["hive"]])
def test_an_export_is_loaded_into_the_tables_that_it_chose(
    make_lake: Make, outputs: list[str]
) -> None:
    lake = make_lake(outputs=outputs)
    delivery = lake.deliver("2025-03")
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, delivery)
    assert lake.lake.crawled.names() == ()
    assert not list(Path(lake.lake.staging).glob("*"))
    others: dict[str, TableCatalog] = {
        "hive": lake.lake.hive,
        "iceberg": lake.lake.iceberg,
        "s3_table": lake.lake.s3_tables,
    }
    for output in set(OUTPUTS) - set(outputs):
        assert TABLE not in others[output].tables()


def test_an_s3_table_that_is_added_later_with_other_field_ids_gets_its_own_files(
    make_lake: Make,
) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    created = lake.run("s3_table_create", config=op_config("create_s3_table", table=TABLE))
    assert created.success
    lake_without = SampleLake(lake.home, {"outputs": ["hive", "iceberg"]}, lake.instance)
    assert lake_without.load("2025-03").success
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, delivery)
    assert metadata(result, "s3_table")["encoded"] == "for this table"
    assert not list(Path(lake.lake.staging).glob("*"))


def test_tables_made_beside_a_defined_s3_table_take_its_field_ids_and_share_bytes(
    make_lake: Make,
) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    assert lake.run("s3_table_create", config=op_config("create_s3_table", table=TABLE)).success
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, delivery)
    assert (
        metadata(result, "iceberg_table")["encoded"]
        == "for hive_table, whose files this table shares"
    )
    assert (
        metadata(result, "s3_table")["encoded"] == "for hive_table, whose files this table shares"
    )


def test_a_table_whose_files_were_taken_away_upstream_encodes_again(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    for file in lake.lake.hive.files(TABLE, PeriodKey(EXPORT, "2025-03")).files:
        Path(file.uri).unlink()
    result = lake.load("2025-03", assets=["iceberg_table", "s3_table"])
    assert result.success
    assert figures(lake.profile("iceberg", "2025-03")) == figures(delivery)
    assert metadata(result, "iceberg_table")["encoded"] == "for this table"


def test_a_delivery_that_changes_under_a_load_is_never_committed(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    lake.deliver("2025-03", restatement=1)
    result = lake.load("2025-03", assets=["hive_table", "iceberg_table", "s3_table"])
    assert not result.success
    assert "DeliveryChangedError" in failure(result, f"{EXPORT}__hive_table")
    assert_tables_equal(lake, delivery)


def test_a_failed_table_hides_no_other_and_keeps_the_crawled_table(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    s3_tables = lake.home / "warehouse" / "s3tables"
    s3_tables.parent.mkdir(parents=True)
    s3_tables.write_text("a file where a folder must be")
    result = lake.load("2025-03")
    assert not result.success
    assert [e.step_key for e in result.get_step_failure_events()] == [f"{EXPORT}__s3_table"]
    assert figures(lake.profile("iceberg", "2025-03")) == figures(delivery)
    assert verdicts(result)["iceberg_table", "equals_delivery", "2025-03"].passed
    assert len(lake.lake.crawled.names()) == 1
    s3_tables.unlink()
    assert lake.load("2025-03", assets=["s3_table"]).success
    assert lake.lake.crawled.names() == ()


def test_a_range_is_one_run_in_which_each_period_is_replaced_and_told_of(make_lake: Make) -> None:
    lake = make_lake()
    deliveries = [lake.deliver(period) for period in ("2025-01", "2025-02", "2025-03")]
    result = lake.load_range("2025-01", "2025-03")
    assert result.success
    assert_tables_equal(lake, *deliveries)
    events = [
        e.step_materialization_data.materialization
        for e in result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey([EXPORT, "iceberg_table"])
    ]
    assert {e.partition: e.metadata["delivery_version"].value for e in events} == {
        delivery.period: delivery.version for delivery in deliveries
    }
    found = verdicts(result)
    assert {partition for _, _, partition in found} == {"2025-01", "2025-02", "2025-03"}
    # One of the schema, five of each table, eleven of the bill.
    assert len(found) == 3 * (16 + 11)


def test_rows_of_another_month_are_refused_with_the_file(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    right = lake.deliver("2025-03")
    wrong = lake.deliver("2025-02")
    right.files[1].write_bytes(wrong.files[1].read_bytes())
    result = lake.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__crawler_table")
    assert text.startswith("PeriodMismatchError: ")
    assert right.files[1].name in text
    assert lake.lake.iceberg.tables() == ()


def test_loose_files_load_by_the_period_that_their_rows_state(make_lake: Make) -> None:
    lake = make_lake(layout="loose", outputs=["hive", "iceberg"])
    spec = SampleSpec(layout="loose", prefix="billing", report="daily", rows=200, chunks=2)
    delivery = lake.deliver("2025-03", spec=spec)
    assert lake.load("2025-03").success
    assert_tables_equal(lake, delivery)


def test_an_empty_delivery_is_a_month_without_rows(make_lake: Make) -> None:
    lake = make_lake()
    full = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    assert full.rows
    empty = SampleSpec(layout="create-new", prefix="billing", report="daily", rows=0, chunks=1)
    lake.deliver("2025-03", spec=empty, restatement=1)
    result = lake.load("2025-03")
    assert result.success
    assert lake.profile("s3_table", "2025-03").rows == 0
    failed = {check for (_, check, _), one in verdicts(result).items() if not one.passed}
    assert failed == {"missing_days", "restatement_size"}


def test_static_files_are_a_table_of_their_own_that_is_overwritten(make_lake: Make) -> None:
    lake = make_lake()
    january, march = (lake.deliver(period) for period in ("2025-01", "2025-03"))
    table = f"{TABLE}_static"
    keys = [str(f.relative_to(lake.landing)) for d in (january, march) for f in d.files]
    result = materialize_static(lake, keys)
    assert result.success
    assert failed(verdicts(result)) == []
    assert lake.lake.iceberg.periods(table, EXPORT) == ("2025-01", "2025-03")
    again = materialize_static(lake, keys[:2])
    assert again.success
    assert failed(verdicts(again)) == []
    assert lake.lake.iceberg.periods(table, EXPORT) == ("2025-01",)
    missing = materialize_static(lake, ["archive/none.csv.gz"])
    assert "NoDeliveryError" in failure(missing, f"{EXPORT}__iceberg_static")
    assert lake.lake.iceberg.periods(table, EXPORT) == ("2025-01",)


def test_static_files_are_skipped_where_none_is_named(make_lake: Make) -> None:
    lake = make_lake()
    result = lake.run("__ASSET_JOB", assets=["iceberg_static"])
    assert result.success
    assert not result.get_asset_materialization_events()
    assert lake.lake.iceberg.tables() == ()


def materialize_static(lake: SampleLake, keys: list[str]) -> dg.ExecuteInProcessResult:
    config = op_config(f"{EXPORT}__iceberg_static", files=keys)
    return lake.run("__ASSET_JOB", assets=["iceberg_static"], config=config)


def op_config(op: str, **config: object) -> dict[str, object]:
    return {"ops": {op: {"config": config}}}


def test_a_crawler_that_the_deployment_has_not_is_said_before_anything_is_read(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg"], crawler="glue")
    lake.deliver("2025-03")
    text = failure(lake.load("2025-03"), f"{EXPORT}__raw_reports")
    assert text.startswith("ConfigurationError: `crawler` is 'glue'")
    assert "defs.yaml" in text


@pytest.mark.parametrize(
    "folder", ["landing", "catalog", "values", "warehouse", "warehouse/iceberg", "warehouse/hive"]
)
def test_a_file_in_a_folders_place_is_a_named_error(
    make_lake: Callable[..., SampleLake], folder: str
) -> None:
    lake = make_lake()
    if folder != "landing":
        lake.deliver("2025-03")
    (lake.home / folder).parent.mkdir(parents=True, exist_ok=True)
    (lake.home / folder).write_bytes(b"")
    result = lake.load("2025-03")
    assert not result.success
    (failed,) = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    error = getattr(errors, str(failure.metadata["error"].value))
    assert issubclass(error, errors.BillingLakeError)
    assert str(lake.home / folder) in str(failure.description)
