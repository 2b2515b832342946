"""Tables that hold the same bytes are proved by one reading, and a table that does not hold them is found out all the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.checks.run_readings import RunReader
from billing_lake.domain.sources import PeriodKey, Source
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.files.local import LocalFiles
from billing_lake.tables.exports import TABLE_ASSETS
from billing_lake_tests.engines.test_content import with_cells
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, verdicts

PERIOD = "2025-03"
COST = "line_item_unblended_cost"
PROOFS = ("equals_delivery", "same_content", "one_delivery_version", "unique_line_items")
SHARED = "byte for byte, which this run has read"


def prove(lake: SampleLake) -> dict[str, dict[str, dg.AssetCheckEvaluation]]:
    """Prove all tables in one run that loads nothing; return the evaluations by asset."""
    definitions = lake.definitions
    keys = {
        key
        for checks in definitions.asset_checks or ()
        for key in checks.check_keys
        if key.name in PROOFS and key.asset_key.path[-1] in TABLE_ASSETS.values()
    }
    job = definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    return by_asset(subset.execute_in_process(instance=lake.instance, partition_key=PERIOD))


def by_asset(
    result: dg.ExecuteInProcessResult,
) -> dict[str, dict[str, dg.AssetCheckEvaluation]]:
    found: dict[str, dict[str, dg.AssetCheckEvaluation]] = {asset: {} for asset in ASSETS}
    for (asset, check, _), one in verdicts(result).items():
        if asset in found and check in PROOFS:
            found[asset][check] = one
    return found


ASSETS = ("hive_table", "iceberg_table", "s3_table")


def red(found: Mapping[str, Mapping[str, dg.AssetCheckEvaluation]]) -> list[str]:
    return [asset for asset, checks in found.items() if not checks["equals_delivery"].passed]


def shared(check: dg.AssetCheckEvaluation) -> str:
    """Return what a check says of bytes that were read for another table; its description must be the same for all tables."""
    assert SHARED not in str(check.description)
    said = check.metadata.get("shared_reading")
    return "" if said is None else str(said.value)


def reading_itself(found: Mapping[str, Mapping[str, dg.AssetCheckEvaluation]]) -> list[str]:
    """Return the tables none of whose checks say that their bytes were read for another one."""
    return [
        asset
        for asset, checks in found.items()
        if not any(SHARED in shared(one) for one in checks.values())
    ]


def file_of(lake: SampleLake, asset: str) -> Path:
    output = next(output for output, name in TABLE_ASSETS.items() if name == asset)
    (file,) = lake.lake.catalog(output).files(TABLE, PeriodKey(EXPORT, PERIOD)).files
    return Path(file.uri)


def own_file(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Give a table a file of its own, in place of a name of the file that others have too."""
    rows = change(pq.read_table(path))
    path.unlink()
    pq.write_table(rows, path, row_group_size=100)


def dearer(rows: pa.Table) -> pa.Table:
    return with_cells(rows, COST, lambda cells: [*cells[:-1], cells[-1] + 1])


def test_bytes_that_three_tables_share_are_read_once_and_the_checks_say_so(
    make_lake: Callable[..., SampleLake], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake()
    lake.deliver(PERIOD)
    read: list[Source] = []
    for name in ("profile", "quality"):
        method = getattr(PolarsEngine, name)

        def counting(
            engine: PolarsEngine, source: Source, *more: str, of: Callable[..., object] = method
        ) -> object:
            read.extend([source] if source.of_table else [])
            return of(engine, source, *more)

        monkeypatch.setattr(PolarsEngine, name, counting)
    loaded = by_asset(lake.load(PERIOD))
    assert red(loaded) == []
    assert len(read) == 2, "one profile and one look at the rows' quality"
    assert reading_itself(loaded) == ["hive_table"]
    for asset in ASSETS[1:]:
        for one in loaded[asset].values():
            assert f"are those of hive_table, {SHARED}, and no others" in shared(one)
    again = prove(lake)
    assert red(again) == []
    assert len(read) == 4, "another run trusts nothing that this one has read"


def test_a_table_that_holds_other_bytes_is_red_and_no_other_one(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake()
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    for damaged in ASSETS:
        file, whole = file_of(lake, damaged), lake.home / f"{damaged}.parquet"
        whole.hardlink_to(file)
        own_file(file, dearer)
        found = prove(lake)
        assert red(found) == [damaged]
        assert damaged in reading_itself(found)
        assert f"{COST} [USD]" in str(found[damaged]["equals_delivery"].description)
        assert not found[damaged]["same_content"].passed
        first, second = (asset for asset in ASSETS if asset != damaged)
        assert f"those of {first}" in shared(found[second]["equals_delivery"])
        whole.replace(file)
    file = file_of(lake, "iceberg_table")
    again = file.with_name("again.parquet")
    again.hardlink_to(file)
    lake.lake.iceberg.open(TABLE).add_files([str(again)])
    twice = prove(lake)
    assert red(twice) == ["iceberg_table"], "its manifests list the shared bytes twice"
    assert not twice["iceberg_table"]["unique_line_items"].passed
    inode = file.stat().st_ino
    pq.write_table(dearer(pq.read_table(file)), file, row_group_size=100)
    assert file.stat().st_ino == inode
    assert red(prove(lake)) == [*ASSETS], "bytes that all of them share were changed"


def test_bytes_that_are_changed_within_a_run_are_read_again(
    make_lake: Callable[..., SampleLake], tmp_path: Path
) -> None:
    lake = make_lake(outputs=["iceberg"])
    lake.deliver(PERIOD)
    assert lake.load(PERIOD).success
    file = file_of(lake, "iceberg_table")
    source = lake.lake.iceberg.files(TABLE, PeriodKey(EXPORT, PERIOD))

    def reader(asset: str) -> RunReader:
        return RunReader(reader=PolarsEngine(), files=LocalFiles(), run_id="run", asset=asset)

    before = reader("a").profile(source)
    assert reader("b").profile(source) == before, "what was read for another table"
    pq.write_table(pq.read_table(file).slice(1), file)
    after = reader("b").profile(source)
    assert (after.asset, after.figures.rows) == ("b", before.figures.rows - 1)
    shutil.copyfile(file, tmp_path / "copy")
    file.unlink()
    shutil.copyfile(tmp_path / "copy", file)
    assert reader("c").profile(source).asset == "c", "a copy is another file"
