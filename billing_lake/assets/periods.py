"""One step, several billing periods: each is worked on by itself, and a bad one does not spoil the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic

import dagster as dg

from billing_lake.domain.errors import BillingLakeError, CommitConflictError
from billing_lake.io.values import ValueStore, ValueT

_CONFLICT_RETRIES = 2
_CONFLICT_SECONDS = 5


@dataclass(frozen=True)
class Outcome(Generic[ValueT]):
    """What became of one billing period.

    Attributes:
        value: The value that the asset hands on.
        metadata: What its materialisation tells.
    """

    value: ValueT
    metadata: Mapping[str, Any] = field(default_factory=dict)


def each_period(
    context: dg.AssetExecutionContext,
    store: ValueStore,
    work: Callable[[str], Outcome[ValueT]],
) -> dict[str, ValueT]:
    """Do ``work`` for every billing period of the run.

    Returns:
        The values by period, for the IO manager.

    Raises:
        dagster.Failure: A period failed. All others were tried, and those that worked are kept and recorded.
    """
    periods = list(context.partition_keys)
    outcomes: dict[str, Outcome[ValueT]] = {}
    errors: dict[str, Exception] = {}
    for position, period in enumerate(periods, start=1):
        if len(periods) > 1:
            context.log.info("Billing period %s (%d of %d)", period, position, len(periods))
        try:
            outcomes[period] = work(period)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other periods deserve their turn
            if len(periods) == 1:
                raise_named(error)
            context.log.error("Billing period %s failed: %s", period, describe(error))  # noqa: TRY400 -- raised below
            errors[period] = error
    if errors:
        for period, outcome in outcomes.items():
            store.write(context.asset_key.path, period, outcome.value)
            context.log_event(
                dg.AssetMaterialization(
                    context.asset_key, partition=period, metadata=outcome.metadata
                )
            )
        raise _failure(errors, len(periods)) from next(iter(errors.values()))
    for period, outcome in outcomes.items():
        context.add_asset_metadata(outcome.metadata, partition_key=period)
    return {period: outcome.value for period, outcome in outcomes.items()}


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn an error that was raised on purpose into a failure whose first words in the UI are the error's."""
    try:
        yield
    except BillingLakeError as error:
        raise_named(error)


def raise_named(error: Exception) -> None:
    """Raise ``error`` as the failure of a step.

    Only a lost race is tried again: everything else that is raised on purpose needs somebody to do something.

    Raises:
        dagster.RetryRequested: Other writers kept winning.
        dagster.Failure: Any other error on purpose.
    """
    if isinstance(error, CommitConflictError):
        raise dg.RetryRequested(_CONFLICT_RETRIES, _CONFLICT_SECONDS) from error
    if isinstance(error, BillingLakeError):
        raise dg.Failure(
            description=describe(error), metadata=_facts(error), allow_retries=False
        ) from error
    raise error


def describe(error: Exception) -> str:
    """Return an error's class and text."""
    return f"{type(error).__name__}: {error}"


def _facts(error: BillingLakeError) -> dict[str, Any]:
    facts = {
        "error": type(error).__name__,
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "remedy": error.how or None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _failure(errors: Mapping[str, Exception], total: int) -> dg.Failure:
    lines = [f"{period}: {describe(error)}" for period, error in errors.items()]
    head = f"{len(errors)} of {total} billing periods failed; the others were kept."
    return dg.Failure(
        description="\n".join((head, *lines)),
        metadata={"failed_periods": ", ".join(errors)},
        allow_retries=False,
    )
