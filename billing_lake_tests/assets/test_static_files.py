"""`iceberg_static` loads every row of the files that it is given, each once, or says which file stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from billing_lake_tests.assets.test_load import materialize_static
from billing_lake_tests.engines.report_files import csv_text, report
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, failure
from billing_lake_tests.reports import minimal_row

STEP = f"{EXPORT}__iceberg_static"

Make = Callable[..., SampleLake]


@pytest.fixture
def lake(make_lake: Make) -> SampleLake:
    """A lake whose static table holds one file of two rows."""
    lake: SampleLake = make_lake()
    (lake.landing / "archive").mkdir(parents=True)
    put(lake, "a", csv_text([minimal_row(cost="1"), minimal_row(cost="2")]))
    assert materialize_static(lake, ["archive/a.csv.gz"]).success
    return lake


def put(lake: SampleLake, name: str, text: str) -> Path:
    return report(lake.landing / "archive" / f"{name}.csv.gz", text)


def held(lake: SampleLake) -> int:
    """Return the number of rows in the static table, by a reader of its own."""
    return len(lake.lake.iceberg.open(f"{TABLE}_static").scan().to_arrow())


def refusal(lake: SampleLake, *keys: str) -> str:
    """Return what a run with these files says when it fails; the table is as it was."""
    text = failure(materialize_static(lake, list(keys)), STEP)
    assert held(lake) == 2
    return text


@pytest.mark.parametrize("more", [1, 0])
def test_rows_that_state_no_billing_period_are_refused_never_left_out(
    lake: SampleLake, more: int
) -> None:
    stated = [minimal_row(cost="3")] * more
    put(
        lake,
        "b",
        csv_text([*stated, minimal_row(cost="4", period_start=""), minimal_row(period_start="")]),
    )
    text = refusal(lake, "archive/a.csv.gz", "archive/b.csv.gz")
    assert text.startswith(f"PeriodMismatchError: 2 of {2 + more} rows state no billing period")
    assert "archive/b.csv.gz" in text
    assert "bill_billing_period_start_date" in text


@pytest.mark.parametrize(
    "spelling", ["archive/a.csv.gz", "./archive/a.csv.gz", "archive//a.csv.gz"]
)
def test_one_file_under_two_spellings_of_its_key_is_refused(
    lake: SampleLake, spelling: str
) -> None:
    text = refusal(lake, "archive/a.csv.gz", spelling)
    assert text.startswith("ConfigurationError: The file is named twice, also as archive/a.csv.gz")
    assert spelling in text


def test_a_link_to_a_file_is_that_file(lake: SampleLake) -> None:
    (lake.landing / "archive" / "b.csv.gz").symlink_to(lake.landing / "archive" / "a.csv.gz")
    text = refusal(lake, "archive/b.csv.gz", "archive/a.csv.gz")
    assert text.startswith("ConfigurationError: The file is named twice, also as archive/b.csv.gz")


def test_a_copy_of_a_file_is_refused_by_its_bytes(lake: SampleLake) -> None:
    original = lake.landing / "archive" / "a.csv.gz"
    (lake.landing / "archive" / "a (1).csv.gz").write_bytes(original.read_bytes())
    text = refusal(lake, "archive/a (1).csv.gz", "archive/a.csv.gz")
    assert text.startswith(
        "ConfigurationError: The file has the very bytes of archive/a (1).csv.gz"
    )


def test_files_without_rows_may_be_alike(lake: SampleLake) -> None:
    for name in ("b", "c"):
        put(lake, name, csv_text([]))
    assert materialize_static(lake, [f"archive/{name}.csv.gz" for name in ("a", "b", "c")]).success
    assert held(lake) == 2
