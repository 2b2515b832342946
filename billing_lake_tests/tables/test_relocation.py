"""A lake that was copied, moved or restored: refused until it is relocated, and then a lake of its own with all it held."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, TableError
from billing_lake.domain.profiles import Profile
from billing_lake.files.local import LocalFiles
from billing_lake.sql.lake_sql import LakeSql
from billing_lake.tables import local_place, relocation
from billing_lake.tables.relocation import relocate
from billing_lake_tests.commands.conftest import Runner
from billing_lake_tests.lakes import SampleLake, failure

OUTPUTS = ("hive", "iceberg", "s3_table")
PERIODS = ("2025-01", "2025-02")
NOTE = "catalog/lake.json"


@dataclass(frozen=True)
class Original:
    """A lake with a history, what it holds, and every byte of it."""

    lake: SampleLake
    profiles: dict[tuple[str, str], Profile]
    history: list[tuple[int, int]]

    @property
    def home(self) -> Path:
        return self.lake.home


def everything(lake: SampleLake) -> dict[tuple[str, str], Profile]:
    return {(one, period): lake.profile(one, period) for one in OUTPUTS for period in PERIODS}


def history(made: SampleLake) -> list[tuple[int, int]]:
    """Return the snapshots, and what each of them reads today."""
    lake = LocalLake(made.home)
    return [
        (one.snapshot_id, table.scan(snapshot_id=one.snapshot_id).to_arrow().num_rows)
        for table in (lake.iceberg.open(made.table), lake.s3_tables.open(made.table))
        for one in table.snapshots()
    ]


def bytes_of(home: Path) -> dict[Path, bytes]:
    # SQLite's shared memory says who reads, and nothing of what is there.
    return {
        path: path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    with dg.DagsterInstance.ephemeral() as instance:
        lake = SampleLake(tmp_path_factory.mktemp("made here") / "a lake", instance=instance)
        for period, restatement in (("2025-01", 0), ("2025-02", 0), ("2025-02", 1)):
            lake.deliver(period, restatement=restatement)
            assert lake.load(period).success
        yield Original(lake, everything(lake), history(lake))


@pytest.fixture
def copied(original: Original, tmp_path: Path) -> SampleLake:
    return replace(original.lake, home=copy(original.home, tmp_path / "a copy"))


def copy(home: Path, to: Path) -> Path:
    return Path(shutil.copytree(home, to, symlinks=True))


def quiet(_: str) -> None:
    """Listen to nothing."""


def test_a_copy_is_refused_by_everything_that_opens_it_and_the_original_is_not_touched(
    original: Original, copied: SampleLake
) -> None:
    before = bytes_of(original.home)
    lake = LocalLake(copied.home)
    openings: tuple[Callable[[], object], ...] = (
        lambda: lake.iceberg,
        lambda: lake.s3_tables,
        lambda: lake.hive,
        lambda: lake.crawled,
        lambda: lake.require((), "built_in"),
    )
    for opening in openings:
        with pytest.raises(ConfigurationError, match="a copy, or was moved") as refused:
            opening()
        assert str(original.home) in str(refused.value)
        assert "billing-lake relocate" in refused.value.how
    run = Runner(copied.home)
    for command in (("query", "SELECT 1"), ("dagster-home",)):
        result = run(*command)
        assert result.exit_code == 2
        assert "relocate" in result.stderr
    done = copied.load("2025-01")
    assert not done.success
    assert "a copy, or was moved" in failure(done, f"{copied.name}__raw_reports")
    assert bytes_of(original.home) == before


def test_a_relocated_copy_holds_every_row_and_snapshot_and_is_loaded_on_its_own(
    original: Original, copied: SampleLake
) -> None:
    before = bytes_of(original.home)
    result = Runner(copied.home)("relocate")
    assert result.exit_code == 0, result.output
    assert str(original.home) in result.stdout
    assert everything(copied) == original.profiles
    assert history(copied) == original.history
    with LakeSql(LocalLake(copied.home)) as lake_sql:
        assert lake_sql.broken == {}
        counts = {
            table.name: lake_sql.count(table)
            for table in lake_sql.tables
            if table.name.endswith(copied.table)
        }
        assert set(counts.values()) == {600}
    delivery = copied.deliver("2025-03")
    assert copied.load("2025-03").success
    assert copied.load("2025-02").success
    assert everything(copied) == original.profiles
    assert {copied.profile(one, "2025-03").rows for one in OUTPUTS} == {delivery.rows}
    assert bytes_of(original.home) == before
    assert not list(mentions(copied.home, original.home))


def mentions(home: Path, other: Path) -> Iterator[Path]:
    """Go through the files that a reader of the lake follows and that name ``other``."""
    lake = LocalLake(home)
    text = str(other).encode()
    for table in (lake.iceberg.open("billing.costs"), lake.s3_tables.open("billing.costs")):
        read = [table.metadata_location, *(one.manifest_list for one in table.snapshots())]
        read += [
            manifest.manifest_path
            for one in table.snapshots()
            for manifest in one.manifests(table.io)
        ]
        read += [task.file.file_path for task in table.scan().plan_files()]
        paths = {Path(uri.removeprefix("file://")) for uri in read}
        assert all(path.is_relative_to(home) for path in paths)
    yield from (path for path in (home / "values").rglob("*.json") if text in path.read_bytes())
    yield from (
        path
        for path in (home / "catalog").iterdir()
        if path.suffix == ".json" and text in path.read_bytes()
    )


def test_a_value_that_cannot_be_read_stops_no_relocation_and_is_not_made_to_look_whole(
    copied: SampleLake,
) -> None:
    told: list[str] = []
    folder = copied.home / "values" / copied.name / "iceberg_table"
    cut, changed = (folder / f"{period}.json" for period in PERIODS)
    cut.write_text(cut.read_text()[:99])
    changed.write_text(changed.read_text().replace('"size": ', '"size": 1', 1))
    relocate(copied.home, told.append)
    assert [one for one in told if "cannot be read, and stays as it is" in one] == [
        f"{path} cannot be read, and stays as it is; what needs it says how to write it anew"
        for path in (cut, changed)
    ]
    for period in PERIODS:
        with pytest.raises(TableError, match="Materialize costs/iceberg_table for"):
            copied.lake.values.find((copied.name, "iceberg_table"), period)


def test_a_lake_that_was_moved_is_found_where_it_is(original: Original, tmp_path: Path) -> None:
    made = copy(original.home, tmp_path / "one")
    relocate(made, quiet)
    moved = replace(original.lake, home=made.rename(tmp_path / "two"))
    with pytest.raises(ConfigurationError, match=str(made)):
        _ = LocalLake(moved.home).hive
    relocate(moved.home, quiet)
    assert (everything(moved), history(moved)) == (original.profiles, original.history)
    back = replace(moved, home=moved.home.rename(made))
    relocate(back.home, quiet)
    assert (everything(back), history(back)) == (original.profiles, original.history)


def test_what_leads_to_the_same_folder_is_the_same_lake(original: Original, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(original.home)
    linked = replace(original.lake, home=link)
    assert everything(linked) == original.profiles
    assert relocate(link, quiet) == frozenset()


def test_two_lakes_that_changed_places_are_both_refused(original: Original, tmp_path: Path) -> None:
    one, two, aside = (tmp_path / name for name in ("one", "two", "aside"))
    for home in (one, two):
        relocate(copy(original.home, home), quiet)
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    for home in (one, two):
        with pytest.raises(ConfigurationError, match="a copy, or was moved"):
            _ = LocalLake(home).iceberg


def test_a_lake_of_an_older_release_is_taken_for_what_its_catalogs_say(
    original: Original, tmp_path: Path
) -> None:
    made = copy(original.home, tmp_path / "made")
    relocate(made, quiet)
    (made / NOTE).unlink()
    copied = copy(made, tmp_path / "copied")
    _ = LocalLake(made).iceberg
    assert json.loads((made / NOTE).read_text())["home"] == str(made)
    with pytest.raises(ConfigurationError, match=str(made)):
        _ = LocalLake(copied).hive


def test_catalogs_that_were_restored_into_another_lake_are_noticed(
    original: Original, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    assert LocalLake(new).hive.tables() == ()
    for name in ("iceberg.db", "s3tables.db"):
        shutil.copy(original.home / "catalog" / name, new / "catalog" / name)
    with pytest.raises(ConfigurationError, match=str(original.home)):
        _ = LocalLake(new).iceberg


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ('{"format": 2, "home": "x"}', "format 2")],
)
def test_a_note_that_is_broken_or_of_a_later_release_is_said(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(TableError, match=said):
        _ = LocalLake(tmp_path).hive


def test_a_lake_is_looked_at_once_when_it_is_opened(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []

    def look(home: Path) -> set[str]:
        looks.append(home)
        return other_homes(home)

    other_homes = local_place.other_homes
    monkeypatch.setattr(local_place, "other_homes", look)
    lake = LocalLake(original.home)
    for _ in range(3):
        lake.iceberg.periods(original.lake.table, original.lake.name)
        lake.s3_tables.tables()
        lake.hive.tables()
        lake.crawled.names()
    assert looks == [original.home]


class _Stopped(BaseException):
    """Stands for a kill."""


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a relocation end at the given one of its writes."""
    left = iter(range(step))

    def stopping(real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise _Stopped
            return real(*arguments, **named)

        return write

    monkeypatch.setattr(relocation._Table, "_rewrite", stopping(relocation._Table._rewrite))
    monkeypatch.setattr(LocalFiles, "write", stopping(LocalFiles.write))
    monkeypatch.setattr(relocation, "_open", stopping(relocation._open))


def test_a_relocation_that_was_killed_anywhere_is_finished_by_the_next_one_or_where_the_lake_was(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(original.home, tmp_path / "made")
    relocate(made, quiet)
    there = replace(original.lake, home=made)
    step, stopped = 0, True
    while stopped:
        here = replace(original.lake, home=made.rename(tmp_path / "moved"))
        with monkeypatch.context() as patch:
            stop_at(step, patch)
            try:
                relocate(here.home, quiet)
                stopped = False
            except _Stopped:
                with pytest.raises(ConfigurationError):
                    _ = LocalLake(here.home).iceberg
        if step % 2:
            relocate(here.home, quiet)
            assert everything(here) == original.profiles
        here.home.rename(made)
        relocate(made, quiet)
        assert everything(there) == original.profiles
        step += 3
    assert history(there) == original.history
    assert step > 20


@pytest.mark.parametrize("options", ["-al", "-as"])
def test_a_copy_of_links_is_not_relocated_because_it_is_the_original(
    original: Original, tmp_path: Path, options: str
) -> None:
    before = bytes_of(original.home)
    linked = tmp_path / "linked"
    subprocess.run(["cp", options, original.home, linked], check=True)
    with pytest.raises(ConfigurationError, match="shares this"):
        relocate(linked, quiet)
    assert bytes_of(original.home) == before


def test_a_copy_that_lacks_a_file_of_a_table_is_said_and_not_switched(
    original: Original, copied: SampleLake
) -> None:
    lost = list((copied.home / "warehouse" / "s3tables").rglob("*.parquet"))
    for path in lost:
        path.rename(path.with_suffix(".lost"))
    with pytest.raises(TableError, match=r"lacks a file of table s3tables\.billing\.costs"):
        relocate(copied.home, quiet)
    with pytest.raises(ConfigurationError):
        _ = LocalLake(copied.home).s3_tables
    for path in lost:
        path.with_suffix(".lost").rename(path)
    relocate(copied.home, quiet)
    assert everything(copied) == original.profiles


def test_a_table_with_position_deletes_is_refused_because_they_name_files(
    original: Original, copied: SampleLake
) -> None:
    table = LocalLake(original.home).iceberg.open(original.lake.table)
    manifests = [one.manifest_path for one in table.snapshots()[-1].manifests(table.io)]

    def mark(entry: Any, at: Mapping[str, int]) -> None:
        entry[at["data_file"]][at["data_file.content"]] = 1

    move = relocation._Move(copied.home, frozenset((str(original.home),)))
    for manifest in manifests:
        marked = relocation._Table(move, "t")._rewrite(manifest, "manifest_entry", mark)
        Path(marked.removeprefix("file://")).replace(move.one(manifest).removeprefix("file://"))
    with pytest.raises(BillingLakeError, match="position deletes"):
        relocate(copied.home, quiet)


def test_a_lake_that_is_where_it_was_made_has_nothing_to_relocate(original: Original) -> None:
    before = bytes_of(original.home)
    result = Runner(original.home)("relocate")
    assert (result.exit_code, "nothing to do" in result.stdout) == (0, True)
    assert bytes_of(original.home) == before
