"""What the lake decides about a Glue job: which one, how large, how long, and what its seconds cost.

The job itself (its script, role, retries, connections) belongs to the infrastructure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from billing_lake.domain.errors import ConfigurationError, shown

_DPUS = {
    "G.025X": 0.25,
    "G.1X": 1.0,
    "G.2X": 2.0,
    "G.4X": 4.0,
    "G.8X": 8.0,
    "G.12X": 12.0,
    "G.16X": 16.0,
    "R.1X": 1.0,
    "R.2X": 2.0,
    "R.4X": 4.0,
    "R.8X": 8.0,
}
_MOST_MINUTES = 7 * 24 * 60
_LEAST_BILLED_SECONDS = 60
_CONSOLES = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}


@dataclass(frozen=True, kw_only=True)
class GlueJobSettings:
    """Which job to run, and with what.

    Attributes:
        job: Name of the Glue job.
        region: Its AWS region.
        pipes_bucket: Bucket in which requests and messages travel.
        worker_type: Size of a worker.
        workers: Number of workers, the driver included.
        timeout_minutes: After how long Glue ends a run.
        dpu_hour_usd: Price of an hour of one data processing unit.
    """

    job: str
    region: str
    pipes_bucket: str
    worker_type: str = "G.1X"
    workers: int = 5
    timeout_minutes: int = 120
    dpu_hour_usd: float = 0.44

    def __post_init__(self) -> None:
        """Refuse what Glue would refuse later.

        Raises:
            ConfigurationError: A setting cannot be right; it is named.
        """
        for name, value in (("JOB", self.job), ("PIPES_BUCKET", self.pipes_bucket)):
            if not value:
                raise _wrong(name, value, "a name")
        if self.worker_type not in _DPUS:
            raise _wrong("WORKER_TYPE", self.worker_type, f"one of {', '.join(_DPUS)}")
        if self.workers < 2:  # noqa: PLR2004 -- one to drive, one to work
            raise _wrong("WORKERS", self.workers, "at least 2")
        if not 0 < self.timeout_minutes <= _MOST_MINUTES:
            raise _wrong("TIMEOUT_MINUTES", self.timeout_minutes, f"between 1 and {_MOST_MINUTES}")
        if self.dpu_hour_usd < 0:
            raise _wrong("DPU_HOUR_USD", self.dpu_hour_usd, "a price")

    def console_url(self, run_id: str) -> str:
        """Return where a person looks at a run."""
        domain = next(
            (name for start, name in _CONSOLES.items() if self.region.startswith(start)),
            "aws.amazon.com",
        )
        job, run = quote(self.job, safe=""), quote(run_id, safe="")
        return (
            f"https://{self.region}.console.{domain}/gluestudio/home?region={self.region}"
            f"#/job/{job}/run/{run}"
        )

    def advice(self, run_id: str) -> str:
        """Return what to do about a run that did not do its work."""
        return (
            f"No table was changed; see {self.console_url(run_id)} and then load the period again"
        )

    def facts(self, run: Mapping[str, Any]) -> dict[str, str | int | float]:
        """Return what people should know about a finished run, a `JobRun` of Glue's API."""
        worker_type = str(run.get("WorkerType") or self.worker_type)
        workers = int(run.get("NumberOfWorkers") or self.workers)
        seconds = int(run.get("ExecutionTime") or 0)
        dpus = workers * _DPUS.get(worker_type, 1.0)
        # Glue states what it bills only where workers come and go; elsewhere all of them are billed, a minute at least.
        billed = max(seconds, _LEAST_BILLED_SECONDS) if seconds else 0
        used = float(run.get("DPUSeconds") or 0) or dpus * billed
        return {
            "glue_job_run": str(run["Id"]),
            "glue_console": self.console_url(str(run["Id"])),
            "glue_workers": f"{workers} {worker_type}",
            "glue_seconds": seconds,
            "glue_dpu_seconds": round(used, 1),
            "glue_estimated_usd": round(used / 3600 * self.dpu_hour_usd, 4),
        }


@dataclass(frozen=True, kw_only=True)
class GlueWaits:
    """How long to wait for what, in seconds.

    Attributes:
        first_poll: Pause before the second look at a run; each is longer than the one before.
        last_poll: The longest such pause.
        progress: How often to say that a run still works.
        slot: How long to wait for a run to be admitted: by the job's own limit of runs, the account's, or Glue's queue.
        overtime: How long to wait beyond the run's time-out, for its start and its end.
        stop: How long to wait for a run that was told to stop.
        trouble: How long to put up with a Glue that does not answer.
    """

    first_poll: float = 2
    last_poll: float = 10
    progress: float = 30
    slot: float = 4 * 3600
    overtime: float = 1800
    stop: float = 180
    trouble: float = 900


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    setting = name if name == "PIPES_BUCKET" else f"GLUE_{name}"
    what = f"BILLING_LAKE_{setting} is {shown(value)!r}"
    return ConfigurationError(what, remedy=f"Set it to {wanted}")
