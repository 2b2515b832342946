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
from billing_lake.domain.types import STRING
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.glue_partition_owners import Claims, Seen
from billing_lake.tables.glue_partitions import Partitions
from billing_lake.tables.glue_tables import GlueTables
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.glue import GlueDatabase, new_database
from billing_lake_tests.tables.making import APRIL, COLUMNS, FIELDS, MARCH, changed


@pytest.fixture
def lake(aws: Aws, aws_environment: dict[str, str]) -> Iterator[GlueDatabase]:
    yield from new_database(aws)


@pytest.fixture
def tables(lake: GlueDatabase) -> GlueHiveTables:
    made = lake.hive()
    assert made.create(lake.table, FIELDS)
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
    lake: GlueDatabase, tables: GlueHiveTables, held: int, newer: int
) -> None:
    if held:
        lake.load(tables, lake.encode(rows=(held,), version="v0"))
    stored = ["v1"]

    def verify_then_be_overtaken() -> None:
        if stored != ["v1"]:
            changed()
        stored[:] = ["v2"]
        lake.load(lake.hive(), lake.encode(rows=(newer,), version="v2"))

    with pytest.raises(DeliveryChangedError):
        lake.load(tables, lake.encode(rows=(9,)), verify=verify_then_be_overtaken)
    assert lake.count(tables.files(lake.table, MARCH)) == newer


@pytest.mark.parametrize("held", [0, 5], ids=["new partition", "old partition"])
@pytest.mark.parametrize("newer", [0, 1], ids=["newer is empty", "newer has rows"])
def test_a_writer_that_points_the_partition_late_puts_it_right_itself(
    lake: GlueDatabase,
    tables: GlueHiveTables,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    newer: int,
) -> None:
    if held:
        lake.load(tables, lake.encode(rows=(held,), version="v0"))
    late = lake.encode(rows=(9,), version="v1")
    newest = lake.encode(rows=(newer,), version="v2")
    with monkeypatch.context() as patched:
        before_writing(patched, "_write", lambda: lake.load(lake.hive(), newest))
        lake.load(tables, late)
    reads = lake.athena()
    assert (0 if reads is None else len(reads)) == newer
    assert lake.count(tables.files(lake.table, MARCH)) == newer


@pytest.mark.parametrize("held", [0, 5], ids=["new partition", "old partition"])
def test_a_writer_killed_between_claim_and_partition_is_put_right_by_the_next_look_or_load(
    lake: GlueDatabase, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    def die() -> None:
        raise Killed

    if held:
        lake.load(tables, lake.encode(rows=(held,), version="v0"))
    before = lake.athena()
    for version in ("v1", "v2"):
        with monkeypatch.context() as patched:
            before_writing(patched, "_write", die)
            with pytest.raises(Killed):
                lake.load(tables, lake.encode(rows=(3,), version=version))
        if version == "v1":
            assert lake.athena() == before, "a reader sees the month before"
            assert lake.hive().held(lake.table, "cur") == {}, "so a run is asked for"
            assert lake.versions(lake.hive().files(lake.table, MARCH)) == {"v1"}
    commit = lake.load(lake.hive(), lake.encode(rows=(4,), version="v3"))
    assert (commit.replaced_version, commit.replaced_rows) == ("v2", 3)
    assert len(lake.athena() or ()) == 1
    assert lake.count(tables.files(lake.table, MARCH)) == 4


def test_a_load_that_cannot_move_the_partition_counts_as_soon_as_somebody_can(
    lake: GlueDatabase, tables: GlueHiveTables, caplog: pytest.LogCaptureFixture
) -> None:
    lake.load(tables, lake.encode(rows=(2,), version="v1"))
    denied = ("BatchUpdatePartition", "AccessDeniedException", "not you")
    lake.aws.glue.fail_next(*denied)
    with pytest.raises(StorageWriteError, match="glue:BatchUpdatePartition"):
        lake.load(tables, lake.encode(rows=(3,), version="v2"))
    lake.aws.glue.fail_next(*denied)
    source = tables.files(lake.table, MARCH)
    assert (lake.count(source), lake.versions(source)) == (2, {"v1"}), "what a reader reads"
    assert "is not what was loaded last" in caplog.text
    assert lake.versions(tables.files(lake.table, MARCH)) == {"v2"}


def test_a_switch_during_an_evolution_is_not_undone_by_it(
    lake: GlueDatabase, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.load(tables, lake.encode(rows=(2,), version="v1"))
    newest = lake.encode(rows=(3,), version="v2")
    with monkeypatch.context() as patched:
        before_writing(patched, "_write", lambda: lake.load(lake.hive(), newest))
        tables.evolve(lake.table, plan(FIELDS, (*COLUMNS, Column("tag", STRING))))
    assert lake.partition()["Parameters"]["billing-lake.delivery-version"] == "v2"
    source = tables.files(lake.table, MARCH)
    assert (lake.count(source), lake.versions(source)) == (3, {"v2"})
    columns = lake.partition()["StorageDescriptor"]["Columns"]
    assert columns == lake.entry()["StorageDescriptor"]["Columns"]


def test_a_table_that_is_exchanged_under_a_load_gets_none_of_its_files(
    lake: GlueDatabase, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange() -> None:
        lake.hive().drop(lake.table)
        lake.hive().create(lake.table, FIELDS)

    with monkeypatch.context() as patched:
        before_writing(patched, "_write", exchange)
        with pytest.raises(CommitConflictError, match="exchanged"):
            lake.load(tables, lake.encode(rows=(9,)))
    assert not lake.athena()
    assert tables.files(lake.table, MARCH).files == ()


def test_a_table_that_is_dropped_under_a_load_stays_dropped(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    with pytest.raises(TableError, match="no table"):
        lake.load(tables, lake.encode(), verify=lambda: lake.hive().drop(lake.table))
    assert lake.data() == set()
    tables.create(lake.table, FIELDS)
    assert tables.files(lake.table, MARCH).files == ()


def test_the_claim_of_a_table_that_was_dropped_means_nothing_to_the_next_one(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    lake.load(tables, lake.encode(rows=(5,)))
    (claim,) = lake.files.list(f"{tables.uri(lake.table)}/_claims")
    data = lake.files.read(claim.uri)
    tables.drop(lake.table)
    lake.files.write(claim.uri, data)
    tables.create(lake.table, FIELDS)
    assert tables.files(lake.table, MARCH).files == ()
    commit = lake.load(tables, lake.encode(rows=(1,)))
    assert (commit.replaced_rows, commit.replaced_version) == (0, None)
    assert lake.count(tables.files(lake.table, MARCH)) == 1


def test_two_stale_loads_of_one_period_never_double(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    both_looked = threading.Barrier(2, timeout=PATIENCE_SECONDS)
    waited = threading.local()

    def meet() -> None:
        if not getattr(waited, "once", False):
            waited.once = True
            both_looked.wait()

    deliveries = [lake.encode(rows=(n, n), version=f"v{n}") for n in (2, 3)]
    with ThreadPoolExecutor(2) as threads:
        commits = list(threads.map(lambda one: lake.load(tables, one, verify=meet), deliveries))
    source = tables.files(lake.table, MARCH)
    assert lake.count(source) in (4, 6)
    assert len(lake.versions(source)) == 1
    assert sorted(c.replaced_rows for c in commits) in ([0, 4], [0, 6])


def test_four_threads_over_two_periods_all_succeed_and_the_partition_is_the_last_claims(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    keys = (MARCH, APRIL)

    def load_two(worker: int) -> None:
        for turn in range(2):
            key: PeriodKey = keys[(worker + turn) % 2]
            encoded = lake.encode(key, (2, 1), version=f"{worker}-{turn}")
            lake.load(lake.hive(), encoded, key)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(load_two, range(4)))
    for key in keys:
        before = lake.athena(key)
        source = tables.files(lake.table, key)
        assert {file.uri for file in source.files} == before, "nothing was left to repair"
        assert (lake.count(source), len(lake.versions(source))) == (3, 1)


def test_an_evolution_that_another_one_overtook_keeps_what_that_one_added(
    lake: GlueDatabase, tables: GlueHiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (plan(FIELDS, (*COLUMNS, Column(name, STRING))) for name in ("tag_a", "tag_b"))
    with monkeypatch.context() as patched:
        before_writing(patched, "update", lambda: lake.hive().evolve(lake.table, one), GlueTables)
        after = tables.evolve(lake.table, two)
    assert [(f.name, f.field_id) for f in after[-2:]] == [("tag_a", 7), ("tag_b", 8)]
    assert tables.fields(lake.table) == after


def test_threads_that_create_and_evolve_one_table_at_once_all_succeed(lake: GlueDatabase) -> None:
    catalogs = [lake.hive() for _ in range(4)]

    def add_a_tag(number: int) -> None:
        columns = (*COLUMNS, Column(f"tag_{number}", STRING))
        catalogs[number].evolve(lake.table, plan(FIELDS, columns))

    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(lambda one: one.create(lake.table, FIELDS), catalogs))
        list(threads.map(add_a_tag, range(4)))
    assert created.count(True) == 1
    after = catalogs[0].fields(lake.table) or ()
    assert [field.field_id for field in after] == list(range(1, 11))
    assert {field.name for field in after[6:]} == {f"tag_{n}" for n in range(4)}


def test_a_claim_whose_answer_got_lost_is_still_won(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    lake.load(tables, lake.encode())
    claims, folder = Claims(lake.files), tables.uri(lake.table)
    table_id = lake.entry()["Parameters"]["billing-lake.table-id"]
    seen = claims.look(folder, table_id, MARCH)
    assert seen.claim is not None
    mine = replace(seen.claim, id="mine")
    assert claims.swap(folder, mine, seen)
    assert claims.swap(folder, mine, seen), "sent a second time by boto3, answered with 412"
    assert not claims.swap(folder, replace(mine, id="theirs"), seen)
    assert not claims.swap(folder, replace(mine, id="theirs"), Seen(None, None))


def test_a_claim_that_somebody_damaged_says_which_object_it_is(
    lake: GlueDatabase, tables: GlueHiveTables
) -> None:
    lake.load(tables, lake.encode())
    (claim,) = lake.files.list(f"{tables.uri(lake.table)}/_claims")
    lake.files.write(claim.uri, b'{"format": 1, "id": "x"}')
    with pytest.raises(TableError, match=r"_claims/cur/billing_period=2025-03\.json"):
        lake.load(tables, lake.encode(version="v2"))
    assert len(lake.athena() or ()) == 1
