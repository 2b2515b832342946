"""Loads of loose files: rows of a month that lie where nobody looks for them, and files that could hold some."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import dagster as dg
import pytest

from billing_lake_tests.lakes import EXPORT, SampleLake, failure
from billing_lake_tests.landing.small_deliveries import csv_gz, put, row

Make = Callable[..., SampleLake]


@pytest.fixture(name="loose")
def a_loose_export(make_lake: Make) -> SampleLake:
    return make_lake(layout="loose", prefix="bill", report="", outputs=["iceberg"])


def lay(lake: SampleLake, name: str, *periods: str) -> None:
    rows = [row(period, f"{name}-{number}") for number, period in enumerate(periods)]
    put(lake.landing / f"bill/{name}.csv.gz", csv_gz(rows))


def error_text(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return failure(result, f"{EXPORT}__crawler_table")


def test_rows_of_a_month_in_a_file_that_begins_with_another_stop_both_months_by_name(
    loose: SampleLake,
) -> None:
    lay(loose, "march", "2025-03", "2025-03")
    lay(loose, "april", "2025-04")
    lay(loose, "mixed", "2025-03", "2025-04", "2025-04")
    text = error_text(loose.load("2025-04"))
    assert text.startswith("RowsElsewhereError: 2 rows of 2025-04 lie in a file that begins with ")
    assert "bill/mixed.csv.gz" in text
    assert "bill/mixed.csv.gz" in error_text(loose.load("2025-03"))
    assert loose.lake.iceberg.tables() == ()
    lay(loose, "mixed", "2025-03")
    lay(loose, "rest", "2025-04", "2025-04")
    assert loose.load("2025-04").success
    assert loose.profile("iceberg", "2025-04").rows == 3
    assert loose.load("2025-03").success
    assert loose.profile("iceberg", "2025-03").rows == 3


def test_a_bad_cell_of_another_month_stops_that_month_alone(loose: SampleLake) -> None:
    lay(loose, "april", "2025-04")
    bad = ("i", "2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z", "USD", "no number")
    put(loose.landing / "bill/march.csv.gz", csv_gz([bad]))
    assert loose.load("2025-04").success
    assert "no number" in error_text(loose.load("2025-03"))


def test_a_file_of_another_month_that_ends_too_early_could_hold_rows_of_this_one(
    loose: SampleLake,
) -> None:
    lay(loose, "april", "2025-04")
    # The first block of gzip holds the first rows, the second one is cut.
    first = csv_gz([row("2025-03", str(n)) for n in range(20_000)])
    put(loose.landing / "bill/march.csv.gz", first + gzip.compress(b"x" * 1000)[:20])
    text = error_text(loose.load("2025-04"))
    assert text.startswith("UnusableFilesError: A file of 2025-03 could hold rows of 2025-04")
    assert "bill/march.csv.gz" in text


def test_files_that_were_seen_whole_are_not_read_again_until_they_change(
    loose: SampleLake,
) -> None:
    for month in ("2025-02", "2025-03", "2025-04"):
        lay(loose, month, month)

    def looked_at(period: str) -> list[str]:
        result = loose.load(period)
        assert result.success
        lines = (entry.user_message for entry in loose.instance.all_logs(result.run_id))
        return sorted(line.rpartition(" ")[2] for line in lines if "looking for its rows" in line)

    assert looked_at("2025-04") == ["2025-02", "2025-03"]
    assert looked_at("2025-03") == []
    lay(loose, "2025-04", "2025-04", "2025-04")
    assert looked_at("2025-03") == ["2025-04"]
    assert looked_at("2025-04") == []


def test_a_run_says_which_loose_file_is_unusable_and_why(loose: SampleLake) -> None:
    lay(loose, "march", "2025-03")
    assert loose.load("2025-03").success
    before = loose.profile("iceberg", "2025-03")
    put(loose.landing / "bill/new.csv.gz", csv_gz([row()])[:30])
    result = loose.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith("IncompleteDeliveryError: ")
    assert "bill/new.csv.gz: The gzip stream is damaged" in text
    assert loose.profile("iceberg", "2025-03") == before


def test_a_wrong_prefix_fails_with_the_folders_that_are_there(make_lake: Make) -> None:
    lake = make_lake(prefix="bilings")
    lake.deliver("2025-03")
    result = lake.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith(
        f"NoFolderError: There is no folder {lake.landing}/bilings/daily/; in {lake.landing}/ there are: "
        "billing/"
    )
