"""The templates say what they have to say: settings that the product takes, nothing public, nothing lost, no secret in sight."""

from __future__ import annotations

from collections.abc import Callable

from billing_lake.aws.settings import AwsSettings
from billing_lake_tests.infra.stacks import Stacks

Synthesize = Callable[..., Stacks]


def test_the_outputs_are_settings_that_the_product_takes(synthesize: Synthesize) -> None:
    settings = AwsSettings.from_environment(synthesize().environment)
    assert settings.engine == "polars"
    assert settings.landing_bucket == "billing-lake-exports-123456789012-eu-central-1"
    assert settings.warehouse_bucket == settings.pipes_bucket
    assert settings.athena_output.startswith(settings.warehouse)
    assert settings.athena_workgroup == "billing-lake"
