"""Checks, once at the start of a run, that a lake on AWS is there and that we may use it.

Half an hour into a load is a bad time to learn that the warehouse may not be written to. Each question is one cheap call;
each answer that is no names the setting behind it, the action that was refused, and what AWS said.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from billing_lake.aws.errors import Fault, credentials_error, error_text, fault_of
from billing_lake.aws.settings import AwsSettings, variable_of
from billing_lake.domain.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from billing_lake.aws.clients import AwsClients


def require_access(
    settings: AwsSettings, clients: AwsClients, outputs: Collection[str], crawler: str
) -> None:
    """Ask for everything that an export needs.

    Raises:
        ConfigurationError: Something is not set, not there, or not open to us.
    """
    _ask(
        variable_of("landing_bucket"),
        settings.landing_bucket,
        "s3:ListBucket",
        lambda: clients.client("s3").list_objects_v2(Bucket=settings.landing_bucket, MaxKeys=1),
    )
    _ask(
        variable_of("warehouse"),
        settings.warehouse,
        "s3:PutObject",
        lambda: _write(settings, clients),
    )
    _ask(
        variable_of("region"),
        settings.region,
        "glue:GetDatabases",
        lambda: clients.client("glue").get_databases(MaxResults=1),
    )
    if "s3_table" in outputs:
        arn = require_table_bucket(settings)
        _ask(
            variable_of("table_bucket_arn"),
            arn,
            "s3tables:GetTableBucket",
            lambda: clients.client("s3tables").get_table_bucket(tableBucketARN=arn),
        )
    if settings.engine == "glue":
        _ask(
            variable_of("glue_job"),
            settings.glue_job or "",
            "glue:GetJob",
            lambda: clients.client("glue").get_job(JobName=settings.glue_job),
        )
        _ask(
            variable_of("pipes_bucket"),
            settings.pipes_bucket,
            "s3:ListBucket",
            lambda: clients.client("s3").list_objects_v2(Bucket=settings.pipes_bucket, MaxKeys=1),
        )
    if crawler == "glue" and settings.crawler_role is None:
        remedy = "Set it to arn:aws:iam::<account>:role/<name>, or use `crawler: built_in`"
        raise ConfigurationError(f"{variable_of('crawler_role')} is not set", remedy=remedy)


def require_table_bucket(settings: AwsSettings) -> str:
    """Return the ARN of the S3 Tables bucket.

    Raises:
        ConfigurationError: It is not set.
    """
    if settings.table_bucket_arn is None:
        remedy = "Set it to arn:aws:s3tables:<region>:<account>:bucket/<name>, or leave `s3_table` out of `outputs`"
        raise ConfigurationError(f"{variable_of('table_bucket_arn')} is not set", remedy=remedy)
    return settings.table_bucket_arn


def _write(settings: AwsSettings, clients: AwsClients) -> None:
    """Write a file of a few bytes into the warehouse, and take it away."""
    s3 = clients.client("s3")
    folder = settings.warehouse.removeprefix(f"s3://{settings.warehouse_bucket}").strip("/")
    key = "/".join(part for part in (folder, "staging", f"access-{uuid.uuid4().hex}") if part)
    s3.put_object(Bucket=settings.warehouse_bucket, Key=key, Body=b"may be removed")
    s3.delete_object(Bucket=settings.warehouse_bucket, Key=key)


def _ask(setting: str, value: str, action: str, call: Callable[[], Any]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        call()
    except (ClientError, BotoCoreError) as error:
        fault, text = fault_of(error), error_text(error)
        about = f"{setting} is {shown(value)}"
        if fault is Fault.MISSING:
            remedy = f"Correct {setting}, or create it in this region"
            raise ConfigurationError(f"{about}, which does not exist", remedy=remedy) from error
        if (named := credentials_error(error)) is not None:
            raise named from error
        if isinstance(error, BotoCoreError):
            what = f"{about}, and AWS was not reached for {action}: {text}"
            raise ConfigurationError(
                what, remedy=f"Check the network and {variable_of('region')}"
            ) from error
        remedy = (
            f"Allow {action} to the role that this process runs as"
            if fault is Fault.DENIED
            else f"Check {setting}, the region and the credentials"
        )
        what = f"{about}, and {action} was refused: {text}"
        raise ConfigurationError(what, remedy=remedy) from error
