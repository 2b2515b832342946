"""Key layouts: where files lie, and what their keys say."""

from __future__ import annotations

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.domain.layouts import (
    ExportLocation,
    by_period,
    is_manifest,
    is_report_file,
    is_safe_key,
    is_side_file,
    plain,
)
from billing_lake_tests.domain.test_deliveries import stored

CUR = ExportLocation("cur", "create-new", "billing", "daily")


@pytest.mark.parametrize("prefix", ["a/b", "/a/b", "a/b/", "/a/b/"])
def test_slashes_around_a_prefix_mean_nothing(prefix: str) -> None:
    assert ExportLocation("cur", "overwrite", prefix, "r").folder == "a/b/r/"
    assert ExportLocation("cur", "loose", prefix).folder == "a/b/"


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [
        ("", ("r/", "/r/")),
        ("a", ("a/r/",)),
        ("a/", ("a/r/", "a//r/")),
        ("/a", ("a/r/", "/a/r/")),
        ("a//b", ("a/b/r/", "a//b/r/")),
    ],
)
def test_a_report_is_looked_for_where_its_provider_writes_it_for_such_a_prefix(
    prefix: str, folders: tuple[str, ...]
) -> None:
    assert ExportLocation("cur", "create-new", prefix, "r").folders == folders


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [("", ("",)), ("/", ("",)), ("a", ("a/",)), ("a/", ("a/",)), ("/a/", ("a/", "/a/"))],
)
def test_loose_files_are_looked_for_below_the_prefix_alone(
    prefix: str, folders: tuple[str, ...]
) -> None:
    assert ExportLocation("cur", "loose", prefix).folders == folders


@pytest.mark.parametrize("key", ["/a/b", "a//b", "//a///b", "a/b"])
def test_a_plain_key_is_how_a_folder_of_a_machine_holds_it(key: str) -> None:
    assert plain(key) == "a/b"


def test_a_key_with_empty_parts_lies_in_the_same_folder_as_its_plain_key() -> None:
    key = "billing//daily/20250301-20250401/daily-00001.csv.gz"
    assert CUR.period_of_key(key) == "2025-03"


@pytest.mark.parametrize("prefix", ["", "/"])
def test_an_export_may_have_no_prefix(prefix: str) -> None:
    assert ExportLocation("cur", "overwrite", prefix, "r").folder == "r/"
    assert ExportLocation("cur", "loose", prefix).folder == ""


def test_the_manifest_of_a_period_lies_directly_in_its_folder() -> None:
    assert CUR.manifest_key("2025-03") == "billing/daily/20250301-20250401/daily-Manifest.json"
    assert CUR.manifest_key("2025-12") == "billing/daily/20251201-20260101/daily-Manifest.json"


@pytest.mark.parametrize(
    ("key", "period"),
    [
        ("billing/daily/20250301-20250401/daily-00001.csv.gz", "2025-03"),
        ("billing/daily/20250301-20250401/20250303T010203Z/daily-00001.csv.gz", "2025-03"),
        ("billing/daily/20250301-20250401", None),
        ("billing/daily/20250301-20250501/daily-00001.csv.gz", None),
        ("billing/daily/crawler-cfn.yml", None),
        ("billing/other/20250301-20250401/daily-00001.csv.gz", None),
        ("billing/daily-2/20250301-20250401/daily-00001.csv.gz", None),
    ],
)
def test_a_key_belongs_to_the_period_whose_folder_it_lies_in(key: str, period: str | None) -> None:
    assert CUR.period_of_key(key) == period


@pytest.mark.parametrize(
    ("layout", "prefix", "report"),
    [
        ("create-new", "billing", ""),
        ("overwrite", "billing", "a/b"),
        ("overwrite", "../x", "r"),
        ("loose", "a/./b", ""),
        ("loose", "a\\b", ""),
        ("loose", "a\0b", ""),
        ("overwrite", "a", ".."),
    ],
)
def test_a_location_that_is_no_folder_below_the_bucket_is_refused(
    layout: str, prefix: str, report: str
) -> None:
    with pytest.raises(ConfigurationError):
        ExportLocation("cur", layout, prefix, report)  # type: ignore[arg-type]


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
    assert is_side_file(key)
    assert not is_report_file(key)
    assert not is_manifest(key)


@pytest.mark.parametrize(
    ("key", "is_report"),
    [
        ("r-00001.csv.gz", True),
        ("p/R-00001.CSV.GZ", True),
        ("p/r-00001.csv", False),
        ("p/r-00001.csv.zip", False),
        ("p/r-00001.snappy.parquet", False),
        ("p/r-Manifest.json", False),
    ],
)
def test_gzipped_csv_files_are_report_files(key: str, is_report: bool) -> None:  # noqa: FBT001
    assert is_report_file(key) is is_report


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb", "\ud800"]
)
def test_a_key_with_tricks_is_not_safe(key: str) -> None:
    assert not is_safe_key(key)


@pytest.mark.parametrize(
    "key", ["a", "a/b c/d.csv.gz", "a..b/c", "ä/日本", "a+b/.c", "a\u00a0b", "\u3000", "می\u200cخ"]
)
def test_a_plain_key_is_safe(key: str) -> None:
    assert is_safe_key(key)


def test_files_are_grouped_by_the_folder_of_their_period() -> None:
    march, april, other = (
        stored(f"billing/daily/{name}")
        for name in ("20250301-20250401/x", "20250401-20250501/v1/x", "x")
    )
    assert by_period(CUR, [april, march, other]) == {"2025-03": [march], "2025-04": [april]}
