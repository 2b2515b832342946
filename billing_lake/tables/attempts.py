"""Attempts at a commit that other writers may come before: counted, spaced out, ended after some time."""

from __future__ import annotations

import logging
import random
import time

from billing_lake.domain.errors import CommitConflictError

log = logging.getLogger(__name__)


class Attempts:
    """The failed attempts at one commit.

    Args:
        conflict: What makes them fail, such as `Other writers kept switching 2025-03 of table billing.cur`.
        patience_seconds: Time from now after which the next failure is the last.
    """

    def __init__(self, conflict: str, patience_seconds: float) -> None:
        self._conflict = conflict
        self._deadline = time.monotonic() + patience_seconds
        self._failed = 0

    def wait(self, error: Exception | None = None) -> None:
        """Wait after a failed attempt, until the next one may begin.

        Args:
            error: What the attempt failed by.

        Raises:
            CommitConflictError: There is no time for another attempt.
        """
        self._failed += 1
        if time.monotonic() > self._deadline:
            raise CommitConflictError(f"{self._conflict}, {self._failed} times") from error
        log.info("%s, trying again (%d): %s", self._conflict, self._failed, error or "it changed")
        time.sleep(backoff(self._failed - 1))


def backoff(attempt: int) -> float:
    """Return seconds to wait after the failed ``attempt`` (from 0): longer each time, never the same for two writers."""
    return random.uniform(0.01, min(2.0, 0.05 * 2.0**attempt))  # noqa: S311  # no secret
