"""Where legacy CUR puts its files, and what their keys say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.formats.legacy_cur.layouts import LegacyLayout, folder_of, period_of_folder

CUR = LegacyLayout("billing", "daily")
PERIODS = st.builds(
    lambda year, month: f"{year:04d}-{month:02d}", st.integers(1000, 2998), st.integers(1, 12)
)


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
    assert LegacyLayout(prefix, "r").folders == folders


def test_a_key_with_empty_parts_lies_in_the_same_folder_as_its_plain_key() -> None:
    key = "billing//daily/20250301-20250401/daily-00001.csv.gz"
    assert CUR.period_of_key(key) == "2025-03"


def test_the_manifest_of_a_period_lies_directly_in_its_folder() -> None:
    march, december = (CUR.manifest_key(period) for period in ("2025-03", "2025-12"))
    assert march == "billing/daily/20250301-20250401/daily-Manifest.json"
    assert december == "billing/daily/20251201-20260101/daily-Manifest.json"
    assert CUR.commits(march)
    assert CUR.commits(f"/{december}")
    assert not CUR.commits(march.replace("/daily-M", "/v1/daily-M"))
    assert not CUR.commits(march.replace("20250401", "20250501"))


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


@given(PERIODS)
def test_the_legacy_folder_of_a_period_names_that_period(period: str) -> None:
    assert period_of_folder(folder_of(period)) == period


@pytest.mark.parametrize(
    "folder",
    [
        "20250301-20250501",
        "20250302-20250402",
        "20250401-20250301",
        "20251301-20260101",
        "data",
        "",
    ],
)
def test_a_folder_that_is_not_exactly_one_month_has_no_period(folder: str) -> None:
    assert period_of_folder(folder) is None


def test_the_folder_of_december_ends_in_the_next_year() -> None:
    assert folder_of("2024-12") == "20241201-20250101"
    assert CUR.period_folders("2024-12") == ("20241201-20250101/",)
