"""A project in a folder, whose code server and Dagster daemon run as processes of their own, as on a machine that nobody looks at."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.prepared import Prepared

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A folder with a project, a lake and a Dagster instance.

    Attributes:
        home: The folder.
        prepared: What its processes are forked from.
        exports: The settings of each export, by name.
        policies: The settings of each alert policy, by name.
        instance: What its `dagster.yaml` has.
        variables: What the daemon has in its environment.
    """

    home: Path
    prepared: Prepared
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
        """Run a code server and the daemon; kill both at once in the end, as a machine dies."""
        with TemporaryDirectory() as folder:
            socket_path = Path(folder) / "code"
            workspace = Path(folder) / "workspace.yaml"
            place = {"socket": str(socket_path), "location_name": "billing_lake"}
            workspace.write_text(json.dumps({"load_from": [{"grpc_server": place}]}))
            code = ["dagster", "api", "grpc", "-m", "billing_lake.definitions"]
            with (
                self._process(*code, "--socket", str(socket_path)),
                socket.socket(socket.AF_UNIX) as attempt,
            ):
                self.wait(lambda: attempt.connect_ex(str(socket_path)) == 0)
                with self._process("dagster._daemon", "run", "-w", str(workspace)):
                    yield

    @contextmanager
    def _process(self, *module: str) -> Iterator[None]:
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "BILLING_LAKE_DEFS": str(self.home / "defs"),
            "BILLING_LAKE_HOME": str(self.lake),
            "PYTHONPATH": str(ROOT),
            **self.variables,
        }
        output = self.home / "daemon.log"
        process = self.prepared.start(
            ["-m", *module], environment=environment, cwd=self.home, output=output
        )
        try:
            yield
        finally:
            process.kill()

    def wait(self, wanted: Callable[[], bool], *, pause_seconds: float = 0.1) -> None:
        """Wait for what the daemon has to do."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted():
            assert time.monotonic() < deadline, (self.home / "daemon.log").read_text()[-3000:]
            time.sleep(pause_seconds)
