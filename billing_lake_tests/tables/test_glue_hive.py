"""Hive-style tables in the Glue Data Catalog: what Athena finds there, and what Glue and S3 may refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
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
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.glue import GlueWorld, new_world
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MARCH,
    OTHER_MARCH,
)


@pytest.fixture
def world(aws: Aws, aws_environment: dict[str, str]) -> Iterator[GlueWorld]:
    yield from new_world(aws)


@pytest.fixture
def tables(world: GlueWorld) -> GlueHiveTables:
    made = world.hive()
    assert made.create(world.table, FIELDS)
    return made


def columns_of(described: Any) -> list[tuple[str, str]]:
    return [(c["Name"], c["Type"]) for c in described["StorageDescriptor"]["Columns"]]


def test_athena_finds_parquet_columns_in_hive_types_and_each_name_once(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    entry = world.entry()
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


def test_a_thousand_columns_outlast_the_limit_of_one_parameter(world: GlueWorld) -> None:
    wide = tuple(Field(f"tag_{'x' * 230}_{n:05d}", "string", n) for n in range(1, 2500))
    tables = world.hive()
    assert tables.create(world.table, wide)
    assert tables.fields(world.table) == wide
    values = world.entry()["Parameters"].values()
    assert max(len(value.encode()) for value in values) < 512_000


def test_athena_finds_the_files_of_the_last_load_and_no_partition_of_a_month_without_rows(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    for rows in ((2, 3), (4,)):
        world.load(tables, world.encode(rows=rows))
        assert world.athena() == {file.uri for file in tables.files(world.table, MARCH).files}
        assert world.partition()["Parameters"]["numRows"] == str(sum(rows))
    world.load(tables, world.encode(rows=()))
    assert world.athena() is None


def test_what_many_periods_hold_costs_two_listings_and_a_read_of_what_changed(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    for month in range(1, 10):
        key = PeriodKey("cur", f"2025-0{month}")
        world.load(tables, world.encode(key), key)
    with recorded(world.files.clients.client("s3")) as first:
        assert len(tables.held(world.table, "cur")) == 9
    with recorded(world.files.clients.client("s3")) as second:
        assert len(tables.held(world.table, "cur")) == 9
    again = world.encode(rows=(7,), version="v2")
    world.load(tables, again)
    with recorded(world.files.clients.client("s3")) as third:
        assert tables.held(world.table, "cur")["2025-03"] == again.identity
    assert first == ["ListObjectsV2", *["GetObject"] * 9]
    assert second == ["ListObjectsV2"]
    assert third == ["ListObjectsV2", "GetObject"]


def test_files_written_into_a_new_location_are_taken_over_and_those_of_a_dead_attempt_removed(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    folder = tables.new_location(world.table, MARCH)
    encoded = world.encode(folder=folder)
    dead = world.encode(folder=folder, rows=(50,))
    world.files.write(f"{folder}/_SUCCESS", b"")
    world.load(tables, encoded)
    assert world.athena() == {file.uri for file in encoded.files}
    assert not {file.uri for file in dead.files} & world.data()


def test_the_location_of_a_table_that_does_not_exist_yet_is_the_one_that_it_gets(
    world: GlueWorld,
) -> None:
    tables = world.hive()
    folder = tables.new_location(world.table, MARCH)
    encoded = world.encode(folder=folder)
    assert tables.create(world.table, FIELDS)
    world.load(tables, encoded)
    assert world.athena() == {file.uri for file in encoded.files}


def test_evolving_changes_the_table_first_and_then_every_partition(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    tables.evolve(world.table, plan(FIELDS, (*COLUMNS, Column("measure", "int"))))
    for key in (MARCH, APRIL, OTHER_MARCH):
        world.load(tables, world.encode(key), key)
    have = tables.fields(world.table)
    wider = plan(have, (*COLUMNS, Column("measure", "long"), Column("tag", "string")))
    before = world.aws.glue.calls["BatchUpdatePartition"]
    assert tables.evolve(world.table, wider) == wider.fields
    assert world.aws.glue.calls["BatchUpdatePartition"] == before + 1
    expected = [("measure", "bigint"), ("tag", "string")]
    assert columns_of(world.entry())[-2:] == expected
    for key in (MARCH, APRIL, OTHER_MARCH):
        assert columns_of(world.partition(key)) == columns_of(world.entry())
        assert world.count(tables.files(world.table, key)) == 2
    calls = world.aws.glue.calls["UpdateTable"]
    assert tables.evolve(world.table, wider) == wider.fields
    assert world.aws.glue.calls["UpdateTable"] == calls, "nothing changed, so nothing is written"


def test_partitions_that_a_killed_evolution_left_behind_follow_at_the_next(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode())
    change = plan(FIELDS, (*COLUMNS, Column("tag", "string")))
    world.aws.glue.fail_next("BatchUpdatePartition", "AccessDeniedException", "not you", times=1)
    with pytest.raises(StorageWriteError, match="glue:BatchUpdatePartition"):
        tables.evolve(world.table, change)
    assert columns_of(world.partition()) != columns_of(world.entry())
    tables.evolve(world.table, change)
    assert columns_of(world.partition()) == columns_of(world.entry())
    assert not any("behind" in name for name in world.entry()["Parameters"])


def test_no_data_lies_in_the_tables_folder_once_a_lake_of_an_earlier_version_was_loaded_again(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    folder = tables.uri(world.table)
    before = world.encode(folder=f"{folder}/billing_period=2025-03/0123abcd", rows=(3,))
    world.load(tables, before)
    assert world.athena() == {file.uri for file in before.files}
    world.load(tables, world.encode(rows=(4,), version="v2"))
    assert world.count(tables.files(world.table, MARCH)) == 4
    assert before.files[0].uri in world.data(), "a reader may still be reading it"
    world.load(tables, world.encode(rows=(5,), version="v3"))
    assert not [uri for uri in world.data() if uri.startswith(f"{folder}/")]
    assert len(world.data()) == 2
    assert tables.remove_orphans(world.table, timedelta(seconds=-2)) == ()


@pytest.mark.parametrize("verb", ["UpdateTable", "BatchUpdatePartition", "BatchDeletePartition"])
def test_a_rebuild_that_breaks_off_leaves_a_table_and_the_next_one_ends_it(
    world: GlueWorld, tables: GlueHiveTables, verb: str
) -> None:
    have = tables.evolve(world.table, plan(FIELDS, (*COLUMNS, Column("measure", "long"))))
    world.load(tables, world.encode(rows=(3,), fields=have))
    world.load(tables, world.encode(APRIL, rows=(2,), fields=have), APRIL)
    fields = tables.plan_rebuild(world.table, (*COLUMNS, Column("measure", "string"))).fields
    new = world.encode(rows=(7,), version="v2", fields=fields)

    def rebuild(stamp: str) -> None:
        tables.rebuild(
            world.table,
            "cur",
            {"2025-03": new},
            properties={"2025-03": {}},
            verify=lambda: None,
            before=stamp,
        )

    world.aws.glue.fail_next(verb, "AccessDeniedException", "not you")
    with pytest.raises(StorageWriteError, match=f"glue:{verb}"):
        rebuild("1")
    assert world.athena()
    assert world.count(tables.files(world.table, MARCH)) in (3, 7)
    rebuild("2")
    assert tables.fields(world.table) == fields
    assert world.count(tables.files(world.table, MARCH)) == 7
    assert world.partition(APRIL) is None
    columns = world.partition()["StorageDescriptor"]["Columns"]
    assert columns == world.entry()["StorageDescriptor"]["Columns"]
    before = f"{world.table}__before_1"
    assert [world.count(tables.files(before, key)) for key in (MARCH, APRIL)] == [3, 2]
    assert tables.fields(before) == have


def test_dropping_one_of_two_names_for_the_same_files_keeps_the_files(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    """What an earlier version left whose rename broke off."""
    world.load(tables, world.encode(rows=(5,)))
    entry = world.entry()
    given = {name: entry[name] for name in ("StorageDescriptor", "PartitionKeys", "Parameters")}
    world.glue.create_table(
        DatabaseName=entry["DatabaseName"], TableInput={"Name": "cur__before_1", **given}
    )
    tables.drop(f"{world.namespace}.cur__before_1")
    assert world.count(tables.files(world.table, MARCH)) == 5


def test_a_glue_table_of_somebody_else_is_neither_used_nor_dropped(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    elsewhere = GlueHiveTables(world.files, f"s3://{world.bucket}/another-lake/hive")
    calls: list[Callable[[], object]] = [
        lambda: elsewhere.fields(world.table),
        lambda: elsewhere.create(world.table, FIELDS),
        lambda: elsewhere.drop(world.table),
        lambda: elsewhere.files(world.table, MARCH),
    ]
    for call in calls:
        with pytest.raises(TableError, match="not this lake's"):
            call()
    assert world.table not in elsewhere.tables()
    assert tables.fields(world.table) == FIELDS


@pytest.mark.parametrize(
    ("action", "error"),
    [("GetTable", ConfigurationError), ("CreatePartition", StorageWriteError)],
)
def test_a_missing_right_is_named(
    world: GlueWorld, tables: GlueHiveTables, action: str, error: type[Exception]
) -> None:
    world.aws.glue.fail_next(action, "AccessDeniedException", "User: x is not authorized", times=1)
    with pytest.raises(error, match=f"AWS denies glue:{action} .*Allow glue:{action}"):
        world.load(tables, world.encode())


def test_a_refusal_that_passes_is_waited_out(world: GlueWorld, tables: GlueHiveTables) -> None:
    world.aws.glue.fail_next("CreatePartition", "OperationTimeoutException", times=2)
    world.aws.glue.fail_next("CreatePartition", "ConcurrentModificationException")
    world.load(tables, world.encode())
    assert world.count(tables.files(world.table, MARCH)) == 2


def test_a_loader_that_always_comes_second_gives_up_and_leaves_nothing(
    world: GlueWorld, no_pauses: Callable[[str], None]
) -> None:
    tables = world.hive(patience=0.0)
    tables.create(world.table, FIELDS)
    no_pauses("billing_lake.tables.glue_hive")
    with pytest.raises(CommitConflictError, match="kept switching"):
        world.load(
            tables,
            world.encode(rows=(9,)),
            verify=lambda: world.load(tables, world.encode(rows=(1,), version="other")) and None,
        )
    source = tables.files(world.table, MARCH)
    assert (world.count(source), world.versions(source)) == (1, {"other"})
