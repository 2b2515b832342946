"""The history of Iceberg tables: what maintenance keeps, what it removes, and what it never touches."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.sources import PeriodKey
from billing_lake.tables.base import CleanUp, KeptHistory
from billing_lake.tables.iceberg import IcebergTables
from billing_lake.tables.iceberg_history import (
    BOUNDED_METADATA,
    expire_snapshots,
    expired_snapshots,
)
from billing_lake_tests.tables.making import (
    APRIL,
    FIELDS,
    MARCH,
    TABLE,
    count,
    data_below,
    encode,
    iceberg,
    load,
)

NOW = timedelta(seconds=-2)
"""An age that every file has."""

ALL_BUT_THE_LAST = CleanUp(older_than=NOW, kept=KeptHistory(days=0, loads=1))


def rows(tables: IcebergTables, key: PeriodKey) -> int:
    return count(tables.files(TABLE, key))


def snapshots(tables: IcebergTables) -> list[int]:
    return [one.snapshot_id for one in tables.open(TABLE).metadata.snapshots]


def test_old_loads_go_with_their_files_and_the_last_of_each_month_stays(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    march = load(iceberg_tables, encode(tmp_path / "staging", MARCH), MARCH)
    april = [
        load(iceberg_tables, encode(tmp_path / "staging", APRIL, version=version), APRIL)
        for version in ("v1", "v2", "v3")
    ]
    held = iceberg_tables.held(TABLE, "cur")
    files = data_below(tmp_path / "warehouse")

    listed = iceberg_tables.remove_orphans(TABLE, replace(ALL_BUT_THE_LAST, dry_run=True))
    assert data_below(tmp_path / "warehouse") == files
    assert len(snapshots(iceberg_tables)) == 4

    removed = iceberg_tables.remove_orphans(TABLE, ALL_BUT_THE_LAST)
    assert set(removed) >= set(listed), "more, since forgetting the snapshots wrote metadata anew"
    assert snapshots(iceberg_tables) == [march.snapshot_id, april[-1].snapshot_id]
    assert len(data_below(tmp_path / "warehouse")) == 2
    assert not [uri for uri in removed if Path(uri).exists()]
    assert (rows(iceberg_tables, MARCH), rows(iceberg_tables, APRIL)) == (2, 2)
    assert iceberg_tables.held(TABLE, "cur") == held
    assert iceberg_tables.remove_orphans(TABLE, ALL_BUT_THE_LAST) == ()


def test_a_load_refers_to_no_manifest_without_files(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    for number in range(6):
        key = (MARCH, APRIL)[number % 2]
        load(iceberg_tables, encode(tmp_path / "staging", key, version=f"v{number}"), key)
    table = iceberg_tables.open(TABLE)
    now = table.current_snapshot()
    assert now is not None
    live = [one for one in now.manifests(table.io) if one.added_snapshot_id != now.snapshot_id]
    assert len(live) == 1, (
        "the other month's; the loads before left one each that listed only what they deleted"
    )
    assert (rows(iceberg_tables, MARCH), rows(iceberg_tables, APRIL)) == (2, 2)


def test_a_state_that_was_current_lately_stays_however_old_its_load_is(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging"))
    load(iceberg_tables, encode(tmp_path / "staging", version="v2"))
    metadata = iceberg_tables.open(TABLE).metadata
    first, last = metadata.snapshot_log
    long_before = first.model_copy(update={"timestamp_ms": 0})
    old = metadata.snapshots[0].model_copy(update={"timestamp_ms": 0})
    aged = metadata.model_copy(
        update={"snapshot_log": [long_before, last], "snapshots": [old, metadata.snapshots[1]]}
    )
    replaced = datetime.fromtimestamp(last.timestamp_ms / 1000, timezone.utc)
    a_week = KeptHistory(days=7, loads=1)
    assert expired_snapshots(aged, a_week, replaced + timedelta(days=6)) == ()
    assert expired_snapshots(aged, a_week, replaced + timedelta(days=8)) == (old.snapshot_id,)


def test_what_a_tag_names_can_be_read_years_later(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    closed = load(iceberg_tables, encode(tmp_path / "staging", rows=(5,)))
    assert closed.snapshot_id is not None
    iceberg_tables.open(TABLE).manage_snapshots().create_tag(
        closed.snapshot_id, "closed-2025-03"
    ).commit()
    for version in ("v2", "v3"):
        load(iceberg_tables, encode(tmp_path / "staging", version=version))
    iceberg_tables.remove_orphans(TABLE, ALL_BUT_THE_LAST)
    table = iceberg_tables.open(TABLE)
    assert len(table.metadata.snapshots) == 2
    tagged = table.snapshot_by_name("closed-2025-03")
    assert tagged is not None
    assert table.scan(snapshot_id=tagged.snapshot_id).to_arrow().num_rows == 5


def test_a_load_that_was_rolled_back_is_not_held_after_its_history_is_gone(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    for version in ("v1", "v2"):
        load(iceberg_tables, encode(tmp_path / "staging", APRIL, version=version), APRIL)
    first = load(iceberg_tables, encode(tmp_path / "staging"))
    load(iceberg_tables, encode(tmp_path / "staging", version="v2"))
    assert first.snapshot_id is not None
    iceberg_tables.open(TABLE).manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    before = iceberg_tables.held(TABLE, "cur")
    assert set(before) == {APRIL.period}
    iceberg_tables.remove_orphans(TABLE, CleanUp(older_than=NOW, kept=KeptHistory(days=1, loads=1)))
    assert iceberg_tables.held(TABLE, "cur") == before


def test_tables_of_earlier_versions_get_a_bound_for_their_metadata_files(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging"))
    (name,) = BOUNDED_METADATA
    with iceberg_tables.open(TABLE).transaction() as transaction:
        transaction.remove_properties(name)
    iceberg_tables.remove_orphans(TABLE, ALL_BUT_THE_LAST)
    assert BOUNDED_METADATA.items() <= iceberg_tables.open(TABLE).properties.items()


def test_loads_beside_maintenance_lose_nothing_and_are_lost_by_nothing(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    failures: list[BaseException] = []
    ended = threading.Event()

    def maintain() -> None:
        other = iceberg(tmp_path)
        try:
            while not ended.is_set():
                # A day, as the job asks for: files of a load at work are younger than that.
                other.remove_orphans(TABLE, CleanUp(kept=KeptHistory(days=0, loads=1)))
        except BaseException as error:  # noqa: BLE001 -- told to the test
            failures.append(error)

    beside = threading.Thread(target=maintain)
    beside.start()
    try:
        for number in range(12):
            key = (MARCH, APRIL)[number % 2]
            load(iceberg_tables, encode(tmp_path / "staging", key, version=f"v{number}"), key)
            assert rows(iceberg_tables, key) == 2
    finally:
        ended.set()
        beside.join()
    assert failures == []
    iceberg_tables.remove_orphans(TABLE, ALL_BUT_THE_LAST)
    assert (rows(iceberg_tables, MARCH), rows(iceberg_tables, APRIL)) == (2, 2)
    assert len(snapshots(iceberg_tables)) == 2


@settings(max_examples=15, deadline=None)
@given(
    loads=st.lists(st.integers(1, 3), min_size=1, max_size=8),
    number=st.integers(1, 3),
    expiries=st.sets(st.integers(0, 8)),
)
def test_whenever_history_is_removed_the_last_loads_of_each_month_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, loads: list[int], number: int, expiries: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    tables = iceberg(folder)
    tables.create(TABLE, FIELDS)
    made: dict[str, list[int | None]] = {}
    for position, month in enumerate(loads):
        key = PeriodKey("cur", f"2025-0{month}")
        encoded = encode(folder / "staging", key, version=f"v{position}", rows=(position + 1,))
        commit = load(tables, encoded, key)
        made.setdefault(key.period, []).append(commit.snapshot_id)
        if position in expiries:
            table = tables.open(TABLE)
            kept = KeptHistory(days=0, loads=number)
            later = datetime.now(timezone.utc) + timedelta(seconds=1)
            expire_snapshots(table, expired_snapshots(table.metadata, kept, later))
    left = set(snapshots(tables))
    for ids in made.values():
        assert set(ids[-number:]) <= left
    assert set(tables.held(TABLE, "cur")) == set(made)
    last = {f"2025-0{month}": position + 1 for position, month in enumerate(loads)}
    assert {p: rows(tables, PeriodKey("cur", p)) for p in last} == last
