"""A Glue job as Dagster runs it: through Dagster, on a stand-in that really runs the job's script."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from billing_lake.domain import errors
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source, SourceFile
from billing_lake.domain.types import STRING
from billing_lake.engines.glue_engine import GlueEngine
from billing_lake.resources.glue_jobs import GlueJobs
from billing_lake.resources.glue_runs import RUN_ARGUMENT, STEP_ARGUMENT
from billing_lake_tests.resources.job_with_runs import (
    ANSWER,
    FAST,
    PROFILE,
    SOURCE,
    JobWithRuns,
    job_with_runs,
)
from billing_lake_tests.servers.aws import Aws


@pytest.fixture
def glue_job(aws: Aws) -> Iterator[Callable[..., JobWithRuns]]:
    with ExitStack() as stack:
        yield lambda body=ANSWER, **settings: stack.enter_context(
            job_with_runs(aws, body, **settings)
        )


def refused(
    glue: JobWithRuns, error: type[errors.BillingLakeError], *, jobs: GlueJobs | None = None
) -> tuple[errors.BillingLakeError, str]:
    """Return the error that a call raised, and the log of the Dagster run."""
    caught: list[errors.BillingLakeError] = []

    def ask(engine: GlueEngine) -> None:
        with pytest.raises(error) as info:
            engine.profile(SOURCE)
        caught.append(info.value)

    result = glue.run(ask, jobs=jobs)
    assert result.success, glue.dagster_log(result.run_id)
    return caught[0], glue.dagster_log(result.run_id)


def left_by(glue: JobWithRuns, dagster_run: str, step: str = "table") -> str:
    """Start a run as an earlier Dagster run would have."""
    return glue.start(billing_lake_run=dagster_run, billing_lake_step=step)


def test_an_asset_gets_the_jobs_answer_and_yields_a_value_of_its_own(
    glue_job: Callable[..., JobWithRuns], capfd: pytest.CaptureFixture[str]
) -> None:
    glue = glue_job(f'print("reading", request["source"]["files"][0]["name"])\n{ANSWER}')
    result = glue.run()
    assert result.output_for_node("table") == {"answer": repr(PROFILE)}
    (run,) = glue.runs
    assert (run.record.worker_type, run.record.number_of_workers, run.record.timeout) == (
        "G.1X",
        2,
        120,
    )
    assert glue.facts["glue_job_run"] == run.id
    assert glue.facts["glue_dpu_seconds"] > 0
    assert glue.facts["glue_estimated_usd"] >= 0
    said = "\n".join(glue.log)
    assert f"us-east-1#/job/{glue.job}/run/{run.id}" in said
    assert "SUCCEEDED after" in said
    assert "reading r.csv.gz" in capfd.readouterr().out  # Dagster keeps what a step prints
    assert glue.left_in_bucket() == []
    assert "warning" not in glue.dagster_log(result.run_id).lower()


def test_each_call_is_a_run_with_arguments_of_its_own(glue_job: Callable[..., JobWithRuns]) -> None:
    glue = glue_job(
        f'if request["verb"] == "profile":\n    {ANSWER}\n'
        'else:\n    reply(files=[{"uri": request["target"]["folder"] + "/a.parquet", "rows": 1, "size": 2}])'
    )
    target = EncodeTarget(fields=(), constants={"export_name": "x"}, folder="s3://lake/f", stem="s")
    found: list[object] = []
    result = glue.run(
        lambda engine: found.extend((engine.profile(SOURCE), engine.encode(SOURCE, target)))
    )
    assert result.success
    assert found == [PROFILE, (EncodedFile(uri="s3://lake/f/a.parquet", rows=1, size=2),)]
    first, second = (dict(run.record.arguments) for run in glue.runs)
    assert set(first) == set(second)
    assert [name for name in first if first[name] == second[name]] == [RUN_ARGUMENT, STEP_ARGUMENT]
    assert glue.facts["glue_job_run"] == glue.runs[1].id


def test_a_large_request_and_a_large_answer_arrive_whole(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job(
        'counts = {file["name"] + str(n): n for file in request["source"]["files"] for n in range(100)}\n'
        f'reply(profile={{**{PROFILE.to_json()!r}, "periods": counts}})'
    )
    names = tuple(f"a_column_of_a_wide_report_{number}" for number in range(250))
    source = Source(
        container="csv",
        compression="gzip",
        files=tuple(
            SourceFile(uri=f"s3://b/{number}", name=f"{number:05}-", columns=names)
            for number in range(1_000)
        ),
        columns=tuple(Column(name, STRING) for name in names),
    )
    counted: list[int] = []
    assert glue.run(lambda engine: counted.append(len(engine.profile(source).periods))).success
    assert counted == [100_000]


def test_a_fault_in_a_report_file_is_the_same_error_as_from_any_engine(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job(
        'reply(error={"class": "BadValueError", "what": "No number", "remedy": "Ask", "file": "r.csv.gz", '
        '"line": 3, "column": "cost", "value": "ten"})\nraise SystemExit(1)'
    )
    error, log = refused(glue, errors.BadValueError)
    assert (error.file, error.line, error.column, error.value) == ("r.csv.gz", 3, "cost", "ten")
    assert glue.runs[0].state == "FAILED"
    assert "ended as FAILED" in log
    assert glue.facts["glue_job_run"] == glue.runs[0].id


def test_a_job_that_dies_says_why_where_and_what_it_printed(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job('print("half of it is done")\nraise ValueError("no more memory")')
    error, log = refused(glue, errors.GlueJobError)
    assert "FAILED: ValueError: no more memory" in str(error)
    assert f"/job/{glue.job}/run/{glue.runs[0].id}" in str(error)
    assert "half of it is done" in log
    assert glue.left_in_bucket() == []


def test_a_job_that_reports_nothing_has_failed_whatever_glue_says(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job("print('nothing to say')")
    error, log = refused(glue, errors.GlueJobError)
    assert glue.runs[0].state == "SUCCEEDED"
    assert "reported nothing" in str(error)
    assert "nothing to say" in log


def test_an_answer_of_another_release_is_said_to_be_one(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    error, _ = refused(glue_job('reply(profile={"lines": 7})'), errors.GlueJobError)
    assert "make glue-package" in str(error)


@pytest.mark.parametrize("state", ["TIMEOUT", "STOPPED", "ERROR", "EXPIRED"])
def test_every_way_in_which_a_run_ends_is_an_end(
    glue_job: Callable[..., JobWithRuns], aws: Aws, state: str
) -> None:
    glue = glue_job()
    aws.glue.runs.end_next(glue.job, state, "because of the test")
    error, _ = refused(glue, errors.GlueJobError)
    assert f"{state}: because of the test" in str(error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cancelling_the_dagster_run_stops_the_glue_run(
    glue_job: Callable[..., JobWithRuns], aws: Aws, number: signal.Signals
) -> None:
    glue = glue_job()
    aws.glue.runs.hold(glue.job)

    def cancel(line: str) -> None:
        if "RUNNING after" in line:
            (record,) = glue.instance.get_runs()
            glue.instance.report_run_canceling(record)
            # Here, where the run waits: a signal at any other moment may leave a socket open that was just being made.
            signal.raise_signal(number)

    glue.on_log = cancel
    glue.run()
    assert [run.status for run in glue.instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]
    (run,) = glue.runs
    assert run.state == "STOPPED"
    assert glue.log[-1] == f"Glue run {run.id}: STOPPED"
    assert glue.left_in_bucket() == []


def test_a_key_pressed_stops_the_glue_run_even_where_glue_refuses_at_first(
    glue_job: Callable[..., JobWithRuns], aws: Aws
) -> None:
    glue = glue_job()
    aws.glue.runs.hold(glue.job)

    def press(line: str) -> None:
        if "RUNNING after" in line:
            aws.glue.fail_next("BatchStopJobRun", "ThrottlingException", times=5)
            raise KeyboardInterrupt

    glue.on_log = press
    assert not glue.run().success
    assert glue.runs[0].state == "STOPPED"


def test_what_a_dead_dagster_run_left_at_work_is_stopped_before_the_step_is_run_again(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job()
    dead = glue.run(lambda _: 1 / 0)
    orphan, other_step = left_by(glue, dead.run_id), left_by(glue, dead.run_id, "another_table")
    assert glue.run().success
    states = {run.id: run.state for run in glue.runs}
    assert states.pop(orphan) == "STOPPED"
    assert states.pop(other_step) in ("STARTING", "RUNNING")
    assert list(states.values()) == ["SUCCEEDED"]
    stopped, started = (
        next(i for i, line in enumerate(glue.log) if part in line)
        for part in (f"{orphan}: STOPPED", "#/job")
    )
    assert stopped < started


def test_the_glue_run_of_a_living_dagster_run_or_of_an_unknown_one_is_left_alone(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job()
    living = glue.instance.create_run_for_job(_some_job(), status=dg.DagsterRunStatus.STARTED)
    kept = [left_by(glue, living.run_id), left_by(glue, "a-run-of-another-instance")]
    assert glue.run().success
    states = {run.id: run.state for run in glue.runs}
    assert {states.pop(run_id) for run_id in kept} <= {"STARTING", "RUNNING"}
    assert list(states.values()) == ["SUCCEEDED"]
    assert sum("left alone" in line for line in glue.log) == 2


def _some_job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    return dg.GraphDefinition(name="some", node_defs=[nothing]).to_job()


def test_other_billing_periods_of_the_same_step_are_other_work(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    glue = glue_job()
    glue.months = True
    dead = glue.run(lambda _: 1 / 0, partition_key="2025-03")
    other = left_by(glue, dead.run_id, "table/2025-03")
    assert glue.run(partition_key="2025-04").success
    span = {ASSET_PARTITION_RANGE_START_TAG: "2025-03", ASSET_PARTITION_RANGE_END_TAG: "2025-05"}
    assert glue.run(tags=span).success
    states = [run.state for run in glue.runs]
    assert states[0] in ("STARTING", "RUNNING")
    assert states[1:] == ["SUCCEEDED"] * 2
    assert [run.record.arguments[STEP_ARGUMENT] for run in glue.runs[1:]] == [
        "table/2025-04",
        "table/2025-03/2025-05",
    ]
    assert glue.run(partition_key="2025-03").success
    assert glue.aws.glue.runs.wait(other).state == "STOPPED"


def test_a_job_with_no_room_is_waited_for(glue_job: Callable[..., JobWithRuns]) -> None:
    glue = glue_job(concurrent_runs=1)
    other = glue.start()

    def make_room(line: str) -> None:
        if "no room" in line:
            glue.stop(other)

    glue.on_log = make_room
    assert glue.run().success
    assert any("no room" in line for line in glue.log)


def test_a_job_that_never_has_room_is_an_error(glue_job: Callable[..., JobWithRuns]) -> None:
    glue = glue_job(concurrent_runs=1)
    glue.start()
    waits = FAST.__class__(**{**vars(FAST), "slot": 0.3})
    error, _ = refused(glue, errors.GlueJobError, jobs=glue.jobs(waits))
    assert "concurrency" in str(error)
    assert len(glue.runs) == 1


@pytest.mark.parametrize("action", ["StartJobRun", "GetJobRun", "GetJobRuns"])
def test_throttling_is_waited_out(
    glue_job: Callable[..., JobWithRuns], aws: Aws, action: str
) -> None:
    glue = glue_job()
    aws.glue.fail_next(
        action, "ThrottlingException", "Rate exceeded", times=4
    )  # more than boto3 tries
    assert glue.run().success
    assert any("trying again" in line and "Rate exceeded" in line for line in glue.log)
    assert len(glue.runs) == 1


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"glue_job": "no-such-job"}, "BILLING_LAKE_GLUE_JOB"),
        ({"pipes_bucket": "no-such-bucket"}, "BILLING_LAKE_PIPES_BUCKET"),
    ],
)
def test_a_setting_that_names_nothing_is_named(
    glue_job: Callable[..., JobWithRuns], settings: dict[str, Any], names: str
) -> None:
    glue = glue_job()
    error, _ = refused(glue, errors.ConfigurationError, jobs=glue.jobs(**settings))
    assert names in str(error)
    assert glue.runs == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "glue:StartJobRun"),
        ("InvalidInputException", "BILLING_LAKE_GLUE_"),
        ("ExpiredTokenException", "The AWS credentials have expired"),
    ],
)
def test_a_start_that_glue_will_never_allow_is_not_repeated(
    glue_job: Callable[..., JobWithRuns], aws: Aws, code: str, says: str
) -> None:
    glue = glue_job()
    aws.glue.fail_next("StartJobRun", code)
    error, _ = refused(glue, errors.ConfigurationError)
    assert says in str(error)
    assert glue.runs == []


def test_outside_of_a_dagster_run_there_is_no_glue_engine(
    glue_job: Callable[..., JobWithRuns],
) -> None:
    with pytest.raises(errors.ConfigurationError, match="BILLING_LAKE_ENGINE"):
        glue_job().jobs().launcher(None)
