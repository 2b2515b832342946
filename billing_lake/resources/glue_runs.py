"""Runs of a Glue job: started once, watched patiently, stopped for good.

Glue refuses calls when many come at once, admits a few runs of a job at a time, ends runs in a state that nobody expects, and
has no way to ask for a run only once. What follows from that is decided here; Dagster is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from billing_lake.aws.settings import AwsSettings
from billing_lake.domain.errors import BillingLakeError, GlueJobError, shown
from billing_lake.engines.base import Log
from billing_lake.resources.glue_faults import Calm, doubtful, is_full, said
from billing_lake.resources.glue_run_facts import advice, console_url

LAUNCH = "--billing-lake-launch"
"""Argument with an id that no other start of a run has."""

RUN = "--billing-lake-run"
"""Argument with the id of the Dagster run that a run works for."""

STEP = "--billing-lake-step"
"""Argument with the step of the Dagster run, and the billing periods that it is about."""

ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"})

_MESSAGE = 500

Run = Mapping[str, Any]
"""A `JobRun` of Glue's API."""


@dataclass(frozen=True, kw_only=True)
class GlueWaits:
    """How long to wait for what, in seconds.

    Attributes:
        first_poll: Pause before the second look at a run; each is longer than the one before.
        last_poll: The longest such pause.
        progress: How often to log that a run still works.
        slot: How long to wait for a run to be admitted: by the job's own limit of runs, the account's, or Glue's queue.
        overtime: How long to wait beyond the run's time-out, for its start and its end.
        stop: How long to wait for a run to stop after it was asked to.
        trouble: How long to repeat calls that Glue does not answer.
    """

    first_poll: float = 2
    last_poll: float = 10
    progress: float = 30
    slot: float = 4 * 3600
    overtime: float = 1800
    stop: float = 180
    trouble: float = 900


@dataclass(kw_only=True)
class GlueRuns:
    """Runs of one job, for one launch.

    It has the calls of a boto3 client that Dagster's Glue client makes, so that it can stand in for one.

    Attributes:
        client: boto3 client of Glue.
        settings: The job.
        waits: How long to wait for what.
        log: Takes lines about progress.
        launch: What no other launch has: a run whose start was never confirmed is recognised by it.
        sleep: Waits for some seconds.
        clock: Returns seconds that only grow.
        started: Id of the run that was started.
        last: What Glue said last about it.
    """

    client: Any
    settings: AwsSettings
    waits: GlueWaits
    log: Log
    launch: str
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    started: str | None = None
    last: Run | None = None
    _asked: bool = field(default=False, init=False)

    @property
    def meta(self) -> Any:
        """As a boto3 client has it."""
        return self.client.meta

    @property
    def working(self) -> bool:
        """Whether there is, or may be, a run that has not ended."""
        return self._asked and (self.last is None or self.last["JobRunState"] not in ENDED)

    def start_job_run(self, **parameters: Any) -> dict[str, Any]:
        """Start a run, once, as soon as there is room for it.

        Raises:
            ConfigurationError: There is no such job, or no right to run it, or it cannot be run like this.
            GlueJobError: There was no room for too long, or Glue did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        pause, calm = self._pauses(), self._calm("start the job")
        begun = self.clock()
        told = begun - self.waits.progress
        while True:
            try:
                self._asked = True
                answer = self.client.start_job_run(**parameters)
                self.started = answer["JobRunId"]
                if answer.get("ResponseMetadata", {}).get("RetryAttempts"):
                    self._stop_twins(answer["JobRunId"])
            except (BotoCoreError, ClientError) as error:
                self._asked = doubtful(error)
                found = self._unconfirmed()
                if found is not None:
                    self.log(f"Glue run {found}: it was started although Glue did not say so")
                    self.started = found
                    return {"JobRunId": found}
                self._asked = False
                if not is_full(error):
                    calm.bear(error)
                else:
                    waited = self.clock() - begun
                    if waited > self.waits.slot:
                        raise self._no_room(error, waited) from error
                    if self.clock() - told >= self.waits.progress:
                        told = self.clock()
                        self.log(
                            f"Glue job {self.settings.glue_job}: no room for another run: {said(error)}; "
                            f"waiting since {waited:,.0f} s"
                        )
                self.sleep(next(pause))
            else:
                return {"JobRunId": self.started}

    def get_job_run(self, **parameters: Any) -> dict[str, Any]:
        """Return a run, however often Glue must be asked."""
        answer: dict[str, Any] = self._call("look at the run", "get_job_run", **parameters)
        return answer

    def wait(self, run_id: str, meanwhile: Callable[[], None]) -> Run:
        """Wait until a run has ended, in whichever way.

        Args:
            run_id: The run.
            meanwhile: Called after each look at the run.

        Raises:
            GlueJobError: It took longer than Glue itself should have allowed.
        """
        self.log(f"Glue run {run_id}: {console_url(self.settings, run_id)}")
        begun = since = told = self.clock()
        state = ""
        limit = self.settings.glue_timeout_minutes * 60 + self.waits.overtime
        for pause in self._pauses():
            run = self.last = self._look(run_id)
            now = self.clock()
            if run["JobRunState"] == "WAITING":
                since = now
            if run["JobRunState"] != state or now - told >= self.waits.progress:
                state, told = run["JobRunState"], now
                self.log(f"Glue run {run_id}: {_state(run)} after {now - begun:,.0f} s")
            meanwhile()
            if state in ENDED:
                return run
            if now - since > limit or (state == "WAITING" and now - begun > self.waits.slot):
                what = f"Glue run {run_id} is still {state} after {now - begun:,.0f} seconds"
                raise GlueJobError(what, remedy=advice(self.settings, run_id))
            self.sleep(pause)
        raise AssertionError

    def stop(self) -> None:
        """Stop the run that was started, if it works, and wait until it has stopped; failing that, say so."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            run_id = self.started or self._unconfirmed()
            if run_id is not None and self.working:
                self.log(f"Glue run {run_id}: stopping it")
                self.last = self.stop_run(run_id)
                self.log(f"Glue run {run_id}: {self.last['JobRunState']}")
        except (BillingLakeError, BotoCoreError, ClientError) as error:
            self.log(f"The Glue run could not be stopped: {error}")

    def stop_run(self, run_id: str) -> Run:
        """Stop a run and wait until it has ended.

        Raises:
            GlueJobError: It does not end.
        """
        begun = self.clock()
        asked = False
        for pause in self._pauses():
            run = self._look(run_id)
            if run["JobRunState"] in ENDED:
                return run
            if not asked:
                asked = self._ask_to_stop(run_id)
            if self.clock() - begun > self.waits.stop:
                what = f"Glue run {run_id} was told to stop and is still {run['JobRunState']}"
                raise GlueJobError(
                    what,
                    remedy=f"Stop it at {console_url(self.settings, run_id)}, then load the period again",
                )
            self.sleep(pause)
        raise AssertionError

    def at_work(self) -> Iterator[Run]:
        """Yield the job's runs that have not ended."""
        pages: dict[str, Any] = {}
        while True:
            page = self._call(
                "list the job's runs", "get_job_runs", JobName=self.settings.glue_job, **pages
            )
            for run in page.get("JobRuns", ()):
                if run["JobRunState"] not in ENDED:
                    yield run
            if not page.get("NextToken"):
                return
            pages = {"NextToken": page["NextToken"]}

    def _look(self, run_id: str) -> Run:
        run: Run = self.get_job_run(JobName=self.settings.glue_job, RunId=run_id)["JobRun"]
        return run

    def _ask_to_stop(self, run_id: str) -> bool:
        answer = self._call(
            "stop the run", "batch_stop_job_run", JobName=self.settings.glue_job, JobRunIds=[run_id]
        )
        for refused in answer.get("Errors", ()):
            detail = refused.get("ErrorDetail", {})
            # Most often because it has just ended, which the next look tells.
            self.log(f"Glue run {run_id}: {shown(detail.get('ErrorMessage') or detail, _MESSAGE)}")
        return bool(answer.get("SuccessfulSubmissions"))

    def _unconfirmed(self) -> str | None:
        """Return the run that this launch started without learning of it."""
        if not self._asked:
            return None
        return next((str(run["Id"]) for run in self._mine()), None)

    def _stop_twins(self, run_id: str) -> None:
        """Stop what an earlier attempt at the same call has started: boto3 repeats a call whose answer was lost."""
        for run in list(self._mine()):
            if run["Id"] != run_id:
                self.log(
                    f"Glue run {run['Id']}: started twice, stopping the one that is not needed"
                )
                self._ask_to_stop(str(run["Id"]))

    def _mine(self) -> Iterator[Run]:
        return (
            run for run in self.at_work() if run.get("Arguments", {}).get(LAUNCH) == self.launch
        )

    def _call(self, purpose: str, name: str, **parameters: Any) -> Any:
        """Call Glue where repeating a call does no harm."""
        from botocore.exceptions import BotoCoreError, ClientError

        calm = self._calm(purpose)
        for pause in self._pauses():
            try:
                return getattr(self.client, name)(**parameters)
            except (BotoCoreError, ClientError) as error:
                calm.bear(error)
            self.sleep(pause)
        raise AssertionError

    def _calm(self, purpose: str) -> Calm:
        return Calm(purpose, self.settings, self.waits.trouble, self.clock, self.log)

    def _pauses(self) -> Iterator[float]:
        pause = self.waits.first_poll
        while True:
            yield pause
            pause = min(pause * 1.5, self.waits.last_poll)

    def _no_room(self, error: Exception, waited: float) -> GlueJobError:
        what = (
            f"Glue job {self.settings.glue_job} admitted no other run for {waited:,.0f} seconds: "
            f"{said(error)}"
        )
        return GlueJobError(
            what,
            remedy="Raise the job's maximum concurrency, or limit how many runs Dagster starts at once",
        )


@contextmanager
def stopped_at_the_end(runs: GlueRuns) -> Iterator[None]:
    """Leave no run at work behind, whatever ends the block: an error, a cancelled Dagster run, a key pressed."""
    try:
        yield
    finally:
        if runs.working:
            runs.stop()


def _state(run: Run) -> str:
    detail = run.get("StateDetail")
    return f"{run['JobRunState']} ({shown(detail, _MESSAGE)})" if detail else run["JobRunState"]
