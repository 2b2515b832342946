"""Repeats calls of AWS that fail for a reason that passes, with longer and longer pauses.

boto3 repeats throttled and unanswered calls by itself (`AwsClients`). What it does not repeat is repeated here, and by the step of a
Dagster run when neither was enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from billing_lake.aws.errors import error_text, is_transient

if TYPE_CHECKING:
    from requests import Session
    from tenacity import Retrying

_TRIES = 6
_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 2.0
_SERVER_ERRORS = (429, 500, 502, 503, 504)
_HTTP_TRIES = 4
_HTTP_PAUSE_SECONDS = 0.2


def retrying(
    what: str,
    log: Callable[[str], object],
    *,
    seconds: float | None = None,
    when: Callable[[BaseException], bool] = is_transient,
    first: float = _FIRST_SECONDS,
    longest: float = _LONGEST_SECONDS,
    sleep: Callable[[float], None] | None = None,
) -> Retrying:
    """Return a caller of functions that calls again while they fail for a reason that passes; the last error is raised as it is.

    Args:
        what: What the call does, for the log: `look at the run`.
        log: Takes a line before each pause.
        seconds: How long to pause in all before the error is raised; after six tries where it is not given.
        when: Whether an error passes.
        first: Longest first pause, in seconds; each is drawn at random, so that two callers that met do not meet again.
        longest: Longest later pause, in seconds.
        sleep: Waits for some seconds; `time.sleep` unless given.
    """
    from tenacity import (
        RetryCallState,
        Retrying,
        retry_if_exception,
        stop_after_attempt,
        wait_random_exponential,
    )

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None:
            log(f"Could not {what}, trying again: {error_text(error)}")

    return Retrying(
        retry=retry_if_exception(when),
        wait=wait_random_exponential(multiplier=first, max=longest),
        stop=stop_after_attempt(_TRIES)
        if seconds is None
        else lambda state: state.idle_for >= seconds,
        before_sleep=tell,
        sleep=sleep or time.sleep,
        reraise=True,
    )


def boto3_gave_up_at_once(error: BaseException) -> bool:
    """Return whether an answer of AWS passes by itself and boto3 did not repeat the call.

    boto3 knows the codes of all services; Glue has some of its own, such as `OperationTimeoutException`.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or not is_transient(error):
        return False
    return not response.get("ResponseMetadata", {}).get("RetryAttempts")


def retry_http(session: Session) -> None:
    """Let a session repeat requests that only look, where the server is busy or the connection breaks."""
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    for adapter in session.adapters.values():
        # Adapters that sign requests stay; a signature holds for minutes, so a repeated request needs no other one.
        if isinstance(adapter, HTTPAdapter):
            adapter.max_retries = Retry(
                total=_HTTP_TRIES,
                read=1,
                backoff_factor=_HTTP_PAUSE_SECONDS,
                status_forcelist=_SERVER_ERRORS,
                allowed_methods={"GET", "HEAD"},
                raise_on_status=False,
            )
