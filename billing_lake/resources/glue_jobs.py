"""Runs a Glue job for a step of a Dagster run: one run of the job for each request.

`glue_runs` starts and watches it, `glue_messages` carries request and answer within a session of Dagster Pipes. What needs to know the
Dagster run is decided here: which of the job's runs nobody waits for any more, and what a person is shown.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from billing_lake.aws.errors import error_text
from billing_lake.aws.settings import PIPES_FOLDER, AwsSettings
from billing_lake.domain.errors import ConfigurationError, GlueJobError
from billing_lake.engines.base import Log
from billing_lake.engines.glue_engine import JobAnswer, Launch
from billing_lake.resources.glue_run_facts import run_advice, run_facts
from billing_lake.resources.glue_runs import (
    RUN_ARGUMENT,
    STEP_ARGUMENT,
    GlueRun,
    GlueRuns,
    GlueWaits,
    stopped_at_the_end,
)
from billing_lake.spark_job.requests import EXTRA, Request

if TYPE_CHECKING:
    from billing_lake.resources.glue_messages import GlueMessages

_PARTITION_TAGS = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

RunContext = dg.AssetExecutionContext | dg.OpExecutionContext


@dataclass(frozen=True, kw_only=True)
class GlueJobs:
    """Runs a Glue job for steps of Dagster runs."""

    settings: AwsSettings
    glue: Any
    s3: Any
    waits: GlueWaits = field(default_factory=GlueWaits)

    def launcher(self, context: RunContext | None) -> Launch:
        """Return the function that runs the job for the step of ``context``.

        Raises:
            ConfigurationError: There is no step.
        """
        if context is None:
            what = "The Glue engine works for a step of a Dagster run, and there is none here"
            raise ConfigurationError(
                what, remedy="Run this through Dagster, or set BILLING_LAKE_ENGINE to polars"
            )
        step = (
            context.op_execution_context
            if isinstance(context, dg.AssetExecutionContext)
            else context
        )
        return lambda request, log: _Launch(self, step, request, log).answer()


class _Launch:
    """One request to the job, from the look for forgotten runs to the answer."""

    def __init__(
        self, jobs: GlueJobs, step: dg.OpExecutionContext, request: Request, log: Log
    ) -> None:
        self._settings = jobs.settings
        self._s3 = jobs.s3
        self._step = step
        self._request = request
        self._log = log
        self._id = uuid.uuid4().hex
        self._runs = GlueRuns(
            client=jobs.glue, settings=jobs.settings, waits=jobs.waits, log=log, launch=self._id
        )

    def answer(self) -> JobAnswer:
        """Run the job.

        Raises:
            ConfigurationError: It cannot be run with these settings.
            GlueJobError: It failed, and did not say why by itself.
        """
        from billing_lake.resources.glue_messages import GlueMessages

        self._stop_forgotten()
        folder = f"{PIPES_FOLDER}/{self._step.run.run_id}/{self._id}"
        messages = GlueMessages(self._s3, self._settings.pipes_bucket, folder)
        try:
            failure = self._run(messages)
        finally:
            messages.remove(self._log)
        return self._judged(failure, messages)

    def _run(self, messages: GlueMessages) -> GlueJobError | None:
        """Run the job to its end, and return the error if it did not succeed."""
        extras = {EXTRA: self._request.to_json()}
        with dg.open_pipes_session(self._step, messages, messages, extras) as session:
            arguments = {
                **session.get_bootstrap_cli_arguments(),
                RUN_ARGUMENT: self._step.run.run_id,
                STEP_ARGUMENT: _work(self._step),
            }
            try:
                with stopped_at_the_end(self._runs):
                    run_id = self._runs.start(arguments)
                    run = self._runs.wait(run_id, messages.read)
                failure = self._failure_of(run)
            except GlueJobError as error:
                failure = error
            messages.read()
        return failure

    def _failure_of(self, run: GlueRun) -> GlueJobError | None:
        if run["JobRunState"] == "SUCCEEDED":
            return None
        reason = error_text(
            run.get("ErrorMessage") or run.get("StateDetail") or "Glue gives no reason"
        )
        what = f"Glue run {run['Id']} of job {self._settings.glue_job} ended as {run['JobRunState']}: {reason}"
        return GlueJobError(what, remedy=run_advice(self._settings, run["Id"]))

    def _judged(self, failure: GlueJobError | None, messages: GlueMessages) -> JobAnswer:
        """Return the answer, or raise the reason for its absence."""
        reply, output = messages.reply(), messages.output()
        if output and (failure is not None or reply is None):
            self._step.log.error("The last that the Glue job printed:\n%s", output)
        if reply is None:
            raise failure or GlueJobError(
                f"Glue run {self._runs.started} reported nothing{messages.trouble}",
                remedy="Give the job the script of this release (`make glue-package`). "
                f"{run_advice(self._settings, str(self._runs.started))}",
            )
        if failure is not None:
            # The job's own error about a report file says more than the state in which it ended.
            if reply.error is None:
                raise failure
            self._step.log.error("%s", failure)
        run = self._runs.last
        return JobAnswer(reply=reply, facts={} if run is None else run_facts(self._settings, run))

    def _stop_forgotten(self) -> None:
        """Stop runs that still work for this step although the Dagster run that started them is over.

        Their messages went to a process that is gone, so there is nothing to wait for.

        Raises:
            GlueJobError: One does not stop.
        """
        for run in self._runs.at_work():
            owner = run.get("Arguments", {}).get(RUN_ARGUMENT)
            if run.get("Arguments", {}).get(STEP_ARGUMENT) != _work(self._step) or not owner:
                continue
            if not self._is_over(owner):
                self._log(f"Glue run {run['Id']} does the same for Dagster run {owner}: left alone")
                continue
            self._log(f"Glue run {run['Id']} was left behind by Dagster run {owner}: stopping it")
            stopped = self._runs.stop_run(str(run["Id"]))
            self._log(f"Glue run {run['Id']}: {stopped['JobRunState']}")

    def _is_over(self, owner: str) -> bool:
        """Return whether nobody waits for a Glue run of a Dagster run any more.

        A step makes one call at a time, so what an earlier attempt of this same step left at work is nobody's. A run that
        this instance does not know may be another's.
        """
        if owner == self._step.run.run_id:
            return True
        known = self._step.instance.get_run_by_id(owner)
        return known is not None and known.is_finished


def _work(step: dg.OpExecutionContext) -> str:
    """Return the step and its billing periods: what two Dagster runs that do the same have in common."""
    tags = step.run.tags
    periods = [tags[tag] for tag in _PARTITION_TAGS if tag in tags]
    return "/".join((str(step.op_handle), *periods))
