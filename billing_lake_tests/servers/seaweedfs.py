"""S3, S3 Tables and the Iceberg REST catalog in one process: SeaweedFS, as a test's server.

Loopback only, free ports, keys that are checked, nothing sent home, and gone without a trace
afterwards.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.ports import free_port

if TYPE_CHECKING:
    from typing_extensions import Self

_HOST = "127.0.0.1"
_GRPC = 10_000  # SeaweedFS listens on this much above each port as well
_MOST_VOLUMES = 5_000
_ATTEMPTS = 4
_TAKEN = ("address already in use", "is not available on")
_LISTENERS = ("master", "volume", "filer", "s3", "admin", "s3.iceberg")


class ServerError(RuntimeError):
    """A server of the tests did not start or died; the message ends with its log."""


class SeaweedFS:
    """A running `weed mini`; a context manager."""

    def __init__(self, *, keys: Sequence[str], secret: str, account: str) -> None:
        self._keys, self._secret, self._account = keys, secret, account
        self._folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def s3_url(self) -> str:
        """Where S3 and the control plane of S3 Tables are."""
        return f"http://{_HOST}:{self._ports['s3']}"

    @property
    def iceberg_url(self) -> str:
        """Where the Iceberg REST catalog of the table buckets is."""
        return f"http://{_HOST}:{self._ports['s3.iceberg']}"

    @property
    def log(self) -> str:
        """The end of what the server wrote."""
        path = self._folder / "weed.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def __enter__(self) -> Self:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start()
            except ServerError:
                self._stop()
                # Between finding a free port and using it, somebody else may have taken it.
                if not any(one in self.log for one in _TAKEN) or attempt == _ATTEMPTS:
                    shutil.rmtree(self._folder, ignore_errors=True)
                    raise
            else:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self) -> None:
        """Say why the server died, if it did."""
        if self._process is None or self._process.poll() is not None:
            code = None if self._process is None else self._process.returncode
            raise ServerError(f"SeaweedFS ended with {code}. The end of its log:\n{self.log}")

    def _start(self) -> None:
        self._ports = {name: free_port(_GRPC) for name in _LISTENERS}
        config = self._folder / "s3.json"
        config.write_text(json.dumps(_identities(self._keys, self._secret, self._account)))
        # Settings of an earlier attempt would be read again, ports included.
        (self._folder / "mini.options").unlink(missing_ok=True)
        # Where util-linux is, the kernel ends the server when the tests are killed and cannot.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [
            *guard,
            _program(),
            "-logtostderr=true",
            "mini",
            f"-dir={self._folder}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            # Each bucket takes volumes. Unless told, the server allows as many as fit the disk when they are full.
            f"-volume.max={_MOST_VOLUMES}",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.lance=0",
            f"-s3.config={config}",
            # Otherwise a request that the server does not know makes a bucket and succeeds.
            "-s3.autoCreateBucket=false",
            *(f"-{name}.port={self._ports[name]}" for name in _LISTENERS if "." not in name),
            f"-s3.port.iceberg={self._ports['s3.iceberg']}",
        ]
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "S3_"))}
        with (self._folder / "weed.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self._folder
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        pages = [f"{self.s3_url}/healthz", f"{self.iceberg_url}/v1/config"]
        while pages:
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(
                    f"SeaweedFS did not start in {PATIENCE_SECONDS:g} s. The end of its log:\n{self.log}"
                )
            pages = [page for page in pages if not _answers(page)]
            time.sleep(0.05)

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            # A polite end takes four seconds and saves what nobody needs.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._process = None
        for port in self._ports.values():
            for number in (port, port + _GRPC):
                for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink(missing_ok=True)


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServerError("The program `weed` is not installed: `make install` brings it.")
    return found


def _identities(keys: Sequence[str], secret: str, account: str) -> dict[str, object]:
    # The account makes the ARNs of table buckets look like those of AWS.
    return {
        "accounts": [{"id": account, "displayName": "tests"}],
        "identities": [
            {
                "name": "tests",
                "account": {"id": account},
                "credentials": [{"accessKey": key, "secretKey": secret} for key in keys],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ],
    }


def _answers(url: str) -> bool:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(_HOST, where.port, timeout=10)
    try:
        connection.request("GET", where.path)
        connection.getresponse().read()  # any answer will do: without a key it is a refusal
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
