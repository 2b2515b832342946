"""Manifests of Data Exports: what they say, and every way in which they are not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from billing_lake.domain.errors import (
    BrokenManifestError,
    ForeignKeyInManifestError,
    PeriodMismatchError,
)
from billing_lake.formats.data_exports.layouts import DataExportsLayout
from billing_lake.formats.data_exports.tables import CUR2
from billing_lake.formats.locations import check_manifest
from billing_lake.formats.manifests import Manifest

RULES = DataExportsLayout("exports", "bill", CUR2)
KEY = "exports/bill/metadata/BILLING_PERIOD=2025-03/bill-Manifest.json"
FOLDER = "exports/bill/data/BILLING_PERIOD=2025-03"
PLAIN: dict[str, Any] = {
    "executionId": "9b6b32ef-2b70-3d10-9448-07e23ebce6b9",
    "exportArn": "arn:aws:bcm-data-exports:us-east-1:111122223333:export/bill-1",
    "columns": [
        {"name": "line_item_unblended_cost", "type": "double"},
        {"name": "product", "type": "map"},
    ],
    "dataFiles": [f"s3://b/{FOLDER}/run/bill-0000{n}.csv.gz" for n in (1, 2)],
    "additionalOutputFiles": [],
}


def parsed(**changes: object) -> Manifest:
    return RULES.parse(json.dumps({**PLAIN, **changes}).encode(), KEY)


def check(manifest: Manifest) -> None:
    check_manifest(manifest, RULES, period="2025-03", buckets=("b",), key=KEY)


def test_a_manifest_says_version_files_and_columns_and_its_folder_the_period() -> None:
    manifest = parsed()
    check(manifest)
    assert manifest == Manifest(
        version="9b6b32ef-2b70-3d10-9448-07e23ebce6b9",
        period="2025-03",
        bucket="b",
        keys=(f"{FOLDER}/run/bill-00001.csv.gz", f"{FOLDER}/run/bill-00002.csv.gz"),
        columns=("line_item_unblended_cost", "product"),
    )


def test_files_may_be_objects_with_a_uri_and_columns_may_be_left_out() -> None:
    files = [{"s3Uri": uri} for uri in PLAIN["dataFiles"]]
    assert parsed(dataFiles=files).keys == parsed().keys
    assert parsed(columns=None).columns == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"executionId": ""}, "has no executionId"),
        ({"executionId": "a\nb"}, "is no id"),
        ({"dataFiles": None}, "lists no data files"),
        ({"dataFiles": []}, "lists no data files"),
        ({"dataFiles": ["exports/bill-00001.csv.gz"]}, "no s3:// URI"),
        ({"dataFiles": ["s3://b"]}, "no s3:// URI"),
        ({"dataFiles": [{"uri": "s3://b/x"}]}, "no s3:// URI"),
        ({"dataFiles": [7]}, "no s3:// URI"),
        ({"dataFiles": [f"s3://b/{FOLDER}/bill-00001.csv.bz2"]}, "another kind"),
        ({"dataFiles": PLAIN["dataFiles"] * 2}, "lists a file twice"),
        ({"columns": "x"}, "are no list"),
        ({"columns": [{"type": "map"}]}, "without a name"),
        ({"columns": [{"name": "BilledCost"}]}, "manifest of FOCUS, .* set up as CUR 2.0"),
        ({"columns": [{"name": "recommendation_ID"}]}, "Cost Optimization Hub.*no bill"),
        ({"columns": [{"name": "usage_period_start"}]}, "carbon emissions.*no bill"),
        ({"columns": [{"name": "ri_sp_trueup"}]}, "the cost and usage dashboard.*no bill"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenManifestError, match=reason):
        parsed(**changes)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (["s3://b/a-1.csv.gz", "s3://c/a-2.csv.gz"], ForeignKeyInManifestError),
        ([f"s3://c/{FOLDER}/bill-00001.csv.gz"], ForeignKeyInManifestError),
        (["s3://b/exports/other/bill-00001.csv.gz"], ForeignKeyInManifestError),
        ([f"s3://b/{FOLDER}/../x/bill-00001.csv.gz"], ForeignKeyInManifestError),
        ([f"s3://b/{FOLDER.replace('03', '04')}/bill-00001.csv.gz"], PeriodMismatchError),
        (
            [*PLAIN["dataFiles"], f"s3://b/{FOLDER.replace('03', '04')}/bill-00003.csv.gz"],
            PeriodMismatchError,
        ),
    ],
)
def test_files_of_another_bucket_folder_or_period_are_refused(
    files: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        check(parsed(dataFiles=files))


def test_a_selection_of_columns_that_tells_no_table_is_believed() -> None:
    assert parsed(columns=[{"name": "my_cost"}]).columns == ("my_cost",)


@pytest.mark.parametrize(
    ("stated", "version"), [("1.2", "1.2"), ("1.0-preview", "1.0-preview"), (1.2, "1.2"), ("x", "")]
)
def test_the_version_of_focus_is_believed_where_it_is_one(stated: object, version: str) -> None:
    assert parsed(FocusVersion=stated).format_version == version
    assert parsed().format_version == ""
