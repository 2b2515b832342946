"""Makes the clients of AWS, with the same region, retries, time-outs and endpoints for all services.

boto3 decides where a service is: `AWS_ENDPOINT_URL` and its kin lead every client elsewhere. pyiceberg and Polars bring S3
clients of their own; the settings that lead them to the same place are made here too.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

from billing_lake.domain.errors import INSTALL_AWS, ConfigurationError

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_MAX_ATTEMPTS = 8
_CONNECTIONS = 32


@dataclass(frozen=True)
class AwsClients:
    """boto3 clients for one region, made on first use and shared by all threads.

    Credentials come from boto3's own chain and are never looked at.

    Attributes:
        region: The AWS region, such as `eu-central-1`.
        connect_seconds: How long they wait for a connection.
        read_seconds: How long they wait for an answer.
        attempts: How often they ask in all where a service does not answer, or is busy.
    """

    region: str
    connect_seconds: float = _CONNECT_SECONDS
    read_seconds: float = _READ_SECONDS
    attempts: int = _MAX_ATTEMPTS
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _endpoints: dict[str, str | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    # boto3 makes clients in one thread at a time; finished clients are safe to share.
    _lock: threading.RLock = field(
        default_factory=threading.RLock, init=False, repr=False, compare=False
    )

    def client(self, service: str) -> Any:
        """Return the client of a service, such as `s3` or `glue`."""
        with self._lock:
            if service not in self._made:
                # Another server than AWS answers under one host name, whatever the bucket.
                by_path = service == "s3" and self.s3_endpoint is not None
                style = {"addressing_style": "path"} if by_path else None
                self._made[service] = self._new(service, s3=style)
            return self._made[service]

    def endpoint(self, service: str) -> str | None:
        """Return where the environment or the AWS configuration leads a service; None where it is AWS itself."""
        with self._lock:
            if service not in self._endpoints:
                used = self._new(service).meta.endpoint_url
                own = self._new(service, ignore_configured_endpoint_urls=True).meta.endpoint_url
                self._endpoints[service] = None if used == own else str(used)
            return self._endpoints[service]

    @property
    def s3_endpoint(self) -> str | None:
        """Return where the environment leads S3; None where it is AWS itself."""
        return self.endpoint("s3")

    def pyiceberg_s3_properties(self) -> dict[str, str]:
        """Return what pyiceberg's file access needs to find the same S3."""
        properties = {
            "s3.region": self.region,
            "s3.connect-timeout": f"{self.connect_seconds}",
            "s3.request-timeout": f"{self.read_seconds}",
        }
        if self.s3_endpoint is not None:
            properties["s3.endpoint"] = self.s3_endpoint
        return properties

    def polars_options(self) -> dict[str, str]:
        """Return the `storage_options` by which Polars finds the same S3; it asks boto3 for credentials by itself."""
        options = {"aws_region": self.region}
        if self.s3_endpoint is not None:
            options["aws_endpoint_url"] = self.s3_endpoint
            options["aws_virtual_hosted_style_request"] = "false"
            options["aws_allow_http"] = str(self.s3_endpoint.startswith("http:")).lower()
        return options

    def config(self, **settings: Any) -> Any:
        """Return botocore's configuration for a client, for a library that makes its clients itself."""
        from botocore.config import Config

        return Config(
            region_name=self.region,
            connect_timeout=self.connect_seconds,
            read_timeout=self.read_seconds,
            retries={"mode": "adaptive", "total_max_attempts": self.attempts},
            max_pool_connections=_CONNECTIONS,
            user_agent_extra="billing-lake",
            **settings,
        )

    def _new(self, service: str, **settings: Any) -> Any:
        return self._session.client(service, config=self.config(**settings))

    @cached_property
    def _session(self) -> Any:
        import boto3
        from botocore.session import get_session

        session = get_session()
        # botocore guesses at the format of each moment, which is most of what a listing costs.
        answers = session.get_component("response_parser_factory")
        answers.set_parser_defaults(timestamp_parser=_moment)
        return boto3.Session(region_name=self.region, botocore_session=session)


def _moment(value: Any) -> datetime:
    """Return a moment as AWS writes it: ISO 8601 in listings, as in mails in headers; whatever else botocore reads."""
    from botocore.utils import parse_timestamp

    for known in (_iso_moment, parsedate_to_datetime):
        with suppress(ValueError, TypeError, AttributeError, IndexError):
            found = known(value)
            if found.tzinfo is not None:
                return found
    moment: datetime = parse_timestamp(value)
    return moment


def _iso_moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def clients_for(bucket: str) -> AwsClients:
    """Return clients for the region in which a bucket is, as the environment of this process leads to it.

    Raises:
        ConfigurationError: boto3 is not installed, or finds no credentials.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        what = "Reading a bucket needs the package boto3, which is not installed"
        raise ConfigurationError(what, remedy=INSTALL_AWS) from error

    require_credentials()
    clients = AwsClients(os.environ.get("AWS_REGION") or boto3.Session().region_name or "us-east-1")
    try:
        told = clients.client("s3").head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        # Listing the bucket says what is wrong; the answer has its region all the same.
        told = getattr(error, "response", {})
    headers = told.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or clients.region
    # boto3 follows a bucket to its region, and Polars does not.
    return clients if region == clients.region else AwsClients(region)


def require_credentials() -> None:
    """Make sure that boto3 finds credentials.

    Raises:
        ConfigurationError: It does not.
    """
    import boto3

    if boto3.Session().get_credentials() is None:
        what = "There are no AWS credentials"
        remedy = "Give this process a role, set AWS_PROFILE, or sign in with the AWS command line"
        raise ConfigurationError(what, remedy=remedy)
