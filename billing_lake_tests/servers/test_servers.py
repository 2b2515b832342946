"""The servers that the other tests rely on do what their services do."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.types import StringType

from billing_lake_tests.servers.athena import AthenaError, Query, Result
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.servers.ports import free_port
from billing_lake_tests.servers.seaweedfs import SeaweedFS

ROOT = Path(__file__).parents[2]
ROWS = pa.table({"period": ["2024-01", "2024-01"], "cost": [1.5, 2.5]})


def catalog(aws: Aws, **properties: str) -> Catalog:
    files = {
        "s3.endpoint": aws.s3_url,
        "s3.access-key-id": aws.key,
        "s3.secret-access-key": aws.secret,
        "s3.region": aws.region,
    }
    return load_catalog("tests", **files, **properties)


def test_a_port_that_was_found_is_free_for_this_process_alone() -> None:
    port = free_port()
    program = f"from billing_lake_tests.servers import ports; print(ports._is_free({port}))"
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "False\n"
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_s3_starts_at_other_ports_where_one_is_taken_in_the_last_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        found = [somebody.getsockname()[1]]
        monkeypatch.setattr(
            "billing_lake_tests.servers.seaweedfs.free_port",
            lambda *above: found.pop() if found else free_port(*above),
        )
        with SeaweedFS(keys=("key",), secret="secret", account="123456789012") as server:
            assert str(somebody.getsockname()[1]) not in server.s3_url
            server.check()


def test_s3_keeps_objects_and_gives_ranges(aws: Aws) -> None:
    bucket = aws.new_bucket()
    aws.put(bucket, "a/1.csv", "hello")
    aws.put(bucket, "b/2.csv", "world")
    s3 = aws.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]
    assert [item["Key"] for item in listed] == ["a/1.csv"]
    assert s3.get_object(Bucket=bucket, Key="b/2.csv", Range="bytes=1-3")["Body"].read() == b"orl"


def test_s3_refuses_a_wrong_key(aws: Aws) -> None:
    stranger = boto3.client(
        "s3",
        endpoint_url=aws.s3_url,
        region_name=aws.region,
        aws_access_key_id=aws.key,
        aws_secret_access_key="guessed",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


def test_the_environment_leads_boto3_to_the_servers(
    aws: Aws, aws_environment: dict[str, str]
) -> None:
    bucket = aws.new_bucket()
    named = [item["Name"] for item in boto3.client("s3").list_buckets()["Buckets"]]
    assert bucket in named
    assert boto3.client("sts").get_caller_identity()["Account"] == aws.account


@pytest.mark.usefixtures("aws_environment")
def test_a_table_bucket_is_an_iceberg_catalog_for_signed_requests(aws: Aws) -> None:
    arn = aws.new_table_bucket()
    signed = {
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": aws.region,
    }
    tables = catalog(aws, type="rest", uri=aws.iceberg_url, warehouse=arn, **signed)
    tables.create_namespace("bills")
    tables.create_table("bills.costs", ROWS.schema).append(ROWS)
    assert tables.load_table("bills.costs").scan().to_arrow()["cost"].to_pylist() == [1.5, 2.5]


@pytest.mark.usefixtures("aws_environment")
def test_glue_keeps_iceberg_tables_whose_files_are_in_s3(aws: Aws) -> None:
    tables = catalog(aws, type="glue", warehouse=f"s3://{aws.new_bucket()}/warehouse")
    tables.create_namespace("smoke_iceberg")
    table = tables.create_table("smoke_iceberg.costs", ROWS.schema)
    table.append(ROWS)
    with table.update_schema() as update:
        update.add_column("tag", StringType())
    reread = tables.load_table("smoke_iceberg.costs")
    assert reread.scan().to_arrow()["tag"].to_pylist() == [None, None]


def test_glue_refuses_to_overwrite_a_table_that_somebody_changed(aws: Aws) -> None:
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "smoke_versions"})
    glue.create_table(DatabaseName="smoke_versions", TableInput={"Name": "costs"})
    seen = glue.get_table(DatabaseName="smoke_versions", Name="costs")["Table"]["VersionId"]
    change = {"DatabaseName": "smoke_versions", "TableInput": {"Name": "costs"}, "VersionId": seen}
    glue.update_table(**change)
    with pytest.raises(glue.exceptions.ConcurrentModificationException):
        glue.update_table(**change)


def test_a_call_fails_as_often_as_a_test_wants(aws: Aws) -> None:
    glue = aws.client("glue")
    aws.glue.fail_next("GetDatabases", "AccessDeniedException", "not you")
    with pytest.raises(ClientError, match="not you"):
        glue.get_databases()
    glue.get_databases()


def test_a_fault_that_no_call_has_met_is_not_kept_for_another_test(aws: Aws) -> None:
    aws.glue.fail_next("GetDatabases", "AccessDeniedException", "not you")
    aws.glue.forget_wishes()
    assert "DatabaseList" in aws.client("glue").get_databases()


def test_athena_answers_with_what_a_test_gives(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(query: Query) -> Result:
        if "nowhere" in query.sql:
            raise AthenaError("TABLE_NOT_FOUND: nowhere")
        return Result(columns=["n"], types=["bigint"], rows=[["42"], [None]])

    monkeypatch.setattr(aws.glue.athena, "answer", answer)
    athena, output = aws.client("athena"), aws.new_bucket()

    def ask(sql: str) -> str:
        started = athena.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Database": "bills"},
            ResultConfiguration={"OutputLocation": f"s3://{output}/athena/"},
        )
        return str(started["QueryExecutionId"])

    good, bad = ask("SELECT 42 AS n"), ask("SELECT * FROM nowhere")
    found = athena.get_query_results(QueryExecutionId=good)["ResultSet"]["Rows"]
    assert found == [
        {"Data": [{"VarCharValue": "n"}]},
        {"Data": [{"VarCharValue": "42"}]},
        {"Data": [{}]},
    ]
    kept = aws.client("s3").get_object(Bucket=output, Key=f"athena/{good}.csv")["Body"].read()
    assert kept == b'"n"\n"42"\n\n'
    status = athena.get_query_execution(QueryExecutionId=bad)["QueryExecution"]["Status"]
    assert (status["State"], status["StateChangeReason"]) == ("FAILED", "TABLE_NOT_FOUND: nowhere")
    assert [query.database for query in aws.glue.athena.queries[-2:]] == ["bills", "bills"]
