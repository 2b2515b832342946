"""What Glue answers when it does not do what it is asked: what passes, what never will, and what nobody can know."""

from __future__ import annotations

from collections.abc import Callable

from billing_lake.aws.errors import (
    Fault,
    credentials_error,
    error_code,
    fault_of,
    is_transient,
)
from billing_lake.aws.settings import AwsSettings
from billing_lake.domain.errors import ConfigurationError, GlueJobError, shown
from billing_lake.engines.base import Log

_FULL = frozenset({"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"})
_MESSAGE = 500


class Calm:
    """Bears faults of Glue that pass, for some time, and names those that do not.

    Args:
        purpose: What the calls are for.
        settings: The job.
        patience: How many seconds to bear faults.
        clock: Returns seconds that only grow.
        log: Is told what is borne.
    """

    def __init__(
        self,
        purpose: str,
        settings: AwsSettings,
        patience: float,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._purpose = purpose
        self._settings = settings
        self._patience = patience
        self._clock = clock
        self._log = log
        self._since: float | None = None

    def bear(self, error: Exception) -> None:
        """Return where the call may be tried again.

        Raises:
            ConfigurationError: It will never work like this.
            GlueJobError: It has not worked for too long.
        """
        fault = fault_of(error)
        settings = self._settings
        if (named := credentials_error(error)) is not None:
            raise named from error
        if fault is Fault.MISSING:
            what = f"Glue in {settings.region} could not {self._purpose} {settings.glue_job}: {said(error)}"
            raise ConfigurationError(
                what, remedy="Set BILLING_LAKE_GLUE_JOB to a job that exists in this region"
            ) from error
        if fault is Fault.DENIED:
            what = f"No right to {self._purpose} {settings.glue_job}: {said(error)}"
            raise ConfigurationError(
                what,
                remedy="Allow glue:StartJobRun, GetJobRun, GetJobRuns and BatchStopJobRun on the job",
            ) from error
        if error_code(error) in ("InvalidInputException", "ValidationException"):
            what = f"Glue refuses to {self._purpose} {settings.glue_job}: {said(error)}"
            raise ConfigurationError(
                what, remedy="Compare the BILLING_LAKE_GLUE_* settings with the job"
            ) from error
        now = self._clock()
        self._since = now if self._since is None else self._since
        if not is_transient(error) or now - self._since > self._patience:
            what = f"Could not {self._purpose} {settings.glue_job}: {said(error)}"
            raise GlueJobError(what) from error
        self._log(f"Glue could not {self._purpose}, trying again: {said(error)}")


def is_full(error: Exception) -> bool:
    """Return whether there is no room for another run."""
    return error_code(error) in _FULL


def doubtful(error: Exception) -> bool:
    """Return whether a call that failed may have done what it was to do: its answer was lost, or that of an attempt before."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return True
    return fault_of(error) is Fault.TRANSIENT or bool(
        response.get("ResponseMetadata", {}).get("RetryAttempts")
    )


def said(error: Exception) -> str:
    """Return what Glue said."""
    return shown(error, _MESSAGE)
