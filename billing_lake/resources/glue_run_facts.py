"""Says what people want to know about a run of a Glue job: where to look at it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from billing_lake.aws.settings import WORKER_DPUS, AwsSettings

_LEAST_BILLED_SECONDS = 60
_CONSOLES = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}


def console_url(settings: AwsSettings, run_id: str) -> str:
    """Return the address of a run in the AWS console."""
    region = settings.region
    domain = next(
        (name for start, name in _CONSOLES.items() if region.startswith(start)), "aws.amazon.com"
    )
    job, run = quote(settings.glue_job or "", safe=""), quote(run_id, safe="")
    return f"https://{region}.console.{domain}/gluestudio/home?region={region}#/job/{job}/run/{run}"


def run_advice(settings: AwsSettings, run_id: str) -> str:
    """Return what to do about a run that did not do its work."""
    url = console_url(settings, run_id)
    return f"No table was changed; see {url} and then load the period again"


def run_facts(settings: AwsSettings, run: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return the metadata of a run that has ended, a `JobRun` of Glue's API."""
    worker_type = str(run.get("WorkerType") or settings.glue_worker_type)
    workers = int(run.get("NumberOfWorkers") or settings.glue_workers)
    seconds = int(run.get("ExecutionTime") or 0)
    dpus = workers * WORKER_DPUS.get(worker_type, 1.0)
    # Glue states what it bills only where workers come and go; elsewhere all of them are billed, a minute at least.
    billed = max(seconds, _LEAST_BILLED_SECONDS) if seconds else 0
    used = float(run.get("DPUSeconds") or 0) or dpus * billed
    return {
        "glue_job_run": str(run["Id"]),
        "glue_console": console_url(settings, str(run["Id"])),
        "glue_workers": f"{workers} {worker_type}",
        "glue_seconds": seconds,
        "glue_dpu_seconds": round(used, 1),
        "glue_estimated_usd": round(used / 3600 * settings.glue_dpu_hour_usd, 4),
    }
