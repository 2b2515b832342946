"""What a Glue run costs, and where it is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from billing_lake.resources.glue_run_facts import console_url, run_facts
from billing_lake_tests.aws.settings import aws_settings


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
    facts = run_facts(aws_settings(), {"Id": "jr_1", **run})
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
    url = console_url(aws_settings(glue_job="a job/x", region=region), "jr_1")
    assert url == f"https://{host}/gluestudio/home?region={region}#/job/a%20job%2Fx/run/jr_1"
