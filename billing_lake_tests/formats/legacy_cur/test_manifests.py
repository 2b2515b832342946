"""Manifests: what they say, and every way in which they are not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.errors import (
    BrokenManifestError,
    ForeignKeyInManifestError,
    PeriodMismatchError,
)
from billing_lake.formats.legacy_cur.layouts import LegacyLayout
from billing_lake.formats.legacy_cur.manifests import parse_manifest
from billing_lake.formats.locations import check_manifest
from billing_lake.formats.manifests import MAX_MANIFEST_BYTES, Manifest, require_manifest_size

RULES = LegacyLayout("billing", "cur")
FOLDER = "billing/cur/20230801-20230901"
PLAIN: dict[str, Any] = {
    "assemblyId": "20230903T040211Z",
    "account": "123456789012",
    "charset": "UTF-8",
    "compression": "GZIP",
    "contentType": "text/csv",
    "reportName": "cur",
    "bucket": "b",
    "billingPeriod": {"start": "20230801T000000.000Z", "end": "20230901T000000.000Z"},
    "columns": [
        {"category": "identity", "name": "LineItemId", "type": "String"},
        {"category": "lineItem", "name": "UnblendedCost"},
    ],
    "reportKeys": [f"{FOLDER}/20230903T040211Z/cur-00001.csv.gz"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def parsed(**changes: object) -> Manifest:
    return parse_manifest(json.dumps({**PLAIN, **changes}).encode(), "m.json")


def check(manifest: Manifest) -> None:
    check_manifest(manifest, RULES, period="2023-08", buckets=("b",), key="m.json")


def test_a_manifest_says_version_period_files_and_columns() -> None:
    manifest = parsed()
    check(manifest)
    assert manifest == Manifest(
        version="20230903T040211Z",
        period="2023-08",
        bucket="b",
        keys=(f"{FOLDER}/20230903T040211Z/cur-00001.csv.gz",),
        columns=("identity/LineItemId", "lineItem/UnblendedCost"),
    )


def test_what_a_manifest_need_not_say_may_be_missing() -> None:
    optional = ("columns", "compression", "contentType", "charset", "account", "reportName")
    value = {name: item for name, item in PLAIN.items() if name not in optional}
    assert parse_manifest(json.dumps(value).encode(), "m").columns == ()


@pytest.mark.parametrize("key", [f"/{FOLDER}/cur-00001.csv.gz", f"{FOLDER}//cur-00001.csv.gz"])
def test_a_byte_order_mark_and_empty_parts_of_keys_are_forgiven(key: str) -> None:
    data = json.dumps({**PLAIN, "reportKeys": [key]}).encode()
    manifest = parse_manifest(b"\xef\xbb\xbf" + data, "m")
    check(manifest)
    assert manifest.keys == (f"{FOLDER}/cur-00001.csv.gz",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"[" * 200_000, "no JSON"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "no"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        (b"\x1f\x8b\x08", "not UTF-8"),
    ],
)
def test_bytes_that_are_no_json_object_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenManifestError, match=rf"{reason}.*file m\.json"):
        parse_manifest(data, "m.json")


def test_a_manifest_beyond_the_size_limit_is_refused() -> None:
    require_manifest_size(MAX_MANIFEST_BYTES, "m")
    with pytest.raises(BrokenManifestError, match="at most"):
        require_manifest_size(MAX_MANIFEST_BYTES + 1, "m")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"assemblyId": ""}, "has no assemblyId"),
        ({"assemblyId": 7}, "has no assemblyId"),
        ({"assemblyId": "a\nb"}, "is no id"),
        ({"assemblyId": "x" * 1000}, "is no id"),
        ({"bucket": None}, "has no bucket"),
        ({"billingPeriod": None}, "not exactly one month"),
        ({"billingPeriod": {"start": "20230801T000000.000Z"}}, "not exactly one month"),
        ({"billingPeriod": {"start": 1, "end": []}}, "not exactly one month"),
        ({"reportKeys": None}, "lists no report files"),
        ({"reportKeys": []}, "lists no report files"),
        ({"reportKeys": "x.csv.gz"}, "lists no report files"),
        ({"reportKeys": [7]}, r"another kind; what is read is CSV in gzip \(\.csv\.gz\).*'7'"),
        ({"reportKeys": [f"{FOLDER}/cur-00001.csv.bz2"]}, "another kind"),
        ({"reportKeys": [f"{FOLDER}/cur-00001.csv.zip"]}, "GZIP, and it lists .* otherwise"),
        ({"compression": "Parquet"}, "Parquet, and it lists .* otherwise"),
        ({"reportKeys": ["a.csv.gz", "/a.csv.gz"]}, r"lists a file twice.*'a\.csv\.gz'"),
        ({"compression": "LZ4"}, "compression is not gzip or zip or parquet.*'LZ4'"),
        ({"contentType": "text/html"}, "contentType is not text/csv or parquet"),
        ({"charset": "ISO-8859-1"}, "charset is not utf-8"),
        ({"columns": {}}, "columns are no list"),
        ({"columns": [{"category": "a"}]}, "a column without a name"),
        ({"columns": ["a"]}, "a column without a name"),
        ({"columns": [{"category": 1, "name": "a"}]}, "a column without a name"),
    ],
)
def test_a_manifest_that_does_not_say_what_it_must_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BrokenManifestError, match=reason):
        parsed(**changes)


@pytest.mark.parametrize(
    "key",
    [
        "other/cur/20230801-20230901/cur-00001.csv.gz",
        "billing/cur-2/20230801-20230901/cur-00001.csv.gz",
        "cur-00001.csv.gz",
        f"{FOLDER}/../../../secrets.csv.gz",
        "../billing/cur/x.csv.gz",
        "//etc/x.csv.gz",
        f"{FOLDER}/..\\..\\x.csv.gz",
        f"{FOLDER}/a\0.csv.gz",
        f"s3://b/{FOLDER}/cur-00001.csv.gz",
    ],
)
def test_a_file_outside_the_exports_folder_is_never_believed(key: str) -> None:
    with pytest.raises(ForeignKeyInManifestError, match="outside the export's folder"):
        check(parsed(reportKeys=[*PLAIN["reportKeys"], key]))


def test_a_manifest_of_another_bucket_than_the_settings_say_is_never_believed() -> None:
    with pytest.raises(ForeignKeyInManifestError, match=r"bucket 'other', .* 'b'") as caught:
        check(parsed(bucket="other"))
    assert "`bucket: [other, " in caught.value.how


def test_a_report_that_moved_has_manifests_of_both_of_its_buckets() -> None:
    for bucket in ("old", "new"):
        moved = parsed(bucket=bucket)
        check_manifest(moved, RULES, period="2023-08", buckets=("old", "new"), key="m")
    with pytest.raises(ForeignKeyInManifestError, match="says 'old', 'new'"):
        check_manifest(parsed(), RULES, period="2023-08", buckets=("old", "new"), key="m")


@pytest.mark.parametrize(
    "changes",
    [
        {"compression": "LZ4"},
        {"contentType": "text/html"},
        {"reportKeys": [f"{FOLDER}/cur-00001.xlsx"]},
    ],
)
def test_a_report_in_another_format_is_to_be_set_to_one_that_is_read(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(BrokenManifestError) as caught:
        parsed(**changes)
    assert caught.value.how.startswith("Set the report's compression to GZIP")
    assert "history" not in caught.value.how


def test_a_manifest_in_the_folder_of_another_period_is_refused() -> None:
    period = {"start": "20230701T000000.000Z", "end": "20230801T000000.000Z"}
    with pytest.raises(PeriodMismatchError, match=r"speaks of 2023-07 and lies in .* 2023-08"):
        check(parsed(billingPeriod=period))


def test_a_manifest_that_lists_a_file_of_another_period_is_refused() -> None:
    key = "billing/cur/20230701-20230801/cur-00001.csv.gz"
    with pytest.raises(PeriodMismatchError, match="outside the folder of 2023-08"):
        check(parsed(reportKeys=[key]))


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": [{"category": "t", "name": "a\ud800"}]},
        {"reportKeys": [f"{FOLDER}/\ud800.csv.gz"]},
        {"assemblyId": "\udfff"},
        {"bucket": "\ud800"},
    ],
)
def test_half_a_character_is_refused_and_never_replaced(changes: dict[str, Any]) -> None:
    with pytest.raises(BrokenManifestError, match="half a character") as caught:
        parsed(**changes)
    assert str(caught.value).isprintable()


def test_a_character_that_json_spells_in_two_halves_is_one() -> None:
    (column,) = parsed(columns=[{"category": "t", "name": "\U0001f600"}]).columns
    assert column == "t/\U0001f600"


@pytest.mark.parametrize("zone", ["+0000", "+00:00", " UTC", "Z", ""])
def test_a_billing_period_says_utc_in_any_spelling(zone: str) -> None:
    period = {"start": f"20230801T000000{zone}", "end": f"2023-09-01 00:00{zone}"}
    assert parsed(billingPeriod=period).period == "2023-08"


@given(st.dictionaries(st.sampled_from(sorted(PLAIN)), JSON, max_size=3))
def test_whatever_a_manifest_says_it_is_read_or_refused_by_name(changes: dict[str, Any]) -> None:
    try:
        manifest = parsed(**changes)
        check(manifest)
    except (BrokenManifestError, PeriodMismatchError):
        return
    assert all(key.startswith(f"{FOLDER}/") for key in manifest.keys)


@given(st.binary(max_size=50))
def test_whatever_bytes_a_manifest_has_it_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(BrokenManifestError):
        parse_manifest(data, "m")


@pytest.mark.parametrize(
    ("compression", "content_type", "name"),
    [
        ("GZIP", "text/csv", "cur-00001.csv.gz"),
        ("ZIP", "text/csv", "cur-00001.csv.zip"),
        ("Parquet", "Parquet", "cur-00001.snappy.parquet"),
        (None, None, "cur-00001.csv"),
    ],
)
def test_a_manifest_says_how_its_files_are_packed(
    compression: str | None, content_type: str | None, name: str
) -> None:
    keys = [f"{FOLDER}/{name}"]
    found = parsed(compression=compression, contentType=content_type, reportKeys=keys)
    assert found.keys == tuple(keys)
