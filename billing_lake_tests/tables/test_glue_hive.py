"""Hive-style tables in the Glue Data Catalog keep the promises of every catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing_lake.domain.errors import (
    CommitConflictError,
    ConfigurationError,
    DeliveryChangedError,
    FieldIdMismatchError,
    LoadError,
    SchemaChangeError,
    SnapshotGoneError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import Encoded, PeriodKey
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
    changed,
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


def test_a_table_has_exactly_the_fields_it_was_created_with(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    assert not tables.create(world.table, FIELDS[2:])
    assert world.hive().fields(world.table) == FIELDS
    assert world.table in tables.tables()
    assert tables.fields(f"{world.namespace}.other") is None
    assert tables.uri(world.table) == f"{world.root}/{world.table}"


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


def test_a_load_switches_the_partition_and_a_restatement_leaves_nothing_of_the_first(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    first = world.load(tables, world.encode(rows=(2, 3)))
    assert (first.rows, first.files, first.replaced_rows, first.replaced_version) == (5, 2, 0, None)
    assert world.count(tables.files(world.table, MARCH)) == 5
    assert tables.files(world.table, MARCH).columns == COLUMNS
    second = world.load(tables, world.encode(rows=(4,), version="v2"))
    assert (second.replaced_rows, second.replaced_version) == (5, "v1")
    source = tables.files(world.table, MARCH)
    assert (world.count(source), world.versions(source)) == (4, {"v2"})
    assert world.athena() == {file.uri for file in source.files}
    assert world.partition()["Parameters"]["numRows"] == "4"


def test_what_a_load_brought_can_be_read_after_the_next_one_and_never_in_part(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    first = world.load(tables, world.encode(rows=(2, 3)))
    world.load(tables, world.encode(rows=(4,), version="v2"))
    assert world.count(tables.files(world.table, MARCH, first)) == 5
    world.load(tables, world.encode(rows=(6,), version="v3"))
    with pytest.raises(SnapshotGoneError, match="others have replaced 2025-03 twice"):
        tables.files(world.table, MARCH, first)


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


def test_files_of_several_folders_with_one_name_are_kept_apart(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    files = []
    for number, file in enumerate(world.encode(rows=(1, 2)).files):
        uri = f"s3://{world.bucket}/staging/{number}/part.parquet"
        world.files.copy(file.uri, uri)
        files.append(replace(file, uri=uri))
    world.load(tables, replace(world.encode(rows=()), files=tuple(files)))
    assert world.count(tables.files(world.table, MARCH)) == 3


def test_a_load_touches_neither_other_periods_nor_other_exports(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    for key, rows in ((MARCH, 1), (APRIL, 2), (OTHER_MARCH, 3)):
        world.load(tables, world.encode(key, (rows,)), key)
    world.load(tables, world.encode(rows=(7,)))
    found = [world.count(tables.files(world.table, key)) for key in (MARCH, APRIL, OTHER_MARCH)]
    assert found == [7, 2, 3]
    assert tables.periods(world.table, "cur") == ("2025-03", "2025-04")
    assert tables.periods(world.table, "other") == ("2025-03",)
    assert tables.periods(world.table, "nobody") == ()


@pytest.mark.parametrize("rows", [(), (0,)])
def test_an_empty_delivery_leaves_no_partition(
    world: GlueWorld, tables: GlueHiveTables, rows: tuple[int, ...]
) -> None:
    world.load(tables, world.encode(rows=(3,)))
    commit = world.load(tables, world.encode(rows=rows, version="v2"))
    assert (commit.rows, commit.replaced_rows) == (0, 3)
    assert tables.files(world.table, MARCH).files == ()
    assert tables.periods(world.table, "cur") == ()
    assert world.athena() is None
    after = world.load(tables, world.encode(rows=(1, 0), version="v3"))
    assert (after.replaced_rows, after.replaced_version) == (0, "v2")
    assert len(tables.files(world.table, MARCH).files) == 1


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


@pytest.mark.parametrize(
    ("narrow", "wide", "hive"),
    [
        ("float", "double", "double"),
        ("decimal(20, 18)", "decimal(38, 18)", "decimal(38,18)"),
    ],
)
def test_columns_are_promoted_and_never_narrowed(
    world: GlueWorld, tables: GlueHiveTables, narrow: str, wide: str, hive: str
) -> None:
    tables.evolve(world.table, plan(FIELDS, (*COLUMNS, Column("measure", narrow))))
    have = tables.fields(world.table)
    after = tables.evolve(world.table, plan(have, (*COLUMNS, Column("measure", wide))))
    assert after[-1] == Field("measure", wide, 7)
    assert tables.evolve(world.table, plan(have, (*COLUMNS, Column("measure", narrow)))) == after
    assert columns_of(world.entry())[-1] == ("measure", hive)
    with pytest.raises(SchemaChangeError, match="measure"):
        tables.evolve(world.table, plan(FIELDS, (*COLUMNS, Column("measure", "string"))))


@pytest.mark.parametrize(
    ("stated", "in_files"),
    [
        ((replace(FIELDS[0], type="string"), *FIELDS[1:]), None),
        ((*FIELDS, Field("tag", "string", 7)), None),
        (FIELDS, (replace(FIELDS[0], type="string"), *FIELDS[1:])),
        (FIELDS, FIELDS[1:]),
    ],
    ids=["type of table", "column of table", "type in file", "column in file"],
)
def test_files_with_other_fields_than_stated_or_than_the_tables_are_refused(
    world: GlueWorld,
    tables: GlueHiveTables,
    stated: tuple[Field, ...],
    in_files: tuple[Field, ...] | None,
) -> None:
    world.load(tables, world.encode())
    before = world.data()
    encoded = replace(world.encode(rows=(0,), fields=in_files or stated), fields=stated)
    with pytest.raises(FieldIdMismatchError):
        world.load(tables, encoded)
    assert world.data() == before
    assert world.count(tables.files(world.table, MARCH)) == 2


@pytest.mark.parametrize("damage", ["gone", "cut", "fewer rows"])
def test_a_file_that_is_gone_or_damaged_is_refused(
    world: GlueWorld, tables: GlueHiveTables, damage: str
) -> None:
    encoded = world.encode()
    uri = encoded.files[0].uri
    if damage == "gone":
        world.files.remove(uri)
    elif damage == "cut":
        world.files.write(uri, world.files.read(uri)[:-20])
    else:
        encoded = replace(encoded, files=(replace(encoded.files[0], rows=3),))
    with pytest.raises(LoadError, match="encoded file"):
        world.load(tables, encoded)
    assert world.data() == set()


def test_a_failed_load_takes_its_generation_with_it(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode())
    before = world.data()
    for folder in (None, tables.new_location(world.table, MARCH)):
        with pytest.raises(DeliveryChangedError):
            world.load(tables, world.encode(folder=folder, rows=(9,)), verify=changed)
        assert world.data() == before
    assert world.count(tables.files(world.table, MARCH)) == 2


def test_at_most_the_current_and_the_previous_generation_are_kept(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    made: list[Encoded] = []
    for version in ("v1", "v2", "v3"):
        folder = tables.new_location(world.table, MARCH)
        made.append(world.encode(folder=folder, version=version))
        world.load(tables, made[-1])
        assert world.data() == {file.uri for one in made[-2:] for file in one.files}
    kept = world.data()
    for again in made[:0:-1]:
        world.load(tables, again)
        assert world.data() == kept
        assert world.athena() == {file.uri for file in again.files}


def test_only_generations_that_nothing_refers_to_can_be_abandoned(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    encoded = world.encode(folder=tables.new_location(world.table, MARCH))
    world.load(tables, encoded)
    tables.abandon(world.table, MARCH, encoded.files[0].uri.rpartition("/")[0])
    assert world.count(tables.files(world.table, MARCH)) == 2
    foreign = world.encode().files[0].uri
    tables.abandon(world.table, MARCH, foreign.rpartition("/")[0])
    assert world.files.size(foreign)
    fresh = world.encode(folder=tables.new_location(world.table, MARCH)).files[0].uri
    tables.abandon(world.table, MARCH, fresh.rpartition("/")[0])
    assert fresh not in world.data()


def test_generations_that_a_kill_left_behind_are_removed_when_they_are_old_enough(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    for version in ("v1", "v2"):
        world.load(tables, world.encode(version=version))
    kept = world.data()
    left = world.encode(folder=tables.new_location(world.table, MARCH)).files[0].uri
    assert tables.remove_orphans(world.table) == ()
    # S3 tells times in whole seconds.
    removed = tables.remove_orphans(world.table, timedelta(seconds=-2))
    assert removed == (left.rpartition("/")[0],)
    assert world.data() == kept


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


def test_a_dropped_table_is_gone_with_its_files_and_can_be_made_again(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode())
    tables.drop(world.table)
    assert world.files.list(f"{world.root}/{world.table}") == []
    assert world.table not in tables.tables()
    assert tables.create(world.table, FIELDS)
    assert tables.files(world.table, MARCH).files == ()
    assert world.load(tables, world.encode()).replaced_version is None


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


@pytest.mark.parametrize("verb", ["files", "periods", "drop", "evolve", "replace_period"])
def test_a_missing_table_is_a_named_error(
    world: GlueWorld, tables: GlueHiveTables, verb: str
) -> None:
    missing = f"{world.namespace}.nothing"
    calls: dict[str, Callable[[], object]] = {
        "files": lambda: tables.files(missing, MARCH),
        "periods": lambda: tables.periods(missing, "cur"),
        "drop": lambda: tables.drop(missing),
        "evolve": lambda: tables.evolve(missing, plan(FIELDS, COLUMNS)),
        "replace_period": lambda: world.load(tables, world.encode(), table=missing),
    }
    with pytest.raises(TableError, match=f"no table {missing}"):
        calls[verb]()


def test_a_name_that_could_mean_something_else_reaches_no_path(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    nothing = Encoded(identity="", version="v1", fields=FIELDS)
    for name in ("", ".", "a.", "a.b.c", "../x", "a/b", "Ünïcode", "A", "x" * 256):
        calls: list[Callable[[str], object]] = [
            lambda name: tables.create(name, FIELDS),
            tables.fields,
            lambda name: tables.create(
                f"{world.namespace}.new", (Field(name, "string", 1), *FIELDS)
            ),
            lambda name: world.load(tables, nothing, table=name or "x"),
            lambda name: world.load(tables, nothing, PeriodKey(name, "2025-03")),
            lambda name: tables.files(world.table, PeriodKey("cur", name)),
            lambda name: tables.new_location(world.table, PeriodKey("cur", name)),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError):
                call(name)


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
