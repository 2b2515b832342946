"""Starts, watches and stops runs of a Glue job.

Glue refuses calls when many come at once, admits a few runs of a job at a time, has a state in which runs end that Dagster's own Glue
client waits in for ever (EXPIRED), and cannot be asked to start a run only once. Dagster is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from billing_lake.aws.errors import (
    Fault,
    credentials_error,
    error_code,
    error_text,
    fault_of,
    is_transient,
)
from billing_lake.aws.retry import retrying
from billing_lake.aws.settings import AwsSettings, variable_of
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, GlueJobError, shown
from billing_lake.engines.base import Log
from billing_lake.resources.glue_run_facts import console_url, run_advice

if TYPE_CHECKING:
    from tenacity import Retrying

LAUNCH_ARGUMENT = "--billing-lake-launch"
"""Argument with an id that no other start of a run has."""

RUN_ARGUMENT = "--billing-lake-run"
"""Argument with the id of the Dagster run that a run works for."""

STEP_ARGUMENT = "--billing-lake-step"
"""Argument with the step of the Dagster run, and the billing periods that it is about."""

ENDED_STATES = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"})

_FULL = {"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"}
_WRONG = {"InvalidInputException", "ValidationException"}

GlueRun = Mapping[str, Any]
"""A `JobRun` of Glue's API."""


@dataclass(frozen=True, kw_only=True)
class GlueWaits:
    """States how long to wait for what, in seconds.

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
    """The runs of one job, for one launch.

    Attributes:
        client: boto3 client of Glue.
        settings: The job, and the size of its runs.
        waits: How long to wait for what.
        log: Takes lines about progress.
        launch: An id that no other launch has: a run whose start was never confirmed is recognised by it.
        sleep: Waits for some seconds.
        clock: Returns seconds that only grow.
        started: Id of the run that was started, such as `jr_0a1b`.
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
    last: GlueRun | None = None
    _asked: bool = field(default=False, init=False)

    @property
    def working(self) -> bool:
        """Say whether there is, or may be, a run that has not ended."""
        return self._asked and (self.last is None or self.last["JobRunState"] not in ENDED_STATES)

    def start(self, arguments: Mapping[str, str]) -> str:
        """Start a run, once, as soon as there is room for it, and return its id.

        Raises:
            ConfigurationError: There is no such job, or no right to run it, or it cannot be run like this.
            GlueJobError: There was no room for too long, or Glue did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        room = retrying(
            f"start job {self.settings.glue_job}: there is no room for another run",
            self.log,
            seconds=self.waits.slot,
            when=_is_full,
            first=self.waits.first_poll,
            longest=self.waits.progress,
            sleep=self.sleep,
        )
        try:
            self.started = room(self._repeating("start the job"), self._start, arguments)
        except (BotoCoreError, ClientError) as error:
            raise self._named("start the job", error) from error
        return self.started

    def _start(self, arguments: Mapping[str, str]) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        self._asked = True
        try:
            answer = self.client.start_job_run(
                JobName=self.settings.glue_job,
                WorkerType=self.settings.glue_worker_type,
                NumberOfWorkers=self.settings.glue_workers,
                Timeout=self.settings.glue_timeout_minutes,
                Arguments={**arguments, LAUNCH_ARGUMENT: self.launch},
            )
        except (BotoCoreError, ClientError) as error:
            self._asked = _may_have_started(error)
            found = self._unconfirmed()
            self._asked = found is not None
            if found is None:
                raise
            self.log(f"Glue run {found}: it was started although Glue did not say so")
            return found
        run_id = str(answer["JobRunId"])
        if _attempts(answer):
            self._stop_twins(run_id)
        return run_id

    def wait(self, run_id: str, meanwhile: Callable[[], None]) -> GlueRun:
        """Wait until a run has ended, and return it.

        Args:
            run_id: The run.
            meanwhile: Called after each look at the run.

        Raises:
            GlueJobError: It took longer than Glue itself should have allowed.
        """
        self.log(f"Glue run {run_id}: {console_url(self.settings, run_id)}")
        begun = since = logged = self.clock()
        state = ""
        limit = self.settings.glue_timeout_minutes * 60 + self.waits.overtime
        for pause in self._pauses():
            run = self.last = self._look(run_id)
            now = self.clock()
            if run["JobRunState"] == "WAITING":
                since = now
            if run["JobRunState"] != state or now - logged >= self.waits.progress:
                state, logged = run["JobRunState"], now
                self.log(f"Glue run {run_id}: {_state(run)} after {now - begun:,.0f} s")
            meanwhile()
            if state in ENDED_STATES:
                return run
            if now - since > limit or (state == "WAITING" and now - begun > self.waits.slot):
                what = f"Glue run {run_id} is still {state} after {now - begun:,.0f} seconds"
                raise GlueJobError(what, remedy=run_advice(self.settings, run_id))
            self.sleep(pause)
        raise AssertionError

    def stop(self) -> None:
        """Stop the run that was started, if it works, and wait until it has stopped; log it where that fails."""
        try:
            run_id = self.started or self._unconfirmed()
            if run_id is not None and self.working:
                self.log(f"Glue run {run_id}: stopping it")
                self.last = self.stop_run(run_id)
                self.log(f"Glue run {run_id}: {self.last['JobRunState']}")
        except BillingLakeError as error:
            self.log(f"The Glue run could not be stopped: {error}")

    def stop_run(self, run_id: str) -> GlueRun:
        """Stop a run and wait until it has ended.

        Raises:
            GlueJobError: It does not end.
        """
        begun = self.clock()
        asked = False
        for pause in self._pauses():
            run = self._look(run_id)
            if run["JobRunState"] in ENDED_STATES:
                return run
            asked = asked or self._ask_to_stop(run_id)
            if self.clock() - begun > self.waits.stop:
                what = f"Glue run {run_id} was asked to stop and is still {run['JobRunState']}"
                url = console_url(self.settings, run_id)
                raise GlueJobError(what, remedy=f"Stop it at {url}, then load the period again")
            self.sleep(pause)
        raise AssertionError

    def at_work(self) -> Iterator[GlueRun]:
        """Yield the job's runs that have not ended."""
        more: dict[str, Any] = {}
        while True:
            page = self._call("list the runs of", "get_job_runs", **more)
            yield from (run for run in page["JobRuns"] if run["JobRunState"] not in ENDED_STATES)
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _look(self, run_id: str) -> GlueRun:
        run: GlueRun = self._call("look at the run of", "get_job_run", RunId=run_id)["JobRun"]
        return run

    def _ask_to_stop(self, run_id: str) -> bool:
        answer = self._call("stop the run of", "batch_stop_job_run", JobRunIds=[run_id])
        for refused in answer.get("Errors", ()):
            detail = refused.get("ErrorDetail", {})
            # Most often because it has just ended, which the next look shows.
            self.log(f"Glue run {run_id}: {error_text(detail.get('ErrorMessage') or detail)}")
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
                self.log(f"Glue run {run['Id']}: started twice, stopping this one")
                self._ask_to_stop(str(run["Id"]))

    def _mine(self) -> Iterator[GlueRun]:
        return (
            run
            for run in self.at_work()
            if run.get("Arguments", {}).get(LAUNCH_ARGUMENT) == self.launch
        )

    def _call(self, purpose: str, name: str, **parameters: Any) -> Any:
        """Call Glue where repeating a call does no harm."""
        from botocore.exceptions import BotoCoreError, ClientError

        call = getattr(self.client, name)
        try:
            return self._repeating(purpose)(call, JobName=self.settings.glue_job, **parameters)
        except (BotoCoreError, ClientError) as error:
            raise self._named(purpose, error) from error

    def _repeating(self, purpose: str) -> Retrying:
        return retrying(
            f"{purpose} {self.settings.glue_job}",
            self.log,
            seconds=self.waits.trouble,
            when=lambda error: is_transient(error) and not _is_full(error),
            first=self.waits.first_poll,
            longest=self.waits.last_poll,
            sleep=self.sleep,
        )

    def _named(self, purpose: str, error: Exception) -> BillingLakeError:
        fault, job = fault_of(error), self.settings.glue_job
        what = f"Glue in {self.settings.region} could not {purpose} {job}: {error_text(error)}"
        if (named := credentials_error(error)) is not None:
            return named
        if fault is Fault.MISSING:
            remedy = f"Set {variable_of('glue_job')} to a job that exists in this region"
        elif fault is Fault.DENIED:
            remedy = "Allow glue:StartJobRun, GetJobRun, GetJobRuns and BatchStopJobRun on the job"
        elif error_code(error) in _WRONG:
            remedy = "Compare the BILLING_LAKE_GLUE_* settings with the job"
        elif _is_full(error):
            remedy = (
                "Raise the job's maximum concurrency, or limit how many runs Dagster starts at once"
            )
            return GlueJobError(what, remedy=remedy)
        else:
            return GlueJobError(what)
        return ConfigurationError(what, remedy=remedy)

    def _pauses(self) -> Iterator[float]:
        pause = self.waits.first_poll
        while True:
            yield pause
            pause = min(pause * 1.5, self.waits.last_poll)


@contextmanager
def stopped_at_the_end(runs: GlueRuns) -> Iterator[None]:
    """Stop the job's run at the end of the block if it still works, whatever ends it: an error, a cancelled Dagster run, Ctrl-C."""
    try:
        yield
    finally:
        if runs.working:
            runs.stop()


def _is_full(error: BaseException) -> bool:
    return error_code(error) in _FULL


def _may_have_started(error: Exception) -> bool:
    """Return whether a call that failed may have started a run: its answer was lost, or that of an attempt before."""
    response = getattr(error, "response", None)
    return response is None or fault_of(error) is Fault.TRANSIENT or _attempts(response)


def _attempts(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("ResponseMetadata", {}).get("RetryAttempts"))


def _state(run: GlueRun) -> str:
    detail = run.get("StateDetail")
    return f"{run['JobRunState']} ({shown(detail)})" if detail else str(run["JobRunState"])
