"""A project in a folder, whose Dagster daemon runs as a process of its own, as on a machine that nobody looks at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from billing_lake_tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A folder with a project, a lake and a Dagster instance.

    Attributes:
        home: The folder.
        exports: The settings of each export, by name.
        policies: The settings of each alert policy, by name.
        instance: What its `dagster.yaml` has.
        variables: What the daemon has in its environment.
    """

    home: Path
    exports: Mapping[str, Mapping[str, Any]]
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instance: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def lake(self) -> Path:
        """Folder of the lake."""
        return self.home / "lake"

    @contextmanager
    def installed(self) -> Iterator[dg.DagsterInstance]:
        """Write the project; gives its instance."""
        for kind, settings in (("BillingExport", self.exports), ("AlertPolicy", self.policies)):
            for name, attributes in settings.items():
                file = self.home / "defs" / name / "defs.yaml"
                file.parent.mkdir(parents=True)
                component = {
                    "type": f"billing_lake.components.{kind}",
                    "attributes": {"name": name, **attributes},
                }
                file.write_text(json.dumps(component))
        text = json.dumps({"telemetry": {"enabled": False}, **self.instance})
        (self.home / "dagster.yaml").write_text(text)
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Run the daemon, which runs a code server; kill both at once in the end, as a machine dies."""
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "BILLING_LAKE_DEFS": str(self.home / "defs"),
            "BILLING_LAKE_HOME": str(self.lake),
            "PYTHONPATH": str(ROOT),
            **self.variables,
        }
        with (self.home / "daemon.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-m", "billing_lake.definitions"],
                env=environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait(self, wanted: Callable[[], bool], *, pause_seconds: float = 0.1) -> None:
        """Wait for what the daemon has to do."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted():
            assert time.monotonic() < deadline, (self.home / "daemon.log").read_text()[-3000:]
            time.sleep(pause_seconds)
