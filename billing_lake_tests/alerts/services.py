"""Services that alerts are sent to, on this machine: a webhook, a mail server, Amazon SNS; and changes to send."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from typing_extensions import Self

from billing_lake.alerts.changes import AlertGroup, StatusChange
from billing_lake.alerts.rendering import Message, Renderer
from billing_lake_tests.servers.ports import free_port

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=timezone.utc)
UI = "https://dagster.example.com"
TABLE = """| figure | expected | found | difference |
| --- | --- | --- | --- |
| rows | 1,204,331 | 1,204,330 | -1 |
| unblended cost, USD | 48,120.55 | 48,120.51 | -0.04 |"""


def change(**facts: Any) -> StatusChange:
    """Return a failed proof of a table, with what a test says of it."""
    usual: dict[str, Any] = {
        "kind": "check",
        "name": "equals_delivery",
        "is_red": True,
        "severity": "ERROR",
        "export": "cost_and_usage",
        "asset": "cost_and_usage/iceberg_table",
        "period": "2025-02",
        "found": "2025-02: the table differs from the delivery in rows and unblended cost",
        "table": TABLE,
        "since": NOON,
        "at": NOON,
        "run_id": "5f2b8f0e-6d0d-4f0a-9d5e-0d3f2c1b7a11",
    }
    return StatusChange(**{**usual, **facts})


def message(name: str = "one", **facts: Any) -> Message:
    """Return an alert in words."""
    return Renderer(UI).message(AlertGroup(id=name, changes=(change(**facts),)))


class Webhook:
    """A service that takes JSON by HTTP.

    Attributes:
        taken: What it was sent.
        status: What it answers.
    """

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.taken.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The service as Apprise addresses it, with a secret in the path."""
        return f"json://127.0.0.1:{self._server.server_port}/s3cr3t-t0ken"

    def has_taken(self, messages: int) -> bool:
        """Say whether it was sent at least so many messages."""
        return len(self.taken) >= messages

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Mails:
    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- its name
        self.taken.append(envelope.content)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[str, list[bytes]]]:
    """Run a mail server; gives its URL as Apprise writes it, and the mails that it has taken."""
    port = free_port()
    mails = _Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield (
            f"mailto://127.0.0.1:{port}?from=lake@example.com&to=finops@example.com&mode=insecure",
            mails.taken,
        )
    finally:
        controller.stop()
