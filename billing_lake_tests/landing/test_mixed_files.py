"""Loose files of FOCUS: each belongs to every month that it has rows of, and what cannot be told stops all of them."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pytest

from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import BillingLakeError
from billing_lake.files.local import LocalFiles
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing import pinned_files
from billing_lake.landing.deliveries import find_deliveries, resolve_delivery
from billing_lake.landing.local import LocalStorage
from billing_lake.landing.stated_periods import StatedPeriods
from billing_lake_tests.landing import small_deliveries
from billing_lake_tests.landing.small_deliveries import csv_gz, put

LOOSE = ExportLocation("bill", "loose", "bill", format=FOCUS)
HEADER = ("BilledCost", "ChargeCategory", "BillingPeriodStart", "note")


def row(month: str, note: str = "a") -> tuple[str, ...]:
    return ("1", "Usage", f"{month}-01 00:00:00" if month else "", note)


def found(root: Path) -> dict[str, list[tuple[str, bool]]]:
    """Return the files of each month, each with whether it holds rows of others too."""
    findings = find_deliveries(LocalStorage(root), LOOSE)
    assert findings.notes == ()
    return {
        month: [(file.key, file.key in one.mixed) for file in one.files]
        for month, one in findings.deliveries.items()
    }


def refused(root: Path) -> BillingLakeError:
    with pytest.raises(BillingLakeError) as caught:
        resolve_delivery(LocalStorage(root), LOOSE, "2025-03")
    return caught.value


def test_a_file_belongs_to_every_month_that_it_has_rows_of(tmp_path: Path) -> None:
    rows = [row("2025-03"), row("2025-03", 'a\n"2025-01-01",'), row("2025-05"), row("2025-04")]
    put(tmp_path / "bill/a.csv.gz", csv_gz(rows, HEADER))
    put(tmp_path / "bill/b.csv", gzip.decompress(csv_gz([row("2025-03")] * 2, HEADER)))
    frame = pl.DataFrame(
        {
            "BilledCost": [1, 2],
            "ChargeCategory": "Tax",
            "BillingPeriodStart": [date(2025, 4, 1), date(2025, 3, 1)],
        }
    )
    frame.write_parquet(put(tmp_path / "bill/c.parquet", b""))
    a, b, c = ("bill/a.csv.gz", True), ("bill/b.csv", False), ("bill/c.parquet", True)
    assert found(tmp_path) == {"2025-03": [a, b, c], "2025-04": [a, c], "2025-05": [a]}
    for delivery in find_deliveries(LocalStorage(tmp_path), LOOSE).deliveries.values():
        assert Delivery.from_json(delivery.to_json()) == delivery


def test_the_month_of_a_moment_in_another_zone_is_that_in_utc(tmp_path: Path) -> None:
    berlin = pl.Datetime("us", "Europe/Berlin")
    # The first of March and of April in Berlin are the last hours of February and March in UTC.
    months = pl.Series([date(2025, 3, 1), date(2025, 4, 1)], dtype=pl.Date).cast(pl.Datetime("us"))
    frame = pl.DataFrame(
        {
            "BilledCost": [1, 2],
            "ChargeCategory": "Tax",
            "BillingPeriodStart": months.dt.replace_time_zone("Europe/Berlin").cast(berlin),
        }
    )
    frame.write_parquet(put(tmp_path / "bill/c.parquet", b""))
    assert found(tmp_path) == {
        "2025-02": [("bill/c.parquet", True)],
        "2025-03": [("bill/c.parquet", True)],
    }


def test_a_row_without_a_month_belongs_to_the_only_one_of_its_file(tmp_path: Path) -> None:
    put(tmp_path / "bill/a.csv.gz", csv_gz([row("2025-03"), row("")], HEADER))
    assert found(tmp_path) == {"2025-03": [("bill/a.csv.gz", False)]}


WHOLE = [row("2025-03"), row("2025-04")]
TEXT = gzip.decompress(csv_gz(WHOLE, HEADER))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (csv_gz([*WHOLE, row("")], HEADER), "2025-03, 2025-04, and rows that state no"),
        (csv_gz([*WHOLE, row("2025-13")], HEADER), "A row states no billing period"),
        (csv_gz([*WHOLE, ("1", "Tax")], HEADER), "line 4: The row has 2 cells and the header 4"),
        (gzip.compress(TEXT + b'1,Tax,2025-05-01,"a\n'), "A quote opens and never closes"),
        (gzip.compress(TEXT) + gzip.compress(TEXT)[:20], "gzip stream is damaged"),
    ],
)
def test_a_file_that_could_hold_rows_of_any_month_stops_all_and_is_named(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    put(tmp_path / "bill/good.csv.gz", csv_gz([row("2025-03")], HEADER))
    put(tmp_path / "bill/bad.csv.gz", data)
    error = refused(tmp_path)
    assert error.file == "bill/bad.csv.gz"
    assert reason in error.what
    assert find_deliveries(LocalStorage(tmp_path), LOOSE).deliveries == {}


def test_a_format_without_such_files_goes_by_the_first_row(tmp_path: Path) -> None:
    rows = [small_deliveries.row("2025-03"), small_deliveries.row("2025-04")]
    put(tmp_path / "bill/a.csv.gz", csv_gz(rows))
    legacy = ExportLocation("bill", "loose", "bill", format=LEGACY_CUR)
    findings = find_deliveries(LocalStorage(tmp_path), legacy)
    assert {month: one.mixed for month, one in findings.deliveries.items()} == {"2025-03": ()}


def test_no_process_reads_a_file_again_until_it_changes(tmp_path: Path) -> None:
    file = put(tmp_path / "landing/bill/a.csv.gz", csv_gz(WHOLE, HEADER))
    opened: list[str] = []

    class Watched(LocalStorage):
        def open(self, key: str) -> BinaryIO:
            opened.append(key)
            return super().open(key)

    def months() -> list[str]:
        pinned_files._stated_periods.cache_clear()
        memory = StatedPeriods(str(tmp_path / "values/report_files"), LocalFiles())
        return [*find_deliveries(Watched(tmp_path / "landing", memory), LOOSE).deliveries]

    assert months() == ["2025-03", "2025-04"]
    assert opened
    opened.clear()
    assert months() == ["2025-03", "2025-04"]
    assert opened == []
    file.write_bytes(csv_gz([row("2025-05")], HEADER))
    assert months() == ["2025-05"]
    for kept in (tmp_path / "values/report_files").iterdir():
        kept.write_text('{"periods": ["x"]}')
    assert months() == ["2025-05"], "what cannot be read is found again"
