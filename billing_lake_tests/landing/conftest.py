"""A bucket with deliveries, on servers that list in two ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from billing_lake.aws.clients import AwsClients
from billing_lake.landing.s3 import S3Storage
from billing_lake_tests.landing.small_deliveries import deliver
from billing_lake_tests.servers.aws import Aws


class Landing:
    """A bucket, and the folder that fills it."""

    def __init__(self, bucket: str, root: Path) -> None:
        self.bucket, self.root = bucket, root
        self.clients = AwsClients("us-east-1")
        self.s3 = self.clients.client("s3")
        self.storage = S3Storage(self.clients, bucket)

    def put(self, key: str, data: bytes = b"x") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def deliver(self, *args: Any, **kwargs: Any) -> None:
        for path in deliver(self.root, *args, **kwargs):
            self.put(str(path.relative_to(self.root)), path.read_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        return [file.key for file in self.storage.list(prefix)]


@pytest.fixture
def landing(aws: Aws, aws_environment: object, tmp_path: Path) -> Landing:
    """A bucket of SeaweedFS, which lists folder by folder."""
    bucket = aws.new_bucket()
    return Landing(bucket, tmp_path / bucket)


@pytest.fixture(params=["seaweedfs", "moto"])
def any_landing(
    request: pytest.FixtureRequest,
    aws: Aws,
    aws_environment: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Landing:
    """A bucket of a server that lists folder by folder, and of one that lists by bytes as AWS does."""
    if request.param == "seaweedfs":
        bucket = aws.new_bucket()
        return Landing(bucket, tmp_path / bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.glue_url)
    landing = Landing(f"moto-{aws.new_bucket()}", tmp_path / "moto")
    landing.s3.create_bucket(Bucket=landing.bucket)
    return landing
