"""Job runs that run: a started run gets its script and libraries from S3 and executes them.

A run goes STARTING, RUNNING, then SUCCEEDED, FAILED, STOPPED, TIMEOUT or what a test asks for; nothing but the
execution moves it on. Scripts run one after the other in a Python that keeps its Spark, or each in a Python of
its own where a test asks for that (`cold`) or the job for settings of Spark (`--conf`).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.glue_processes import Cold, Script, Warm, environment

if TYPE_CHECKING:
    from moto.glue.models import FakeJob, FakeJobRun

    from billing_lake_tests.servers.account import Account

LOG_GROUP = "/aws-glue/jobs"
_DPUS = {"G.025X": 0.25, "G.1X": 1.0, "G.2X": 2.0, "G.4X": 4.0, "G.8X": 8.0, "R.1X": 1.0}
_ACTIVE = ("STARTING", "WAITING", "RUNNING", "STOPPING")


@dataclass
class Run:
    """What is known of a run beyond moto's record of it."""

    job: FakeJob
    record: FakeJobRun
    error: str | None = None
    output: str = ""
    began: float = field(default_factory=time.monotonic)
    took: float | None = None
    stop: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.job_run_id

    @property
    def state(self) -> str:
        """The run's state."""
        return str(self.record._status)

    def move(self, state: str) -> bool:
        """Go to another state; nothing leaves the last one, and a run that is being stopped does not run again."""
        with self._lock:
            if self.state not in _ACTIVE or (self.state, state) == ("STOPPING", "RUNNING"):
                return False
            self.record._status = state
            return True

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began if self.took is None else self.took


class JobRuns:
    """The runs of all jobs, and what tests may wish for them."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._folder = tempfile.TemporaryDirectory(prefix="glue-")
        self._one_at_a_time = threading.Lock()
        self._starting = threading.Lock()
        self._processes = {id(aws): self._processes_of(aws)}
        self._accounts: dict[str, Account] = {}
        self._runs: dict[str, Run] = {}
        self._endings: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._held: set[str] = set()
        self._closed = False
        # Names of jobs whose runs get a Python of their own.
        self.cold: set[str] = set()
        # A job's timeout is in minutes; a test need not wait that long.
        self.seconds_per_minute = 60.0
        # Glue tells DPU-seconds for some kinds of runs only.
        self.reports_dpu_seconds = True

    def of(self, job: str) -> list[Run]:
        """All runs of a job, the oldest first."""
        return [run for run in self._runs.values() if run.record.job_name == job]

    def wait(self, run_id: str, seconds: float = PATIENCE_SECONDS) -> Run:
        """Wait until a run is over."""
        run = self._runs[run_id]
        assert run.over.wait(seconds), f"{run_id} is still {run.state} after {seconds:g} s"
        return run

    def wait_for(self, run_id: str, state: str, seconds: float = PATIENCE_SECONDS) -> Run:
        """Wait until a run is in a state that is not its last."""
        run, deadline = self._runs[run_id], time.monotonic() + seconds
        while run.state != state:
            assert not run.over.is_set(), f"{run_id} is {run.state}: {run.error}"
            assert time.monotonic() < deadline, f"{run_id} is still {run.state}"
            time.sleep(0.02)
        return run

    def end_next(self, job: str, state: str, message: str = "by the test") -> None:
        """Let the next run of a job end like this without running, for example as EXPIRED."""
        self._endings[job].append((state, message))

    def hold(self, job: str) -> None:
        """Let runs of a job be RUNNING and do nothing, until they are released, stopped or late."""
        self._held.add(job)

    def release(self, job: str) -> None:
        """Let held runs of a job, and later ones, execute."""
        self._held.discard(job)

    def forget_wishes(self) -> None:
        """Let held runs of all jobs, and later ones, execute."""
        self._held.clear()
        self._endings.clear()

    def run_as(self, job: str, account: Account) -> None:
        """Let the runs of a job use an account in their own way: with the key of the job's role, for example."""
        self._accounts[job] = account
        self._processes.setdefault(id(account), self._processes_of(account))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Take over what moto does with job runs."""
        from moto.core.responses import ActionResult
        from moto.glue.models import FakeJob, FakeJobRun
        from moto.glue.responses import GlueResponse

        start, describe = FakeJob.start_job_run, FakeJobRun.as_dict

        def start_job_run(job: FakeJob, *args: Any, **named: Any) -> str:
            with self._starting:  # counting the runs and adding one belong together
                run_id = start(job, *args, **named)
                self._begin(Run(job=job, record=job.job_runs[-1]))
            return run_id

        def batch_stop_job_run(response: GlueResponse) -> ActionResult:
            asked = response.parameters
            stopped, errors = self._stop(asked["JobName"], asked["JobRunIds"])
            return ActionResult({"SuccessfulSubmissions": stopped, "Errors": errors})

        patch.setattr(FakeJob, "start_job_run", start_job_run)
        patch.setattr(FakeJob, "get_job_runs", lambda job: job.job_runs[::-1])  # newest first
        patch.setattr(FakeJobRun, "status", property(lambda record: record._status))
        patch.setattr(
            FakeJobRun, "as_dict", lambda record: self._describe(record, describe(record))
        )
        patch.setattr(GlueResponse, "batch_stop_job_run", batch_stop_job_run, raising=False)

    def close(self) -> None:
        """End everything that still runs."""
        self._closed = True
        for run in list(self._runs.values()):
            run.over.wait(PATIENCE_SECONDS)
        for warm, _ in self._processes.values():
            warm.close()
        self._folder.cleanup()

    def _processes_of(self, account: Account) -> tuple[Warm, Cold]:
        def variables() -> dict[str, str]:
            return self._variables(account)

        return Warm(variables), Cold(variables)

    def _variables(self, aws: Account) -> dict[str, str]:
        from billing_lake_tests.servers.spark_s3 import spark_settings, write_spark_conf

        conf = Path(self._folder.name) / f"conf-{aws.key}"
        with self._starting:
            if not conf.exists():
                settings = spark_settings(aws.s3_url, aws.key, aws.secret, aws.region)
                write_spark_conf(conf, settings)
        return environment(aws, conf)

    def _describe(self, record: FakeJobRun, told: dict[str, Any]) -> dict[str, Any]:
        told["LogGroupName"] = LOG_GROUP
        run = self._runs.get(record.job_run_id)
        if run is None:  # listed while it is being started
            del told["CompletedOn"]
            return told
        told["GlueVersion"] = run.job.glue_version
        told["ExecutionTime"] = int(run.seconds)
        if told["JobRunState"] in _ACTIVE:  # not the state of now, which may be another
            del told["CompletedOn"]
        elif self.reports_dpu_seconds:
            dpus = _DPUS.get(record.worker_type or "", 1.0) * (record.number_of_workers or 0)
            told["DPUSeconds"] = run.seconds * dpus
        if run.error is not None:
            told["ErrorMessage"] = run.error
        return told

    def _stop(
        self, job: str, run_ids: list[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        stopped, errors = [], []
        for run_id in run_ids:
            run = self._runs.get(run_id)
            if run is not None and run.record.job_name == job and run.move("STOPPING"):
                run.stop = True
                stopped.append({"JobName": job, "JobRunId": run_id})
                continue
            code = "EntityNotFoundException" if run is None else "IllegalStateException"
            detail = {"ErrorCode": code, "ErrorMessage": f"Job run {run_id} is not running"}
            errors.append({"JobName": job, "JobRunId": run_id, "ErrorDetail": detail})
        return stopped, errors

    def _begin(self, run: Run) -> None:
        self._runs[run.id] = run
        threading.Thread(target=self._live, args=(run,), name=run.id[:12], daemon=True).start()

    def _live(self, run: Run) -> None:
        from moto.core.utils import utcnow

        try:
            state, error = self._execute(run)
        except Exception as failure:  # noqa: BLE001 # a thread's exception would leave the run RUNNING for ever
            state, error = "FAILED", f"LAUNCH ERROR | {failure}"
        if not self._closed:
            with suppress(Exception):
                self._keep_log(run)
        run.error, run.took = error, time.monotonic() - run.began
        run.record.completed_on = run.record.modified_on = utcnow()
        run.move(state)
        run.over.set()

    def _execute(self, run: Run) -> tuple[str, str | None]:
        name = run.job.name
        deadline = time.monotonic() + (run.record.timeout or 2880) * self.seconds_per_minute

        def wanted() -> bool:
            return not (run.stop or self._closed or time.monotonic() > deadline)

        if self._endings[name]:
            return self._endings[name].pop(0)
        if name in self._held:
            run.move("RUNNING")
        while name in self._held and wanted():
            time.sleep(0.02)
        code: int | None = None
        if wanted():
            code = self._run_script(run, wanted)
        if code is not None:
            return ("SUCCEEDED", None) if code == 0 else ("FAILED", _reason(run.output, code))
        if run.stop or self._closed:
            return "STOPPED", None
        return "TIMEOUT", "Job run timed out"

    def _run_script(self, run: Run, wanted: Any) -> int | None:
        arguments = dict(run.record.arguments or {})
        command: Any = run.job.command  # a mapping, whatever its annotation says
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        script = Script(
            path=self._fetch(run, command["ScriptLocation"], folder),
            arguments=_command_line(run, arguments),
            libraries=[
                self._fetch(run, uri.strip(), folder)
                for uri in arguments.get("--extra-py-files", "").split(",")
                if uri.strip()
            ],
            folder=folder,
            output=folder / "output.log",
            spark=[part.strip() for part in arguments.get("--conf", "").split("--conf") if part],
        )
        warm, cold = self._processes[id(self._accounts.get(run.job.name, self._aws))]
        try:
            if run.job.name in self.cold or script.spark:
                run.move("RUNNING")
                return cold.run(script, wanted)
            while not self._one_at_a_time.acquire(timeout=0.05):
                if not wanted():
                    return None
            try:
                run.move("RUNNING")
                return warm.run(script, wanted)
            finally:
                self._one_at_a_time.release()
        finally:
            if script.output.exists():
                run.output = script.output.read_text(errors="replace")

    def _fetch(self, run: Run, uri: str, folder: Path) -> Path:
        where = urlsplit(uri)
        target = folder / Path(where.path).name
        account = self._accounts.get(run.job.name, self._aws)
        try:
            account.client("s3").download_file(where.netloc, where.path.lstrip("/"), str(target))
        except Exception as error:
            raise FileNotFoundError(
                f"Error downloading from S3 for bucket: {where.netloc}, key: {where.path.lstrip('/')}. {error}"
            ) from error
        return target

    def _keep_log(self, run: Run) -> None:
        logs = self._aws.client("logs")
        for kind, text in (("output", run.output), ("error", "")):
            group = f"{LOG_GROUP}/{kind}"
            with suppress(logs.exceptions.ResourceAlreadyExistsException):
                logs.create_log_group(logGroupName=group)
            logs.create_log_stream(logGroupName=group, logStreamName=run.id)
            now = int(time.time() * 1000)
            events = [{"timestamp": now, "message": line} for line in text.splitlines() if line]
            for first in range(0, len(events), 10_000):
                logs.put_log_events(
                    logGroupName=group,
                    logStreamName=run.id,
                    logEvents=events[first : first + 10_000],
                )


def _command_line(run: Run, arguments: dict[str, str]) -> list[str]:
    glue = {"--JOB_ID": "j_tests", "--JOB_RUN_ID": run.id, "--JOB_NAME": run.job.name}
    # Glue hands its own parameters to the script too: a strict parser of arguments fails there.
    return [part for pair in (arguments | glue).items() for part in pair]


def _reason(output: str, code: int) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    if "Traceback (most recent call last):" in output and lines:
        return lines[-1]
    return f"SystemExit: {code}"
