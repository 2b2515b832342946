"""Hive-style tables in the Glue Data Catalog: what Athena finds there, and what Glue and S3 may refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from billing_lake.domain.errors import (
    CommitConflictError,
    ConfigurationError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import INT, LONG, STRING
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.glue import GlueDatabase, new_database
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MARCH,
    OTHER_MARCH,
)


@pytest.fixture
def lake(aws: Aws, aws_environment: dict[str, str]) -> Iterator[GlueDatabase]:
    yield from new_database(aws)


@pytest.fixture
def tables(lake: GlueDatabase) -> GlueHiveTables:
    made = lake.hive()
    assert made.create(lake.table, FIELDS)
    return made


def columns_of(described: Any) -> list[tuple[str, str]]:
    return [(c["Name"], c["Type"]) for c in described["StorageDescriptor"]["Columns"]]


def test_athena_finds_parquet_columns_in_hive_types_and_each_name_once(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    entry = lake.entry()
    assert columns_of(entry) == [
        ("line_item_unblended_cost", "decimal(38,18)"),
        ("line_item_usage_start_date", "timestamp"),
        ("delivery_version", "string"),
        ("source_file", "string"),
    ]
    assert [c["Name"] for c in entry["PartitionKeys"]] == ["billing_period", "export_name"]
    assert entry["TableType"] == "EXTERNAL_TABLE"
    serde = entry["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"]
    assert serde.endswith("ParquetHiveSerDe")


def test_a_thousand_columns_outlast_the_limit_of_one_parameter(lake: GlueDatabase) -> None:
    wide = tuple(Field(f"tag_{'x' * 230}_{n:05d}", STRING, n) for n in range(1, 2500))
    tables = lake.hive()
    assert tables.create(lake.table, wide)
    assert tables.fields(lake.table) == wide
    values = lake.entry()["Parameters"].values()
    assert max(len(value.encode()) for value in values) < 512_000


def test_athena_finds_the_files_of_the_last_load_and_no_partition_of_a_month_without_rows(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    for rows in ((2, 3), (4,)):
        lake.load(tables, lake.encode(rows=rows))
        assert lake.athena() == {file.uri for file in tables.files(lake.table, MARCH).files}
        assert lake.partition()["Parameters"]["numRows"] == str(sum(rows))
    lake.load(tables, lake.encode(rows=()))
    assert lake.athena() is None


def test_what_many_periods_hold_costs_two_listings_and_a_read_of_what_changed(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    for month in range(1, 10):
        key = PeriodKey("cur", f"2025-0{month}")
        lake.load(tables, lake.encode(key), key)
    with recorded(lake.files.clients.client("s3")) as first:
        assert len(tables.held(lake.table, "cur")) == 9
    with recorded(lake.files.clients.client("s3")) as second:
        assert len(tables.held(lake.table, "cur")) == 9
    again = lake.encode(rows=(7,), version="v2")
    lake.load(tables, again)
    with recorded(lake.files.clients.client("s3")) as third:
        assert tables.held(lake.table, "cur")["2025-03"] == again.identity
    assert first == ["ListObjectsV2", *["GetObject"] * 9]
    assert second == ["ListObjectsV2"]
    assert third == ["ListObjectsV2", "GetObject"]


def test_files_written_into_a_new_location_are_taken_over_and_those_of_a_dead_attempt_removed(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    folder = tables.new_location(lake.table, MARCH)
    encoded = lake.encode(folder=folder)
    dead = lake.encode(folder=folder, rows=(50,))
    lake.files.write(f"{folder}/_SUCCESS", b"")
    lake.load(tables, encoded)
    assert lake.athena() == {file.uri for file in encoded.files}
    assert not {file.uri for file in dead.files} & lake.data()


def test_the_location_of_a_table_that_does_not_exist_yet_is_the_one_that_it_gets(
    lake: GlueDatabase,
) -> None:
    tables = lake.hive()
    folder = tables.new_location(lake.table, MARCH)
    encoded = lake.encode(folder=folder)
    assert tables.create(lake.table, FIELDS)
    lake.load(tables, encoded)
    assert lake.athena() == {file.uri for file in encoded.files}


def test_evolving_changes_the_table_first_and_then_every_partition(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    tables.evolve(lake.table, plan(FIELDS, (*COLUMNS, Column("measure", INT))))
    for key in (MARCH, APRIL, OTHER_MARCH):
        lake.load(tables, lake.encode(key), key)
    have = tables.fields(lake.table)
    wider = plan(have, (*COLUMNS, Column("measure", LONG), Column("tag", STRING)))
    before = lake.aws.glue.calls["BatchUpdatePartition"]
    assert tables.evolve(lake.table, wider) == wider.fields
    assert lake.aws.glue.calls["BatchUpdatePartition"] == before + 1
    expected = [("measure", "bigint"), ("tag", "string")]
    assert columns_of(lake.entry())[-2:] == expected
    for key in (MARCH, APRIL, OTHER_MARCH):
        assert columns_of(lake.partition(key)) == columns_of(lake.entry())
        assert lake.count(tables.files(lake.table, key)) == 2
    calls = lake.aws.glue.calls["UpdateTable"]
    assert tables.evolve(lake.table, wider) == wider.fields
    assert lake.aws.glue.calls["UpdateTable"] == calls, "nothing changed, so nothing is written"


def test_partitions_that_a_killed_evolution_left_behind_follow_at_the_next(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    lake.load(tables, lake.encode())
    change = plan(FIELDS, (*COLUMNS, Column("tag", STRING)))
    lake.aws.glue.fail_next("BatchUpdatePartition", "AccessDeniedException", "not you", times=1)
    with pytest.raises(StorageWriteError, match="glue:BatchUpdatePartition"):
        tables.evolve(lake.table, change)
    assert columns_of(lake.partition()) != columns_of(lake.entry())
    tables.evolve(lake.table, change)
    assert columns_of(lake.partition()) == columns_of(lake.entry())
    assert not any("behind" in name for name in lake.entry()["Parameters"])


@pytest.mark.parametrize("verb", ["UpdateTable", "BatchUpdatePartition", "BatchDeletePartition"])
def test_a_rebuild_that_breaks_off_leaves_a_table_and_the_next_one_ends_it(
    lake: GlueDatabase, tables: GlueHiveTables, verb: str
) -> None:
    have = tables.evolve(lake.table, plan(FIELDS, (*COLUMNS, Column("measure", LONG))))
    lake.load(tables, lake.encode(rows=(3,), fields=have))
    lake.load(tables, lake.encode(APRIL, rows=(2,), fields=have), APRIL)
    fields = tables.plan_rebuild(lake.table, (*COLUMNS, Column("measure", STRING))).fields
    new = lake.encode(rows=(7,), version="v2", fields=fields)

    def rebuild(stamp: str) -> None:
        tables.rebuild(
            lake.table,
            "cur",
            {"2025-03": new},
            properties={"2025-03": {}},
            verify=lambda: None,
            before=stamp,
        )

    lake.aws.glue.fail_next(verb, "AccessDeniedException", "not you")
    with pytest.raises(StorageWriteError, match=f"glue:{verb}"):
        rebuild("1")
    assert lake.athena()
    assert lake.count(tables.files(lake.table, MARCH)) in (3, 7)
    rebuild("2")
    assert tables.fields(lake.table) == fields
    assert lake.count(tables.files(lake.table, MARCH)) == 7
    assert lake.partition(APRIL) is None
    columns = lake.partition()["StorageDescriptor"]["Columns"]
    assert columns == lake.entry()["StorageDescriptor"]["Columns"]
    before = f"{lake.table}__before_1"
    assert [lake.count(tables.files(before, key)) for key in (MARCH, APRIL)] == [3, 2]
    assert tables.fields(before) == have


def test_a_glue_table_of_somebody_else_is_neither_used_nor_dropped(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    elsewhere = GlueHiveTables(lake.files, f"s3://{lake.bucket}/another-lake/hive")
    calls: list[Callable[[], object]] = [
        lambda: elsewhere.fields(lake.table),
        lambda: elsewhere.create(lake.table, FIELDS),
        lambda: elsewhere.drop(lake.table),
        lambda: elsewhere.files(lake.table, MARCH),
    ]
    for call in calls:
        with pytest.raises(TableError, match="not this lake's"):
            call()
    assert lake.table not in elsewhere.tables()
    assert tables.fields(lake.table) == FIELDS


@pytest.mark.parametrize(
    ("action", "error"),
    [("GetTable", ConfigurationError), ("BatchCreatePartition", StorageWriteError)],
)
def test_a_missing_right_is_named(
    lake: GlueDatabase, tables: GlueHiveTables, action: str, error: type[Exception]
) -> None:
    lake.aws.glue.fail_next(action, "AccessDeniedException", "User: x is not authorized", times=1)
    with pytest.raises(error, match=f"AWS denies glue:{action} .*Allow glue:{action}"):
        lake.load(tables, lake.encode())


def test_a_refusal_that_passes_is_waited_out(lake: GlueDatabase, tables: GlueHiveTables) -> None:
    lake.aws.glue.fail_next("BatchCreatePartition", "OperationTimeoutException", times=2)
    lake.aws.glue.fail_next("BatchCreatePartition", "ConcurrentModificationException")
    lake.load(tables, lake.encode())
    assert lake.count(tables.files(lake.table, MARCH)) == 2


def test_a_loader_that_always_comes_second_gives_up_and_leaves_nothing(
    lake: GlueDatabase, no_pauses: Callable[[str], None]
) -> None:
    tables = lake.hive(patience=0.0)
    tables.create(lake.table, FIELDS)
    no_pauses("billing_lake.aws.retry")
    with pytest.raises(CommitConflictError, match="kept switching"):
        lake.load(
            tables,
            lake.encode(rows=(9,)),
            verify=lambda: lake.load(tables, lake.encode(rows=(1,), version="other")) and None,
        )
    source = tables.files(lake.table, MARCH)
    assert (lake.count(source), lake.versions(source)) == (1, {"other"})
