"""Whatever the machine refuses while a month is loaded is a named error of a step, and no table changes.

A child process loads a restatement again and again. Each time one file-system call below the lake fails: Python tells of it
beforehand (`sys.addaudithook`), and the hook raises the error that a disk would give. What libraries write past Python,
SQLite and Arrow, meets a limit on the size of files instead.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain import errors
from billing_lake.domain.profiles import Profile
from billing_lake_tests.assets.test_load import figures
from billing_lake_tests.lakes import SPEC, SampleLake

PERIOD = "2025-03"
PLACES = 12
"""Calls that fail, one in each load, spread over all that a load makes."""

SIZES = (0, 1 << 10, 5 << 10, 20 << 10, 40 << 10, 80 << 10)
"""Bytes at which files end, one in each load."""

_EVENTS = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink"}
_NUMBERS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EDQUOT)


class Disk:
    """What the hook has seen, and which call it lets fail."""

    def __init__(self, lake: Path) -> None:
        self.lake = f"{lake}/"
        self.calls = 0
        self.failing: int | None = None
        self.number = errno.EIO
        self.failed = ""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        place = os.fspath(arguments[0]) if isinstance(arguments[0], str | Path) else ""
        writes = event != "open" or bool(
            arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        )
        made = event == "os.mkdir" and Path(place).is_dir()
        if not writes or made or not place.startswith(self.lake):
            return
        self.calls += 1
        if self.calls - 1 == self.failing:
            self.failed = f"{event} {place}"
            raise OSError(self.number, os.strerror(self.number), place)


def main() -> None:
    """Load restatements with one fault after another; print what became of each as a line of JSON."""
    home, how = Path(sys.argv[1]), sys.argv[2]
    lake = SampleLake(home)
    disk = Disk(home)
    delivered = lake.deliver(PERIOD, spec=SPEC)
    assert lake.load(PERIOD).success
    turns = places(lake, disk) if how == "calls" else SIZES
    for turn, place in enumerate(turns, start=1):
        delivered = lake.deliver(PERIOD, spec=SPEC, restatement=turn)
        before = held(lake)
        with fault(disk, how, place):
            result = lake.load(PERIOD)
        failures = [event.step_failure_data for event in result.get_step_failure_events()]
        said = [
            one.user_failure_data.description if one.user_failure_data else str(one.error)
            for one in failures
        ]
        whole = all(
            now == old or figures(now) == figures(delivered)
            for old, now in zip(before, held(lake), strict=True)
        )
        told = {"place": disk.failed or place, "success": result.success, "whole": whole}
        print(json.dumps({**told, "said": said}), flush=True)
    assert lake.load(PERIOD).success
    assert all(figures(now) == figures(delivered) for now in held(lake))


def held(lake: SampleLake) -> list[Profile]:
    """Return what a reader of each table finds."""
    return [lake.profile(output, PERIOD) for output in lake.component.outputs]


def places(lake: SampleLake, disk: Disk) -> list[int]:
    """Return the numbers of calls that are to fail."""
    disk.calls = 0
    assert lake.load(PERIOD).success
    step = max(1, disk.calls // PLACES)
    return list(range(0, disk.calls, step))


@contextmanager
def fault(disk: Disk, how: str, place: int) -> Iterator[None]:
    """Let one call fail within the block, or every file end at a size."""
    if how == "calls":
        disk.calls, disk.failing, disk.failed = 0, place, ""
        disk.number = _NUMBERS[place % len(_NUMBERS)]
        yield
        disk.failing = None
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (place, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("how", ["calls", "sizes"])
def test_each_refused_write_is_a_named_failure_of_its_step_and_no_table_is_half_loaded(
    tmp_path: Path, how: str
) -> None:
    done = subprocess.run(
        # Python does not notice that a compiled module which it writes is cut off at the size: whoever imports it next would.
        [sys.executable, "-B", "-W", "ignore", "-m", __name__, str(tmp_path / "lake"), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) >= len(SIZES)
    names = tuple(f"{name}: " for name in vars(errors) if name.endswith("Error"))
    for one in told:
        assert one["whole"], one
        assert one["success"] or all(text.startswith(names) for text in one["said"]), one
    assert sum(not one["success"] for one in told) >= len(told) // 2


if __name__ == "__main__":
    main()
