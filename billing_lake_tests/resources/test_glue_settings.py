"""What a Glue run costs, where it is looked at, and which settings cannot be right."""

from __future__ import annotations

from typing import Any

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.resources.glue_settings import GlueJobSettings

RIGHT: dict[str, Any] = {"job": "lake", "region": "eu-west-1", "pipes_bucket": "messages"}


def settings(**changes: Any) -> GlueJobSettings:
    return GlueJobSettings(**{**RIGHT, **changes})


@pytest.mark.parametrize(
    ("run", "dpu_seconds", "usd"),
    [
        ({"ExecutionTime": 600, "WorkerType": "G.2X", "NumberOfWorkers": 10}, 12_000, 1.4667),
        ({"ExecutionTime": 600}, 3_000, 0.3667),  # as asked for: five G.1X
        ({"ExecutionTime": 7}, 300, 0.0367),  # a minute is billed at least
        ({"ExecutionTime": 0}, 0, 0),  # it never worked
        ({"ExecutionTime": 600, "DPUSeconds": 1234.56}, 1_234.6, 0.1509),  # Glue knows better
    ],
)
def test_the_cost_is_that_of_all_workers_unless_glue_says_otherwise(
    run: dict[str, Any], dpu_seconds: float, usd: float
) -> None:
    facts = settings().facts({"Id": "jr_1", **run})
    assert (facts["glue_dpu_seconds"], facts["glue_estimated_usd"]) == (dpu_seconds, usd)
    assert facts["glue_seconds"] == run["ExecutionTime"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_link_leads_to_the_console_of_the_region_whatever_the_job_is_called(
    region: str, host: str
) -> None:
    url = settings(job="a job/x", region=region).console_url("jr_1")
    assert url == f"https://{host}/gluestudio/home?region={region}#/job/a%20job%2Fx/run/jr_1"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"job": ""}, "BILLING_LAKE_GLUE_JOB"),
        ({"pipes_bucket": ""}, "BILLING_LAKE_PIPES_BUCKET"),
        ({"worker_type": "G.3X"}, "BILLING_LAKE_GLUE_WORKER_TYPE"),
        ({"workers": 1}, "BILLING_LAKE_GLUE_WORKERS"),
        ({"timeout_minutes": 0}, "BILLING_LAKE_GLUE_TIMEOUT_MINUTES"),
        ({"timeout_minutes": 10_081}, "BILLING_LAKE_GLUE_TIMEOUT_MINUTES"),
        ({"dpu_hour_usd": -1.0}, "BILLING_LAKE_GLUE_DPU_HOUR_USD"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(change: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is "):
        settings(**change)
