"""Several writers of one Hive-style table in Glue, which itself asks nobody what a partition held before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from billing_lake.domain.errors import (
    CommitConflictError,
    DeliveryChangedError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.glue_partition_owners import Claims, Seen
from billing_lake.tables.glue_partitions import Partitions
from billing_lake.tables.glue_tables import GlueTables
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.glue import GlueWorld, new_world
from billing_lake_tests.tables.making import APRIL, COLUMNS, FIELDS, MARCH, changed


@pytest.fixture
def world(aws: Aws, aws_environment: dict[str, str]) -> Iterator[GlueWorld]:
    yield from new_world(aws)


@pytest.fixture
def tables(world: GlueWorld) -> GlueHiveTables:
    made = world.hive()
    assert made.create(world.table, FIELDS)
    return made


class Killed(BaseException):
    """What a kill is to Python code."""


def before_writing(
    patched: pytest.MonkeyPatch,
    method: str,
    then: Callable[[], object],
    writer: type[Any] = Partitions,
) -> None:
    """Let ``then`` happen once, after a writer has decided what to write and before it writes."""
    write = getattr(writer, method)
    done: list[bool] = []

    def late(*args: Any) -> None:
        if not done:
            done.append(True)
            then()
        write(*args)

    patched.setattr(writer, method, late)


@pytest.mark.parametrize("held", [0, 5], ids=["new period", "loaded period"])
@pytest.mark.parametrize("newer", [0, 1], ids=["newer is empty", "newer has rows"])
def test_an_older_delivery_never_replaces_a_newer_one_that_overtook_it(
    world: GlueWorld, tables: GlueHiveTables, held: int, newer: int
) -> None:
    if held:
        world.load(tables, world.encode(rows=(held,), version="v0"))
    stored = ["v1"]

    def verify_then_be_overtaken() -> None:
        if stored != ["v1"]:
            changed()
        stored[:] = ["v2"]
        world.load(world.hive(), world.encode(rows=(newer,), version="v2"))

    with pytest.raises(DeliveryChangedError):
        world.load(tables, world.encode(rows=(9,)), verify=verify_then_be_overtaken)
    assert world.count(tables.files(world.table, MARCH)) == newer


@pytest.mark.parametrize("held", [0, 5], ids=["new partition", "old partition"])
@pytest.mark.parametrize("newer", [0, 1], ids=["newer is empty", "newer has rows"])
def test_a_writer_that_points_the_partition_late_puts_it_right_itself(
    world: GlueWorld,
    tables: GlueHiveTables,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    newer: int,
) -> None:
    if held:
        world.load(tables, world.encode(rows=(held,), version="v0"))
    late = world.encode(rows=(9,), version="v1")
    newest = world.encode(rows=(newer,), version="v2")
    with monkeypatch.context() as patched:
        before_writing(patched, "_write", lambda: world.load(world.hive(), newest))
        world.load(tables, late)
    reads = world.athena()
    assert (0 if reads is None else len(reads)) == newer
    assert world.count(tables.files(world.table, MARCH)) == newer


@pytest.mark.parametrize("held", [0, 5], ids=["new partition", "old partition"])
def test_a_writer_killed_between_claim_and_partition_is_put_right_by_the_next_look_or_load(
    world: GlueWorld, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    def die() -> None:
        raise Killed

    if held:
        world.load(tables, world.encode(rows=(held,), version="v0"))
    before = world.athena()
    for version in ("v1", "v2"):
        with monkeypatch.context() as patched:
            before_writing(patched, "_write", die)
            with pytest.raises(Killed):
                world.load(tables, world.encode(rows=(3,), version=version))
        if version == "v1":
            assert world.athena() == before, "a reader sees the month before"
            assert world.hive().held(world.table, "cur") == {}, "so a run is asked for"
            assert world.versions(world.hive().files(world.table, MARCH)) == {"v1"}
    commit = world.load(world.hive(), world.encode(rows=(4,), version="v3"))
    assert (commit.replaced_version, commit.replaced_rows) == ("v2", 3)
    assert len(world.athena() or ()) == 1
    assert world.count(tables.files(world.table, MARCH)) == 4


def test_a_load_that_cannot_move_the_partition_counts_as_soon_as_somebody_can(
    world: GlueWorld, tables: GlueHiveTables, caplog: pytest.LogCaptureFixture
) -> None:
    world.load(tables, world.encode(rows=(2,), version="v1"))
    denied = ("UpdatePartition", "AccessDeniedException", "not you")
    world.aws.glue.fail_next(*denied)
    with pytest.raises(StorageWriteError, match="glue:UpdatePartition"):
        world.load(tables, world.encode(rows=(3,), version="v2"))
    world.aws.glue.fail_next(*denied)
    source = tables.files(world.table, MARCH)
    assert (world.count(source), world.versions(source)) == (2, {"v1"}), "what a reader reads"
    assert "is not what was loaded last" in caplog.text
    assert world.versions(tables.files(world.table, MARCH)) == {"v2"}


def test_a_switch_during_an_evolution_is_not_undone_by_it(
    world: GlueWorld, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.load(tables, world.encode(rows=(2,), version="v1"))
    newest = world.encode(rows=(3,), version="v2")
    with monkeypatch.context() as patched:
        before_writing(patched, "_write_all", lambda: world.load(world.hive(), newest))
        tables.evolve(world.table, plan(FIELDS, (*COLUMNS, Column("tag", "string"))))
    assert world.partition()["Parameters"]["billing-lake.delivery-version"] == "v2"
    source = tables.files(world.table, MARCH)
    assert (world.count(source), world.versions(source)) == (3, {"v2"})
    columns = world.partition()["StorageDescriptor"]["Columns"]
    assert columns == world.entry()["StorageDescriptor"]["Columns"]


def test_a_table_that_is_exchanged_under_a_load_gets_none_of_its_files(
    world: GlueWorld, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange() -> None:
        world.hive().drop(world.table)
        world.hive().create(world.table, FIELDS)

    with monkeypatch.context() as patched:
        before_writing(patched, "_write", exchange)
        with pytest.raises(CommitConflictError, match="exchanged"):
            world.load(tables, world.encode(rows=(9,)))
    assert not world.athena()
    assert tables.files(world.table, MARCH).files == ()


def test_a_table_that_is_dropped_under_a_load_stays_dropped(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    with pytest.raises(TableError, match="no table"):
        world.load(tables, world.encode(), verify=lambda: world.hive().drop(world.table))
    assert world.data() == set()
    tables.create(world.table, FIELDS)
    assert tables.files(world.table, MARCH).files == ()


def test_the_claim_of_a_table_that_was_dropped_means_nothing_to_the_next_one(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode(rows=(5,)))
    (claim,) = world.files.list(f"{tables.uri(world.table)}/_claims")
    data = world.files.read(claim.uri)
    tables.drop(world.table)
    world.files.write(claim.uri, data)
    tables.create(world.table, FIELDS)
    assert tables.files(world.table, MARCH).files == ()
    commit = world.load(tables, world.encode(rows=(1,)))
    assert (commit.replaced_rows, commit.replaced_version) == (0, None)
    assert world.count(tables.files(world.table, MARCH)) == 1


def test_two_stale_loads_of_one_period_never_double(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    both_looked = threading.Barrier(2, timeout=PATIENCE_SECONDS)
    waited = threading.local()

    def meet() -> None:
        if not getattr(waited, "once", False):
            waited.once = True
            both_looked.wait()

    deliveries = [world.encode(rows=(n, n), version=f"v{n}") for n in (2, 3)]
    with ThreadPoolExecutor(2) as threads:
        commits = list(threads.map(lambda one: world.load(tables, one, verify=meet), deliveries))
    source = tables.files(world.table, MARCH)
    assert world.count(source) in (4, 6)
    assert len(world.versions(source)) == 1
    assert sorted(c.replaced_rows for c in commits) in ([0, 4], [0, 6])


def test_four_threads_over_two_periods_all_succeed_and_the_partition_is_the_last_claims(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    keys = (MARCH, APRIL)

    def load_two(worker: int) -> None:
        for turn in range(2):
            key: PeriodKey = keys[(worker + turn) % 2]
            encoded = world.encode(key, (2, 1), version=f"{worker}-{turn}")
            world.load(world.hive(), encoded, key)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(load_two, range(4)))
    for key in keys:
        before = world.athena(key)
        source = tables.files(world.table, key)
        assert {file.uri for file in source.files} == before, "nothing was left to repair"
        assert (world.count(source), len(world.versions(source))) == (3, 1)


def test_an_evolution_that_another_one_overtook_keeps_what_that_one_added(
    world: GlueWorld, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (plan(FIELDS, (*COLUMNS, Column(name, "string"))) for name in ("tag_a", "tag_b"))
    with monkeypatch.context() as patched:
        before_writing(patched, "update", lambda: world.hive().evolve(world.table, one), GlueTables)
        after = tables.evolve(world.table, two)
    assert [(f.name, f.field_id) for f in after[-2:]] == [("tag_a", 7), ("tag_b", 8)]
    assert tables.fields(world.table) == after


def test_threads_that_create_and_evolve_one_table_at_once_all_succeed(world: GlueWorld) -> None:
    catalogs = [world.hive() for _ in range(4)]

    def add_a_tag(number: int) -> None:
        columns = (*COLUMNS, Column(f"tag_{number}", "string"))
        catalogs[number].evolve(world.table, plan(FIELDS, columns))

    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(lambda one: one.create(world.table, FIELDS), catalogs))
        list(threads.map(add_a_tag, range(4)))
    assert created.count(True) == 1
    after = catalogs[0].fields(world.table) or ()
    assert [field.field_id for field in after] == list(range(1, 11))
    assert {field.name for field in after[6:]} == {f"tag_{n}" for n in range(4)}


def test_a_claim_whose_answer_got_lost_is_still_won(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode())
    claims, folder = Claims(world.files), tables.uri(world.table)
    table_id = world.entry()["Parameters"]["billing-lake.table-id"]
    seen = claims.look(folder, table_id, MARCH)
    assert seen.claim is not None
    mine = replace(seen.claim, id="mine")
    assert claims.swap(folder, mine, seen)
    assert claims.swap(folder, mine, seen), "sent a second time by boto3, answered with 412"
    assert not claims.swap(folder, replace(mine, id="theirs"), seen)
    assert not claims.swap(folder, replace(mine, id="theirs"), Seen(None, None))


def test_a_claim_that_somebody_damaged_says_which_object_it_is(
    world: GlueWorld, tables: GlueHiveTables
) -> None:
    world.load(tables, world.encode())
    (claim,) = world.files.list(f"{tables.uri(world.table)}/_claims")
    world.files.write(claim.uri, b'{"format": 1, "id": "x"}')
    with pytest.raises(TableError, match=r"_claims/cur/billing_period=2025-03\.json"):
        world.load(tables, world.encode(version="v2"))
    assert len(world.athena() or ()) == 1
