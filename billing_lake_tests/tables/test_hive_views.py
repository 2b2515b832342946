"""The folder of a Hive-style table, for readers who glob it and ask no catalog: each period once, at any moment."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from billing_lake.domain.errors import StorageWriteError
from billing_lake.tables.hive import HiveTables
from billing_lake.tables.hive_views import Views
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.tables.making import (
    APRIL,
    FIELDS,
    MARCH,
    OTHER_MARCH,
    TABLE,
    changed,
    count,
    encode,
    hive,
    load,
)

Rows = dict[str, int]


def by_duckdb(pattern: str, *, hive_partitioning: bool = True) -> Callable[[str], Rows]:
    def read(folder: str) -> Rows:
        sql = (
            "SELECT billing_period, count(*) FROM read_parquet(?, hive_partitioning = ?) GROUP BY 1"
        )
        with duckdb.connect() as connection:
            parameters = [f"{folder}/{pattern}", hive_partitioning]
            return dict(connection.execute(sql, parameters).fetchall())

    return read


def by_polars(pattern: str) -> Callable[[str], Rows]:
    def read(folder: str) -> Rows:
        rows = pl.scan_parquet(f"{folder}{pattern}").group_by("billing_period").len().collect()
        return dict(rows.iter_rows())

    return read


def by_arrow(folder: str) -> Rows:
    """Read as pandas does where it is told that the columns are in the files."""
    periods = ds.dataset(folder).to_table(columns=["billing_period"])[0].to_pylist()
    return {period: periods.count(period) for period in set(periods)}


READERS: Mapping[str, Callable[[str], Rows]] = {
    "duckdb, levels": by_duckdb("*/*/*.parquet"),
    "duckdb, any depth": by_duckdb("**/*.parquet"),
    "duckdb, no partitions": by_duckdb("**/*.parquet", hive_partitioning=False),
    "polars, folder": by_polars(""),
    "polars, levels": by_polars("/*/*/*.parquet"),
    "polars, any depth": by_polars("/**/*.parquet"),
    "pyarrow": by_arrow,
}


def found(tables: HiveTables) -> Rows:
    """What all readers find, who agree."""
    answers = [read(tables.uri(TABLE)) for read in READERS.values()]
    assert answers == [answers[0]] * len(READERS)
    return answers[0]


def test_every_reader_of_the_folder_finds_each_month_once_however_often_it_was_loaded(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    for number in (2, 3, 4):
        load(hive_tables, encode(tmp_path / "staging", rows=(number, 1), version=f"v{number}"))
        load(hive_tables, encode(tmp_path / "staging", APRIL, (number,)), APRIL)
    assert found(hive_tables) == {"2025-03": 5, "2025-04": 4}
    load(hive_tables, encode(tmp_path / "staging", OTHER_MARCH, (10,)), OTHER_MARCH)
    assert found(hive_tables) == {"2025-03": 15, "2025-04": 4}
    load(hive_tables, encode(tmp_path / "staging", rows=(0,)))
    assert found(hive_tables) == {"2025-03": 10, "2025-04": 4}


def test_spark_reads_the_folder(hive_tables: HiveTables, tmp_path: Path, spark: Any) -> None:
    for number in (2, 3):
        load(hive_tables, encode(tmp_path / "staging", rows=(number,), version=f"v{number}"))
    rows = spark.read.parquet(hive_tables.uri(TABLE))
    assert rows.where("export_name = 'cur'").count() == 3


def test_what_an_engine_writes_is_not_seen_before_it_is_committed(hive_tables: HiveTables) -> None:
    def written(rows: int) -> Any:
        return encode(Path(hive_tables.new_location(TABLE, MARCH)), rows=(rows,))

    load(hive_tables, written(2))
    seen: list[Rows] = []
    new = written(7)
    load(hive_tables, new, verify=lambda: seen.append(found(hive_tables)))
    assert seen == [{"2025-03": 2}]
    assert found(hive_tables) == {"2025-03": 7}
    with pytest.raises(Exception, match="changed"):
        load(hive_tables, written(9), verify=changed)
    assert found(hive_tables) == {"2025-03": 7}


@pytest.mark.parametrize("reader", ["duckdb, levels", "polars, folder"])
def test_a_reader_beside_loads_finds_one_delivery_whole_or_is_told_that_it_is_gone(
    hive_tables: HiveTables, tmp_path: Path, reader: str
) -> None:
    staged = [encode(tmp_path / "staging", rows=(rows, 1)) for rows in (2, 30, 400)]
    load(hive_tables, staged[0])
    load(hive_tables, encode(tmp_path / "staging", APRIL, (5,)), APRIL)
    begun, loaded = threading.Event(), threading.Event()

    def load_often() -> None:
        try:
            for turn in range(60):
                # Two loads within one look would remove what it has listed: one generation is kept, not two.
                begun.clear()
                assert begun.wait(PATIENCE_SECONDS)
                load(hive(tmp_path), staged[turn % 3])
        finally:
            loaded.set()

    thread = threading.Thread(target=load_often)
    thread.start()
    looks, gone = list[Rows](), list[str]()
    while not (loaded.is_set() and looks):
        begun.set()
        try:
            looks.append(READERS[reader](hive_tables.uri(TABLE)))
        except (duckdb.IOException, FileNotFoundError, pl.exceptions.ComputeError) as error:
            gone.append(str(error))
    thread.join()
    assert {look["2025-03"] for look in looks} <= {3, 31, 401}
    assert {look["2025-04"] for look in looks} == {5}
    # What was listed before a load and opened behind it.
    assert all("No such file" in told for told in gone)


@pytest.mark.parametrize("look", ["files", "load", "orphans"])
def test_a_load_that_dies_behind_its_commit_leaves_the_old_month_to_readers_until_the_next_look(
    hive_tables: HiveTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    load(hive_tables, encode(tmp_path / "staging", rows=(2,)))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Views, "show", die)
        with pytest.raises(KeyboardInterrupt):
            load(hive_tables, encode(tmp_path / "staging", rows=(7,), version="v2"))
    assert found(hive_tables) == {"2025-03": 2}
    again = hive(tmp_path)
    if look == "files":
        assert count(again.files(TABLE, MARCH)) == 7
    elif look == "load":
        load(again, encode(tmp_path / "staging", APRIL), APRIL)
    else:
        assert again.remove_orphans(TABLE) == ()
    assert found(hive_tables)["2025-03"] == 7


@pytest.mark.parametrize("step", ["symlink_to", "replace"])
def test_a_switch_that_breaks_off_at_any_step_is_finished_by_the_next_look(
    hive_tables: HiveTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    load(hive_tables, encode(tmp_path / "staging", rows=(2,)))
    restatement = encode(tmp_path / "staging", rows=(7,), version="v2")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, die)
        with pytest.raises(KeyboardInterrupt):
            load(hive_tables, restatement)
    assert found(hive_tables) == {"2025-03": 2}
    hive(tmp_path).files(TABLE, MARCH)
    assert found(hive_tables) == {"2025-03": 7}
    views = Path(hive_tables.uri(TABLE)).resolve().parent
    assert len(list(views.iterdir())) <= 2


def test_two_loads_of_one_month_leave_readers_what_the_catalog_says(
    hive_tables: HiveTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken = list[bool]()

    def overtake(self: HiveTables, table: str) -> None:
        if not overtaken:
            overtaken.append(True)
            load(hive(tmp_path), encode(tmp_path / "staging", rows=(9,), version="v3"))
        original(self, table)

    original = HiveTables._show
    load(hive_tables, encode(tmp_path / "staging", rows=(2,)))
    monkeypatch.setattr(HiveTables, "_show", overtake)
    load(hive_tables, encode(tmp_path / "staging", rows=(7,), version="v2"))
    assert count(hive_tables.files(TABLE, MARCH)) == 9
    assert found(hive_tables) == {"2025-03": 9}


def as_before(tables: HiveTables) -> None:
    """Move the generations to where they were, in the folder of the table."""
    folder = Path(tables.uri(TABLE))
    generations = folder.resolve().parent.parent
    folder.unlink()
    shutil.rmtree(generations / "_views")
    generations.rename(folder)


def test_a_file_system_without_hard_links_shows_the_same(
    hive_tables: HiveTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)
    for number in (2, 3):
        load(hive_tables, encode(tmp_path / "staging", rows=(number,), version=f"v{number}"))
    assert found(hive_tables) == {"2025-03": 3}


def test_a_dropped_table_leaves_no_folder(hive_tables: HiveTables, tmp_path: Path) -> None:
    load(hive_tables, encode(tmp_path / "staging"))
    hive_tables.drop(TABLE)
    assert list((tmp_path / "warehouse").rglob("*.parquet")) == []
    assert hive_tables.create(TABLE, FIELDS)
    load(hive_tables, encode(tmp_path / "staging", rows=(4,)))
    assert found(hive_tables) == {"2025-03": 4}


@pytest.mark.parametrize("links", [True, False], ids=["links copied", "links followed"])
def test_a_lake_that_is_copied_shows_its_own_files(
    hive_tables: HiveTables, tmp_path: Path, *, links: bool
) -> None:
    load(hive_tables, encode(tmp_path / "staging"))
    shutil.copytree(tmp_path / "warehouse", tmp_path / "copy" / "warehouse", symlinks=links)
    shutil.copytree(tmp_path / "catalog", tmp_path / "copy" / "catalog")
    shutil.rmtree(tmp_path / "warehouse")
    copy = hive(tmp_path / "copy")
    assert found(copy) == {"2025-03": 2}
    for file in copy.files(TABLE, MARCH).files:
        assert pq.read_metadata(file.uri).num_rows == 2
    load(copy, encode(tmp_path / "staging", rows=(4,), version="v2"))
    assert found(copy) == {"2025-03": 4}
    copy.drop(TABLE)
    assert list((tmp_path / "copy" / "warehouse").rglob("*.parquet")) == []


def test_a_folder_that_is_no_link_is_left_alone_where_the_catalogs_files_are_not_there(
    hive_tables: HiveTables, tmp_path: Path
) -> None:
    load(hive_tables, encode(tmp_path / "staging"))
    folder = Path(hive_tables.uri(TABLE))
    generations = folder.resolve().parents[1]
    shutil.copytree(folder, tmp_path / "copied")
    folder.unlink()
    (tmp_path / "copied").rename(folder)
    shutil.rmtree(generations)
    with pytest.raises(StorageWriteError, match="no link to files of the table"):
        load(hive_tables, encode(tmp_path / "staging", APRIL, rows=(4,)), APRIL)
    assert found(hive_tables) == {"2025-03": 2}
