"""Files written from explicit content."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from billing_lake_tests.reports import (
    MINIMAL_HEADER,
    minimal_row,
    write_bytes,
    write_manifest,
    write_report,
)
from billing_lake_tests.sample import reading

if TYPE_CHECKING:
    from pathlib import Path


def test_a_minimal_row_fits_the_minimal_header_and_takes_other_cells_by_name(
    tmp_path: Path,
) -> None:
    rows = [minimal_row(), minimal_row(cost="abc", account="")]
    path = write_report(tmp_path / "deep" / "r.csv.gz", MINIMAL_HEADER, rows)
    plain, odd = reading.read_rows([path])
    assert plain["lineItem/UnblendedCost"] == "0.25"
    assert odd == {**plain, "lineItem/UnblendedCost": "abc", "lineItem/UsageAccountId": ""}


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="no cell price"):
        minimal_row(price="1")


def test_text_is_quoted_only_where_it_must_be(tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.csv.gz", ["a", "b"], [['x "y", z', "1"], ["l\nm", "ü"]])
    assert gzip.decompress(path.read_bytes()).decode() == 'a,b\n"x ""y"", z",1\n"l\nm",ü\n'


def test_encoding_line_end_and_byte_order_mark_can_be_chosen(tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.csv.gz", ["a"], [["ü"]], encoding="latin-1", line_end="\r\n")
    assert gzip.decompress(path.read_bytes()) == b"a\r\n\xfc\r\n"
    marked = write_report(tmp_path / "m.csv.gz", ["a"], [], bom=True)
    assert gzip.decompress(marked.read_bytes()) == b"\xef\xbb\xbfa\n"


def test_ragged_rows_and_raw_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    ragged = write_report(tmp_path / "r.csv.gz", ["a", "b"], [["1"], ["1", "2", "3"]])
    assert gzip.decompress(ragged.read_bytes()) == b"a,b\n1\n1,2,3\n"
    raw = write_bytes(tmp_path / "raw.csv.gz", b'a\n"never closed\x00')
    assert gzip.decompress(raw.read_bytes()) == b'a\n"never closed\x00'


def test_a_manifest_has_the_fields_of_a_real_one_and_any_can_be_replaced(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path / "m.json", period="2025-03", report_keys=["billing/r-00001.csv.gz"]
    )
    manifest = reading.read_manifest(path)
    assert manifest["reportKeys"] == ["billing/r-00001.csv.gz"]
    assert manifest["billingPeriod"]["start"] == "20250301T000000.000Z"
    assert manifest["columns"][0] == {
        "category": "identity",
        "name": "LineItemId",
        "type": "String",
    }
    odd = write_manifest(tmp_path / "o.json", period="2025-03", report_keys=[], reportKeys=None)
    assert reading.read_manifest(odd)["reportKeys"] is None
