"""Job runs of the Glue stand-in run, end and are ended as those of Glue."""

import gzip
import io
import time
import zipfile
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from dagster_aws.pipes import PipesGlueClient, PipesS3ContextInjector, PipesS3MessageReader

from billing_lake_tests.servers.aws import Aws

SPARK_SCRIPT = """
import sys
from in_the_zip import NAME
from pyspark.sql import SparkSession

source, target = sys.argv[sys.argv.index("--source") + 1], sys.argv[sys.argv.index("--target") + 1]
spark = SparkSession.builder.getOrCreate()
spark.conf.set("tests.leftover", spark.conf.get("tests.leftover", "") + "x")
rows = spark.read.option("header", True).csv(source)
rows.write.parquet(target)
print(NAME, spark.conf.get("tests.leftover"), spark.read.parquet(target).count())
"""

PIPES_SCRIPT = """
import boto3
from dagster_pipes import (
    PipesCliArgsParamsLoader, PipesS3ContextLoader, PipesS3MessageWriter, open_dagster_pipes
)

s3 = boto3.client("s3")
with open_dagster_pipes(
    params_loader=PipesCliArgsParamsLoader(),
    context_loader=PipesS3ContextLoader(client=s3),
    message_writer=PipesS3MessageWriter(client=s3, interval=0.1),
) as pipes:
    pipes.log.info("hello from the job")
    pipes.report_asset_materialization(metadata={"rows": pipes.get_extra("rows") + 1})
"""

WAITING_SCRIPT = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


def library(value: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("in_the_zip.py", f"NAME = {value!r}\n")
    return data.getvalue()


def start(aws: Aws, job: str, **arguments: str) -> str:
    named = {f"--{name}": value for name, value in arguments.items()}
    return str(aws.client("glue").start_job_run(JobName=job, Arguments=named)["JobRunId"])


def told(aws: Aws, job: str, run_id: str) -> dict[str, Any]:
    return dict(aws.client("glue").get_job_run(JobName=job, RunId=run_id)["JobRun"])


def ended(aws: Aws, job: str, run_id: str) -> dict[str, Any]:
    aws.glue.runs.wait(run_id)
    return told(aws, job, run_id)


def test_spark_jobs_read_and_write_s3_without_disturbing_each_other(aws: Aws) -> None:
    bucket = aws.new_bucket()
    script = aws.put(bucket, "job.py", SPARK_SCRIPT)
    source = aws.put(bucket, "in/a.csv.gz", gzip.compress(b"a,b\n1,x\n2,y\n"))
    for name in ("first", "second"):
        extra = aws.put(bucket, f"{name}/lib.zip", library(name))
        aws.glue.add_job(f"spark-{name}", script, extra_py_files=[extra])
        run_id = start(aws, f"spark-{name}", source=source, target=f"s3://{bucket}/out/{name}/")
        run = aws.glue.runs.wait(run_id)
        assert run.output == f"{name} x 2\n"
        assert run.state == "SUCCEEDED"


def test_a_job_that_kills_its_python_fails_and_the_next_one_runs(aws: Aws) -> None:
    bucket = aws.new_bucket()
    aws.glue.add_job("killing", aws.put(bucket, "kill.py", "import os\nos._exit(7)\n"))
    aws.glue.add_job("surviving", aws.put(bucket, "survive.py", "print('alive')\n"))
    assert ended(aws, "killing", start(aws, "killing"))["ErrorMessage"] == "SystemExit: 7"
    assert ended(aws, "surviving", start(aws, "surviving"))["JobRunState"] == "SUCCEEDED"


def test_a_job_reports_to_dagster_through_s3(
    aws: Aws, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = aws.new_bucket()
    aws.glue.add_job("pipes", aws.put(bucket, "job.py", PIPES_SCRIPT))
    soon = SimpleNamespace(sleep=lambda _seconds: time.sleep(0.05))
    monkeypatch.setattr("dagster_aws.pipes.clients.glue.time", soon)
    s3 = aws.client("s3")
    client = PipesGlueClient(
        context_injector=PipesS3ContextInjector(bucket=bucket, client=s3),
        message_reader=PipesS3MessageReader(bucket=bucket, client=s3, interval=0.1),
        client=aws.client("glue"),
    )

    @dg.asset
    def reported(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        op = context.op_execution_context  # Dagster reads from it what it deprecated on the other
        parameters = {"JobName": "pipes"}
        done = client.run(context=op, start_job_run_params=parameters, extras={"rows": 41})
        return done.get_materialize_result()

    result = dg.materialize([reported])
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["rows"].value == 42


def test_a_failed_job_says_why_and_its_output_is_in_the_log(aws: Aws) -> None:
    script = "print('so far so good')\nraise ValueError('no such month')\n"
    aws.glue.add_job("failing", aws.put(aws.new_bucket(), "job.py", script), workers=3)
    run = ended(aws, "failing", start(aws, "failing"))
    assert run["JobRunState"] == "FAILED"
    assert run["ErrorMessage"] == "ValueError: no such month"
    assert run["ExecutionTime"] <= run["DPUSeconds"] / 3 < run["ExecutionTime"] + 1
    events = aws.client("logs").get_log_events(
        logGroupName=f"{run['LogGroupName']}/output", logStreamName=run["Id"]
    )["events"]
    assert events[0]["message"] == "so far so good"


def test_a_job_finds_only_what_glue_has_and_what_it_brings(aws: Aws) -> None:
    bucket = aws.new_bucket()
    aws.glue.add_job("greedy", aws.put(bucket, "polars.py", "import boto3, polars\n"))
    aws.glue.add_job("careless", aws.put(bucket, "ours.py", "import billing_lake.domain\n"))
    for job, package in (("greedy", "polars"), ("careless", "billing_lake")):
        error = ended(aws, job, start(aws, job))["ErrorMessage"]
        assert error == f"ModuleNotFoundError: No module named '{package}' (as on Glue)"


def test_a_job_without_its_script_fails(aws: Aws) -> None:
    aws.glue.add_job("lost", f"s3://{aws.new_bucket()}/lost.py")
    assert "lost.py" in ended(aws, "lost", start(aws, "lost"))["ErrorMessage"]


def test_a_stopped_run_ends_in_the_middle_and_the_next_one_runs(aws: Aws) -> None:
    bucket = aws.new_bucket()
    aws.glue.add_job("waiting", aws.put(bucket, "job.py", WAITING_SCRIPT), concurrent_runs=1)
    aws.glue.runs.cold.add("waiting")
    run_id = start(aws, "waiting")
    glue = aws.client("glue")
    with pytest.raises(glue.exceptions.ConcurrentRunsExceededException):
        start(aws, "waiting")
    answer = glue.batch_stop_job_run(JobName="waiting", JobRunIds=[run_id, "jr_unknown"])
    assert [run["JobRunId"] for run in answer["SuccessfulSubmissions"]] == [run_id]
    assert [run["JobRunId"] for run in answer["Errors"]] == ["jr_unknown"]
    assert ended(aws, "waiting", run_id)["JobRunState"] == "STOPPED"
    aws.glue.runs.end_next("waiting", "EXPIRED")
    second = start(aws, "waiting")
    assert ended(aws, "waiting", second)["JobRunState"] == "EXPIRED"
    listed = glue.get_job_runs(JobName="waiting")["JobRuns"]
    assert [run["Id"] for run in listed] == [second, run_id]


def test_a_run_is_over_when_its_time_is(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws.glue.runs, "seconds_per_minute", 0.5)
    aws.glue.add_job("late", aws.put(aws.new_bucket(), "j.py", WAITING_SCRIPT), timeout_minutes=1)
    aws.glue.runs.cold.add("late")
    assert ended(aws, "late", start(aws, "late"))["JobRunState"] == "TIMEOUT"


def test_a_held_run_is_running_until_it_is_released(aws: Aws) -> None:
    aws.glue.add_job("held", aws.put(aws.new_bucket(), "job.py", "raise SystemExit(3)\n"))
    aws.glue.runs.cold.add("held")
    aws.glue.runs.hold("held")
    run_id = start(aws, "held")
    aws.glue.runs.wait_for(run_id, "RUNNING")
    assert "CompletedOn" not in told(aws, "held", run_id)
    aws.glue.runs.release("held")
    assert ended(aws, "held", run_id)["ErrorMessage"] == "SystemExit: 3"


def test_throttling_is_an_answer_that_boto3_repeats(aws: Aws) -> None:
    aws.glue.add_job("busy", aws.put(aws.new_bucket(), "job.py", ""))
    aws.glue.runs.end_next("busy", "SUCCEEDED")
    aws.glue.fail_next("StartJobRun", "ThrottlingException", "Rate exceeded")
    start(aws, "busy")
    assert len(aws.glue.runs.of("busy")) == 1
    aws.glue.fail_next("StartJobRun", "InvalidInputException")
    with pytest.raises(ClientError, match="InvalidInputException"):
        start(aws, "busy")
