"""Settings of a lake on AWS for tests that care for few of them."""

from __future__ import annotations

from typing import Any

from billing_lake.aws.settings import AwsSettings, variable_of

ENOUGH = {
    "AWS_REGION": "eu-central-1",
    "BILLING_LAKE_LANDING_BUCKET": "acme-billing",
    "BILLING_LAKE_WAREHOUSE": "s3://acme-lake/finance/",
    "BILLING_LAKE_GLUE_JOB": "billing lake",
}
"""The variables that have to be set."""


def aws_settings(**fields: Any) -> AwsSettings:
    """Return settings with the given fields, such as `glue_job`."""
    given = {variable_of(name): str(value) for name, value in fields.items()}
    return AwsSettings.from_environment({**ENOUGH, **given})
