"""Polars on a real S3: the same results as on a disk, whole files or none, and refusals with a name and no secret."""

from __future__ import annotations

import gzip
import random
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.aws.clients import AwsClients
from billing_lake.domain import errors
from billing_lake.domain.sources import EncodedFile, Source, SourceFile
from billing_lake.engines import polars_encode
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.files.s3 import S3Files
from billing_lake_tests.engines import report_files
from billing_lake_tests.engines.report_files import csv_text, report, source_of, table_of, target_of
from billing_lake_tests.engines.test_parquet_sources import source_of as parquet_source
from billing_lake_tests.reports import minimal_row
from billing_lake_tests.servers.aws import Aws

COST = "line_item_unblended_cost"


@pytest.fixture
def clients(aws: Aws, aws_environment: dict[str, str]) -> AwsClients:
    return AwsClients(aws.region)


@pytest.fixture
def engine(clients: AwsClients) -> PolarsEngine:
    return PolarsEngine(files=S3Files(clients), options=clients.polars_options())


@pytest.fixture
def bucket(aws: Aws) -> str:
    return aws.new_bucket()


def encode(engine: PolarsEngine, source: Source, folder: str | Path) -> tuple[EncodedFile, ...]:
    """Encode ``source`` into a folder, here or in S3."""
    return report_files.encode(engine, source, cast("Path", folder))


def put(aws: Aws, bucket: str, source: Source) -> Source:
    """Return ``source`` with its files in S3."""
    files = tuple(
        SourceFile(
            uri=aws.put(bucket, f"landing/{file.name}", Path(file.uri).read_bytes()),
            name=file.name,
            columns=file.columns,
        )
        for file in source.files
    )
    return replace(source, files=files)


def uploads(aws: Aws, bucket: str) -> list[str]:
    found = aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return [upload["Key"] for upload in found]


def keys(aws: Aws, bucket: str, prefix: str = "out/") -> list[str]:
    found = aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return [one["Key"] for one in found]


def table(engine: PolarsEngine, files: tuple[EncodedFile, ...]) -> pa.Table:
    tables = []
    for file in files:
        with engine.files.open(file.uri) as stream:
            tables.append(pq.read_table(stream))
    return pa.concat_tables(tables)


def noise(rows: int) -> list[tuple[str, ...]]:
    """Return rows that no compression makes small: 1 kB each."""
    numbers = random.Random(7)
    return [minimal_row(product=numbers.randbytes(512).hex()) for _ in range(rows)]


def test_every_verb_answers_as_on_a_disk(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path
) -> None:
    rows = [
        minimal_row(cost="1.81E-8", product='two\nlines, "quoted"'),
        minimal_row(cost="", currency="EUR"),
        minimal_row(cost="2.5", line_item_id="a", start="2025-04-02T00:00:00Z"),
        minimal_row(cost="2.5", line_item_id="a"),
    ]
    paths = [report(tmp_path / f"{n} +%20ü=.csv.gz", csv_text(rows[n:])) for n in range(3)]
    here, there = source_of(*paths), put(aws, bucket, source_of(*paths))
    disk = PolarsEngine()
    assert engine.profile(there) == disk.profile(here)
    assert engine.content(there, there.columns) == disk.content(here, here.columns)
    local = encode(disk, here, tmp_path / "out")
    remote = encode(engine, there, f"s3://{bucket}/out/period=2025-03 +%20ü")
    assert [file.uri for file in remote] == [
        f"s3://{bucket}/out/period=2025-03 +%20ü/load-00000.parquet"
    ]
    assert [file.rows for file in remote] == [9]
    assert remote[0].size == len(engine.files.read(remote[0].uri))
    assert table(engine, remote).equals(table(disk, local), check_metadata=True)
    here, there = table_of(here, local), table_of(there, remote)
    assert engine.profile(there) == disk.profile(here)
    assert engine.quality(there, "2025-03") == disk.quality(here, "2025-03")
    assert engine.preview(there, [COST], 3) == disk.preview(here, [COST], 3)


def test_parquet_reports_are_read_from_s3(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({COST: [0.1, None, 7.0]}), tmp_path / "r.parquet")
    source = put(aws, bucket, parquet_source(tmp_path / "r.parquet", names=[COST]))
    files = encode(engine, source, f"s3://{bucket}/out")
    assert compare_totals(engine, source, files)
    assert [str(cell) for cell in table(engine, files)[COST].to_pylist()] == [
        "0.100000000000000000",
        "None",
        "7.000000000000000000",
    ]
    once = engine.convert(source, target_of(source, f"s3://{bucket}/once"))
    assert once is not None
    assert once[0] == engine.profile(source)
    assert table(engine, once[1]).to_pylist() == table(engine, files).to_pylist()


def compare_totals(engine: PolarsEngine, source: Source, files: tuple[EncodedFile, ...]) -> bool:
    return engine.profile(source).totals == engine.profile(table_of(source, files)).totals


def test_a_large_file_arrives_in_parts_and_several_files_are_made(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.files.s3.PART_BYTES", 5 << 20)
    monkeypatch.setattr(polars_encode, "INPUT_PER_FILE_BYTES", 1 << 20)
    paths = [
        report(tmp_path / "1.csv.gz", csv_text(noise(20_000))),
        report(tmp_path / "2.csv.gz", csv_text([minimal_row()])),
    ]
    source = put(aws, bucket, source_of(*paths))
    large, small = encode(engine, source, f"s3://{bucket}/out")
    assert (large.rows, small.rows) == (20_000, 1)
    etag = aws.client("s3").head_object(Bucket=bucket, Key="out/load-00000.parquet")["ETag"]
    assert large.size > 10 << 20
    assert etag.strip('"').endswith("-3")
    assert uploads(aws, bucket) == []
    assert compare_totals(engine, source, (large, small))


def test_a_fault_in_the_last_row_leaves_neither_file_nor_upload(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.files.s3.PART_BYTES", 5 << 20)
    monkeypatch.setattr(polars_encode, "ROW_GROUP_ROWS", 2_000)
    content = csv_text([*noise(20_000), minimal_row(end="soon")])
    started: list[Any] = []
    engine.files.clients.client("s3").meta.events.register(  # type: ignore[attr-defined]
        "before-call.s3.CreateMultipartUpload", lambda **_: started.append(1)
    )
    source = put(aws, bucket, source_of(report(tmp_path / "bad.csv.gz", content)))
    with pytest.raises(errors.BadValueError, match="soon") as caught:
        encode(engine, source, f"s3://{bucket}/out")
    assert (caught.value.file, caught.value.line) == ("bad.csv.gz", 20_002)
    assert started
    assert keys(aws, bucket) == []
    assert uploads(aws, bucket) == []


def test_the_second_try_replaces_what_the_first_had_sent(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.files.s3.PART_BYTES", 5 << 20)
    monkeypatch.setattr(polars_encode, "ROW_GROUP_ROWS", 2_000)
    rows = [*noise(20_000), minimal_row(start="2025-03-01 05:00:00.0")]
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text(rows))))
    files = encode(engine, source, f"s3://{bucket}/out")
    assert table(engine, files).num_rows == 20_001
    assert compare_totals(engine, source, files)
    assert uploads(aws, bucket) == []


def test_a_refused_part_is_a_refused_write_and_leaves_nothing(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    def refuse(**_: Any) -> None:
        answer: Any = {"Error": {"Code": "AccessDenied", "Message": "not here"}}
        raise ClientError(answer, "UploadPart")

    monkeypatch.setattr("billing_lake.files.s3.PART_BYTES", 5 << 20)
    monkeypatch.setattr(polars_encode, "ROW_GROUP_ROWS", 2_000)
    client = engine.files.clients.client("s3")  # type: ignore[attr-defined]
    client.meta.events.register("before-call.s3.UploadPart", refuse)
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text(noise(20_000)))))
    with pytest.raises(errors.StorageWriteError, match="AccessDenied: not here"):
        encode(engine, source, f"s3://{bucket}/out")
    assert keys(aws, bucket) == []
    assert uploads(aws, bucket) == []


def test_a_bucket_that_is_not_there_cannot_be_written(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path
) -> None:
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()]))))
    with pytest.raises(errors.StorageWriteError, match="NoSuchBucket") as caught:
        encode(engine, source, "s3://nowhere-at-all/out")
    assert caught.value.file == "s3://nowhere-at-all/out"


def test_missing_files_are_named(engine: PolarsEngine, bucket: str) -> None:
    source = source_of(Path("gone.csv.gz"))
    (file,) = source.files
    gone = SourceFile(uri=f"s3://{bucket}/gone.csv.gz", name=file.name, columns=file.columns)
    source = Source(container="csv", compression="gzip", files=(gone,), columns=source.columns)
    for act in (engine.profile, lambda source: encode(engine, source, f"s3://{bucket}/out")):
        with pytest.raises(errors.ReportFileError, match=r"gone\.csv\.gz"):
            act(source)
    files = (EncodedFile(uri=f"s3://{bucket}/gone.parquet", rows=1, size=1),)
    for read in (engine.profile, lambda source: engine.quality(source, "2025-03")):
        with pytest.raises(
            errors.TableError, match=rf"(NoSuchKey|Not Found).*s3://{bucket}/gone\.parquet"
        ):
            read(table_of(source, files))


def test_a_report_that_ends_early_is_named(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(gzip.compress(csv_text([minimal_row()] * 500).encode())[:-20])
    source = put(aws, bucket, source_of(path))
    for act in (engine.profile, lambda source: encode(engine, source, f"s3://{bucket}/out")):
        with pytest.raises(errors.TruncatedFileError, match=r"bad\.csv\.gz"):
            act(source)
    assert keys(aws, bucket) == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda engine, source, _: engine.profile(source),
        encode,
        lambda engine, source, folder: engine.profile(
            table_of(source, [EncodedFile(uri=f"{folder}/a.parquet", rows=1, size=1)])
        ),
    ],
    ids=["profile", "encode", "table"],
)
def test_wrong_keys_are_a_refusal_with_a_name_and_no_secret(
    aws: Aws,
    bucket: str,
    tmp_path: Path,
    aws_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[..., Any],
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    clients = AwsClients(aws_environment["AWS_REGION"])
    engine = PolarsEngine(files=S3Files(clients), options=clients.polars_options())
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()]))))
    with pytest.raises(errors.CredentialsError, match="SignatureDoesNotMatch") as caught:
        verb(engine, source, f"s3://{bucket}/out")
    assert "another-secret" not in str(caught.value)
    assert keys(aws, bucket) == []


def test_a_refusal_that_only_polars_meets_is_about_the_report(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path
) -> None:
    options = {**(engine.options or {}), "aws_skip_signature": "true"}
    engine = PolarsEngine(files=engine.files, options=options)
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()]))))
    with pytest.raises(errors.ReportFileError, match=r"Repair the access") as caught:
        encode(engine, source, f"s3://{bucket}/out")
    assert caught.value.file == "r.csv.gz"
    wrong = {
        "aws_access_key_id": "testkey",
        "aws_secret_access_key": "another-secret",
        "aws_skip_signature": "false",
    }
    engine = PolarsEngine(files=engine.files, options={**options, **wrong})
    with pytest.raises(errors.CredentialsError, match="SignatureDoesNotMatch") as unknown:
        encode(engine, source, f"s3://{bucket}/out")
    assert "another-secret" not in str(unknown.value) + repr(engine)
    assert keys(aws, bucket) == []


def test_a_disk_that_takes_no_more_is_a_refused_write_and_keeps_nothing(tmp_path: Path) -> None:
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(noise(4_000))))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(errors.StorageWriteError, match="File too large"):
            encode(PolarsEngine(), source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


def test_polars_gets_the_bytes_of_a_report_once(
    aws: Aws, engine: PolarsEngine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied to this machine first: Polars scans the object where it lies."""
    scanned: list[str] = []
    scan = pl.scan_csv

    def record(uri: str, **settings: Any) -> pl.LazyFrame:
        scanned.append(uri)
        return scan(uri, **settings)

    monkeypatch.setattr(pl, "scan_csv", record)
    source = put(aws, bucket, source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()]))))
    encode(engine, source, f"s3://{bucket}/out")
    assert set(scanned) == {source.files[0].uri}
