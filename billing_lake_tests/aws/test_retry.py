"""Calls that fail for a reason that passes are repeated, others are not, and no pause is waited for here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, ReadTimeoutError

from billing_lake.aws.retry import boto3_gave_up_at_once, retry_http, retrying

TIME_OUT = ReadTimeoutError(endpoint_url="https://glue")


def refusal(code: str, retries: int = 0) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "by the test"},
        "ResponseMetadata": {"RetryAttempts": retries},
    }
    return ClientError(answer, "GetTable")


def answering(*answers: Exception | str) -> Callable[[], str]:
    """Return a function that gives each of the answers in turn."""
    left = iter(answers)

    def call() -> str:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_a_fault_that_passes_is_waited_out_and_told() -> None:
    log: list[str] = []
    pauses: list[float] = []
    call = retrying("look at the table", log.append, sleep=pauses.append)
    assert call(answering(refusal("SlowDown"), TIME_OUT, "the table")) == "the table"
    assert len(pauses) == 2
    assert log[0].startswith("Could not look at the table, trying again: ")
    assert "SlowDown" in log[0]


def test_a_fault_that_stays_is_raised_as_it_is_after_six_tries_or_some_seconds() -> None:
    pauses: list[float] = []
    faults = [refusal("SlowDown") for _ in range(1000)]
    with pytest.raises(ClientError, match="SlowDown"):
        retrying("look", print, sleep=pauses.append)(answering(*faults))
    assert len(pauses) == 5
    assert max(pauses) <= 2
    pauses.clear()
    call = retrying("look", print, seconds=60, first=2, longest=10, sleep=pauses.append)
    with pytest.raises(ClientError, match="SlowDown"):
        call(answering(*faults))
    assert 60 <= sum(pauses) < 70


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidInputException"])
def test_what_needs_somebody_is_not_repeated(code: str) -> None:
    with pytest.raises(ClientError, match=code):
        retrying("look", print)(answering(refusal(code), "never asked for"))


def test_what_boto3_has_repeated_is_not_repeated_once_more() -> None:
    assert boto3_gave_up_at_once(refusal("OperationTimeoutException"))
    assert not boto3_gave_up_at_once(refusal("ThrottlingException", retries=7))
    assert not boto3_gave_up_at_once(TIME_OUT)
    assert not boto3_gave_up_at_once(refusal("AccessDenied"))


@contextmanager
def server(statuses: list[int]) -> Iterator[tuple[str, list[str]]]:
    """Answer with each status in turn, and 200 afterwards; yield the address and the requests."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            seen.append(self.command)
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815 -- the names that the server looks for

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/", seen
        finally:
            listening.shutdown()
            thread.join()


def test_a_busy_catalog_is_asked_again_and_never_told_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("billing_lake.aws.retry._HTTP_PAUSE_SECONDS", 0.0)
    with requests.Session() as session:
        session.trust_env = False
        retry_http(session)
        with server([503, 429, 500]) as (address, seen):
            assert session.get(address).status_code == 200
            assert seen == ["GET"] * 4
        with server([503, 503, 503]) as (address, seen):
            assert session.post(address).status_code == 503
            assert seen == ["POST"]
