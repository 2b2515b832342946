"""Files of legacy CUR: reports, what lies beside them, and what is not read."""

from __future__ import annotations

import pytest

from billing_lake.domain.errors import ReportFileError
from billing_lake.formats.keys import is_manifest
from billing_lake.formats.legacy_cur import LEGACY_CUR


@pytest.mark.parametrize(
    "key",
    [
        "p/r/crawler-cfn.yml",
        "p/r/20250301-20250401/r-create-table.sql",
        "p/r/20250301-20250401/r-RedshiftCommands.sql",
        "p/r/20250301-20250401/r-RedshiftManifest.json",
        "p/r/20250301-20250401/r-QuickSightManifest.json",
        "p/r/cost_and_usage_data_status/status.csv.gz",
        "p/aws-programmatic-access-test-object",
        "aws-programmatic-access-test-object",
    ],
)
def test_the_providers_side_files_are_neither_reports_nor_manifests(key: str) -> None:
    assert LEGACY_CUR.is_side_file(key)
    assert not LEGACY_CUR.is_report_file(key)
    assert not is_manifest(key)


@pytest.mark.parametrize(
    ("key", "is_report"),
    [
        ("r-00001.csv.gz", True),
        ("p/R-00001.CSV.GZ", True),
        ("p/r-00001.csv", True),
        ("p/r-00001.csv.zip", True),
        ("p/r-00001.snappy.parquet", True),
        ("p/r-00001.parquet.gz", False),
        ("p/cost_and_usage_data_status/r.parquet", False),
        ("p/r-Manifest.json", False),
    ],
)
def test_files_of_every_container_are_report_files(key: str, is_report: bool) -> None:  # noqa: FBT001
    assert LEGACY_CUR.is_report_file(key) is is_report


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/BILL.CSV.XZ", "CSV compressed in another way than is read"),
        ("a/bill.parquet.gz", "gzipped Parquet"),
        ("a/bill.csv.gzip", "gzipped CSV of another name"),
        ("a/bill.csv.bz2", "CSV compressed in another way than is read"),
        ("a/bill.xlsx", "a workbook of Excel"),
        ("a/march.gz", "gzip of another name"),
        ("a/bill.csv.gz", None),
        ("a/bill.zip", None),
        ("a/bill.csv", None),
        ("a/bill.parquet", None),
        ("a/cost_and_usage_data_status/x.parquet", None),
        ("a/readme.md", None),
        ("a/bill-Manifest.json", None),
    ],
)
def test_a_file_that_may_hold_a_bill_and_is_not_read_has_a_kind(key: str, kind: str | None) -> None:
    found = LEGACY_CUR.unread_kind(key)
    assert (found.name if found else None) == kind
    assert found is None or found.remedy


def test_names_in_a_message_are_few_and_printable_and_show_their_kind() -> None:
    assert (
        LEGACY_CUR.named(["a\n.csv.gz", "b.xlsx"]) == "a\\x0a.csv.gz, b.xlsx (a workbook of Excel)"
    )
    assert LEGACY_CUR.named("abcde") == "a, b, c and 2 more"
    assert LEGACY_CUR.named([]) == ""


def test_the_name_of_a_file_says_how_it_is_packed() -> None:
    assert LEGACY_CUR.packing_of("a/R-1.CSV.GZ") == ("csv", "gzip")
    assert LEGACY_CUR.packing_of("a/r-1.csv.zip") == ("csv", "zip")
    assert LEGACY_CUR.packing_of("a/r-1.csv") == ("csv", None)
    assert LEGACY_CUR.packing_of("a/r-1.snappy.parquet") == ("parquet", None)
    with pytest.raises(ReportFileError, match=r"what is read is CSV in gzip.*a/r\.xlsx"):
        LEGACY_CUR.packing_of("a/r.xlsx")
