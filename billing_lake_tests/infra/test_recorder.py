"""What a request is checked for, case by case; and that what is not allowed is refused, and seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from billing_lake_tests.infra.deployed import Deployed
from billing_lake_tests.infra.s3_requests import (
    Place,
    Request,
    UnknownRequestError,
    iceberg_checks,
    s3_checks,
)
from billing_lake_tests.infra.service_requests import Services

PLACE = Place("123456789012", "us-east-1", lambda: frozenset({"tables"}))
TABLES = "arn:aws:s3tables:us-east-1:123456789012:bucket/tables"
L = "arn:aws:s3:::landing"


def request(
    method: str, target: str, body: bytes = b"", service: str = "s3", **headers: str
) -> Request:
    signed = (
        f"AWS4-HMAC-SHA256 Credential=key/20261127/us-east-1/{service}/aws4_request, Signature=x"
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, target, {"authorization": signed, **named}, body)


@pytest.mark.parametrize(
    ("asked", "checks"),
    [
        (request("GET", "/landing?list-type=2&prefix=a%2Fb"), [("s3:ListBucket", L)]),
        (request("HEAD", "/landing"), [("s3:ListBucket", L)]),
        (request("GET", "/landing?location"), [("s3:GetBucketLocation", L)]),
        (request("GET", "/landing/a%20b/c"), [("s3:GetObject", f"{L}/a b/c")]),
        (request("HEAD", "/landing/a"), [("s3:GetObject", f"{L}/a")]),
        (request("GET", "/landing/a?versionId=1"), [("s3:GetObjectVersion", f"{L}/a")]),
        (request("PUT", "/landing/a"), [("s3:PutObject", f"{L}/a")]),
        (request("POST", "/landing/a?uploads"), [("s3:PutObject", f"{L}/a")]),
        (request("PUT", "/landing/a?partNumber=1&uploadId=x"), [("s3:PutObject", f"{L}/a")]),
        (request("DELETE", "/landing/a?uploadId=x"), [("s3:AbortMultipartUpload", f"{L}/a")]),
        (request("DELETE", "/landing/a"), [("s3:DeleteObject", f"{L}/a")]),
        (
            request("PUT", "/landing/a", x_amz_copy_source="/other/b%20c"),
            [("s3:PutObject", f"{L}/a"), ("s3:GetObject", "arn:aws:s3:::other/b c")],
        ),
        (
            request(
                "POST",
                "/landing?delete",
                b'<Delete xmlns="x"><Object><Key>a</Key></Object><Object><Key>b/c</Key></Object></Delete>',
            ),
            [("s3:DeleteObject", f"{L}/a"), ("s3:DeleteObject", f"{L}/b/c")],
        ),
        (
            request("GET", "/tables/n/t/metadata/a"),
            [("s3tables:GetTableData", f"{TABLES}/table/n.t")],
        ),
        (request("PUT", "/tables/n/t/data/a"), [("s3tables:PutTableData", f"{TABLES}/table/n.t")]),
        (request("DELETE", "/tables/n/t/data/a"), [("s3:DeleteObject", f"{TABLES}/table/n.t")]),
        (
            request("GET", "/buckets/arn%3Aaws%3As3tables", service="s3tables"),
            [("s3tables:GetTableBucket", "arn:aws:s3tables")],
        ),
        (
            request(
                "PUT", "/tables/a%3Ab%2Fc/n/t/maintenance/icebergCompaction", service="s3tables"
            ),
            [("s3tables:PutTableMaintenanceConfiguration", "a:b/c/table/n.t")],
        ),
    ],
)
def test_a_request_to_s3_is_checked_for_these_actions(
    asked: Request, checks: list[tuple[str, str]]
) -> None:
    assert s3_checks(asked, PLACE) == checks


@pytest.mark.parametrize(
    ("asked", "actions"),
    [
        (request("GET", "/v1/config?warehouse=arn:x/tables"), ["GetTableBucket"]),
        (request("GET", "/v1/tables/namespaces"), ["ListNamespaces"]),
        (request("POST", "/v1/tables/namespaces"), ["CreateNamespace"]),
        (request("HEAD", "/v1/tables/namespaces/n"), ["GetNamespace"]),
        (request("GET", "/v1/tables/namespaces/n/tables"), ["ListTables"]),
        (
            request("POST", "/v1/tables/namespaces/n/tables", b'{"name": "t"}'),
            ["CreateTable", "PutTableData"],
        ),
        (
            request("GET", "/v1/tables/namespaces/n/tables/t"),
            ["GetTableMetadataLocation", "GetTableData"],
        ),
        (request("HEAD", "/v1/tables/namespaces/n/tables/t"), ["GetTable"]),
        (
            request("POST", "/v1/tables/namespaces/n/tables/t"),
            ["UpdateTableMetadataLocation", "PutTableData", "GetTableMetadataLocation"],
        ),
        (request("DELETE", "/v1/tables/namespaces/n/tables/t"), ["DeleteTable"]),
        (
            request(
                "POST",
                "/v1/tables/tables/rename",
                json.dumps({"source": {"namespace": ["n"], "name": "t"}}).encode(),
            ),
            ["RenameTable"],
        ),
    ],
)
def test_a_request_to_the_iceberg_catalog_is_checked_for_these_actions(
    asked: Request, actions: list[str]
) -> None:
    checks = iceberg_checks(asked, PLACE)
    assert [action for action, _ in checks] == [f"s3tables:{one}" for one in actions]
    assert {resource for _, resource in checks} <= {TABLES, f"{TABLES}/table/n.t"}


@pytest.mark.parametrize(
    "asked",
    [
        request("GET", "/landing/a?acl"),
        request("PUT", "/landing/a?tagging"),
        request("PUT", "/landing"),
        request("GET", "/landing?versions"),
        request("GET", "/tables?list-type=2"),
        request("PUT", "/buckets", service="s3tables"),
    ],
)
def test_a_request_that_is_not_known_is_not_let_through(asked: Request) -> None:
    with pytest.raises(UnknownRequestError):
        s3_checks(asked, PLACE)


@pytest.mark.parametrize(
    "path", ["/v1/tables/transactions/commit", "/v1/tables/namespaces/n/views"]
)
def test_an_operation_of_the_catalog_that_is_not_known_is_not_let_through(path: str) -> None:
    with pytest.raises(UnknownRequestError):
        iceberg_checks(request("POST", path), PLACE)


GLUE = "arn:aws:glue:us-east-1:123456789012:"
ECS = "arn:aws:ecs:us-east-1:123456789012:"


@pytest.mark.parametrize(
    ("call", "given", "checks"),
    [
        (
            "glue:GetTable",
            {"DatabaseName": "d", "Name": "t"},
            [
                ("glue:GetTable", f"{GLUE}{one}", {})
                for one in ("catalog", "database/d", "table/d/t")
            ],
        ),
        (
            "glue:GetTables",
            {"DatabaseName": "d"},
            [
                ("glue:GetTables", f"{GLUE}{one}", {})
                for one in ("catalog", "database/d", "table/d/*")
            ],
        ),
        (
            "glue:CreateCrawler",
            {"Name": "c", "Role": "arn:role"},
            [
                ("glue:CreateCrawler", "*", {}),
                ("iam:PassRole", "arn:role", {"iam:passedtoservice": "glue.amazonaws.com"}),
            ],
        ),
        ("sts:GetCallerIdentity", {}, []),
        (
            "ecs:RunTask",
            {"taskDefinition": "run", "cluster": "c", "tags": [{"key": "a", "value": "b"}]},
            [
                ("ecs:RunTask", "arn:run:1", {"ecs:cluster": f"{ECS}cluster/c"}),
                ("iam:PassRole", "arn:role", {"iam:passedtoservice": "ecs-tasks.amazonaws.com"}),
                ("ecs:TagResource", f"{ECS}task/c/*", {}),
            ],
        ),
    ],
)
def test_a_call_is_checked_for_these_actions(
    call: str, given: dict[str, Any], checks: list[tuple[str, str, dict[str, str]]]
) -> None:
    services = Services(
        "123456789012", "us-east-1", lambda _: ("arn:role",), lambda name: f"arn:{name}:1"
    )
    service, _, action = call.partition(":")
    assert services.checks(service, action, given) == checks


@pytest.mark.parametrize("call", ["glue:DeleteDatabase", "ecs:RegisterTaskDefinition", "s4:Get"])
def test_a_call_that_is_not_known_is_not_let_through(call: str) -> None:
    service, _, action = call.partition(":")
    with pytest.raises(UnknownRequestError):
        Services("123456789012", "us-east-1").checks(service, action, {})


def test_what_the_policies_do_not_allow_is_refused_and_what_they_allow_is_done(
    deployed: Deployed,
) -> None:
    recorder, dagster = deployed.recorder, deployed.dagster
    bucket = deployed.settings["BILLING_LAKE_LANDING_BUCKET"]
    warehouse = deployed.settings["BILLING_LAKE_PIPES_BUCKET"]
    before = len(recorder.refused)
    with recorder.refusing():
        with pytest.raises(ClientError, match="not authorized to perform: s3:PutObject") as refused:
            dagster.client("s3").put_object(Bucket=bucket, Key="a", Body=b"x")
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        with pytest.raises(ClientError, match="403"):
            deployed.job.client("s3").head_object(Bucket=warehouse, Key="lake/values/a")
        with pytest.raises(ClientError, match="glue:GetTables") as refused:
            dagster.client("glue").get_tables(DatabaseName="of_nobody")
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
        with pytest.raises(ClientError, match="s3tables:GetTableBucket"):
            deployed.job.client("s3tables").get_table_bucket(
                tableBucketARN=deployed.settings["BILLING_LAKE_TABLE_BUCKET_ARN"]
            )
        dagster.client("s3").put_object(Bucket=warehouse, Key="lake/values/a", Body=b"x" * 9)
    assert len(recorder.refused) == before + 4
    head = dagster.client("s3").head_object(Bucket=warehouse, Key="lake/values/a")
    assert head["ContentLength"] == 9
    assert (
        dagster.client("s3").get_object(Bucket=warehouse, Key="lake/values/a")["Body"].read()
        == b"x" * 9
    )
