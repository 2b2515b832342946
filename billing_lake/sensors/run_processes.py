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
"""Tag of a run with the process that it is made in: host, space of process numbers, number, time of start."""


def process_tag() -> dict[str, str]:
    """Return the tag of a run that is made in this process."""
    pid = os.getpid()
    return {PROCESS_TAG: f"{_machine()} {pid} {_started(pid)}"}


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Report as failed all runs whose process was on this machine and is gone."""
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        end_if_dead(instance, run)


def end_if_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Report a run as failed if its process was on this machine and is gone; say whether it has ended."""
    machine, _, process = run.tags.get(PROCESS_TAG, "").partition(f"{_machine()} ")
    number, _, since = process.partition(" ")
    if machine or not number.isdecimal() or not _is_gone(int(number), since):
        return False
    # It may have ended between the look at the run and the one at its process.
    now = instance.get_run_by_id(run.run_id)
    if now is not None and now.status in NOT_FINISHED_STATUSES:
        instance.report_run_failed(now, f"Its process {number} was killed, or its machine died")
    return True


def _machine() -> str:
    """Return host and space of process numbers: a container may have the host's name, and numbers of its own."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} -"  # not Linux


def _is_gone(pid: int, since: str) -> bool:
    """Say whether a process has ended; a later one that got its number began at another time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is there, and somebody else's
    return _started(pid) not in ("", since) and since != ""


def _started(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; empty where that is not told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""
