"""A Glue job on the stand-in, and a Dagster asset that asks it for things."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import Source, SourceFile
from billing_lake.engines.glue_engine import GlueEngine
from billing_lake.resources.glue_jobs import GlueJobs
from billing_lake.resources.glue_runs import GlueWaits
from billing_lake_tests.aws.settings import aws_settings
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws

FAST = GlueWaits(
    first_poll=0.05,
    last_poll=0.3,
    progress=1,
    slot=PATIENCE_SECONDS,
    overtime=PATIENCE_SECONDS,
    stop=PATIENCE_SECONDS,
    trouble=PATIENCE_SECONDS,
)

SOURCE = Source(
    container="csv",
    compression="gzip",
    files=(SourceFile(uri="s3://b/r.csv.gz", name="r.csv.gz"),),
    columns=(),
)

# Speaks Pipes as the lake's own program does, without Spark: what it answers is the test's business. Pipes pauses for
# seconds here and there to let output settle; a twentieth will do.
JOB = """
import sys
import time

if "--sleep" in sys.argv:
    time.sleep(PATIENCE)

import boto3
import dagster_pipes

class Quick:
    time = staticmethod(time.time)

    @staticmethod
    def sleep(seconds):
        time.sleep(seconds / 20)

dagster_pipes.time = Quick
dagster_pipes.PipesStdioLogWriterChannel.WAIT_FOR_TEE_SECONDS = 0.2
s3 = boto3.client("s3")
with dagster_pipes.open_dagster_pipes(
    params_loader=dagster_pipes.PipesCliArgsParamsLoader(),
    context_loader=dagster_pipes.PipesS3ContextLoader(client=s3),
    message_writer=dagster_pipes.PipesS3MessageWriter(client=s3, interval=0),
) as pipes:
    request = pipes.extras["request"]

    def reply(**answer):
        pipes.report_custom_message({"billing_lake_reply": answer})

    BODY
"""

PROFILE = Profile(rows=7)
ANSWER = f"reply(profile={PROFILE.to_json()!r})"


@dataclass
class JobWithRuns:
    """A job, and Dagster runs that use it.

    Attributes:
        aws: The services.
        job: Name of the job.
        bucket: Bucket of its messages.
        instance: The Dagster instance.
        log: What the engine said about its progress, in all runs.
        facts: What the engine said about its last call.
        on_log: Is called with each line.
        months: Whether the asset has a partition for each month, and takes several in one run.
    """

    aws: Aws
    job: str
    bucket: str
    instance: dg.DagsterInstance
    log: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    on_log: Callable[[str], None] = lambda _: None
    months: bool = False

    def jobs(self, waits: GlueWaits = FAST, **settings: Any) -> GlueJobs:
        values: dict[str, Any] = {
            "glue_job": self.job,
            "region": self.aws.region,
            "pipes_bucket": self.bucket,
            "glue_workers": 2,
            **settings,
        }
        return GlueJobs(
            settings=aws_settings(**values),
            glue=self.aws.client("glue"),
            s3=self.aws.client("s3"),
            waits=waits,
        )

    def run(
        self,
        ask: Callable[[GlueEngine], Any] = lambda engine: engine.profile(SOURCE),
        *,
        jobs: GlueJobs | None = None,
        tags: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> dg.ExecuteInProcessResult:
        """Materialise an asset that calls the engine, and yields a value of its own as the lake's assets do."""
        used = jobs or self.jobs()

        def log(line: str) -> None:
            self.log.append(line)
            self.on_log(line)

        @dg.asset(
            partitions_def=dg.MonthlyPartitionsDefinition("2025-01", fmt="%Y-%m")
            if self.months
            else None,
            backfill_policy=dg.BackfillPolicy.single_run() if self.months else None,
        )
        def table(context: dg.AssetExecutionContext) -> Iterator[dg.Output[dict[str, str]]]:
            engine = GlueEngine(used.launcher(context), log)
            try:
                yield dg.Output({"answer": repr(ask(engine))})
            finally:
                self.facts = dict(engine.facts())

        job = dg.Definitions(
            assets=[table],
            jobs=[dg.define_asset_job("load")],
            executor=dg.in_process_executor,
            resources={"io_manager": dg.mem_io_manager},
        ).resolve_job_def("load")
        arguments.setdefault("raise_on_error", False)
        return job.execute_in_process(instance=self.instance, tags=tags, **arguments)

    def start(self, **arguments: str) -> str:
        """Start a run of the job that sleeps, as somebody else would."""
        given = {f"--{name.replace('_', '-')}": value for name, value in arguments.items()}
        answer = self.aws.client("glue").start_job_run(
            JobName=self.job, Arguments={"--sleep": "yes", **given}
        )
        return str(answer["JobRunId"])

    def stop(self, run_id: str) -> None:
        self.aws.client("glue").batch_stop_job_run(JobName=self.job, JobRunIds=[run_id])

    @property
    def runs(self) -> list[Any]:
        """The job's runs, the oldest first."""
        return self.aws.glue.runs.of(self.job)

    def left_in_bucket(self) -> list[str]:
        listed = self.aws.client("s3").list_objects_v2(
            Bucket=self.bucket, Prefix="billing-lake-pipes/"
        )
        return [found["Key"] for found in listed.get("Contents", ())]

    def dagster_log(self, run_id: str) -> str:
        """Return what a person reads in the log of a Dagster run."""
        return "\n".join(
            record.event_log_entry.user_message
            for record in self.instance.get_records_for_run(run_id).records
        )


@contextmanager
def job_with_runs(aws: Aws, body: str, concurrent_runs: int = 4) -> Iterator[JobWithRuns]:
    """Make a job whose script does ``body``."""
    bucket, job = aws.new_bucket(), f"job-{uuid.uuid4().hex[:8]}"
    indented = body.replace("\n", "\n    ")
    text = JOB.replace("PATIENCE", str(PATIENCE_SECONDS)).replace("BODY", indented)
    script = aws.put(bucket, "job.py", text)
    aws.glue.add_job(job, script, concurrent_runs=concurrent_runs)
    aws.glue.runs.cold.add(job)
    with dg.DagsterInstance.ephemeral() as instance:
        try:
            yield JobWithRuns(aws, job, bucket, instance)
        finally:
            aws.glue.runs.release(job)
            for run in aws.glue.runs.of(job):
                aws.client("glue").batch_stop_job_run(JobName=job, JobRunIds=[run.id])
