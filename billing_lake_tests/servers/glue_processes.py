"""The two ways to run a job's script: in a Python that keeps its Spark, or in a new one."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.resources.java import use_java
from billing_lake_tests.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from billing_lake_tests.servers.account import Account

PYTHON_FOLDER = Path(__file__).with_name("glue_python")
_OURS = ("AWS_", "BILLING_LAKE_", "DAGSTER_", "PYSPARK_", "PYTEST_", "PYTHON", "SPARK_")
_POLL = 0.05


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that is ready to run."""

    path: Path
    arguments: Sequence[str]
    libraries: Sequence[Path]  # for sys.path
    folder: Path  # to run in
    output: Path  # for both of its streams
    spark: Sequence[str] = ()  # settings, `name=value`


def environment(aws: Account, conf: Path) -> dict[str, str]:
    """Give a job the variables that Glue would give it, and none of the tests' own."""
    java: dict[str, str] = dict(os.environ)
    use_java(java)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
        **aws.environment(),
        "JAVA_HOME": java["JAVA_HOME"],
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TZ": "UTC",
        "PYTHONPATH": str(PYTHON_FOLDER),
        "PYTHONUNBUFFERED": "1",
    }


class Cold:
    """A new Python, and with it a new JVM, for a script."""

    def __init__(self, variables: Callable[[], dict[str, str]]) -> None:
        self._variables = variables

    def run(self, script: Script, wanted: Callable[[], bool]) -> int | None:
        """Run a script while it is `wanted`; its exit status, or None where it was ended."""
        variables = self._variables()
        path = [str(PYTHON_FOLDER), *map(str, script.libraries)]
        variables["PYTHONPATH"] = os.pathsep.join(path)
        if script.spark:
            settings = " ".join(f"--conf {setting}" for setting in script.spark)
            variables["PYSPARK_SUBMIT_ARGS"] = f"{settings} pyspark-shell"
        with script.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(script.path), *script.arguments],
                cwd=script.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            while wanted():
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_POLL)
            return None
        finally:
            _kill(process)


class Warm:
    """One Python with a running Spark for all scripts, one at a time; started again when it died."""

    def __init__(self, variables: Callable[[], dict[str, str]]) -> None:
        self._variables = variables
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def run(self, script: Script, wanted: Callable[[], bool]) -> int | None:
        """Run a script while it is `wanted`; its exit status, or None where it was ended."""
        if self._process is None or self._process.poll() is not None:
            self._start(script.folder.parent)
        assert self._process is not None
        assert self._process.stdin is not None
        request = {
            "script": str(script.path),
            "arguments": list(script.arguments),
            "path": [str(script.path.parent), *map(str, script.libraries)],
            "folder": str(script.folder),
            "output": str(script.output),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        while wanted():
            with suppress(queue.Empty):
                answer = self._answers.get(timeout=_POLL)
                if answer is not None and answer["alive"]:
                    return int(answer["code"])
                process = self._process
                self.close()  # it stopped its SparkContext, or died with the script
                return int(answer["code"]) if answer else process.returncode
        self.close()
        return None

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            _kill(self._process)
            self._process = None

    def _start(self, folder: Path) -> None:
        # Its own output: what the JVM says, and why Python did not start.
        log = folder / "worker.log"
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(PYTHON_FOLDER / "worker.py")],
                cwd=folder,
                env=self._variables(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._answers = queue.SimpleQueue()
        threading.Thread(
            target=_read, args=(self._process, self._answers), name="glue-worker", daemon=True
        ).start()
        started = time.monotonic()
        try:
            answer = self._answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            answer = None
        if answer is None:
            self.close()
            took = time.monotonic() - started
            raise RuntimeError(
                f"No Spark after {took:.0f} s:\n{log.read_text(errors='replace')[-4000:]}"
            )


def _read(
    process: subprocess.Popen[str], answers: queue.SimpleQueue[dict[str, Any] | None]
) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            answers.put(json.loads(line))
    process.wait()
    answers.put(None)


def _kill(process: subprocess.Popen[Any]) -> None:
    # Python and its JVM are one group; the JVM may outlive Python by a moment.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
