"""A Glue job as Dagster runs it: one launch for each request, tied to the step that asks.

Dagster's own Pipes client does the talking; `glue_runs` and `glue_pipes` say what it leaves undone. Here is what needs a
Dagster run to decide: which of the job's runs work for nobody any more, and what a person is told.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg

from billing_lake.aws.settings import AwsSettings
from billing_lake.domain.errors import ConfigurationError, GlueJobError
from billing_lake.engines.base import Log
from billing_lake.engines.glue_engine import JobAnswer, Launch
from billing_lake.resources.glue_run_facts import advice, run_facts
from billing_lake.resources.glue_runs import (
    LAUNCH,
    RUN,
    STEP,
    GlueRuns,
    GlueWaits,
    stopped_at_the_end,
)
from billing_lake.spark_job.requests import EXTRA, Reply, Request

PREFIX = "billing-lake-pipes"
"""Below which key of the Pipes bucket everything travels; a lifecycle rule may clear it after a week."""

_PARTITION_TAGS = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

RunContext = dg.AssetExecutionContext | dg.OpExecutionContext


@dataclass(frozen=True, kw_only=True)
class GlueJobs:
    """Runs a Glue job for steps of Dagster runs.

    Attributes:
        settings: The job.
        glue: boto3 client of Glue.
        s3: boto3 client of S3.
        waits: How long to wait for what.
        sleep: Waits for some seconds.
        clock: Returns seconds that only grow.
    """

    settings: AwsSettings
    glue: Any
    s3: Any
    waits: GlueWaits = field(default_factory=GlueWaits)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

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
        step = _op_context(context)
        return lambda request, log: _Launch(self, step, request, log).answer()

    def runs(self, launch: str, log: Log) -> GlueRuns:
        """Return the job's runs, for one launch."""
        return GlueRuns(
            client=self.glue,
            settings=self.settings,
            waits=self.waits,
            log=log,
            launch=launch,
            sleep=self.sleep,
            clock=self.clock,
        )


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
        self._runs = jobs.runs(self._id, log)

    def answer(self) -> JobAnswer:
        """Run the job.

        Raises:
            ConfigurationError: It cannot be run with these settings.
            GlueJobError: It failed, and did not say why by itself.
        """
        from billing_lake.resources.glue_pipes import (
            GlueClient,
            GlueContext,
            GlueMessages,
            StepView,
            emptied,
        )

        self._stop_forgotten()
        bucket = self._settings.pipes_bucket
        folder = f"{PREFIX}/{self._step.run.run_id}/{self._id}"
        messages = GlueMessages(bucket=bucket, prefix=f"{folder}/messages", client=self._s3)
        client = GlueClient(
            self._runs,
            GlueContext(bucket=bucket, client=self._s3, key_prefix=f"{folder}/"),
            messages,
        )
        failure: GlueJobError | None = None
        with emptied(self._s3, bucket, f"{folder}/", self._log):
            try:
                with stopped_at_the_end(self._runs):
                    client.run(
                        context=cast("dg.OpExecutionContext", StepView(self._step)),
                        start_job_run_params=cast("Any", self._parameters()),
                        extras={EXTRA: self._request.to_json()},
                    )
            except GlueJobError as error:
                failure = error
            messages.read()
        return self._judged(failure, messages.reply(), messages.output(), messages.trouble())

    def _judged(
        self, failure: GlueJobError | None, reply: Reply | None, output: str, trouble: str
    ) -> JobAnswer:
        """Return the answer, or raise what is to be known about its absence."""
        if failure is None and reply is None:
            what = f"Glue run {self._runs.started} reported nothing{trouble}"
            failure = GlueJobError(
                what,
                remedy="Give the job the script of this release (`make glue-package`). "
                f"{advice(self._settings, str(self._runs.started))}",
            )
        if failure is not None:
            if output:
                self._step.log.error("The last that the Glue job printed:\n%s", output)
            # What the job says about a report file is worth more than that it ended badly.
            if reply is None or reply.error is None:
                raise failure
            self._step.log.error("%s", failure)
        run = self._runs.last
        return JobAnswer(
            reply=cast("Reply", reply), facts={} if run is None else run_facts(self._settings, run)
        )

    def _parameters(self) -> dict[str, Any]:
        # Made for each launch: Dagster's client writes into it.
        return {
            "JobName": self._settings.glue_job,
            "WorkerType": self._settings.glue_worker_type,
            "NumberOfWorkers": self._settings.glue_workers,
            "Timeout": self._settings.glue_timeout_minutes,
            "Arguments": {
                LAUNCH: self._id,
                RUN: self._step.run.run_id,
                STEP: _work(self._step),
            },
        }

    def _stop_forgotten(self) -> None:
        """Stop runs that still work for this step although the Dagster run that started them is over.

        Their messages went to a process that is gone, so there is nothing to wait for.

        Raises:
            GlueJobError: One does not stop.
        """
        for run in self._runs.at_work():
            owner = run.get("Arguments", {}).get(RUN)
            if run.get("Arguments", {}).get(STEP) != _work(self._step) or not owner:
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


def _op_context(context: RunContext) -> dg.OpExecutionContext:
    return (
        context.op_execution_context if isinstance(context, dg.AssetExecutionContext) else context
    )
