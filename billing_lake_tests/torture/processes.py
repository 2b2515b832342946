"""A process that changes lakes in children of its own, each of which may be killed or have a write refused.

Children are forked, so that imports are paid once for all tests of a process; nothing of a lake is open before.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from billing_lake_tests.torture.writes import Fault, Writes


@dataclass(frozen=True, kw_only=True)
class Told:
    """How a change of a lake ended.

    Attributes:
        status: 0, or the signal that ended the process, below 0.
        kills: Writes at which it could have been killed.
        errors: Writes that could have failed.
        seconds: How long it took.
        failed: The write that was refused.
        said: Messages of what failed.
    """

    status: int
    kills: int = 0
    errors: int = 0
    seconds: float = 0
    failed: str = ""
    said: list[str] = field(default_factory=list)


class Changes:
    """Runs a change of the lake in ``home`` again and again.

    Args:
        name: Names the change in `billing_lake_tests.torture.changes.ACTIONS`.
        home: The folder.
        settings: Settings of the export.
    """

    def __init__(self, name: str, home: Path, settings: dict[str, Any]) -> None:
        self._change = [name, str(home), settings]

    def run(self, fault: Fault = Fault()) -> Told:  # noqa: B008 -- it never changes
        """Run the change once, and say how it ended."""
        forks = _forks()
        assert forks.stdin is not None
        assert forks.stdout is not None
        forks.stdin.write(json.dumps([*self._change, fault.kind, fault.at]) + "\n")
        forks.stdin.flush()
        return Told(**json.loads(forks.stdout.readline()))


@cache
def _forks() -> subprocess.Popen[str]:
    """Start the process that forks; it ends with this one."""
    # Without compiled modules: one that is written is a write that comes once, and where files end at a size it would be cut.
    process = subprocess.Popen(
        [sys.executable, "-B", "-W", "ignore", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def main() -> None:
    """Run the change in a child for each fault that is asked for, and print how each child ended."""
    from billing_lake_tests.torture.changes import ACTIONS

    for module in ("polars", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow", "pyarrow.parquet"):
        __import__(module)
    prepared: dict[str, Callable[[], list[str]]] = {}
    modules: list[str] = []
    for line in sys.stdin:
        # What one child had to import, the next ones find.
        for module in modules:
            with suppress(Exception):
                importlib.import_module(module)
        name, home, settings, *fault = json.loads(line)
        change = json.dumps([name, home, settings])
        if change not in prepared:
            prepared[change] = ACTIONS[name](Path(home), settings)
            # Children share what they never write; a look for garbage would write to all of it.
            gc.collect()
            gc.freeze()
        read, write = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if not child:
            os.close(read)
            told = _told(prepared[change], Writes(Path(home), Fault(*fault)))
            with os.fdopen(write, "w") as stream:
                json.dump(told, stream)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as stream:
            text = stream.read()
        _, status = os.waitpid(child, 0)
        told = json.loads(text) if text else {}
        modules = told.pop("modules", [])
        ended = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}
        print(json.dumps({**told, **ended}), flush=True)


def _told(action: Callable[[], list[str]], writes: Writes) -> dict[str, Any]:
    before = set(sys.modules)
    try:
        said = action()
    except Exception:  # noqa: BLE001 -- told to the test
        said = [traceback.format_exc()]
    return {
        "kills": writes.kills,
        "errors": writes.errors,
        "failed": writes.failed,
        "said": said,
        "modules": sorted(set(sys.modules) - before),
    }


if __name__ == "__main__":
    main()
