"""The whole graph on a real S3, a real Iceberg REST catalog and a Glue that really runs jobs, through Dagster.

The same assets, checks, sensor and jobs as on one machine; only the deployment is another.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import STRING
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.sensors.new_reports import look_at_export
from billing_lake.tables.base import TableCatalog
from billing_lake_tests.assets.test_load import (
    assert_tables_equal,
    figures,
    metadata,
    op_config,
)
from billing_lake_tests.aws_lakes import DEPLOYED, JOB, SampleLakeOnAws
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.lakes import CHECKS, EXPORT, SPEC, failed, failure, verdicts
from billing_lake_tests.sensors.test_new_reports import periods, tick
from billing_lake_tests.servers.aws import Aws

Make = Callable[..., SampleLakeOnAws]


@pytest.fixture
def make_lake(make_aws_lake: Make) -> Make:
    return make_aws_lake


def catalogs(lake: SampleLakeOnAws) -> tuple[TableCatalog, ...]:
    return lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables


def staged(lake: SampleLakeOnAws) -> list[str]:
    return [file.uri for file in lake.lake.files.list(lake.lake.staging)]


def glue_runs(aws: Aws, since: int = 0) -> list[str]:
    return [run.state for run in aws.glue.runs.of(DEPLOYED)][since:]


@pytest.mark.parametrize("engine", ["glue", "polars"])
def test_a_report_that_is_put_into_s3_is_seen_loaded_proved_and_restated(
    make_lake: Make, aws: Aws, engine: str
) -> None:
    lake = make_lake(engine, job=DEPLOYED)
    before = len(glue_runs(aws))
    first = lake.deliver("2025-03")
    seen = tick(lake)
    assert periods(seen) == ["2025-03"]
    result = lake.load("2025-03", tags=dict((seen.run_requests or [])[0].tags))
    assert result.success
    assert_tables_equal(lake, first)
    found = verdicts(result)
    assert len(found) == CHECKS
    assert failed(found) == []
    shared = found["iceberg_table", "equals_delivery", "2025-03"].metadata["shared_reading"]
    assert "are those of hive_table" in str(shared.value), "copies in S3 have one tag"
    assert lake.lake.crawled.names() == (), "after a successful load the crawled table is dropped"
    assert staged(lake) == []

    second = lake.deliver("2025-03", restatement=1)
    assert figures(first) != figures(second)
    seen = tick(lake, seen.cursor)
    assert periods(seen) == ["2025-03"]
    result = lake.load("2025-03")
    assert result.success
    assert_tables_equal(lake, second)
    told = metadata(result, "s3_table")
    assert told["replaced_delivery_version"] == first.version
    assert told["encoded"] == "for hive_table, whose files this table shares"
    assert periods(tick(lake, seen.cursor)) == []
    runs = glue_runs(aws, before)
    assert runs == (["SUCCEEDED"] * 2 if engine == "glue" else []), "one run of Glue a month"
    assert str(metadata(result, "hive_table")["encoded"]).startswith("in the pass that totalled")
    if engine == "glue":
        told = metadata(result, "crawler_table")
        assert str(told["glue_job_run"]).startswith("jr_")
        assert isinstance(told["glue_dpu_seconds"], float)
        assert isinstance(told["glue_estimated_usd"], float)


def test_a_crawl_alone_is_the_run_of_glue_that_the_load_after_it_needs(
    make_lake: Make, aws: Aws
) -> None:
    lake = make_lake("glue", outputs=["hive", "iceberg"])
    lake.deliver("2025-03")
    before = len(aws.glue.runs.of(JOB))
    assert lake.load("2025-03", assets=["raw_reports", "crawler_table"]).success
    assert [uri.rpartition(".")[2] for uri in staged(lake)] == ["parquet"]
    tables = ["hive_table", "iceberg_table"]
    delivery = lake.deliver("2025-03", restatement=1)
    assert not lake.load("2025-03", assets=tables).success, (
        "the crawl is of a delivery that is gone"
    )
    assert staged(lake) == []
    assert lake.load("2025-03", assets=["raw_reports", "crawler_table"]).success
    assert lake.load("2025-03", assets=tables).success
    assert_tables_equal(lake, delivery)
    assert staged(lake) == []
    assert [run.state for run in aws.glue.runs.of(JOB)][before:] == ["SUCCEEDED"] * 2


def test_a_look_of_the_sensor_costs_as_many_requests_for_three_months_as_for_one(
    make_lake: Make,
) -> None:
    lake = make_lake("polars")
    here, export = lake.lake, lake.component.export
    asked = []
    for month in ("2025-01", "2025-02", "2025-03"):
        lake.deliver(month)
        assert lake.load(month).success
        for _ in range(2):
            # The second look knows what the first one read, as in the process that serves the definitions.
            with (
                recorded(here.clients.client("s3")) as of_s3,
                recorded(here.clients.client("glue")) as of_glue,
            ):
                now = datetime.now(timezone.utc)
                assert (
                    look_at_export(export, here, lake.instance, {}, limit=5, now=now).requests == []
                )
                asked.append((of_s3, of_glue))
    assert asked[1] == asked[5]
    assert asked[5] == (["ListObjectsV2", "ListObjectsV2"], ["GetTable", "GetPartitions"])


def test_a_backfill_of_three_months_is_one_run_and_a_new_column_reaches_old_months(
    make_lake: Make,
) -> None:
    lake = make_lake()
    deliveries = [
        lake.deliver("2025-01"),
        lake.deliver("2025-02"),
        lake.deliver("2025-03", extra_tags=("user:Project",)),
    ]
    result = lake.load_range("2025-01", "2025-03")
    assert result.success
    assert_tables_equal(lake, *deliveries)
    assert failed(verdicts(result)) == []
    for catalog in catalogs(lake):
        assert catalog.periods(lake.table, EXPORT) == ("2025-01", "2025-02", "2025-03")
        names = [field.name for field in catalog.fields(lake.table) or ()]
        assert "resource_tags_user_project" in names


def test_a_column_that_changed_its_type_stops_before_anything_is_written(make_lake: Make) -> None:
    lake = make_lake()
    january = lake.deliver("2025-01")
    assert lake.load("2025-01").success
    table = lake.table
    columns = [
        Column(field.name, STRING if field.name == "line_item_usage_amount" else field.type)
        for field in lake.lake.iceberg.fields(table) or ()
    ]
    other = make_lake()
    fields = plan(None, columns).fields
    other.lake.iceberg.create(other.table, fields)
    other.deliver("2025-01")
    result = other.load("2025-01")
    assert not result.success
    diff = verdicts(result)["crawler_table", "schema_diff", "2025-01"]
    assert not diff.passed
    assert "line_item_usage_amount" in str(diff.description)
    assert other.lake.hive.tables() == ()
    assert other.lake.iceberg.periods(other.table, EXPORT) == ()
    assert_tables_equal(lake, january)


def test_a_faulty_report_file_is_named_by_the_job_and_changes_nothing(make_lake: Make) -> None:
    lake = make_lake("glue", outputs=["hive", "iceberg"])
    good = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    bad = lake.deliver("2025-03", restatement=1)
    bad.files[0].write_bytes(bad.files[0].read_bytes()[:-40])
    lake.sync()
    result = lake.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__crawler_table")
    assert text.startswith("TruncatedFileError: ")
    assert bad.files[0].name in text
    assert_tables_equal(lake, good)
    assert staged(lake) == []


def test_a_glue_run_that_fails_or_times_out_changes_nothing_and_says_where_to_look(
    make_lake: Make, aws: Aws
) -> None:
    lake = make_lake("glue", outputs=["hive"])
    first = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    lake.deliver("2025-03", restatement=1)
    for state, word in (
        ("FAILED", "out of workers"),
        ("TIMEOUT", "TIMEOUT"),
        ("EXPIRED", "EXPIRED"),
    ):
        aws.glue.runs.end_next(JOB, state, "out of workers")
        result = lake.load("2025-03")
        assert not result.success
        text = failure(result, f"{EXPORT}__crawler_table")
        assert text.startswith("GlueJobError: ")
        assert word in text
        assert "console" in text
        assert_tables_equal(lake, first)


def test_two_exports_load_at_once_and_keep_out_of_each_other(make_lake: Make) -> None:
    lakes = [make_lake(name="payer_a"), make_lake(name="payer_b")]
    deliveries = [
        lake.deliver("2025-03", spec=replace(SPEC, rows=rows))
        for lake, rows in zip(lakes, (120, 150), strict=True)
    ]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda lake: lake.load("2025-03"), lakes))
    assert [result.success for result in results] == [True, True]
    for lake, delivery in zip(lakes, deliveries, strict=True):
        assert_tables_equal(lake, delivery)


def test_two_runs_of_one_period_at_once_leave_the_period_once(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-03")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lake.load, ("2025-03", "2025-03")))
    assert [result.success for result in results] == [True, True]
    assert_tables_equal(lake, delivery)
    for catalog in catalogs(lake):
        assert catalog.periods(lake.table, EXPORT) == ("2025-03",)


def test_the_real_crawler_makes_the_crawled_table_with_the_dictionary_s_types(
    make_lake: Make, aws: Aws
) -> None:
    role = "arn:aws:iam::123456789012:role/crawler"
    lake = make_lake(
        crawler="glue", outputs=["hive"], environment={"BILLING_LAKE_GLUE_CRAWLER_ROLE": role}
    )
    delivery = lake.deliver("2025-03")
    before = aws.client("glue").list_crawlers()["CrawlerNames"]
    assert lake.load("2025-03", assets=["raw_reports", "crawler_table"]).success
    (name,) = lake.lake.crawled.names()
    entry = aws.client("glue").get_table(DatabaseName=f"{lake.namespace}_crawled", Name=name)
    told = {
        column["Name"]: column.get("Comment", "")
        for column in entry["Table"]["StorageDescriptor"]["Columns"]
    }
    assert "decimal(38, 18)" in told["line_item_unblended_cost"], "a crawler would guess a double"
    assert "string" in told["line_item_usage_account_id"], "a crawler would guess a number"
    assert aws.client("glue").list_crawlers()["CrawlerNames"] == before, "it is removed"
    assert lake.load("2025-03").success
    assert_tables_equal(lake, delivery)
    assert lake.lake.crawled.names() == ()


def test_tables_are_made_rebuilt_and_deleted_by_their_jobs(make_lake: Make) -> None:
    lake = make_lake()
    config = op_config("create_s3_table", table=lake.table)
    assert lake.run("s3_table_create", config=config).success
    assert lake.lake.s3_tables.fields(lake.table)
    deliveries = [lake.deliver(period) for period in ("2025-01", "2025-02")]
    assert lake.load_range("2025-01", "2025-02").success
    assert lake.run(f"{EXPORT}_rebuild_tables").success
    assert_tables_equal(lake, *deliveries)
    hive = [name for name in lake.lake.hive.tables() if name.startswith(f"{lake.table}__before_")]
    assert len(hive) == 1
    for catalog in (lake.lake.iceberg, lake.lake.s3_tables):
        tags = [name for name in catalog.open(lake.table).refs() if name.startswith("before_")]
        assert len(tags) == 1
    unconfirmed = op_config("delete_s3_table", table=lake.table)
    assert not lake.run("s3_table_delete", config=unconfirmed).success
    config = op_config("delete_s3_table", table=lake.table, confirm=lake.table)
    assert lake.run("s3_table_delete", config=config).success
    assert lake.lake.s3_tables.fields(lake.table) is None


def test_static_files_are_a_table_of_their_own(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    delivery = lake.deliver("2025-01")
    keys = [str(file.relative_to(lake.landing)) for file in delivery.files]
    config = op_config(f"{EXPORT}__iceberg_static", files=keys)
    result = lake.run("__ASSET_JOB", assets=["iceberg_static"], config=config)
    assert result.success
    assert failed(verdicts(result)) == []
    source = lake.lake.iceberg.files(f"{lake.table}_static", PeriodKey(EXPORT, "2025-01"))
    assert figures(lake.lake.reader.profile(LEGACY_CUR.with_roles(source))) == figures(delivery)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("BILLING_LAKE_LANDING_BUCKET", "nobody-has-this", "does not exist"),
        ("BILLING_LAKE_WAREHOUSE", "s3://nobody-has-this/lake", "does not exist"),
        ("BILLING_LAKE_GLUE_JOB", "no-such-job", "does not exist"),
        ("BILLING_LAKE_TABLE_BUCKET_ARN", "", "is not set"),
    ],
)
def test_what_is_missing_is_said_with_its_setting_in_the_first_step(
    make_lake: Make, setting: str, value: str, says: str
) -> None:
    lake = make_lake("glue", environment={setting: value})
    result = lake.load("2025-03")
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith(f"ConfigurationError: {setting}")
    assert says in text


def test_what_is_missing_is_said_before_static_files_are_read_or_tables_built_anew(
    make_lake: Make,
) -> None:
    setting = "BILLING_LAKE_WAREHOUSE"
    lake = make_lake(environment={setting: "s3://nobody-has-this/lake"})
    config = op_config(f"{EXPORT}__iceberg_static", files=["archive/none.csv.gz"])
    static = lake.run("__ASSET_JOB", assets=["iceberg_static"], config=config)
    rebuild = lake.run(f"{EXPORT}_rebuild_tables")
    for result, step in ((static, "iceberg_static"), (rebuild, "rebuild")):
        (failed,) = {event.step_key for event in result.get_step_failure_events()}
        assert failed is not None
        assert failed.endswith(step)
        assert failure(result, failed).startswith(f"ConfigurationError: {setting}")
