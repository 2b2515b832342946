"""Processes that find what they import: each is forked from one Python that has imported it.

A new Python spends seconds of a core on importing Dagster and what a load needs. Tests that kill daemons, or type one command after the
other, start many. Nothing of a lake or of Dagster's history is open where they are forked.

Run as a program, this is the Python that forks, whichever it is: nothing but the standard library is imported here.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

IMPORTED = ("dagster._cli", "dagster._daemon.cli", "dagster._grpc.server", "pyiceberg.catalog.sql")
"""What most commands import and what starts no thread, as DuckDB, Polars and Arrow do: a fork would have none of them."""


class Prepared:
    """A Python that has imported some modules and forks for each command.

    Args:
        modules: The modules.
        environment: All variables that it starts with.
        python: The Python.
    """

    def __init__(
        self,
        modules: Sequence[str],
        environment: Mapping[str, str],
        python: Path = Path(sys.executable),
    ) -> None:
        self._command = [str(python), "-W", "ignore", __file__, *modules]
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path
    ) -> subprocess.CompletedProcess[str]:
        """Do what `start` starts, and return what it said."""
        with TemporaryDirectory() as folder:
            said = [Path(folder, name) for name in ("output", "errors")]
            started = self.start(
                command, environment=environment, cwd=cwd, output=said[0], errors=said[1]
            )
            status = started.wait()
            return subprocess.CompletedProcess(
                [*command], status, *(one.read_text(encoding="utf-8") for one in said)
            )

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        output: Path,
        errors: Path | None = None,
    ) -> Started:
        """Start what this Python would do with the words of a command line: `-c`, `-m` or a script, and arguments.

        Args:
            command: The words.
            environment: All of its variables; it is too late for those that Python itself reads when it starts.
            cwd: Folder that it works in.
            output: File to which its output is added.
            errors: File to which its errors are added; the same one unless given.
        """
        asked = {
            "command": [*command],
            "environment": {**environment},
            "cwd": str(cwd),
            "streams": [str(output), str(errors or output)],
        }
        return Started(self, self.ask(asked))

    def ask(self, asked: Mapping[str, Any]) -> int:
        """Ask the process that forks for something, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@dataclass(frozen=True)
class Started:
    """A process that was forked.

    Attributes:
        prepared: What it was forked from.
        pid: Its id.
    """

    prepared: Prepared
    pid: int

    def wait(self) -> int:
        """Wait for its end; return its status, as `subprocess` does."""
        return self.prepared.ask({"wait": self.pid})

    def kill(self) -> None:
        """Kill it, and wait until it is no more."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def main() -> None:
    """Fork for each command that is asked for; a child leaves the loop and does it."""
    del sys.path[0]  # the folder of this file, which no other Python would look into
    for module in sys.argv[1:]:
        importlib.import_module(module)
    # Children share what they never write; a look for garbage would write to all of it.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        elif not (answer := os.fork()):
            break
        print(answer, flush=True)
    else:
        return
    _become(asked)


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 -- as long as the process lives
    os.dup2(sys.stdin.fileno(), 0)
    for number, file in enumerate(asked["streams"], start=1):
        with Path(file).open("ab") as stream:
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    first, *rest = asked["command"]
    if first == "-c":
        program, *rest = rest
        sys.path.insert(0, "")
        sys.argv = [first, *rest]
        exec(program, {"__name__": "__main__"})
    elif first == "-m":
        module, *rest = rest
        sys.path.insert(0, asked["cwd"])
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(first).parent))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
