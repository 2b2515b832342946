"""Runs of a Glue job when Glue is slow, silent, or answers twice: a clock that the test moves, and answers that it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from billing_lake.domain.errors import ConfigurationError, CredentialsError, GlueJobError
from billing_lake.resources.glue_runs import (
    LAUNCH_ARGUMENT,
    GlueRuns,
    GlueWaits,
    stopped_at_the_end,
)
from billing_lake_tests.aws.settings import aws_settings

TIMEOUT = ReadTimeoutError(endpoint_url="https://glue")
HOUR = 3600


def refusal(code: str, retries: int = 0) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": "by the test"},
        "ResponseMetadata": {"RetryAttempts": retries},
    }
    return ClientError(answer, "Call")


@dataclass
class Scripted:
    """Answers each call with the next of its answers, the last one for ever; an exception is raised."""

    answers: dict[str, list[Any]]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            answers = self.answers[name]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)


@dataclass
class Time:
    """Passes when somebody sleeps."""

    now: float = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def state(name: str, **more: Any) -> dict[str, Any]:
    return {"JobRun": {"Id": "jr_1", "JobRunState": name, **more}}


def listed(*runs: tuple[str, str], token: str | None = None) -> dict[str, Any]:
    found = [
        {"Id": run_id, "JobRunState": "RUNNING", "Arguments": {LAUNCH_ARGUMENT: launch}}
        for run_id, launch in runs
    ]
    return {"JobRuns": found, **({"NextToken": token} if token else {})}


def runs(log: list[str] | None = None, **answers: list[Any]) -> tuple[GlueRuns, Scripted, Time]:
    client, time = Scripted(answers), Time()
    found = GlueRuns(
        client=client,
        settings=aws_settings(glue_job="lake"),
        waits=GlueWaits(),
        log=(log if log is not None else []).append,
        launch="mine",
        sleep=time.sleep,
        clock=lambda: time.now,
    )
    return found, client, time


def nothing() -> None: ...


def test_a_start_whose_answer_was_lost_is_found_again_not_repeated() -> None:
    glue, client, _ = runs(
        start_job_run=[TIMEOUT],
        get_job_runs=[listed(("jr_8", "another's"), token="more"), listed(("jr_9", "mine"))],
    )
    assert glue.start({}) == "jr_9"
    assert client.count("start_job_run") == 1
    assert client.calls[-1] == ("get_job_runs", {"JobName": "lake", "NextToken": "more"})


def test_a_start_that_was_lost_on_the_way_is_repeated() -> None:
    glue, client, _ = runs(
        start_job_run=[TIMEOUT, {"JobRunId": "jr_1"}], get_job_runs=[listed(("jr_8", "another's"))]
    )
    assert glue.start({}) == "jr_1"
    assert client.count("start_job_run") == 2


def test_a_slot_that_the_lost_start_itself_fills_is_not_waited_for() -> None:
    glue, _, time = runs(
        start_job_run=[refusal("ConcurrentRunsExceededException", retries=1)],
        get_job_runs=[listed(("jr_9", "mine"))],
    )
    assert glue.start({}) == "jr_9"
    assert time.now == 0


def test_of_two_runs_that_one_call_started_one_is_stopped() -> None:
    started = {"JobRunId": "jr_2", "ResponseMetadata": {"RetryAttempts": 1}}
    glue, client, _ = runs(
        start_job_run=[started],
        get_job_runs=[listed(("jr_2", "mine"), ("jr_1", "mine"), ("jr_3", "another's"))],
        batch_stop_job_run=[{"SuccessfulSubmissions": [{"JobRunId": "jr_1"}]}],
    )
    assert glue.start({}) == "jr_2"
    assert client.calls[-1] == ("batch_stop_job_run", {"JobName": "lake", "JobRunIds": ["jr_1"]})


def test_waiting_tells_each_change_and_every_half_minute_and_looks_ever_less_often() -> None:
    log: list[str] = []
    glue, client, time = runs(
        log, get_job_run=[state("STARTING")] * 3 + [state("RUNNING")] * 20 + [state("SUCCEEDED")]
    )
    reads: list[float] = []
    run = glue.wait("jr_1", lambda: reads.append(time.now))
    assert run["JobRunState"] == "SUCCEEDED"
    assert log[0].endswith("#/job/lake/run/jr_1")
    told = [line.split(": ")[1].split(" after ")[0] for line in log[1:]]
    assert told == ["STARTING", *["RUNNING"] * 7, "SUCCEEDED"]
    assert reads[:3] == [0, 2, 5]
    assert reads[-1] - reads[-2] == 10
    assert len(reads) == client.count("get_job_run") == 24


def test_a_run_that_outlives_its_time_out_is_given_up_and_stopped() -> None:
    glue, client, time = runs(
        start_job_run=[{"JobRunId": "jr_1"}],
        get_job_run=[state("RUNNING")],
        batch_stop_job_run=[{"SuccessfulSubmissions": [{"JobRunId": "jr_1"}], "Errors": []}],
    )
    glue.start({})
    with pytest.raises(GlueJobError, match="still RUNNING"), stopped_at_the_end(glue):
        glue.wait("jr_1", nothing)
    assert 2.5 * HOUR < time.now < 2.6 * HOUR
    assert client.count("batch_stop_job_run") == 1


def test_time_in_glues_own_queue_is_not_time_at_work() -> None:
    log: list[str] = []
    queued = state("WAITING", StateDetail="The account's limit is reached")
    glue, _, time = runs(
        log, get_job_run=[queued] * 1300 + [state("RUNNING")] * 300 + [state("SUCCEEDED")]
    )
    assert glue.wait("jr_1", nothing)["JobRunState"] == "SUCCEEDED"
    assert time.now > 4 * HOUR
    assert "WAITING (The account's limit is reached)" in log[1]
    glue, _, time = runs(get_job_run=[queued])
    with pytest.raises(GlueJobError, match="still WAITING"):
        glue.wait("jr_1", nothing)
    assert 4 * HOUR < time.now < 4.1 * HOUR


def test_a_glue_that_is_silent_for_a_while_is_put_up_with_and_for_long_is_not() -> None:
    log: list[str] = []
    glue, _, _ = runs(
        log, get_job_run=[TIMEOUT, refusal("InternalServiceException"), state("FAILED")]
    )
    assert glue.wait("jr_1", nothing)["JobRunState"] == "FAILED"
    assert sum("trying again" in line for line in log) == 2
    glue, _, time = runs(get_job_run=[TIMEOUT])
    with pytest.raises(GlueJobError, match="look at the run"):
        glue.wait("jr_1", nothing)
    assert 900 < time.now < 1000


@pytest.mark.parametrize(
    ("code", "error"),
    [("ExpiredTokenException", CredentialsError), ("EntityNotFoundException", ConfigurationError)],
)
def test_what_will_not_pass_is_not_waited_for(code: str, error: type[Exception]) -> None:
    glue, client, time = runs(start_job_run=[refusal(code)])
    with pytest.raises(error, match="by the test"), stopped_at_the_end(glue):
        glue.start({})
    assert (time.now, [name for name, _ in client.calls]) == (0, ["start_job_run"])


def test_a_run_that_does_not_stop_is_told_of_and_hides_no_error() -> None:
    log: list[str] = []
    refused = {"ErrorDetail": {"ErrorCode": "InternalServiceException", "ErrorMessage": "not now"}}
    glue, client, time = runs(
        log,
        start_job_run=[{"JobRunId": "jr_1"}],
        get_job_run=[state("RUNNING")],
        batch_stop_job_run=[{"SuccessfulSubmissions": [], "Errors": [refused]}],
    )
    glue.start({})
    with pytest.raises(KeyboardInterrupt), stopped_at_the_end(glue):
        raise KeyboardInterrupt
    assert "Glue run jr_1: not now" in log
    assert "is still RUNNING" in log[-1]
    assert client.count("batch_stop_job_run") > 10
    assert 180 < time.now < 200


def test_an_interruption_during_the_start_stops_what_was_started_all_the_same() -> None:
    glue, client, _ = runs(
        start_job_run=[KeyboardInterrupt()],
        get_job_runs=[listed(("jr_1", "mine"))],
        get_job_run=[state("RUNNING"), state("STOPPED")],
        batch_stop_job_run=[{"SuccessfulSubmissions": [{"JobRunId": "jr_1"}]}],
    )
    with pytest.raises(KeyboardInterrupt), stopped_at_the_end(glue):
        glue.start({})
    assert client.count("batch_stop_job_run") == 1


def test_a_run_that_has_ended_is_not_stopped() -> None:
    glue, client, _ = runs(
        start_job_run=[{"JobRunId": "jr_1"}], get_job_run=[state("EXPIRED")], batch_stop_job_run=[]
    )
    with stopped_at_the_end(glue):
        glue.start({})
        assert glue.wait("jr_1", nothing)["JobRunState"] == "EXPIRED"
    assert client.count("batch_stop_job_run") == 0
