"""Hive-style tables: generations on disk, and readers that looked before a switch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.errors import CommitConflictError
from billing_lake.domain.sources import Encoded
from billing_lake.tables.hive import HiveTables
from billing_lake_tests.tables.making import (
    APRIL,
    FIELDS,
    MARCH,
    OTHER_MARCH,
    TABLE,
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


def test_a_loader_that_always_comes_second_gives_up_and_leaves_nothing(
    tmp_path: Path, no_pauses: Callable[[str], None]
) -> None:
    tables = HiveTables(tmp_path / "warehouse", tmp_path / "hive.db", patience=0.0)
    tables.create(TABLE, FIELDS)
    no_pauses("billing_lake.aws.retry")

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
