"""The lake on AWS as a resource: each setting is shown, and a run may set it otherwise."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from billing_lake.deployments import DEPLOYMENT_SETTING, Lake, open_lake
from billing_lake.deployments.aws import AwsLake
from billing_lake.deployments.base import LAKE_RESOURCE

SETTINGS = {
    DEPLOYMENT_SETTING: "aws",
    "AWS_REGION": "eu-central-1",
    "BILLING_LAKE_LANDING_BUCKET": "acme-billing",
    "BILLING_LAKE_WAREHOUSE": "s3://acme-lake/billing",
    "BILLING_LAKE_GLUE_JOB": "billing-lake",
    "BILLING_LAKE_GLUE_WORKERS": "7",
}


def test_a_run_gets_the_lake_on_aws_and_may_set_each_setting_otherwise() -> None:
    lake = open_lake(SETTINGS)
    assert isinstance(lake, AwsLake)
    given: list[AwsLake] = []

    @dg.asset
    def ask(billing_lake: dg.ResourceParam[Lake]) -> None:
        assert isinstance(billing_lake, AwsLake)
        given.append(billing_lake)

    resources = {LAKE_RESOURCE: lake.resources()[LAKE_RESOURCE]}
    job = dg.Definitions(assets=[ask], resources=resources).resolve_implicit_global_asset_job_def()
    job.execute_in_process()
    more: dict[str, Any] = {"glue_workers": "9", "engine": "polars"}
    job.execute_in_process(run_config={"resources": {LAKE_RESOURCE: {"config": more}}})
    first, second = (one.settings for one in given)
    assert first == lake.settings
    assert second == lake.settings.model_copy(update={"glue_workers": 9, "engine": "polars"})


def test_a_setting_of_a_run_that_cannot_be_right_is_named() -> None:
    resource = open_lake(SETTINGS).resources()[LAKE_RESOURCE]

    @dg.asset
    def ask(billing_lake: dg.ResourceParam[Lake]) -> None:
        """Is never run."""

    job = dg.Definitions(
        assets=[ask], resources={LAKE_RESOURCE: resource}
    ).resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        job.execute_in_process(
            run_config={"resources": {LAKE_RESOURCE: {"config": {"glue_workers": "one"}}}}
        )
    assert "BILLING_LAKE_GLUE_WORKERS" in str(caught.value.__cause__)
