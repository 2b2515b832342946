"""Clients of AWS: one of each, led where boto3 would be led, and silent about credentials."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.utils import parse_timestamp

from billing_lake.aws.clients import AwsClients, clients_for
from billing_lake_tests.servers.aws import Aws


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")


def test_aws_itself_needs_no_endpoint() -> None:
    clients = AwsClients("eu-central-1")
    assert (clients.s3_endpoint, clients.endpoint("glue")) == (None, None)
    assert clients.client("glue").meta.endpoint_url == "https://glue.eu-central-1.amazonaws.com"
    assert "s3.endpoint" not in clients.pyiceberg_s3_properties()
    assert clients.pyiceberg_s3_properties()["s3.region"] == "eu-central-1"
    assert clients.polars_options() == {"aws_region": "eu-central-1"}


def test_s3_may_be_led_elsewhere_than_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1/")
    clients = AwsClients("eu-central-1")
    assert clients.s3_endpoint == "http://127.0.0.1:1/"
    assert clients.endpoint("glue") is None
    assert clients.pyiceberg_s3_properties()["s3.endpoint"] == "http://127.0.0.1:1/"
    options = clients.polars_options()
    assert (options["aws_endpoint_url"], options["aws_allow_http"]) == (
        "http://127.0.0.1:1/",
        "true",
    )
    url = clients.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": "bucket", "Key": "key"}
    )
    assert url.startswith("http://127.0.0.1:1/bucket/key?")


def test_one_endpoint_can_lead_every_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://somewhere")
    clients = AwsClients("eu-central-1")
    assert clients.endpoint("glue") == clients.s3_endpoint == "https://somewhere"
    assert clients.polars_options()["aws_allow_http"] == "false"


@pytest.mark.parametrize(
    "written",
    [
        "2025-03-09T10:11:12.345Z",
        "2025-03-09T10:11:12Z",
        "2025-03-09T12:11:12+02:00",
        "Sun, 09 Mar 2025 10:11:12 GMT",
        "20250309T101112Z",
        "2025-03-09",
        1741515072,
        1741515072.25,
        "1741515072",
        "1741515072.25",
    ],
)
def test_moments_are_those_that_botocore_reads_however_a_service_writes_them(
    written: str | float,
) -> None:
    session = AwsClients("eu-central-1")._session._session
    factory = session.get_component("response_parser_factory")
    read = factory.create_parser("rest-xml")._timestamp_parser
    assert read(written) == parse_timestamp(written)
    assert read is not parse_timestamp


def test_threads_share_one_client_of_each_service() -> None:
    clients = AwsClients("eu-central-1")
    with ThreadPoolExecutor(8) as threads:
        made = set(map(id, threads.map(lambda _: clients.client("s3"), range(16))))
    assert len(made) == 1
    assert "billing-lake" in clients.client("s3").meta.config.user_agent_extra
    assert clients.client("s3").meta.config.retries["mode"] == "adaptive"


def test_no_secret_is_shown() -> None:
    clients = AwsClients("eu-central-1")
    clients.client("s3")
    shown = f"{clients!r} {clients.pyiceberg_s3_properties()} {clients.polars_options()}"
    assert repr(clients).startswith("AwsClients(region='eu-central-1'")
    assert "_made" not in shown
    assert "secret" not in shown
    assert "AKIA" not in shown


def test_a_bucket_is_asked_for_in_its_own_region(
    aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.glue_url)
    bucket = f"elsewhere-{aws.new_bucket()}"
    AwsClients("eu-central-1").client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    assert clients_for(bucket).region == "eu-central-1"
    assert clients_for("no-such-bucket-here").region == "us-east-1"
