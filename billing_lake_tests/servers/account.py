"""An account on this machine: where its services are, and clients that use them."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from billing_lake_tests.servers.seaweedfs import SeaweedFS


class Account:
    """Where the services are, and what a client needs to use them."""

    region = "us-east-1"
    account = "123456789012"
    key = "testkey"
    # Keys of roles, for tests in which it matters who asks.
    more_keys = ("dagsterkey", "jobkey")
    secret = "testsecret"
    glue_url: str
    """Glue, Athena, STS and CloudWatch Logs; known as soon as their server listens."""

    def __init__(self, seaweedfs: SeaweedFS) -> None:
        self._seaweedfs = seaweedfs
        self._numbers = itertools.count(1)
        self._clients: dict[str, Any] = {}

    @property
    def s3_url(self) -> str:
        """S3, and the control plane of S3 Tables."""
        return self._seaweedfs.s3_url

    @property
    def iceberg_url(self) -> str:
        """The Iceberg REST catalog of S3 Tables."""
        return self._seaweedfs.iceberg_url

    def environment(self) -> dict[str, str]:
        """Give the variables that lead boto3, in any process, to these services."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.glue_url,
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "AWS_ENDPOINT_URL_S3TABLES": self.s3_url,
            # Nothing of the person who runs the tests, and no search for a machine's role.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def client(self, service: str) -> Any:
        """Give a boto3 client, whatever the environment says."""
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            on_s3 = service in {"s3", "s3tables"}
            session = boto3.session.Session(self.key, self.secret, region_name=self.region)
            self._clients[service] = session.client(
                service,
                endpoint_url=self.s3_url if on_s3 else self.glue_url,
                config=Config(proxies={}, retries={"mode": "standard"}),
            )
        return self._clients[service]

    def new_bucket(self) -> str:
        """Make a bucket of a test's own."""
        name = f"bucket-{next(self._numbers)}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def new_table_bucket(self) -> str:
        """Make an S3 Tables bucket of a test's own, and give its ARN."""
        made = self.client("s3tables").create_table_bucket(name=f"tables-{next(self._numbers)}")
        return str(made["arn"])

    def put(self, bucket: str, key: str, data: bytes | str) -> str:
        """Put an object, and give its URI."""
        body = data.encode() if isinstance(data, str) else data
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"
