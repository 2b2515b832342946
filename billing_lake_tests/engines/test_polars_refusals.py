"""What a file system refuses to Polars, which tells it in a way of its own."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pytest

from billing_lake.domain import errors
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of
from billing_lake_tests.reports import minimal_row


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()])))
    with pytest.raises(errors.StorageWriteError, match="No space left"):
        encode(PolarsEngine(), source, tmp_path / "out")
