"""Settings of `aws`: what is missing or wrong is said by name, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import billing_lake
from billing_lake.aws.settings import AwsSettings, settings_table
from billing_lake.domain.errors import ConfigurationError
from billing_lake_tests.aws.settings import ENOUGH

DEPLOYMENTS = Path(billing_lake.__file__).parents[1] / "docs" / "deployments.md"


def test_few_settings_are_enough_and_the_rest_follows_from_them() -> None:
    settings = AwsSettings.from_environment(ENOUGH)
    assert settings.warehouse == "s3://acme-lake/finance"
    assert settings.warehouse_bucket == "acme-lake"
    assert settings.pipes_bucket == "acme-lake"
    assert settings.athena_output == "s3://acme-lake/finance/athena"
    assert settings.s3_tables_uri == "https://s3tables.eu-central-1.amazonaws.com/iceberg"
    assert (settings.engine, settings.glue_workers, settings.glue_worker_type) == (
        "glue",
        5,
        "G.1X",
    )
    assert settings.table_bucket_arn is None


@pytest.mark.parametrize("name", sorted(ENOUGH))
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    rest = {setting: value for setting, value in ENOUGH.items() if setting != name}
    with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
        AwsSettings.from_environment(rest)


def test_polars_needs_no_glue_job() -> None:
    rest = {**ENOUGH, "BILLING_LAKE_ENGINE": "polars", "BILLING_LAKE_GLUE_JOB": ""}
    assert AwsSettings.from_environment(rest).glue_job is None


def test_a_bucket_alone_may_be_the_warehouse() -> None:
    settings = AwsSettings.from_environment({**ENOUGH, "BILLING_LAKE_WAREHOUSE": "s3://acme-lake"})
    assert (settings.warehouse, settings.warehouse_bucket) == ("s3://acme-lake", "acme-lake")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "Frankfurt"),
        ("BILLING_LAKE_LANDING_BUCKET", "s3://acme-billing"),
        ("BILLING_LAKE_LANDING_BUCKET", "Acme Billing"),
        ("BILLING_LAKE_LANDING_BUCKET", "acme-billing\n"),
        ("BILLING_LAKE_WAREHOUSE", "acme-lake/finance"),
        ("BILLING_LAKE_WAREHOUSE", "s3://acme-lake/../other"),
        ("BILLING_LAKE_WAREHOUSE", "s3://acme-lake/a//b"),
        ("BILLING_LAKE_TABLE_BUCKET_ARN", "acme-tables"),
        ("BILLING_LAKE_S3_TABLES_URI", "s3tables"),
        ("BILLING_LAKE_ENGINE", "spark"),
        ("BILLING_LAKE_GLUE_WORKER_TYPE", "huge"),
        # Glue has or had these, and runs no Spark job of ours on them.
        ("BILLING_LAKE_GLUE_WORKER_TYPE", "Standard"),
        ("BILLING_LAKE_GLUE_WORKER_TYPE", "Z.2X"),
        ("BILLING_LAKE_GLUE_WORKER_TYPE", "G.3X"),
        ("BILLING_LAKE_GLUE_WORKERS", "0"),
        ("BILLING_LAKE_GLUE_WORKERS", "many"),
        ("BILLING_LAKE_GLUE_WORKERS", "1"),
        ("BILLING_LAKE_GLUE_TIMEOUT_MINUTES", "-5"),
        ("BILLING_LAKE_GLUE_TIMEOUT_MINUTES", "10081"),
        ("BILLING_LAKE_GLUE_DPU_HOUR_USD", "free"),
        ("BILLING_LAKE_GLUE_DPU_HOUR_USD", "-1"),
        ("BILLING_LAKE_GLUE_DPU_HOUR_USD", "inf"),
        ("BILLING_LAKE_PIPES_BUCKET", "two words"),
        ("BILLING_LAKE_GLUE_CRAWLER_ROLE", "crawler"),
        ("BILLING_LAKE_CRAWLED_DATABASE", "Two Words"),
        ("BILLING_LAKE_ATHENA_WORKGROUP", "two words"),
        ("BILLING_LAKE_ATHENA_OUTPUT", "results"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named_with_its_value_and_its_form(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is .*Set it to") as caught:
        AwsSettings.from_environment({**ENOUGH, name: value})
    assert value.strip() in str(caught.value)


def test_the_region_may_come_from_boto3s_variable_or_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = {name: value for name, value in ENOUGH.items() if name != "AWS_REGION"}
    other = {**rest, "AWS_DEFAULT_REGION": "eu-west-1"}
    assert AwsSettings.from_environment(other).region == "eu-west-1"
    config = tmp_path / "config"
    config.write_text("[profile finance]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    settings = AwsSettings.from_environment({**rest, "AWS_PROFILE": "finance"})
    assert settings.s3_tables_uri == "https://s3tables.eu-north-1.amazonaws.com/iceberg"


def test_the_documentation_has_the_table_of_settings_that_the_model_makes() -> None:
    assert settings_table() in DEPLOYMENTS.read_text(encoding="utf-8")
