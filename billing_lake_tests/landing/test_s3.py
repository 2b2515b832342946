"""A bucket as a storage: what a folder shows, whatever a server's order and pages, and few requests for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.deliveries import Findings
from billing_lake.domain.errors import (
    ConfigurationError,
    CredentialsError,
    DeliveryChangedError,
    NoFolderError,
    ReportFileError,
    UnusableFilesError,
)
from billing_lake.domain.periods import next_period
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.files.s3 import S3Files
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import (
    find_deliveries,
    read_source,
    resolve_delivery,
    verify_unchanged,
)
from billing_lake.landing.local import LocalStorage
from billing_lake.landing.s3 import S3Storage
from billing_lake_tests.files.recording import failing, recorded
from billing_lake_tests.landing.conftest import Landing
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row
from billing_lake_tests.servers.aws import Aws

CREATE_NEW = ExportLocation("cur", "create-new", "billing", "cur")
OVERWRITE = ExportLocation("cur", "overwrite", "billing", "cur")
LOOSE = ExportLocation("cur", "loose", "billing")
FOLDER = "billing/cur/20250301-20250401"


@pytest.fixture
def aws_like(
    aws: Aws, aws_environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Landing:
    """A bucket of a server that takes keys with empty parts, as AWS does; SeaweedFS cleans them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.glue_url)
    landing = Landing(f"moto-{aws.new_bucket()}", tmp_path / "moto")
    landing.s3.create_bucket(Bucket=landing.bucket)
    return landing


def test_a_listing_is_whole_and_by_key_whatever_the_servers_order_and_pages(
    any_landing: Landing,
) -> None:
    def small_pages(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 2

    any_landing.s3.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    for key in ("a/x", "a-b/y", "a.b", "a b/z", "ab", "id/1", "id.json", "ü/ö"):
        any_landing.put(key)
    with recorded(any_landing.s3) as requests:
        found = any_landing.keys()
    assert found == ["a b/z", "a-b/y", "a.b", "a/x", "ab", "id.json", "id/1", "ü/ö"]
    assert requests.count("ListObjectsV2") >= 4
    assert any_landing.keys("a/") == ["a/x"]
    assert any_landing.keys("id/") == ["id/1"]
    assert any_landing.keys("nowhere/") == []


def test_a_file_is_pinned_by_its_etag_the_same_in_a_listing_and_alone(any_landing: Landing) -> None:
    any_landing.put("a/b.csv.gz", b"four")
    (listed,) = any_landing.storage.list("")
    assert any_landing.storage.stat("a/b.csv.gz") == listed
    assert (listed.key, listed.size) == ("a/b.csv.gz", 4)
    assert listed.uri == f"s3://{any_landing.bucket}/a/b.csv.gz"
    assert listed.etag == "8cbad96aced40b3838dd9f07f6ef5772"
    assert listed.modified.endswith("+00:00")
    any_landing.put("a/b.csv.gz", b"five")
    (changed,) = any_landing.storage.list("")
    assert changed.etag != listed.etag
    assert any_landing.storage.stat("a") is None
    assert any_landing.storage.read("a/b.csv.gz", changed.etag) == b"five"
    with pytest.raises(DeliveryChangedError, match="changed while it was being read"):
        any_landing.storage.read("a/b.csv.gz", listed.etag)


def test_folder_markers_and_what_a_dot_hides_are_left_out(any_landing: Landing) -> None:
    for key in ("a/", "a/1", "a/.hidden", ".dot/2", "a/.b/3", ".c/d/4"):
        any_landing.put(key)
    assert any_landing.keys() == ["a/1"]
    assert any_landing.keys("a/") == ["a/1"]
    # As in a folder: who asks for a hidden folder by its name is shown it.
    assert any_landing.keys(".c/") == [".c/d/4"]


def test_a_bucket_shows_the_same_deliveries_as_a_folder(any_landing: Landing) -> None:
    location = replace(CREATE_NEW, buckets=(any_landing.root.name,))
    any_landing.deliver(version="v1", chunks=3)
    any_landing.deliver(version="v2", chunks=2)
    any_landing.deliver("2025-04")
    any_landing.deliver("2025-05", reportKeys=["elsewhere/x.csv.gz"])
    for key in (f"{FOLDER}/v2/notes.txt", "billing/cur/20250601-20250701/v1/cur-00001.csv.gz"):
        put(any_landing.root / key, b"x")
        any_landing.put(key)
    there = find_deliveries(any_landing.storage, location)
    here = find_deliveries(LocalStorage(any_landing.root), location)
    assert _told(there) == _told(here)
    assert list(there.deliveries) == ["2025-03", "2025-04"]
    source, _ = read_source(any_landing.storage, there.deliveries["2025-03"])
    assert [file.uri for file in source.files] == [
        f"s3://{any_landing.bucket}/{FOLDER}/v2/cur-0000{n}.csv.gz" for n in (1, 2)
    ]


def _told(findings: Findings) -> object:
    """What findings say, apart from what pins a file in its own storage."""
    deliveries = {
        period: (one.version, [f.key for f in one.files], one.columns, one.ignored)
        for period, one in findings.deliveries.items()
    }
    return deliveries, findings.waiting, findings.broken


def test_a_delivery_that_moves_is_noticed(landing: Landing) -> None:
    landing.deliver(assembly_folder=False, chunks=2)
    delivery = resolve_delivery(landing.storage, OVERWRITE, "2025-03")
    verify_unchanged(landing.storage, OVERWRITE, delivery)
    landing.put(f"{FOLDER}/cur-00001.csv.gz", csv_gz([row(), row()]))
    with pytest.raises(DeliveryChangedError, match=r"cur-00001\.csv\.gz"):
        verify_unchanged(landing.storage, OVERWRITE, delivery)
    landing.deliver(version="v2", assembly_folder=False, chunks=2)
    with pytest.raises(DeliveryChangedError, match="v2 took the place of v1"):
        verify_unchanged(landing.storage, OVERWRITE, delivery)


def test_loose_files_are_found_by_the_period_in_them(landing: Landing) -> None:
    landing.put("billing/one.csv.gz", csv_gz([row("2025-03")]))
    landing.put("billing/two.csv.gz", csv_gz([row("2025-04")]))
    findings = find_deliveries(landing.storage, LOOSE)
    assert {p: [f.key for f in d.files] for p, d in findings.deliveries.items()} == {
        "2025-03": ["billing/one.csv.gz"],
        "2025-04": ["billing/two.csv.gz"],
    }


def test_loose_files_in_a_bucket_are_refused_as_those_in_a_folder(landing: Landing) -> None:
    for key, data in (
        ("same/a.csv.gz", csv_gz([row()])),
        ("same/b.csv.gz", csv_gz([row()])),
        ("other/a.csv.gz", csv_gz([row(line_item="1")])),
        ("other/b.csv.gz", csv_gz([row(line_item="2")])),
        ("bad/a.csv.gz", csv_gz([row()])),
        ("bad/b.csv.gz", b"no gzip"),
        ("cut/a.csv.gz", csv_gz([row()])),
        ("cut/b.csv.gz", csv_gz([row()])[:30]),
        ("tree/x/data/BILLING_PERIOD=2025-03/a.csv.gz", csv_gz([row()])),
        ("tree/x/metadata/BILLING_PERIOD=2025-03/x-Manifest.json", b"{}"),
    ):
        landing.put(key, data)
        put(landing.root / key, data)
    folder = LocalStorage(landing.root)
    for prefix in ("same", "other", "bad", "cut", "tree"):
        export = replace(LOOSE, prefix=prefix)
        found = find_deliveries(landing.storage, export)
        there, here = (_kinds(one) for one in (found, find_deliveries(folder, export)))
        assert there == here
        assert bool(found.deliveries) is (prefix == "other")
        assert bool(found.waiting) is (prefix == "cut")
        assert bool(found.broken) is (prefix in ("same", "bad", "tree"))


def _kinds(findings: Findings) -> object:
    return list(findings.deliveries), findings.waiting, findings.broken


def test_a_folder_that_is_not_in_the_bucket_is_named_with_what_is_there(
    any_landing: Landing,
) -> None:
    any_landing.deliver()
    any_landing.put("notes.txt")
    wrong = replace(CREATE_NEW, prefix="bilings")
    with pytest.raises(NoFolderError) as caught:
        resolve_delivery(any_landing.storage, wrong, "2025-03")
    bucket = any_landing.bucket
    assert caught.value.what == (
        f"There is no folder s3://{bucket}/bilings/cur/; in s3://{bucket}/ there are: billing/, notes.txt"
    )
    assert list(find_deliveries(any_landing.storage, wrong).broken) == ["bilings/cur/"]
    wrong = replace(CREATE_NEW, report="daily")
    with pytest.raises(NoFolderError, match=f"in s3://{bucket}/billing/ there are: cur/"):
        resolve_delivery(any_landing.storage, wrong, "2025-03")


@pytest.mark.parametrize(
    ("written", "prefix"),
    [
        ("/cur", ""),
        ("cur", ""),
        ("cur/123456789012//cur", "cur/123456789012/"),
        ("a b/cur", "a b"),
        ("a+b/x.y/cur", "a+b/x.y"),
        ("Région/部署/cur", "Région/部署"),
        ("50%/~x/cur", "50%/~x"),
        (".dot/cur", ".dot"),
    ],
)
def test_keys_are_read_as_they_are(aws_like: Landing, written: str, prefix: str) -> None:
    folder = f"{written}/20250301-20250401"
    key = f"{folder}/v1/cur-00001.csv.gz"
    *_, manifest = deliver(aws_like.root, reportKeys=[key], bucket="b")
    data = csv_gz([row()])
    aws_like.put(f"{folder}/cur-Manifest.json", manifest.read_bytes())
    aws_like.put(key, data)
    aws_like.put("other/cur/20250301-20250401/v1/cur-00001.csv.gz", data)
    export = ExportLocation("cur", "create-new", prefix, "cur", ("b",))
    delivery = resolve_delivery(aws_like.storage, export, "2025-03")
    (file,) = delivery.files
    assert (file.key, file.uri) == (key, f"s3://{aws_like.bucket}/{key}")
    assert find_deliveries(aws_like.storage, export).deliveries == {"2025-03": delivery}
    source, _ = read_source(aws_like.storage, delivery)
    files = S3Files(aws_like.clients)
    engine = PolarsEngine(files=files, options=aws_like.clients.polars_options())
    assert engine.profile(source).rows == 1
    verify_unchanged(aws_like.storage, export, delivery)


def test_a_prefix_that_lacks_its_slash_is_told_so(aws_like: Landing) -> None:
    aws_like.put("cur/123//cur/20250301-20250401/cur-Manifest.json")
    export = ExportLocation("cur", "create-new", "cur/123", "cur")
    with pytest.raises(NoFolderError, match="let `prefix` end with a slash"):
        resolve_delivery(aws_like.storage, export, "2025-03")


def test_two_reports_that_differ_in_slashes_alone_are_not_mixed(aws_like: Landing) -> None:
    for start in ("cur", "/cur"):
        aws_like.put(f"{start}/20250301-20250401/cur-Manifest.json")
    export = ExportLocation("cur", "create-new", "", "cur")
    with pytest.raises(UnusableFilesError, match="differ in slashes alone"):
        resolve_delivery(aws_like.storage, export, "2025-03")


def test_a_report_whose_name_begins_with_a_dot_is_read(landing: Landing) -> None:
    key = "billing/.cur/20250301-20250401/.cur-00001.csv.gz"
    *_, manifest = deliver(landing.root, reportKeys=[key], bucket="b")
    landing.put(key, csv_gz([row()]))
    landing.put("billing/.cur/20250301-20250401/.cur-Manifest.json", manifest.read_bytes())
    export = ExportLocation("cur", "overwrite", "billing", ".cur", ("b",))
    assert resolve_delivery(landing.storage, export, "2025-03").period == "2025-03"


@pytest.mark.parametrize("layout", ["manifests", "loose"])
def test_a_tick_over_three_unchanged_years_costs_one_listing(landing: Landing, layout: str) -> None:
    months = ["2023-01"]
    while len(months) < 36:
        months.append(next_period(months[-1]))
    for month in months:
        if layout == "loose":
            landing.put(f"billing/{month}.csv.gz", csv_gz([row(month)]))
        else:
            landing.deliver(month, chunks=1)
    export = LOOSE if layout == "loose" else CREATE_NEW
    with recorded(landing.s3) as first:
        assert list(find_deliveries(landing.storage, export).deliveries) == months
    with recorded(landing.s3) as second:
        assert list(find_deliveries(landing.storage, export).deliveries) == months
    assert len(first) == 1 + 36 * (2 if layout == "loose" else 1)
    assert second == ["ListObjectsV2"]
    # A new process of the sensor's has a new storage and the same bucket.
    with recorded(landing.s3) as third:
        find_deliveries(S3Storage(landing.clients, landing.bucket), export)
    assert third == ["ListObjectsV2"]


def test_a_manifest_that_is_replaced_between_the_listing_and_the_reading_waits(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.deliver(version="v1")
    read = landing.storage.read

    def read_the_next(key: str, etag: str) -> bytes:
        landing.deliver(version="v2")
        return read(key, etag)

    monkeypatch.setattr(landing.storage, "read", read_the_next)
    findings = find_deliveries(landing.storage, CREATE_NEW)
    assert "changed while it was being read" in findings.waiting["2025-03"]
    monkeypatch.undo()


def test_a_file_that_vanished_is_a_delivery_in_motion(landing: Landing) -> None:
    with pytest.raises(DeliveryChangedError, match="not there any more"):
        landing.storage.open("gone")
    with pytest.raises(DeliveryChangedError, match="not there any more"):
        landing.storage.read("gone", "x")
    assert landing.storage.stat("gone") is None


def test_a_file_that_changes_or_cannot_be_read_under_a_reader_has_a_name(landing: Landing) -> None:
    landing.deliver(chunks=1)
    delivery = resolve_delivery(landing.storage, CREATE_NEW, "2025-03")
    told: dict[str, Any] = {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    denied = ClientError(told, "GetObject")
    with failing(landing.s3, "GetObject", denied), pytest.raises(ReportFileError, match="Denied"):
        read_source(landing.storage, delivery)
    with failing(landing.s3, "HeadObject", denied), pytest.raises(ReportFileError, match="Denied"):
        landing.storage.stat(f"{FOLDER}/cur-Manifest.json")
    told = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
    moved = ClientError(told, "GetObject")
    with (
        failing(landing.s3, "GetObject", moved),
        pytest.raises(DeliveryChangedError, match="while"),
    ):
        read_source(landing.storage, delivery)


def test_a_bucket_that_is_not_there_or_closed_names_its_setting_and_wrong_keys_themselves(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = S3Storage(landing.clients, "no-such-bucket-here")
    with pytest.raises(ConfigurationError, match="BILLING_LAKE_LANDING_BUCKET") as caught:
        find_deliveries(missing, CREATE_NEW)
    assert "NoSuchBucket" in str(caught.value)
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")
    with (
        failing(landing.s3, "ListObjectsV2", denied),
        pytest.raises(ConfigurationError, match="BILLING_LAKE_LANDING_BUCKET"),
    ):
        landing.storage.list("billing/")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    closed = S3Storage(AwsClients("us-east-1"), landing.bucket)
    with pytest.raises(CredentialsError, match="no AWS credentials that work") as caught:
        closed.list("billing/")
    assert "wrong-and-secret" not in str(caught.value)


def test_a_service_that_does_not_answer_is_a_named_error(landing: Landing) -> None:
    told = {"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}
    busy = ClientError(told, "ListObjectsV2")
    with failing(landing.s3, "ListObjectsV2", busy), pytest.raises(ReportFileError, match="reduce"):
        landing.storage.list("")
