"""From a query that failed to the file at fault, without a look at every other file."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from billing_lake.domain.errors import (
    PaddedFileError,
    RaggedRowError,
    ReportFileError,
    TruncatedFileError,
)
from billing_lake.spark_job import bad_cells
from billing_lake.spark_job.program import profile
from billing_lake_tests.engines.report_files import csv_text, report, source_of
from billing_lake_tests.reports import minimal_row

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from billing_lake.spark_job.inputs import Input

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

GOOD = csv_text([minimal_row() for _ in range(300)])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (gzip.compress(f"{GOOD}1,2\n".encode()), RaggedRowError),
        (gzip.compress(GOOD.encode())[:-20], TruncatedFileError),
        (gzip.compress(GOOD.encode()) + bytes(3), PaddedFileError),
    ],
    ids=["ragged", "truncated", "padded"],
)
def test_of_many_files_only_the_faulty_one_is_searched(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    error: type[ReportFileError],
) -> None:
    files = [report(tmp_path / f"{name}.csv.gz", GOOD) for name in "abcd"]
    files[2].write_bytes(content)
    searched = []
    search = bad_cells.raise_first_fault

    def counted(one: Input, *rest: object) -> None:
        searched.append(one.file.name)
        search(one, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bad_cells, "raise_first_fault", counted)
    said: list[str] = []
    with pytest.raises(error, match=r"c\.csv\.gz"):
        profile(spark, source_of(*files), said.append)
    assert searched == ["c.csv.gz"]
    assert any("one of 4 files" in line for line in said)
