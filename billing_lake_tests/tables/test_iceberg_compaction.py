"""Compaction of Iceberg tables: readers find the same rows in fewer files, and no load is lost."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from billing_lake.domain.errors import LoadError, TableError
from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.sources import Source
from billing_lake.domain.types import STRING
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.tables import iceberg_compaction
from billing_lake.tables.base import CleanUp, KeptHistory
from billing_lake.tables.iceberg import IcebergTables
from billing_lake.tables.iceberg_compaction import FEWEST_FILES, Compacted, compact
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MARCH,
    TABLE,
    count,
    data_below,
    encode,
    load,
)
from billing_lake_tests.tables.test_iceberg_history import NOW


def rows(tables: IcebergTables) -> list[dict[str, object]]:
    """Every cell of the table, in an order that does not depend on its files."""
    return sorted(tables.open(TABLE).scan().to_arrow().to_pylist(), key=str)


def same(before: Source, after: Source) -> None:
    reader = PolarsEngine()
    assert reader.content(before, before.columns) == reader.content(after, after.columns)


def compacted(tables: IcebergTables, *, dry_run: bool = False) -> list[Compacted]:
    return list(compact(tables.open(TABLE), same, dry_run=dry_run))


@pytest.fixture
def many(iceberg_tables: IcebergTables, tmp_path: Path) -> IcebergTables:
    """A table whose March consists of many small files, half of them from before it had another column."""
    half = FEWEST_FILES // 2
    load(iceberg_tables, encode(tmp_path / "staging", APRIL, (4, 5)), APRIL)
    load(iceberg_tables, encode(tmp_path / "staging", rows=range(1, half + 1)))
    new = plan(FIELDS, (*COLUMNS, Column("tag", STRING)))
    iceberg_tables.evolve(TABLE, new)
    later = encode(tmp_path / "staging", rows=(2,) * half, fields=new.fields, version="v2", tag="x")
    iceberg_tables.replace_period(
        TABLE, MARCH, later, properties={}, verify=lambda: None, keeps=True
    )
    return iceberg_tables


def test_many_small_files_become_one_and_every_cell_stays(
    many: IcebergTables, tmp_path: Path
) -> None:
    before, held = rows(many), many.held(TABLE, "cur")
    files = data_below(tmp_path / "warehouse")
    wanted = [Compacted(key=MARCH, files=FEWEST_FILES, fewer=1)]
    assert compacted(many, dry_run=True) == wanted
    assert data_below(tmp_path / "warehouse") == files

    snapshots = len(many.open(TABLE).metadata.snapshots)
    assert compacted(many) == wanted
    assert rows(many) == before
    assert many.held(TABLE, "cur") == held
    assert [len(many.files(TABLE, key).files) for key in (MARCH, APRIL)] == [1, 2]
    assert len(many.open(TABLE).metadata.snapshots) == snapshots + 1
    assert compacted(many) == []


def test_what_is_added_row_by_row_after_a_compaction_is_compacted_with_what_is_there(
    many: IcebergTables, tmp_path: Path
) -> None:
    assert len(compacted(many)) == 1
    # pyiceberg writes the types of Arrow into its files, long strings among them; a compacted file has none.
    table = many.open(TABLE)
    row = table.scan(limit=1).to_arrow().take([0])
    for _ in range(FEWEST_FILES - 1):
        table.append(
            row.cast(
                pa.schema(
                    [
                        field.with_type(pa.large_string())
                        if pa.types.is_string(field.type)
                        else field
                        for field in row.schema
                    ]
                )
            )
        )
    before = rows(many)
    assert [one.fewer for one in compacted(many)] == [1]
    assert rows(many) == before


def test_a_few_files_stay_as_they_are(iceberg_tables: IcebergTables, tmp_path: Path) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(1,) * (FEWEST_FILES - 1)))
    assert compacted(iceberg_tables) == []


def test_a_load_that_replaces_the_period_meanwhile_stays_and_one_of_another_period_too(
    many: IcebergTables, tmp_path: Path
) -> None:
    def overtaken(before: Source, after: Source) -> None:
        same(before, after)
        load(many, encode(tmp_path / "staging", MARCH, (9,), version="v3"))

    assert list(compact(many.open(TABLE), overtaken, dry_run=False)) == []
    assert count(many.files(TABLE, MARCH)) == 9
    known = {one.uri for key in (MARCH, APRIL) for one in many.files(TABLE, key).files}
    old = many.open(TABLE).inspect.all_files()["file_path"].to_pylist()
    assert {str(path) for path in data_below(tmp_path / "warehouse")} == known | {
        uri.removeprefix("file://") for uri in old
    }


def test_a_load_of_another_period_meanwhile_and_the_compaction_both_stay(
    many: IcebergTables, tmp_path: Path
) -> None:
    def beside(before: Source, after: Source) -> None:
        same(before, after)
        load(many, encode(tmp_path / "staging", APRIL, (7,)), APRIL)

    assert len(list(compact(many.open(TABLE), beside, dry_run=False))) == 1
    assert len(many.files(TABLE, MARCH).files) == 1
    assert count(many.files(TABLE, APRIL)) == 7


@pytest.mark.parametrize("how", ["a row is lost", "the proof fails"])
def test_a_compaction_that_would_change_rows_changes_nothing(
    many: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before, files = rows(many), data_below(tmp_path / "warehouse")

    def differs(_: Source, __: Source) -> None:
        raise TableError("other rows")

    if how == "a row is lost":
        batches = iceberg_compaction._batches

        def fewer(*arguments: object) -> list[pa.RecordBatch]:
            return list(batches(*arguments))[1:]  # type: ignore[arg-type]

        monkeypatch.setattr(iceberg_compaction, "_batches", fewer)
    proof = same if how == "a row is lost" else differs
    with pytest.raises(LoadError if how == "a row is lost" else TableError):
        list(compact(many.open(TABLE), proof, dry_run=False))
    assert rows(many) == before
    assert data_below(tmp_path / "warehouse") == files


def test_after_a_compaction_the_last_load_is_still_the_one_whose_history_is_kept(
    many: IcebergTables, tmp_path: Path
) -> None:
    loaded = many.open(TABLE).current_snapshot()
    assert loaded is not None
    compacted(many)
    many.remove_orphans(TABLE, CleanUp(older_than=NOW, kept=KeptHistory(days=0, loads=1)))
    table = many.open(TABLE)
    kept = {one.snapshot_id for one in table.metadata.snapshots}
    april = table.scan(
        snapshot_id=min(table.metadata.snapshots, key=lambda s: s.timestamp_ms).snapshot_id
    )
    assert april.to_arrow().num_rows == 9
    assert len(kept) == 3, "the load of April, the last one of March, and the compaction"


def test_many_manifests_become_few_and_loads_go_on(
    iceberg_tables: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iceberg_compaction, "FEWEST_MANIFESTS", 4)
    from billing_lake.domain.sources import PeriodKey

    keys = [PeriodKey("cur", f"2025-0{month}") for month in range(1, 5)]
    for number, key in enumerate(keys, start=1):
        load(iceberg_tables, encode(tmp_path / "staging", key, (number,)), key)
    before = rows(iceberg_tables)
    assert compacted(iceberg_tables, dry_run=True) == [Compacted(key=None, files=4, fewer=1)]
    with monkeypatch.context() as patched:
        # Room for two of them, which is fewer than there have to be to begin with.
        patched.setattr(iceberg_compaction, "_MANIFEST_BYTES", 12_000)
        assert compacted(iceberg_tables) == [Compacted(key=None, files=4, fewer=2)]
    assert rows(iceberg_tables) == before
    for number, key in enumerate(keys[1:], start=2):
        load(iceberg_tables, encode(tmp_path / "staging", key, (number,)), key)
    assert compacted(iceberg_tables) == [Compacted(key=None, files=5, fewer=1)]
    assert rows(iceberg_tables) == before
    properties = iceberg_tables.open(TABLE).properties
    assert properties["commit.manifest.min-count-to-merge"] == "4", "what other writers go by"
    load(iceberg_tables, encode(tmp_path / "staging", keys[1], (8,), version="v2"), keys[1])
    assert [count(iceberg_tables.files(TABLE, key)) for key in keys] == [1, 8, 3, 4]
