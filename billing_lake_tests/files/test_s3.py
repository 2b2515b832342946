"""Files in S3 are files: read, written, listed, copied and removed as on a disk, and refused with a disk's errors."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.errors import CredentialsError
from billing_lake.files.s3 import S3Files, split_uri
from billing_lake_tests.files.recording import failing, recorded
from billing_lake_tests.servers.aws import Aws

MIB = 1024 * 1024


@pytest.fixture
def clients(aws: Aws, aws_environment: object) -> AwsClients:
    return AwsClients(aws.region)


@pytest.fixture
def files(clients: AwsClients) -> S3Files:
    return S3Files(clients)


@pytest.fixture
def bucket(aws: Aws) -> str:
    return aws.new_bucket()


def test_a_file_that_is_read_through_costs_few_requests_of_growing_size(
    files: S3Files, bucket: str
) -> None:
    data = os.urandom(21 * MIB)
    files.write(f"s3://{bucket}/big", data)
    read = io.BytesIO()
    with recorded(files.clients.client("s3")) as requests, files.open(f"s3://{bucket}/big") as file:
        while block := file.read(100_000):
            read.write(block)
    assert read.getvalue() == data
    assert requests[0] == "HeadObject"
    assert len(requests) == 7


def test_a_look_at_a_parquet_footer_costs_two_small_requests(files: S3Files, bucket: str) -> None:
    written = io.BytesIO()
    noise = pa.table({f"column_{n}": [os.urandom(20_000)] for n in range(100)})
    pq.write_table(noise, written)
    files.write(f"s3://{bucket}/t.parquet", written.getvalue())
    with (
        recorded(files.clients.client("s3")) as requests,
        files.open(f"s3://{bucket}/t.parquet") as file,
    ):
        assert pq.read_metadata(file).num_rows == 1
    assert len(requests) == 2
    start, end = requests[1].removeprefix("GetObject bytes=").split("-")
    assert int(end) - int(start) < 200_000


def test_copies_have_one_identity_and_other_bytes_of_the_same_size_another_one(
    files: S3Files, bucket: str
) -> None:
    first, copy, other = (f"s3://{bucket}/{name}" for name in ("first", "copy", "other"))
    files.write(first, b"12345")
    files.copy(first, copy)
    files.write(other, b"12346")
    assert files.identity(copy) == files.identity(first) != files.identity(other)
    files.write(copy, b"12346")
    assert files.identity(copy) == files.identity(other)
    with pytest.raises(FileNotFoundError):
        files.identity(f"s3://{bucket}/none")


def test_any_part_of_a_file_can_be_read(files: S3Files, bucket: str) -> None:
    data = os.urandom(300_000)
    uri = f"s3://{bucket}/some"
    files.write(uri, data)
    with files.open(uri) as file:
        assert file.seek(0, os.SEEK_END) == len(data) == files.size(uri)
        assert file.read(1) == b""
        assert file.seek(-10, os.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]
        assert (file.seek(5), file.read(3), file.tell()) == (5, data[5:8], 8)
        assert (file.seek(200_000, os.SEEK_CUR), file.read(7)) == (200_008, data[200_008:200_015])
        assert file.seek(1_000_000) == 1_000_000
        assert file.read() == b""
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)
    assert files.read(uri) == data


def test_an_empty_file_is_read_without_asking_for_its_bytes(files: S3Files, bucket: str) -> None:
    files.write(f"s3://{bucket}/empty", b"")
    with (
        recorded(files.clients.client("s3")) as requests,
        files.open(f"s3://{bucket}/empty") as file,
    ):
        assert file.read() == b""
    assert requests == ["HeadObject"]


def test_a_file_that_is_replaced_while_it_is_read_gives_no_mixture(
    files: S3Files, bucket: str
) -> None:
    uri = f"s3://{bucket}/moving"
    files.write(uri, b"a" * MIB)
    with files.open(uri) as file:
        assert file.read(1) == b"a"
        files.write(uri, b"b" * MIB)
        file.seek(900_000)
        with pytest.raises(OSError, match="changed while") as caught:
            file.read()
    assert (caught.value.errno, caught.value.filename) == (errno.ESTALE, uri)


@pytest.mark.parametrize(("breaks", "attempts"), [(2, 3), (9, 6)])
def test_an_answer_that_breaks_off_is_asked_for_again_a_few_times(
    files: S3Files,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    breaks: int,
    attempts: int,
    no_pauses: Callable[[str], None],
) -> None:
    uri = f"s3://{bucket}/far"
    files.write(uri, b"x" * 1000)
    client = files.clients.client("s3")
    whole, asked = client.get_object, []

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ReadTimeoutError(endpoint_url="there")

    def get_object(**given: Any) -> Any:
        asked.append(given["Range"])
        answer = whole(**given)
        return {**answer, "Body": Broken()} if len(asked) <= breaks else answer

    monkeypatch.setattr(client, "get_object", get_object)
    no_pauses("billing_lake.aws.retry")
    with files.open(uri) as file:
        if breaks < attempts:
            assert file.read() == b"x" * 1000
        else:
            with pytest.raises(OSError, match="Read timeout"):
                file.read()
    assert asked == ["bytes=0-999"] * attempts


def test_a_listing_is_whole_sorted_and_of_this_folder_alone(
    files: S3Files, bucket: str, aws: Aws
) -> None:
    for key in ("a/x", "a/b/y", "a/b-c", "a/b.d", "ab/z", "a", "a/ü &+%20#?.txt"):
        files.write(f"s3://{bucket}/{key}", key.encode())
    for marker in ("a/marker/", "a/b_$folder$"):
        aws.client("s3").put_object(Bucket=bucket, Key=marker)
    found = files.list(f"s3://{bucket}/a")
    assert found == files.list(f"s3://{bucket}/a/")
    keys = [file.uri.removeprefix(f"s3://{bucket}/") for file in found]
    assert keys == ["a/b-c", "a/b.d", "a/b/y", "a/x", "a/ü &+%20#?.txt"]
    assert [file.size for file in found] == [len(key.encode()) for key in keys]
    assert {str(file.modified.tzinfo) for file in found} == {"UTC"}
    assert files.read(found[-1].uri) == "a/ü &+%20#?.txt".encode()
    assert files.list(f"s3://{bucket}/nothing") == []
    assert len(files.list(f"s3://{bucket}")) == 7


def test_s3_copies_by_itself_and_in_parts_what_is_large(clients: AwsClients, bucket: str) -> None:
    files = S3Files(clients, largest_copy=6 * MIB, part=5 * MIB)
    small, large = b"s" * 1000, os.urandom(11 * MIB)
    files.write(f"s3://{bucket}/small", small)
    files.write(f"s3://{bucket}/large", large)
    arrived: list[int] = []
    with recorded(clients.client("s3")) as requests:
        files.copy(f"s3://{bucket}/small", f"s3://{bucket}/copies/small", arrived.append)
        files.copy(f"s3://{bucket}/large", f"s3://{bucket}/copies/large", arrived.append)
    assert "CopyObject" in requests
    assert requests.count("UploadPartCopy") == 3
    assert not {one for one in requests if one.startswith("GetObject")}
    assert sum(arrived) == len(small) + len(large)
    assert files.read(f"s3://{bucket}/copies/small") == small
    assert files.read(f"s3://{bucket}/copies/large") == large


def test_a_copy_that_breaks_off_leaves_nothing(clients: AwsClients, bucket: str, aws: Aws) -> None:
    files = S3Files(clients, largest_copy=6 * MIB, part=5 * MIB)
    files.write(f"s3://{bucket}/large", os.urandom(11 * MIB))
    told = {"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}
    error = ClientError(told, "UploadPartCopy")
    with (
        failing(clients.client("s3"), "UploadPartCopy", error),
        pytest.raises(OSError, match="UploadPartCopy: SlowDown: Please reduce") as caught,
    ):
        files.copy(f"s3://{bucket}/large", f"s3://{bucket}/copy")
    assert caught.value.errno == errno.EIO
    assert [file.uri for file in files.list(f"s3://{bucket}")] == [f"s3://{bucket}/large"]
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_what_s3_cannot_copy_by_itself_is_sent(
    files: S3Files, bucket: str, aws: Aws, tmp_path: Path
) -> None:
    """The buckets behind S3 Tables, known by their names, and files of this machine."""
    data = os.urandom(17 * MIB)
    here = tmp_path / "here"
    here.write_bytes(data)
    behind = f"{bucket}--table-s3"
    aws.client("s3").create_bucket(Bucket=behind)
    arrived: list[int] = []
    with recorded(files.clients.client("s3")) as requests:
        files.copy(str(here), f"s3://{bucket}/1", arrived.append)
        files.copy(f"s3://{bucket}/1", f"s3://{behind}/2", arrived.append)
        files.copy(f"s3://{behind}/2", f"s3://{bucket}/3", arrived.append)
    assert not {"CopyObject", "UploadPartCopy"} & set(requests)
    assert sum(arrived) == 3 * len(data)
    assert files.read(f"s3://{bucket}/3") == data


def test_sending_a_source_that_breaks_leaves_nothing(files: S3Files, bucket: str, aws: Aws) -> None:
    files.write(f"s3://{bucket}/source", os.urandom(40 * MIB))

    def change(_: int) -> None:
        files.write(f"s3://{bucket}/source", b"other")

    with pytest.raises(OSError, match="changed while"):
        files.send(f"s3://{bucket}/source", f"s3://{bucket}/sent", change)
    assert [file.uri for file in files.list(f"s3://{bucket}")] == [f"s3://{bucket}/source"]
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_files_and_folders_are_removed_and_nothing_beside_them(
    files: S3Files, bucket: str, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.files.s3._DELETED_AT_ONCE", 2)
    for key in ("a/1", "a/2", "a/b/3", "a/b/4", "a/c", "ab/5", "a"):
        files.write(f"s3://{bucket}/{key}", b"x")
    aws.client("s3").put_object(Bucket=bucket, Key="a/marker/")
    files.remove_folder(f"s3://{bucket}/a")
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert sorted(one["Key"] for one in listed if one["Key"] != "a/") == ["a", "ab/5"]
    files.remove(f"s3://{bucket}/ab/5")
    assert [file.uri for file in files.list(f"s3://{bucket}")] == [f"s3://{bucket}/a"]
    files.remove(f"s3://{bucket}/ab/5")
    files.remove_folder(f"s3://{bucket}/nothing")
    files.remove_folder("s3://no-such-bucket-here/folder")
    files.make_folder(f"s3://{bucket}/folder")


def test_a_bucket_is_never_emptied(files: S3Files, bucket: str) -> None:
    for uri in (f"s3://{bucket}", f"s3://{bucket}/", f"s3://{bucket}//"):
        with pytest.raises(OSError, match="never emptied"):
            files.remove_folder(uri)


def test_what_cannot_be_removed_is_logged(
    files: S3Files, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    files.write(f"s3://{bucket}/a/1", b"x")
    told = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    with failing(files.clients.client("s3"), "DeleteObjects", ClientError(told, "DeleteObjects")):
        files.remove_folder(f"s3://{bucket}/a")
    assert f"could not remove s3://{bucket}/a" in caplog.text
    assert files.read(f"s3://{bucket}/a/1") == b"x"


def test_what_is_not_there_is_a_missing_file(files: S3Files, bucket: str) -> None:
    for uri in (f"s3://{bucket}/nothing", "s3://no-such-bucket-here/nothing"):
        for call in (
            files.open,
            files.size,
            files.read,
            lambda uri: files.copy(uri, f"s3://{bucket}/copy"),
        ):
            with pytest.raises(FileNotFoundError) as caught:
                call(uri)
            assert uri in str(caught.value.filename)
    for verb in (files.list, lambda uri: files.write(uri, b"x")):
        with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
            verb("s3://no-such-bucket-here/folder")


def test_a_wrong_secret_is_named_and_not_shown(
    bucket: str, aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    files = S3Files(AwsClients(aws.region))
    for call in (files.read, files.list, files.open, files.size):
        with pytest.raises(CredentialsError, match="no AWS credentials that work") as caught:
            call(f"s3://{bucket}/a")
        assert "wrong-and-secret" not in str(caught.value)


def test_credentials_that_are_not_there_are_named(
    aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(CredentialsError, match="Unable to locate credentials"):
        S3Files(AwsClients(aws.region)).read("s3://bucket/key")


def test_a_server_that_is_not_there_is_an_error_of_input_and_output(
    aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr("billing_lake.aws.clients._MAX_ATTEMPTS", 1)
    with pytest.raises(OSError, match="Could not connect") as caught:
        S3Files(AwsClients(aws.region)).read("s3://bucket/key")
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/etc/passwd",
        "s3://",
        "s3:///key",
        "s3://bucket",
        "s3://bucket/",
        "s3a://b/k",
        "S3://b/k",
    ],
)
def test_a_uri_without_a_bucket_and_a_key_is_refused(files: S3Files, uri: str) -> None:
    for call in (
        files.open,
        files.size,
        files.read,
        files.remove,
        lambda uri: files.write(uri, b""),
    ):
        with pytest.raises(OSError, match="s3://bucket/key") as caught:
            call(uri)
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("key", ["../up", "a//b", "%2e%2e/x", "a?b#c", " ", "a/./b"])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert split_uri(f"s3://bucket/{key}") == ("bucket", key)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, billing_lake.files.s3, billing_lake.aws.clients, billing_lake.landing.s3;"
        "assert not {'boto3', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
