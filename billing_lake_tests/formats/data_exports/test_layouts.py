"""Where Data Exports puts its files, and what their keys say."""

from __future__ import annotations

import pytest

from billing_lake.formats.data_exports.layouts import DataExportsLayout, period_of_folder
from billing_lake.formats.data_exports.tables import CUR2
from billing_lake.formats.focus import FOCUS

BILL = DataExportsLayout("exports", "bill", CUR2)
RUN = "2025-04-03T23:48:02.356Z-9b6b32ef-2b70-3d10-9448-07e23ebce6b9"


@pytest.mark.parametrize(
    ("key", "period"),
    [
        ("exports/bill/data/BILLING_PERIOD=2025-03/bill-00001.csv.gz", "2025-03"),
        ("exports/bill/data/billing_period=2025-03/bill-00001.csv.gz", "2025-03"),
        (f"exports//bill/data/Billing_Period=2025-03/{RUN}/bill-00001.csv.gz", "2025-03"),
        ("exports/bill/metadata/BILLING_PERIOD=2025-03/bill-Manifest.json", "2025-03"),
        ("exports/bill/data/BILLING_PERIOD=2025-03", None),
        ("exports/bill/data/BILLING_PERIOD=2025-13/bill-00001.csv.gz", None),
        ("exports/bill/data/date=2025-03-01/bill-00001.csv.gz", None),
        ("exports/bill/other/BILLING_PERIOD=2025-03/bill-00001.csv.gz", None),
        ("exports/other/data/BILLING_PERIOD=2025-03/bill-00001.csv.gz", None),
        ("exports/bill/crawler-cfn.yml", None),
        ("exports/bill", None),
    ],
)
def test_a_key_belongs_to_the_period_of_its_partition_in_any_case(
    key: str, period: str | None
) -> None:
    assert BILL.period_of_key(key) == period


@pytest.mark.parametrize(
    ("key", "commits"),
    [
        ("exports/bill/metadata/BILLING_PERIOD=2025-03/bill-Manifest.json", True),
        ("exports/bill/metadata/billing_period=2025-03/bill-Manifest.json", True),
        ("exports/bill/metadata/billing_period=2025-03/Manifest.json", True),
        (f"exports/bill/metadata/BILLING_PERIOD=2025-03/{RUN}/bill-Manifest.json", False),
        ("exports/bill/data/BILLING_PERIOD=2025-03/bill-Manifest.json", False),
        ("exports/bill/metadata/BILLING_PERIOD=2025-03/bill-create-table.sql", False),
        ("exports/bill/metadata/bill-Manifest.json", False),
        ("", False),
    ],
)
def test_the_manifest_directly_in_the_periods_folder_of_metadata_commits(
    key: str,
    commits: bool,  # noqa: FBT001
) -> None:
    assert BILL.commits(key) is commits


def test_a_look_at_one_period_lists_the_folders_that_it_may_have() -> None:
    assert BILL.folder == "exports/bill/"
    assert {*BILL.period_folders("2025-03")} == {
        f"{part}/{name}=2025-03/"
        for part in ("data", "metadata")
        for name in ("BILLING_PERIOD", "billing_period")
    }
    assert BILL.commits(BILL.manifest_key("2025-03"))
    assert BILL.period_of_key(BILL.manifest_key("2025-03")) == "2025-03"


@pytest.mark.parametrize("folder", ["", "2025-03", "billing_period=", "billing_period=2025-03-01"])
def test_another_folder_has_no_period(folder: str) -> None:
    assert period_of_folder(folder) is None


@pytest.mark.parametrize(
    "key",
    [
        "exports/bill/crawler-cfn.yml",
        "exports/bill/metadata/BILLING_PERIOD=2025-03/bill-create-table.sql",
        "exports/bill/metadata/BILLING_PERIOD=2025-03/bill-RedshiftCommands.sql",
        "exports/bill/execution_status/any.csv.gz",
    ],
)
def test_what_aws_puts_beside_the_rows_is_no_report_file(key: str) -> None:
    assert FOCUS.is_side_file(key)
