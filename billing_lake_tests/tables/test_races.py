"""Several loads at once: nothing doubles, nothing is lost, and an older delivery never replaces a newer one."""

from __future__ import annotations

import multiprocessing
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.errors import DeliveryChangedError, FieldIdMismatchError
from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import STRING
from billing_lake.tables.base import TableCatalog
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MAKERS,
    MARCH,
    TABLE,
    changed,
    count,
    data_below,
    encode,
    everywhere,
    load,
    versions,
)


@pytest.mark.parametrize("held", [0, 5], ids=["new period", "loaded period"])
@pytest.mark.parametrize("newer", [0, 1], ids=["newer is empty", "newer has rows"])
@pytest.mark.parametrize("older", [0, 9], ids=["older is empty", "older has rows"])
def test_an_older_delivery_never_replaces_a_newer_one_that_overtook_it(
    catalog: TableCatalog, tmp_path: Path, held: int, newer: int, older: int
) -> None:
    if held:
        load(catalog, encode(tmp_path / "staging", rows=(held,), version="v0"))
    stored = ["v1"]

    def verify_then_be_overtaken() -> None:
        if stored != ["v1"]:
            changed()
        stored[:] = ["v2"]
        load(catalog, encode(tmp_path / "staging", rows=(newer,), version="v2"))

    with pytest.raises(DeliveryChangedError):
        load(
            catalog,
            encode(tmp_path / "staging", rows=(older,), version="v1"),
            verify=verify_then_be_overtaken,
        )
    assert count(catalog.files(TABLE, MARCH)) == newer


@everywhere
def test_a_load_that_another_period_overtook_is_verified_again_and_succeeds(
    catalog: TableCatalog, staging: str
) -> None:
    asked: list[int] = []

    def verify() -> None:
        asked.append(1)
        if len(asked) == 1:
            load(catalog, encode(staging, APRIL, (4,)), APRIL)

    load(catalog, encode(staging, rows=(3,)), verify=verify)
    assert [count(catalog.files(TABLE, key)) for key in (MARCH, APRIL)] == [3, 4]


def test_a_table_that_evolved_under_a_load_takes_no_file_with_other_ids(
    catalog: TableCatalog, tmp_path: Path
) -> None:
    """Two deliveries bring a new column each, and both plan to give it the next id."""
    mine = plan(FIELDS, (*COLUMNS, Column("tag_a", STRING)))
    theirs = plan(FIELDS, (*COLUMNS, Column("tag_b", STRING)))
    catalog.evolve(TABLE, theirs)
    catalog.evolve(TABLE, mine)
    encoded = encode(tmp_path / "staging", fields=mine.fields)
    if catalog.fields(TABLE) is not None and "iceberg" in type(catalog).__name__.lower():
        with pytest.raises(FieldIdMismatchError, match="tag_a"):
            load(catalog, encoded)
    else:
        # A Hive-style table finds columns by name.
        assert load(catalog, encoded).rows == 2


@everywhere
def test_two_stale_loads_of_one_period_never_double(catalog: TableCatalog, staging: str) -> None:
    both_looked = threading.Barrier(2, timeout=PATIENCE_SECONDS)
    waited = threading.local()

    def meet() -> None:
        if not getattr(waited, "once", False):
            waited.once = True
            both_looked.wait()

    deliveries = [encode(staging, rows=(n, n), version=f"v{n}") for n in (2, 3)]
    with ThreadPoolExecutor(2) as threads:
        commits = list(threads.map(lambda one: load(catalog, one, verify=meet), deliveries))
    assert count(catalog.files(TABLE, MARCH)) in (4, 6)
    assert len(versions(catalog.files(TABLE, MARCH))) == 1
    assert sorted(c.replaced_rows for c in commits) in ([0, 4], [0, 6])


def test_eight_threads_over_several_periods_all_succeed(
    catalog: TableCatalog, tmp_path: Path
) -> None:
    keys = [PeriodKey("cur", f"2025-{month:02d}") for month in range(1, 5)]

    def load_two(worker: int) -> None:
        for turn in range(2):
            key = keys[(worker + turn) % len(keys)]
            load(
                catalog,
                encode(tmp_path / f"s{worker}", key, (2, 1), version=f"{worker}-{turn}"),
                key,
            )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(load_two, range(8)))
    for key in keys:
        assert count(catalog.files(TABLE, key)) == 3
        assert len(versions(catalog.files(TABLE, key))) == 1


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_threads_that_create_and_evolve_one_table_at_once_all_succeed(
    tmp_path: Path, kind: str
) -> None:
    catalogs = [MAKERS[kind](tmp_path) for _ in range(4)]

    def add_a_tag(number: int) -> None:
        columns = (*COLUMNS, Column(f"tag_{number}", STRING))
        catalogs[number].evolve(TABLE, plan(FIELDS, columns))

    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(lambda one: one.create(TABLE, FIELDS), catalogs))
        list(threads.map(add_a_tag, range(4)))
    assert created.count(True) == 1
    after = catalogs[0].fields(TABLE)
    assert after is not None
    assert [f.field_id for f in after] == list(range(1, 11))
    assert {f.name for f in after[6:]} == {f"tag_{n}" for n in range(4)}


def _follow(kind: str, home: Path, last: str) -> None:
    """Load whatever delivery is stored until the last one is loaded, as a sensor's runs would."""
    catalog = MAKERS[kind](home)
    catalog.create(TABLE, FIELDS)
    stored = home / "stored"
    loaded = ""
    while loaded != last:
        version = stored.read_text()

        def verify(version: str = version) -> None:
            if stored.read_text() != version:
                changed()

        try:
            load(
                catalog,
                encode(home / uuid.uuid4().hex, rows=(int(version), 1), version=version),
                verify=verify,
            )
        except DeliveryChangedError:
            continue
        loaded = version


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_processes_that_follow_the_same_deliveries_end_with_the_last_one_exactly_once(
    tmp_path: Path, kind: str
) -> None:
    stored, following = tmp_path / "stored", tmp_path / "following"
    stored.write_text("1")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_follow, args=(kind, tmp_path, "4")) for _ in range(2)]
    for process in processes:
        process.start()
    catalog = MAKERS[kind](tmp_path)
    try:
        for version in range(2, 5):
            _wait_for_rows(catalog, processes)
            following.write_text(str(version))
            following.replace(stored)
    finally:
        for process in processes:
            process.join(PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0, 0]
    assert count(catalog.files(TABLE, MARCH)) == 5
    assert versions(catalog.files(TABLE, MARCH)) == {"4"}


def _wait_for_rows(
    catalog: TableCatalog, processes: list[multiprocessing.context.SpawnProcess]
) -> None:
    waited = threading.Event()
    while any(process.is_alive() for process in processes):
        if catalog.fields(TABLE) is not None and catalog.periods(TABLE, "cur"):
            break
        waited.wait(0.05)
    waited.wait(random.uniform(0.0, 0.1))


@pytest.fixture(scope="module", params=sorted(MAKERS))
def long_lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TableCatalog, Path]:
    home = tmp_path_factory.mktemp(request.param)
    return MAKERS[request.param](home), home


@settings(max_examples=8)
@given(
    loads=st.lists(
        st.tuples(
            st.sampled_from([MARCH, APRIL, PeriodKey("other", "2025-03")]),
            st.lists(st.integers(0, 3), max_size=3),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_after_any_loads_the_table_equals_the_last_good_load_of_each_period(
    long_lived: tuple[TableCatalog, Path],
    loads: list[tuple[PeriodKey, list[int], bool]],
) -> None:
    catalog, home = long_lived
    if TABLE in catalog.tables():
        catalog.drop(TABLE)
    catalog.create(TABLE, FIELDS)
    expected: dict[PeriodKey, tuple[int, str]] = {}
    for number, (key, rows, good) in enumerate(loads):
        encoded = encode(home / "staging", key, rows, version=f"v{number}")
        if not good:
            before = data_below(home / "warehouse")
            with pytest.raises(DeliveryChangedError):
                load(catalog, encoded, key, verify=changed)
            assert data_below(home / "warehouse") == before
            continue
        commit = load(catalog, encoded, key)
        held = expected.get(key)
        assert (commit.replaced_rows, commit.replaced_version) == (held or (0, None))
        expected[key] = (sum(rows), f"v{number}")
    for key, (rows_held, version) in expected.items():
        source = catalog.files(TABLE, key)
        assert count(source) == rows_held
        assert versions(source) <= {version}
    for export in ("cur", "other"):
        held_periods = {k.period for k, (n, _) in expected.items() if k.export == export and n}
        assert set(catalog.periods(TABLE, export)) == held_periods
