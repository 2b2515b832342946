"""Iceberg tables: snapshots, outcomes in doubt, leftovers."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.types import ListType, StringType

from billing_lake.domain.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    LoadError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import INT, LONG, STRING, Map
from billing_lake.tables.base import CleanUp
from billing_lake.tables.iceberg import IcebergTables
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MARCH,
    TABLE,
    count,
    data_below,
    encode,
    iceberg,
    load,
)


def test_a_table_is_made_as_every_engine_can_read_it(iceberg_tables: IcebergTables) -> None:
    table = iceberg_tables.open(TABLE)
    assert table.metadata.format_version == 2
    assert [f.name for f in table.spec().fields] == ["export_name", "billing_period"]
    assert {str(f.transform) for f in table.spec().fields} == {"identity"}
    assert table.properties["write.parquet.compression-codec"] == "zstd"
    mapped = {(f.field_id, *f.names) for f in table.name_mapping() or ()}
    assert mapped == {(f.field_id, f.name) for f in FIELDS}
    assert iceberg_tables.uri(TABLE) == table.location().removeprefix("file://")


def test_a_table_needs_the_columns_by_which_it_is_partitioned(
    iceberg_tables: IcebergTables,
) -> None:
    with pytest.raises(TableError, match="partitioned"):
        iceberg_tables.create("billing.new", FIELDS[:2])


def test_each_load_is_one_snapshot_that_says_what_it_did(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    commits = [
        load(iceberg_tables, encode(tmp_path / "staging", rows=(3,), version="v1")),
        load(iceberg_tables, encode(tmp_path / "staging", rows=(1, 1), version="v2")),
        load(iceberg_tables, encode(tmp_path / "staging", rows=(), version="v3")),
    ]
    snapshots = iceberg_tables.open(TABLE).metadata.snapshots
    assert [s.snapshot_id for s in snapshots] == [c.snapshot_id for c in commits]
    summaries = [s.summary for s in snapshots if s.summary is not None]
    assert [s.operation.value for s in summaries] == ["append", "overwrite", "overwrite"]
    assert [s["billing-lake.delivery-version"] for s in summaries] == ["v1", "v2", "v3"]
    last = summaries[1]
    assert (last["billing-lake.export"], last["billing-lake.period"]) == ("cur", "2025-03")
    assert last["billing-lake.run-id"] == "run-1"
    assert re.fullmatch("[0-9a-f]{32}", str(last["billing-lake.commit"]))
    assert (last["added-records"], last["deleted-records"]) == ("2", "3")
    assert [s["total-records"] for s in summaries] == ["3", "2", "0"]


def test_time_travel_sees_the_month_as_it_was(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    first = load(iceberg_tables, encode(tmp_path / "staging", rows=(3,)))
    load(iceberg_tables, encode(tmp_path / "staging", rows=(1,), version="v2"))
    table = iceberg_tables.open(TABLE)
    then = table.scan(snapshot_id=first.snapshot_id).to_arrow()
    now = table.scan().to_arrow()
    assert set(then["delivery_version"].to_pylist()) == {"v1"}
    assert (then.num_rows, now.num_rows) == (3, 1)


def test_a_period_whose_load_was_rolled_back_is_not_said_to_hold_it(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    april = encode(tmp_path / "staging", APRIL)
    load(iceberg_tables, april, APRIL)
    first = load(iceberg_tables, encode(tmp_path / "staging"))
    load(iceberg_tables, encode(tmp_path / "staging", version="v2"))
    assert first.snapshot_id is not None
    iceberg_tables.open(TABLE).manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    assert iceberg_tables.held(TABLE, "cur") == {"2025-04": april.identity}


def test_what_a_period_holds_is_known_when_its_snapshot_has_expired(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    march, april = encode(tmp_path / "staging"), encode(tmp_path / "staging", APRIL)
    loaded = load(iceberg_tables, march)
    load(iceberg_tables, april, APRIL)
    iceberg_tables.open(TABLE).maintenance.expire_snapshots().by_id(loaded.snapshot_id).commit()
    assert len(iceberg_tables.open(TABLE).metadata.snapshots) == 1
    assert iceberg_tables.held(TABLE, "cur") == {
        "2025-03": march.identity,
        "2025-04": april.identity,
    }


def test_pyiceberg_reads_files_without_ids_beside_files_with_them_after_an_evolution(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", ids=False))
    change = plan(FIELDS, (*COLUMNS, Column("tag", STRING)))
    iceberg_tables.evolve(TABLE, change)
    load(iceberg_tables, encode(tmp_path / "staging", APRIL, fields=change.fields), APRIL)
    rows = iceberg_tables.open(TABLE).scan(selected_fields=("billing_period", "tag")).to_arrow()
    assert sorted(rows["billing_period"].to_pylist()) == ["2025-03"] * 2 + ["2025-04"] * 2
    assert rows["tag"].null_count == 4


def test_a_map_that_was_added_and_promoted_reads_back_beside_older_rows(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(1,)))
    for period, type_ in (("2025-04", INT), ("2025-05", LONG)):
        change = plan(iceberg_tables.fields(TABLE), (*COLUMNS, Column("tags", Map(STRING, type_))))
        iceberg_tables.evolve(TABLE, change)
        key = PeriodKey("cur", period)
        encoded = encode(
            tmp_path / "staging", key, (1,), fields=change.fields, tags={"a": 1, "b": None}
        )
        load(iceberg_tables, encoded, key)
    rows = iceberg_tables.open(TABLE).scan(selected_fields=("billing_period", "tags")).to_arrow()
    assert {row["billing_period"]: row["tags"] for row in rows.to_pylist()} == {
        "2025-03": None,
        "2025-04": [("a", 1), ("b", None)],
        "2025-05": [("a", 1), ("b", None)],
    }


def test_a_new_table_with_maps_has_the_ids_that_were_planned(iceberg_tables: IcebergTables) -> None:
    tags, nested = Column("tags", Map(STRING, STRING)), Map(STRING, Map(STRING, LONG))
    planned = plan(None, (tags, *COLUMNS, Column("nested", nested))).fields
    iceberg_tables.create("billing.maps", planned)
    assert iceberg_tables.fields("billing.maps") == planned


def test_a_column_of_a_type_that_the_lake_does_not_write_is_null_in_what_is_loaded(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    with iceberg_tables.open(TABLE).update_schema() as update:
        update.add_column("theirs", ListType(element_id=1, element=StringType()))
    have = iceberg_tables.fields(TABLE)
    change = plan(have, (*COLUMNS, Column("tag", STRING)))
    assert change.fields == (*FIELDS, Field("tag", STRING, 9))
    after = iceberg_tables.evolve(TABLE, change)
    assert [str(field.type) for field in after[-2:]] == ["list<string>", "string"]
    load(iceberg_tables, encode(tmp_path / "staging", fields=change.fields, tag="x"))
    assert iceberg_tables.files(TABLE, MARCH).type_of("theirs") is None
    rows = iceberg_tables.open(TABLE).scan(selected_fields=("theirs", "tag")).to_arrow()
    assert rows.to_pylist() == [{"theirs": None, "tag": "x"}] * 2


def test_files_are_linked_so_a_second_table_costs_no_bytes(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    encoded = encode(tmp_path / "staging")
    load(iceberg_tables, encoded)
    (placed,) = iceberg_tables.files(TABLE, MARCH).files
    assert Path(placed.uri).samefile(encoded.files[0].uri)
    assert Path(placed.uri).parent == Path(iceberg_tables.uri(TABLE), "data", "cur", "2025-03")


def test_files_of_another_period_are_never_committed(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match="2025-04"):
        load(iceberg_tables, encode(tmp_path / "staging", APRIL), MARCH)
    assert data_below(tmp_path / "warehouse") == set()


def test_a_table_that_took_the_name_under_a_load_gets_none_of_its_files(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    renewed: list[bool] = []

    def renew() -> None:
        if not renewed:
            renewed.append(True)
            iceberg_tables._catalog().rename_table(TABLE, "billing.before")
            iceberg_tables.create(TABLE, FIELDS)

    with pytest.raises(CommitConflictError, match="replaced by another"):
        load(iceberg_tables, encode(tmp_path / "staging"), verify=renew)
    assert iceberg_tables.periods(TABLE, "cur") == ()
    assert data_below(tmp_path / "warehouse") == set()


def after_the_commit(error: BaseException) -> Callable[..., Any]:
    commit = SqlCatalog.commit_table

    def commit_and_fail(self: SqlCatalog, *args: Any) -> Any:
        commit(self, *args)
        raise error

    return commit_and_fail


def test_a_commit_that_landed_and_was_reported_as_failed_is_recognised(
    iceberg_tables: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(3,)))
    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", after_the_commit(RuntimeError("lost")))
        commit = load(iceberg_tables, encode(tmp_path / "staging", rows=(1,), version="v2"))
    assert (commit.replaced_rows, commit.replaced_version) == (3, "v1")
    snapshot = iceberg_tables.open(TABLE).current_snapshot()
    assert snapshot is not None
    assert commit.snapshot_id == snapshot.snapshot_id
    assert count(iceberg_tables.files(TABLE, MARCH)) == 1


def test_an_interrupt_after_the_commit_removes_none_of_its_files(
    iceberg_tables: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", after_the_commit(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            load(iceberg_tables, encode(tmp_path / "staging", rows=(1,)))
    assert count(iceberg_tables.files(TABLE, MARCH)) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("lost"), RuntimeError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageWriteError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_commit_that_failed_leaves_the_table_and_its_data_files_untouched(
    iceberg_tables: IcebergTables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expected: type[BaseException],
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(3,)))
    before = data_below(tmp_path / "warehouse")

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", fail)
        with pytest.raises(expected):
            load(iceberg_tables, encode(tmp_path / "staging", rows=(1,)))
    assert data_below(tmp_path / "warehouse") == before
    assert count(iceberg_tables.files(TABLE, MARCH)) == 3


def test_a_remote_catalog_that_was_heard_of_last_keeps_the_files_it_may_still_commit(
    iceberg_tables: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any) -> None:
        raise RuntimeError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", lose)
        patched.setattr(IcebergTables, "_is_remote", True)
        patched.setattr("billing_lake.tables.iceberg_commits._PAUSES_SECONDS", (0.0,))
        with pytest.raises(CommitUnknownError, match=r"not known whether.*no answer"):
            load(iceberg_tables, encode(tmp_path / "staging"))
    (left,) = data_below(tmp_path / "warehouse")
    # The manifests that nothing refers to go with the file.
    assert str(left) in iceberg_tables.remove_orphans(TABLE, CleanUp(older_than=timedelta(0)))


def test_a_writer_that_never_wins_gives_up_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pauses: Callable[[str], None]
) -> None:
    impatient = IcebergTables(
        "lake",
        {
            "type": "sql",
            "uri": f"sqlite:///{tmp_path}/iceberg.db",
            "warehouse": f"file://{tmp_path}/warehouse",
        },
        patience=0.0,
    )
    impatient.create(TABLE, FIELDS)

    def moved(*_: Any) -> None:
        raise CommitFailedException("moved")

    monkeypatch.setattr(SqlCatalog, "commit_table", moved)
    no_pauses("billing_lake.aws.retry")
    with pytest.raises(CommitConflictError, match="kept winning"):
        load(impatient, encode(tmp_path / "staging"))
    with pytest.raises(CommitConflictError):
        impatient.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("tag", STRING))))
    assert data_below(tmp_path / "warehouse") == set()


def test_a_locked_database_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.tables.iceberg_opening._SQLITE_PATIENCE_SECONDS", "0.05")
    tables = iceberg(tmp_path)
    tables.create(TABLE, FIELDS)
    other = tables._catalog()
    assert isinstance(other, SqlCatalog)
    raw = other.engine.raw_connection()
    try:
        raw.cursor().execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageWriteError, match="locked"):
            load(tables, encode(tmp_path / "staging"))
    finally:
        raw.cursor().execute("ROLLBACK")
        raw.close()
    assert data_below(tmp_path / "warehouse") == set()


def test_what_a_killed_load_left_behind_is_removed_when_it_is_old_enough(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(3,)))
    load(iceberg_tables, encode(tmp_path / "staging", rows=(1,), version="v2"))
    history = data_below(tmp_path / "warehouse")
    left = Path(iceberg_tables.uri(TABLE), "data", "cur", "2025-03", "left.parquet")
    os.link(encode(tmp_path / "staging").files[0].uri, left)
    assert iceberg_tables.remove_orphans(TABLE) == ()
    assert iceberg_tables.remove_orphans(TABLE, CleanUp(older_than=timedelta(0))) == (str(left),)
    assert data_below(tmp_path / "warehouse") == history


def test_a_fresh_link_to_an_old_file_counts_as_fresh(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    encoded = encode(tmp_path / "staging")
    os.utime(encoded.files[0].uri, (0, 0))
    under_way = Path(iceberg_tables.uri(TABLE), "data", "cur", "2025-03", "under-way.parquet")
    under_way.parent.mkdir(parents=True)
    os.link(encoded.files[0].uri, under_way)
    assert iceberg_tables.remove_orphans(TABLE, CleanUp(older_than=timedelta(minutes=5))) == ()


def test_delete_files_of_other_writers_are_not_read_over(
    iceberg_tables: IcebergTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging"))
    table = iceberg_tables.open(TABLE)
    tasks = list(table.scan().plan_files())
    for task in tasks:
        task.delete_files.add(task.file)
    monkeypatch.setattr("pyiceberg.table.DataScan.plan_files", lambda _: tasks)
    with pytest.raises(TableError, match="delete files"):
        iceberg_tables.files(TABLE, MARCH)


@pytest.mark.parametrize("sign", ["#", "?", ";"])
def test_a_path_that_pyiceberg_would_cut_off_is_refused(tmp_path: Path, sign: str) -> None:
    with pytest.raises(ConfigurationError, match="elsewhere"):
        iceberg(tmp_path / f"a{sign}b").tables()


def test_the_values_in_the_table_are_those_of_the_files(
    iceberg_tables: IcebergTables, tmp_path: Path
) -> None:
    load(iceberg_tables, encode(tmp_path / "staging", rows=(2, 2)))
    source = iceberg_tables.files(TABLE, MARCH)
    costs = [
        cost
        for file in source.files
        for cost in pq.read_table(file.uri)["line_item_unblended_cost"].to_pylist()
    ]
    scanned = iceberg_tables.open(TABLE).scan().to_arrow()["line_item_unblended_cost"]
    assert sum(costs) == sum(scanned.to_pylist()) == 6


def test_the_catalogs_are_imported_without_pyiceberg_and_pyarrow() -> None:
    code = (
        "import sys, billing_lake.tables.iceberg, billing_lake.tables.hive,"
        " billing_lake.tables.crawled_tables;"
        "heavy = {'boto3', 'botocore', 'pyiceberg', 'pyarrow', 'sqlalchemy', 'polars', 'dagster'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
