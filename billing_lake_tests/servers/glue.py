"""The control plane: moto's Glue, STS, CloudWatch Logs and Athena in a thread, with what moto leaves out.

moto keeps catalogs, jobs and crawlers, and runs nothing. Here a started job run really runs its script
(`glue_runs`), a started crawler really looks at its files (`glue_crawlers`), and a stale version of a table is
refused as Glue refuses it: without that, two writers lose each other's rows and no test sees it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from billing_lake_tests.servers.athena import Athena
from billing_lake_tests.servers.glue_crawlers import Crawlers
from billing_lake_tests.servers.glue_runs import JobRuns

if TYPE_CHECKING:
    from moto.glue.models import GlueBackend
    from typing_extensions import Self

    from billing_lake_tests.servers.account import Account


@dataclass
class _Fault:
    action: str
    code: str
    message: str
    times: int


class Glue:
    """A running control plane; a context manager."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self.calls: Counter[str] = Counter()
        # Asked before each call, with moto's response and the action; an answer of its own takes the call's place.
        self.watch: Callable[[Any, str], Any | None] | None = None
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()
        self._server: Any = None
        self.runs = JobRuns(aws)
        self.crawlers = Crawlers(aws)
        self.athena = Athena(aws)

    @property
    def url(self) -> str:
        """Where Glue, Athena, STS and CloudWatch Logs are."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def backend(self) -> GlueBackend:
        """moto's own objects: databases, jobs, crawlers."""
        from moto.backends import get_backend

        return get_backend("glue")[self._aws.account][self._aws.region]

    def add_job(
        self,
        name: str,
        script: str,
        *,
        extra_py_files: Sequence[str] = (),
        arguments: dict[str, str] | None = None,
        workers: int = 2,
        worker_type: str = "G.1X",
        concurrent_runs: int = 4,
        timeout_minutes: int = 10,
    ) -> None:
        """Register a Spark job whose script and libraries are at `s3://` URIs."""
        default = dict(arguments or {})
        if extra_py_files:
            default["--extra-py-files"] = ",".join(extra_py_files)
        self._aws.client("glue").create_job(
            Name=name,
            Role="arn:aws:iam::123456789012:role/glue",
            Command={"Name": "glueetl", "ScriptLocation": script, "PythonVersion": "3"},
            DefaultArguments=default,
            GlueVersion="5.0",
            WorkerType=worker_type,
            NumberOfWorkers=workers,
            ExecutionProperty={"MaxConcurrentRuns": concurrent_runs},
            Timeout=timeout_minutes,
        )

    def fail_next(
        self, action: str, code: str, message: str = "by the test", times: int = 1
    ) -> None:
        """Answer the next calls of an action, like `StartJobRun`, with an error."""
        self._faults.append(_Fault(action, code, message, times))

    def forget_wishes(self) -> None:
        """Answer and run everything again, whatever a test has wished for."""
        with self._lock:
            self._faults.clear()
        self.runs.forget_wishes()
        self.crawlers.forget_wishes()

    def __enter__(self) -> Self:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
        self._patch_moto()
        self.runs.install(self._patch)
        self.crawlers.install(self._patch)
        self.athena.install(self._patch)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.runs.close()
        self.crawlers.close()
        self._server.stop()
        self._patch.undo()

    def _patch_moto(self) -> None:
        from moto.backends import list_of_moto_modules
        from moto.core.responses import BaseResponse
        from moto.core.utils import method_names_from_class
        from moto.glue.exceptions import GlueClientError
        from moto.glue.responses import GlueResponse

        # For each call moto would list its own folder, and the methods of a class.
        modules, names_of = frozenset(list_of_moto_modules()), cache(method_names_from_class)
        self._patch.setattr("moto.backends.list_of_moto_modules", lambda: modules)
        self._patch.setattr("moto.core.responses.method_names_from_class", names_of)

        call, update = BaseResponse.call_action, GlueResponse.update_table

        def call_action(response: BaseResponse) -> Any:
            action = response._get_action()
            self.calls[action] += 1
            if fault := self._next_fault(action):
                body = json.dumps({"__type": fault.code, "message": fault.message})
                return 400, {"x-amzn-errortype": fault.code}, body
            if self.watch is not None and (answer := self.watch(response, action)) is not None:
                return answer
            return call(response)

        def update_table(response: GlueResponse) -> Any:
            asked = response.parameters
            with self._lock:
                if version := asked.get("VersionId"):
                    table = response.glue_backend.get_table(
                        asked["DatabaseName"], asked["TableInput"]["Name"]
                    )
                    if str(version) != str(table._current_version):
                        raise GlueClientError(
                            "ConcurrentModificationException",
                            "Update table failed due to concurrent modifications.",
                        )
                return update(response)

        self._patch.setattr(BaseResponse, "call_action", call_action)
        self._patch.setattr(GlueResponse, "update_table", update_table)

    def _next_fault(self, action: str) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.action == action and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None
