"""Trees and headers of any format, and folders that hold several deliveries: each has a name, and advice that fits it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.recognition import (
    is_report_of_any_format,
    kind_of_header,
    kind_of_tree,
    several_deliveries,
)


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
        (
            "a/x/metadata/BILLING_PERIOD=2025-03/x-Manifest.json",
            "AWS Data Exports",
            "`format: cur2` .*`prefix: 'a'` and `report: 'x'`",
        ),
        (
            "x/metadata/billing_period=2025-03/2025-04-01T00:00:00.000Z-1/x-Manifest.json",
            "AWS Data Exports",
            "`prefix: ''` and `report: 'x'`",
        ),
        (
            "x/metadata/date=2025-03-01/x-Manifest.json",
            "Cost Optimization Hub recommendations",
            "no bill",
        ),
        (
            "x/metadata/model_version=v3/usage_period=2025-03/x-Manifest.json",
            "carbon emissions",
            "no bill",
        ),
        ("x/metadata/y/x-Manifest.json", "not known", "where its manifests lie"),
        (
            "cur/cur/year=2025/month=3/cur-Manifest.json",
            "in Parquet for Athena",
            "`layout: athena`, `prefix: ''` and `report: 'cur'`",
        ),
        ("x-Manifest.json", "not known", "where its manifests lie"),
        ("20250301-20250401/x-Manifest.json", "not known", "where its manifests lie"),
    ],
)
def test_a_manifest_says_which_tree_it_belongs_to(key: str, kind: str, remedy: str) -> None:
    found = kind_of_tree(key)
    assert kind in found.name
    assert re.search(remedy, found.remedy)
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
    assert (kind_of_header(header, LEGACY_CUR) is not None) is known


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


def test_a_header_of_another_format_that_is_read_is_named_with_the_setting_that_reads_it() -> None:
    other = dataclasses.replace(LEGACY_CUR, name="other", is_header=lambda _: False)
    kind = kind_of_header(LEGACY_CUR.required, other)
    assert kind is not None
    assert (kind.name, "`format: legacy_cur`" in kind.remedy) == ("legacy_cur", True)
    assert kind_of_header(LEGACY_CUR.required, LEGACY_CUR) is None


def test_a_report_file_of_any_format_is_known_by_its_name() -> None:
    assert is_report_of_any_format("a/b-00001.csv.gz")
    assert not is_report_of_any_format("a/b-Manifest.json")
