"""Kinds of files and trees that are not read: each has a name, and advice that fits it."""

from __future__ import annotations

import pytest

from billing_lake.domain.kinds import (
    kind_of_header,
    kind_of_tree,
    named,
    several_deliveries,
    unread_kind,
)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/bill.csv", "plain CSV, not gzipped"),
        ("a/BILL.CSV", "plain CSV, not gzipped"),
        ("a/bill.csv.zip", "ZIP"),
        ("a/bill-00001.snappy.parquet", "Parquet"),
        ("a/bill.csv.gzip", "gzipped CSV of another name"),
        ("a/bill.csv.bz2", "CSV compressed in another way than gzip"),
        ("a/bill.xlsx", "a workbook of Excel"),
        ("a/march.gz", "gzip of another name"),
        ("a/bill.csv.gz", None),
        ("a/cost_and_usage_data_status/x.parquet", None),
        ("a/readme.md", None),
        ("a/bill-Manifest.json", None),
    ],
)
def test_a_file_that_may_hold_a_bill_and_is_not_read_has_a_kind(key: str, kind: str | None) -> None:
    found = unread_kind(key)
    assert (found.name if found else None) == kind
    assert found is None or found.remedy


@pytest.mark.parametrize(
    ("key", "kind", "remedy"),
    [
        (
            "a/b/cur/20250301-20250401/cur-Manifest.json",
            "a legacy CUR",
            "`prefix: 'a/b'` and `report: 'cur'`",
        ),
        ("cur/20250301-20250401/v1/cur-Manifest.json", "a legacy CUR", "`prefix: ''`"),
        ("a//cur/20250301-20250401/cur-Manifest.json", "a legacy CUR", "`prefix: 'a/'`"),
        ("metadata/cur/20250301-20250401/cur-Manifest.json", "a legacy CUR", "'metadata'"),
        ("x/metadata/BILLING_PERIOD=2025-03/x-Manifest.json", "AWS Data Exports", "not read yet"),
        ("x/metadata/billing_period=2025-03/x-Manifest.json", "AWS Data Exports", "not read yet"),
        ("x/metadata/date=2025-03-01/x-Manifest.json", "AWS Data Exports", "not read yet"),
        ("cur/cur/year=2025/month=3/cur-Manifest.json", "in Parquet for Athena", "to GZIP"),
        ("x-Manifest.json", "not known", "where its manifests lie"),
        ("20250301-20250401/x-Manifest.json", "not known", "where its manifests lie"),
    ],
)
def test_a_manifest_says_which_tree_it_belongs_to(key: str, kind: str, remedy: str) -> None:
    found = kind_of_tree(key)
    assert kind in found.name
    assert remedy in found.remedy
    assert "ove the file" not in found.remedy


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (("BilledCost", "ChargeCategory"), True),
        (("billedcost", "x", "chargecategory"), True),
        (("BilledCost",), False),
        ((), False),
    ],
)
def test_focus_is_known_by_the_columns_that_it_requires(
    header: tuple[str, ...],
    known: bool,  # noqa: FBT001
) -> None:
    assert (kind_of_header(header) is not None) is known


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["20250301-20250401/v1/a", "20250301-20250401/v2/a"], ("20250301-20250401", "v1", "v2")),
        (
            ["data/billing_period=2025-03/v1/a", "data/billing_period=2025-03/v2/a"],
            ("data/billing_period=2025-03", "v1", "v2"),
        ),
        (["20250301-20250401/v1/a", "20250401-20250501/v2/a"], ()),
        (["20250301-20250401/v1/a", "20250301-20250401/b"], ()),
        (["2025-03/payer1/a", "2025-03/payer2/a"], ()),
        (["x/a", "y/a"], ()),
    ],
)
def test_several_folders_in_that_of_a_period_are_several_deliveries(
    keys: list[str], found: tuple[str, ...]
) -> None:
    assert several_deliveries(keys) == found


def test_names_in_a_message_are_few_and_printable_and_show_their_kind() -> None:
    assert named(["a\n.csv.gz", "b.zip"]) == "a\\x0a.csv.gz, b.zip (ZIP)"
    assert named("abcde") == "a, b, c and 2 more"
    assert named([]) == ""
