"""What is totalled while it is written is what a pass of its own totals, and where that cannot be, there is such a pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from billing_lake.domain.profiles import Profile, merge
from billing_lake.domain.sources import Source
from billing_lake.spark_job import inputs, observing, program
from billing_lake_tests.engines.report_files import csv_text, report, source_of, target_of
from billing_lake_tests.engines.test_packings import zipped
from billing_lake_tests.reports import minimal_row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

AGAIN = "the rows are read again, to total them by file, currency and billing period"


@dataclass(frozen=True)
class Converted:
    """Report files that were converted, and what was logged."""

    source: Source
    profile: Profile
    rows: int
    log: list[str] = field(default_factory=list)

    @property
    def read_again(self) -> bool:
        return AGAIN in self.log


@pytest.fixture
def convert(spark: SparkSession, tmp_path: Path) -> Callable[[Source], Converted]:
    def converted(source: Source) -> Converted:
        log: list[str] = []
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        target = target_of(source, tmp_path / "out")
        profile, files = program.convert(spark, source, target, log.append)
        left = {str(one) for one in (tmp_path / "out").iterdir() if one.suffix != ".crc"}
        assert left == {one.uri for one in files}
        return Converted(source, profile, sum(file.rows for file in files), log)

    return converted


def reports(folder: Path, *costs: tuple[str, ...]) -> Source:
    """Return the source of report files, each with a row for each of its costs."""
    rows = [[minimal_row(cost=cost) for cost in some] for some in costs]
    paths = [folder / f"{number}.csv.gz" for number in range(len(rows))]
    return source_of(
        *(report(path, csv_text(some)) for path, some in zip(paths, rows, strict=True))
    )


def test_files_are_told_apart_in_the_pass_that_writes_them(
    spark: SparkSession,
    convert: Callable[[Source], Converted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "FILES_PER_OBSERVATION", 2)
    source = reports(tmp_path, ("1", "2.5"), (), ("-4", ""), ("0.125",), ("1E-18", "3"))
    done = convert(source)
    assert not done.read_again
    assert done.profile == program.profile(spark, source, lambda _: None)
    assert (done.profile.rows, done.rows) == (7, 7)
    assert [file.rows for file in done.profile.files.values()] == [2, 0, 2, 1, 2]


def test_a_share_that_counts_twice_or_is_not_told_is_not_believed(
    convert: Callable[[Source], Converted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = reports(tmp_path, ("1", "2"))
    expected = convert(source)
    assert not expected.read_again
    told = observing.ObservedRows.profile

    def twice(one: observing.ObservedRows) -> Profile | None:
        found = told(one)
        return None if found is None else merge([found, found])

    monkeypatch.setattr(observing.ObservedRows, "profile", twice)
    again = convert(source)
    assert again.read_again
    monkeypatch.setattr(observing.ObservedRows, "profile", told)
    monkeypatch.setattr(observing, "_PATIENCE_SECONDS", 0.0)
    untold = convert(source)
    assert untold.read_again
    assert [again.profile, untold.profile] == [expected.profile] * 2


def test_rows_that_are_spread_over_tasks_are_totalled_once(
    spark: SparkSession,
    convert: Callable[[Source], Converted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inputs, "_LEAST_BYTES_PER_TASK", 1)
    (tmp_path / "r.csv.zip").write_bytes(
        zipped(csv_text([minimal_row(cost=f"{n}.5") for n in range(40)]).encode())
    )
    packed = replace(source_of(tmp_path / "r.csv.zip"), compression="zip")
    for source in (reports(tmp_path, tuple(map(str, range(40)))), packed):
        done = convert(source)
        assert any("spread over 2 tasks" in line for line in done.log)
        assert not done.read_again
        assert (done.profile.rows, done.rows) == (40, 40)
        assert done.profile == program.profile(spark, source, lambda _: None)
