"""The Glue engine on the stand-in: the script and the zip that are deployed, run by a Spark of their own, asked through Dagster."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from billing_lake.engines.base import Log
from billing_lake.engines.glue_engine import JobAnswer, Launch
from billing_lake.resources.glue_jobs import GlueJobs
from billing_lake.resources.glue_package import build_glue_package
from billing_lake.resources.glue_runs import GlueWaits
from billing_lake.spark_job.requests import Request
from billing_lake_tests.aws.settings import aws_settings
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws

JOB = "conformance"
QUICK = GlueWaits(
    first_poll=0.05,
    last_poll=0.3,
    progress=60,
    slot=PATIENCE_SECONDS,
    overtime=PATIENCE_SECONDS,
    stop=PATIENCE_SECONDS,
    trouble=PATIENCE_SECONDS,
)

# Pipes waits for seconds in several places to let output settle, which is most of the time of a small case.
SCRIPT = """
import runpy
import time

import dagster_pipes

class Quick:
    time = staticmethod(time.time)

    @staticmethod
    def sleep(seconds):
        time.sleep(seconds / 50)

dagster_pipes.time = Quick
dagster_pipes.PipesStdioLogWriterChannel.WAIT_FOR_TEE_SECONDS = 0.1
runpy.run_module("billing_lake.spark_job.glue_main", run_name="__main__")
"""


def glue_jobs(aws: Aws, folder: Path) -> GlueJobs:
    """Deploy the job, and return what runs it."""
    bucket = aws.new_bucket()
    library = build_glue_package(folder).library
    aws.glue.add_job(
        JOB,
        aws.put(bucket, "job.py", SCRIPT),
        extra_py_files=[aws.put(bucket, library.name, library.read_bytes())],
    )
    return GlueJobs(
        settings=aws_settings(glue_job=JOB, region=aws.region, pipes_bucket=bucket, glue_workers=2),
        glue=aws.client("glue"),
        s3=aws.client("s3"),
        waits=QUICK,
    )


def launch_with(jobs: GlueJobs, instance: dg.DagsterInstance) -> Launch:
    """Return a function that makes a Dagster run for each request."""

    def launch(request: Request, log: Log) -> JobAnswer:
        answers: list[JobAnswer] = []

        @dg.op
        def ask(context: dg.OpExecutionContext) -> None:
            answers.append(jobs.launcher(context)(request, log))

        run: Callable[..., object] = (
            dg.GraphDefinition(name="ask_glue", node_defs=[ask]).to_job().execute_in_process
        )
        run(instance=instance)
        return answers[0]

    return launch
