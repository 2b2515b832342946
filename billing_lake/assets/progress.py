"""Progress of an engine, as lines in the log of a run."""

import threading

import dagster as dg

from billing_lake.engines.base import Log


def progress(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Log:
    """Return a log that writes to the run's; engines call it from threads, Dagster's logger takes one at a time."""
    lock = threading.Lock()

    def log(line: str) -> None:
        with lock:
            context.log.info("%s", line)

    return log
