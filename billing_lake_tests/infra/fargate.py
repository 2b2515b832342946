"""Stands in for Fargate: the containers of task definitions run as processes of this machine.

Commands, environment and secrets are those of the template; files of the image are those of `infra/image`. Tasks of Fargate have a
network of their own and these share the machine's, so the ports that a task uses are free ones here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.account import Account

if TYPE_CHECKING:
    from typing_extensions import Self

Container = Mapping[str, Any]
_WATCH_SECONDS = 0.2
_POLL_SECONDS = 1.0
"""Seconds between two questions, each of which costs a webserver or a program's start."""

_LOG_CHARACTERS = 6_000
_FOREIGN = ("AWS_", "BILLING_LAKE_", "DAGSTER_")


@dataclass
class Task:
    """A task that runs, or ran.

    Attributes:
        arn: Its ARN.
        containers: Its containers, as its definition has them.
        overrides: What `RunTask` changed of them.
        of_service: Whether a service keeps it running.
        processes: Its containers' processes, by the container's name.
        healthy: Names of containers that were found healthy.
    """

    arn: str
    containers: list[Container]
    overrides: Mapping[str, Any]
    of_service: bool
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)


class Fargate:
    """Runs tasks of a cluster until it is closed; a context manager.

    Args:
        aws: The account, with all rights.
        role: The account as the tasks' role sees it.
        cluster: The cluster.
        definitions: Task definitions by ARN, whole.
        image: Folder of the image's files.
        folder: Where they are copied to; the tasks' working folder.
        ports: The free port for each port of a task.
        extra: Variables that lead the product to the endpoints of this machine.
    """

    def __init__(
        self,
        aws: Account,
        role: Account,
        cluster: str,
        definitions: Mapping[str, Mapping[str, Any]],
        *,
        image: Path,
        folder: Path,
        ports: Mapping[int, int],
        extra: Mapping[str, str],
    ) -> None:
        self.aws, self.role, self.cluster = aws, role, cluster
        self.definitions = definitions
        self.folder, self.temporary = folder, folder / "tmp"
        self.ports = ports
        self.extra = dict(extra)
        self.tasks: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._stack = ExitStack()
        shutil.copytree(image, folder)
        self.temporary.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            text = (folder / name).read_text(encoding="utf-8")
            for port, free in ports.items():
                text = re.sub(rf"(port: ){port}\b", rf"\g<1>{free}", text)
            (folder / name).write_text(text, encoding="utf-8")
        fargate = self

        class Metadata(BaseHTTPRequestHandler):
            """What `ECS_CONTAINER_METADATA_URI_V4` leads to: `/<task>/<container>`, and `…/task`."""

            def do_GET(self) -> None:
                fargate._describe(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it
                """Write nothing."""

        self._metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        self._metadata.daemon_threads = True

    def __enter__(self) -> Self:
        from moto.ec2.models.elastic_network_interfaces import NetworkInterface
        from moto.moto_api import state_manager

        # A task runs for as long as its process does, not until it was looked at some times.
        state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**9})
        self._stack.callback(state_manager.unset_transition, "ecs::task")
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(NetworkInterface, "private_dns_name", "task.internal", raising=False)
        self._thread(self._metadata.serve_forever)
        self._stack.callback(self._metadata.server_close)
        self._stack.callback(self._metadata.shutdown)
        self._stack.callback(self._end_all)
        self._thread(self._watch)
        self._stack.callback(self._stop.set)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _thread(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._stack.callback(thread.join, PATIENCE_SECONDS)

    def start_service(self, name: str) -> Task:
        """Start the task of a service, its containers in the order of what they depend on."""
        ecs = self.aws.client("ecs")
        (service,) = ecs.describe_services(cluster=self.cluster, services=[name])["services"]
        with self._lock:
            (made,) = ecs.run_task(
                cluster=self.cluster,
                taskDefinition=service["taskDefinition"],
                launchType="FARGATE",
                networkConfiguration=service["networkConfiguration"],
            )["tasks"]
            task = self._add(made["taskArn"], made["taskDefinitionArn"], {}, of_service=True)
        left = list(task.containers)
        while left:
            ready = [
                one
                for one in left
                if all(on["containerName"] in task.processes for on in one.get("dependsOn", ()))
            ]
            assert ready, "containers depend on each other in a circle"
            for container in ready:
                for dependency in container.get("dependsOn", ()):
                    self._await(task, dependency["containerName"], dependency["condition"])
                self._start(task, container)
                left.remove(container)
        return task

    def log(self, container: str) -> str:
        """Return what containers of a name wrote last."""
        file = self.folder / f"{container}.log"
        return file.read_text(errors="replace")[-_LOG_CHARACTERS:] if file.exists() else ""

    def wait(self, wanted: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted():
            self._check()
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s"
            time.sleep(_POLL_SECONDS)

    def _check(self) -> None:
        """Fail where an essential container of a service has ended, or the stand-in itself failed."""
        assert not self._failures, self._failures
        for task in self.tasks.values():
            for container in task.containers if task.of_service else ():
                name = container["name"]
                process = task.processes.get(name)
                if process and container.get("essential", True):
                    assert process.poll() is None, f"{name} ended: {self.log(name)}"

    def _add(
        self, arn: str, definition: str, overrides: Mapping[str, Any], *, of_service: bool
    ) -> Task:
        containers = list(self.definitions[definition]["containerDefinitions"])
        self.tasks[arn] = Task(arn, containers, overrides, of_service)
        return self.tasks[arn]

    def _watch(self) -> None:
        """Start what `RunTask` asks for, and say when it has ended."""
        try:
            while not self._stop.wait(_WATCH_SECONDS):
                with self._lock:
                    self._look()
        except BaseException as error:  # noqa: BLE001 -- the test that waits has to see it
            self._failures.append(error)

    def _look(self) -> None:
        from moto.backends import get_backend

        known = get_backend("ecs")[self.aws.account][self.aws.region].tasks.get(self.cluster, {})
        for arn, made in list(known.items()):
            task = self.tasks.get(arn)
            if task is None:
                task = self._add(
                    arn, made.task_definition_arn, made.overrides or {}, of_service=False
                )
                for container in task.containers:
                    self._start(task, container)
            elif not task.of_service and made.last_status != "STOPPED":
                self._follow(task, made)

    def _follow(self, task: Task, made: Any) -> None:
        """Say of a task that it has stopped, when its processes have ended or `StopTask` was called."""
        if made.desired_status == "STOPPED":
            for process in task.processes.values():
                process.terminate()
        if all(process.poll() is not None for process in task.processes.values()):
            for container in made.containers:
                container.exit_code = task.processes[container.name].returncode
                container.last_status = "STOPPED"
            made.stopped_reason = "Essential container in task exited"
            made.last_status = made.desired_status = "STOPPED"

    def _start(self, task: Task, container: Container) -> None:
        name = container["name"]
        override: Mapping[str, Any] = next(
            (one for one in task.overrides.get("containerOverrides", ()) if one["name"] == name), {}
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            task.processes[name] = subprocess.Popen(
                self._here(override.get("command") or container["command"]),
                cwd=self.folder,
                env=self._environment(task, container, override),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, task: Task, name: str, condition: str) -> None:
        """Wait for what a container's start depends on."""
        if condition == "SUCCESS":
            assert task.processes[name].wait(PATIENCE_SECONDS) == 0, self.log(name)
            return
        assert condition == "HEALTHY", condition
        (container,) = (one for one in task.containers if one["name"] == name)
        # The check is a program of seconds, so it is not asked before the container listens, nor for each that waits for it.
        told = {int(word) for word in container["command"] if word.isdigit()}
        self.wait(lambda: all(map(self._listens, told & self.ports.keys())), f"{name} listens")
        if name not in task.healthy:
            self.wait(lambda: self._is_healthy(task, container), f"{name} is healthy")
            task.healthy.add(name)

    def _listens(self, port: int) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.ports[port])) == 0

    def _is_healthy(self, task: Task, container: Container) -> bool:
        kind, line = container["healthCheck"]["command"]
        assert kind == "CMD-SHELL"
        command, environment = self._here(line.split()), self._environment(task, container, {})
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, check=False
        )
        return done.returncode == 0

    def _here(self, command: Iterable[str]) -> list[str]:
        """Return a command with its program's path, and with the ports that are free here."""
        ports = {str(port): str(free) for port, free in self.ports.items()}
        program, *arguments = [ports.get(word, word) for word in command]
        return [str(Path(sys.executable).with_name(program)), *arguments]

    def _environment(
        self, task: Task, container: Container, override: Mapping[str, Any]
    ) -> dict[str, str]:
        port, key = self._metadata.server_address[1], task.arn.rpartition("/")[2]
        stated = [*container.get("environment", ()), *override.get("environment", ())]
        return {
            **{name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)},
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "DAGSTER_HOME": str(self.folder),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "BILLING_LAKE_DEFS": str(self.folder / "defs"),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.temporary),
            "TZ": "UTC",
            **self.role.environment(),
            **{one["name"]: one["value"] for one in stated},
            **{one["name"]: self._secret(one["valueFrom"]) for one in container.get("secrets", ())},
            **self.extra,
            "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{port}/{key}/{container['name']}",
        }

    def _secret(self, named: str) -> str:
        """Return what ECS hands to a container, with the rights of the role that starts it: `<arn>:<key>::`."""
        arn, key = named.removesuffix("::").rsplit(":", 1)
        value = self.role.client("secretsmanager").get_secret_value(SecretId=arn)
        return str(json.loads(value["SecretString"])[key])

    def _describe(self, handler: BaseHTTPRequestHandler) -> None:
        key, name, *more = handler.path.strip("/").split("/")
        (task,) = (one for one in self.tasks.values() if one.arn.endswith(f"/{key}"))
        answer = {"Cluster": self.cluster, "TaskARN": task.arn} if more else {"Name": name}
        body = json.dumps(answer).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _end_all(self) -> None:
        """End all containers at once, with whatever they have started; what they would still write nobody needs."""
        for task in self.tasks.values():
            for process in task.processes.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
