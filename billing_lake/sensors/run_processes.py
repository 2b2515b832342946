"""Ends runs whose process was killed, where no daemon watches over it.

`billing-lake load` makes its runs in its own process. When that is killed, Dagster takes the run for one at work for half a day: it
keeps its place in the queue, and sensors leave its month alone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

PROCESS_TAG = "billing_lake/process"
"""Tag of a run with the process that it is made in: host, number and time of start, `finops-1 4711 8651203`."""


def process_tag() -> dict[str, str]:
    """Return the tag of a run that is made in this process."""
    return {PROCESS_TAG: _described(os.getpid())}


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Report as failed all runs whose process was on this machine and is gone."""
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        end_if_dead(instance, run)


def end_if_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Report a run as failed if its process was on this machine and is gone; say whether it has ended."""
    named = run.tags.get(PROCESS_TAG, "")
    host, number, *_ = [*named.split(" "), "", ""]
    if host != socket.gethostname() or not number.isdecimal() or _described(int(number)) == named:
        return False
    # It may have ended between the look at the run and the one at its process.
    now = instance.get_run_by_id(run.run_id)
    if now is not None and now.status in NOT_FINISHED_STATUSES:
        instance.report_run_failed(
            now, f"Its process {number} on {host} was killed, or its machine died"
        )
    return True


def _described(pid: int) -> str:
    """Return host, number and time of start of a process, which tells it from a later one of its number; without the last where it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return f"{socket.gethostname()} {pid} -"
    except PermissionError:
        pass  # it is there, and somebody else's
    try:
        since = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        since = "+"  # not every system tells
    return f"{socket.gethostname()} {pid} {since}"
