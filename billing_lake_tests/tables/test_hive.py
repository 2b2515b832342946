"""Hive-style tables: generations on disk, and readers that looked before a switch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.errors import CommitConflictError, DeliveryChangedError
from billing_lake.domain.sources import Encoded
from billing_lake.tables.hive import HiveTables
from billing_lake_tests.tables.making import (
    APRIL,
    FIELDS,
    MARCH,
    OTHER_MARCH,
    TABLE,
    changed,
    count,
    data_below,
    encode,
    hive,
    load,
    versions,
)


def encode_in_place(
    tables: HiveTables, version: str = "v1", rows: tuple[int, ...] = (2,)
) -> Encoded:
    return encode(Path(tables.new_location(TABLE, MARCH)), version=version, rows=rows)


def generations(tables: HiveTables) -> set[str]:
    folder = Path(tables.new_location(TABLE, MARCH))
    folder.rmdir()
    return {one.name for one in folder.parent.iterdir()}


def test_files_written_into_a_new_location_are_taken_over_where_they_lie(
    hive_tables: HiveTables,
) -> None:
    encoded = encode_in_place(hive_tables)
    load(hive_tables, encoded)
    (file,) = hive_tables.files(TABLE, MARCH).files
    assert file.uri == encoded.files[0].uri
    assert hive_tables.paths(TABLE) == (file.uri,)


def test_two_exports_of_one_table_have_a_location_each_for_the_same_month(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    for key in (MARCH, OTHER_MARCH):
        load(hive_tables, encode(tmp_path / key.export), key)
    found = [hive_tables.files(TABLE, key).files[0].uri for key in (MARCH, OTHER_MARCH)]
    assert hive_tables.paths(TABLE) == tuple(sorted(found))


def test_files_of_several_folders_with_one_name_are_kept_apart(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    parts = [encode(tmp_path / name, rows=(n,)) for n, name in ((1, "a"), (2, "b"))]
    files = []
    for part in parts:
        path = Path(part.files[0].uri)
        files.append((part.files[0], path.rename(path.parent / "part.parquet")))
    encoded = replace(parts[0], files=tuple(replace(file, uri=str(path)) for file, path in files))
    load(hive_tables, encoded)
    assert count(hive_tables.files(TABLE, MARCH)) == 3


def test_a_reader_that_looked_before_a_switch_reads_the_old_month_and_a_later_one_the_new(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    load(hive_tables, encode(tmp_path / "staging", rows=(3,)))
    before = hive_tables.files(TABLE, MARCH)
    load(hive_tables, encode(tmp_path / "staging", rows=(1,), version="v2"))
    after = hive_tables.files(TABLE, MARCH)
    assert (count(before), versions(before)) == (3, {"v1"})
    assert (count(after), versions(after)) == (1, {"v2"})


def test_at_most_the_current_and_the_previous_generation_are_on_disk(
    hive_tables: HiveTables,
) -> None:
    made = []
    for version in ("v1", "v2", "v3", "v4"):
        encoded = encode_in_place(hive_tables, version)
        made.append(Path(encoded.files[0].uri).parent.name)
        load(hive_tables, encoded)
        assert generations(hive_tables) == set(made[-2:])


def test_loading_the_current_or_the_previous_generation_again_keeps_both(
    hive_tables: HiveTables,
) -> None:
    first = encode_in_place(hive_tables, "v1", rows=(1,))
    second = encode_in_place(hive_tables, "v2", rows=(2,))
    load(hive_tables, first)
    load(hive_tables, second)
    both = generations(hive_tables)
    load(hive_tables, second)
    assert (generations(hive_tables), count(hive_tables.files(TABLE, MARCH))) == (both, 2)
    load(hive_tables, first)
    assert (generations(hive_tables), count(hive_tables.files(TABLE, MARCH))) == (both, 1)
    with pytest.raises(DeliveryChangedError):
        load(hive_tables, second, verify=changed)
    assert generations(hive_tables) == both


def test_a_failed_load_takes_its_generation_with_it(hive_tables: HiveTables) -> None:
    load(hive_tables, encode_in_place(hive_tables))
    kept = generations(hive_tables)
    with pytest.raises(DeliveryChangedError):
        load(hive_tables, encode_in_place(hive_tables, "v2"), verify=changed)
    assert generations(hive_tables) == kept


def test_an_interrupt_after_the_switch_leaves_the_new_generation(
    hive_tables: HiveTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = HiveTables._switch

    def switch_and_stop(*args: Any) -> None:
        switch(*args)
        raise KeyboardInterrupt

    encoded = encode_in_place(hive_tables)
    with monkeypatch.context() as patched:
        patched.setattr(HiveTables, "_switch", switch_and_stop)
        with pytest.raises(KeyboardInterrupt):
            load(hive_tables, encoded)
    assert count(hive_tables.files(TABLE, MARCH)) == 2


def test_only_generations_that_nothing_refers_to_can_be_abandoned(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    encoded = encode_in_place(hive_tables)
    load(hive_tables, encoded)
    hive_tables.abandon(TABLE, MARCH, str(Path(encoded.files[0].uri).parent))
    assert count(hive_tables.files(TABLE, MARCH)) == 2
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    hive_tables.abandon(TABLE, MARCH, str(foreign))
    assert foreign.exists()
    fresh = hive_tables.new_location(TABLE, MARCH)
    hive_tables.abandon(TABLE, MARCH, fresh)
    assert not Path(fresh).exists()


def test_generations_that_a_kill_left_behind_are_removed_when_they_are_old_enough(
    hive_tables: HiveTables,
) -> None:
    for version in ("v1", "v2"):
        load(hive_tables, encode_in_place(hive_tables, version))
    kept = generations(hive_tables)
    left = str(Path(encode_in_place(hive_tables, "v3").files[0].uri).parent)
    assert hive_tables.remove_orphans(TABLE) == ()
    assert hive_tables.remove_orphans(TABLE, timedelta(0)) == (left,)
    assert generations(hive_tables) == kept


def test_a_loader_that_always_comes_second_gives_up_and_leaves_nothing(
    tmp_path: Path, no_pauses: Callable[[str], None]
) -> None:
    tables = HiveTables(tmp_path / "warehouse", patience=0.0)
    tables.create(TABLE, FIELDS)
    no_pauses("billing_lake.tables.hive")

    def overtake() -> None:
        load(tables, encode(tmp_path / "staging", rows=(1,), version="other"))

    with pytest.raises(CommitConflictError, match="kept switching"):
        load(tables, encode(tmp_path / "staging", rows=(9,)), verify=overtake)
    assert count(tables.files(TABLE, MARCH)) == 1
    assert versions(tables.files(TABLE, MARCH)) == {"other"}


def test_a_lake_that_was_moved_still_finds_its_files(tmp_path: Path) -> None:
    tables = hive(tmp_path / "here")
    tables.create(TABLE, FIELDS)
    load(tables, encode(tmp_path / "staging"))
    (tmp_path / "here").rename(tmp_path / "there")
    moved = hive(tmp_path / "there")
    assert count(moved.files(TABLE, MARCH)) == 2
    assert data_below(tmp_path / "there")
    assert moved.files(TABLE, APRIL).files == ()
