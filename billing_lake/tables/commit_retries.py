"""Repeats commits that other writers come before: with pauses, until some time has passed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from billing_lake.aws.retry import retrying
from billing_lake.domain.errors import CommitConflictError

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

log = logging.getLogger(__name__)


class OvertakenError(Exception):
    """Another writer changed what is to be changed after it was read."""


def retry_while_overtaken(
    conflict: str, patience_seconds: float, *lost: type[Exception]
) -> Retrying:
    """Return a caller of functions that calls again while other writers come first.

    It raises `CommitConflictError` where they still do after ``patience_seconds``.

    Args:
        conflict: What makes a commit fail, such as `Other writers kept switching 2025-03 of table billing.cur`.
        patience_seconds: Time after which the next failure is the last.
        lost: Errors besides `OvertakenError` that say that another writer came first.
    """
    from tenacity import stop_after_delay

    def give_up(state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        raise CommitConflictError(f"{conflict}, {state.attempt_number} times") from error

    again = retrying(
        f"commit: {conflict}",
        log.info,
        when=lambda error: isinstance(error, (OvertakenError, *lost)),
    )
    return again.copy(stop=stop_after_delay(patience_seconds), retry_error_callback=give_up)
