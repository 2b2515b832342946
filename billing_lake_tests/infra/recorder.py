"""Sees each request of a role, writes it down, and refuses it where the role's policies do not allow it.

Who asks is known by the access key: each role has its own. A proxy stands before S3 and the Iceberg REST catalog, because Polars and
PyArrow bring clients of their own; moto is asked before each of its calls.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from billing_lake_tests.infra.policies import Asked, Document, allows
from billing_lake_tests.infra.s3_requests import Checks, Request
from billing_lake_tests.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self

# What belongs to one connection, and what is written anew.
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "te"}


class Recorder:
    """What roles asked for, and what they may.

    Attributes:
        roles: ARNs of the roles, by access key.
        identity: Policies of roles.
        resource: Policies of buckets and topics.
        refuses: Whether what is not allowed is refused; otherwise it is only written down.
        asked: Every check of every request, once each.
        refused: Those that were refused.
        faults: Requests that could not be understood; there must be none.
    """

    def __init__(self, roles: Mapping[str, str]) -> None:
        self.roles = dict(roles)
        self.identity: dict[str, list[Document]] = {}
        self.resource: dict[str, list[Document]] = {}
        self.refuses = False
        self.asked: dict[Asked, None] = {}
        self.refused: dict[Asked, None] = {}
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def allows(self, asked: Asked) -> bool:
        """Say whether the policies allow a request."""
        owner = asked.resource
        if asked.action.startswith("s3:"):
            owner = asked.resource.partition("/")[0]
        resource = self.resource.get(owner, [])
        return allows(asked, self.identity.get(asked.who, []), resource)

    def refusal(self, who: str, checks: Iterable[tuple[str, str, Mapping[str, str]]]) -> str | None:
        """Write down what a role asks for; return why it is refused, in the words of AWS, or None."""
        for action, resource, context in checks:
            # A server behind a load balancer sees plain HTTP; the lake's own servers are on this machine.
            asked = Asked(who, action, resource, {"aws:securetransport": "true", **context})
            allowed = not self.refuses or self.allows(asked)
            with self._lock:
                (self.asked if allowed else self.refused)[asked] = None
            if not allowed:
                return (
                    f"User: {who} is not authorized to perform: {action} on resource: {resource} "
                    f"because no identity-based policy allows the {action} action"
                )
        return None

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse within the block."""
        self.refuses = True
        try:
            yield
        finally:
            self.refuses = False


class Proxy:
    """A transparent proxy before a server; a context manager."""

    def __init__(
        self,
        server: str,
        recorder: Recorder,
        checks: Callable[[Request], Checks],
        *,
        json_errors: bool,
    ) -> None:
        self.server = urlsplit(server)
        self.recorder = recorder
        self.checks = checks
        self.json_errors = json_errors
        proxy = self

        class Handler(_Handler):
            place = proxy

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Connections that clients keep open are ended by their threads' time limit, and nobody waits for that.
        self._listener.daemon_threads = True
        self._listener.block_on_close = False
        self._thread = threading.Thread(target=self._listener.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def refusal(self, request: Request) -> str | None:
        """Return why a request is refused, or None."""
        who = self.recorder.roles[request.signed_by[0]]
        return self.recorder.refusal(who, [(*one, {}) for one in self.checks(request)])


class _Handler(BaseHTTPRequestHandler):
    place: Proxy
    protocol_version = "HTTP/1.1"
    # A client's pool may keep a connection; what is not used for this long is closed.
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it
        """Write nothing."""

    def _serve(self) -> None:
        request = Request(self.command, self.path, _lower(self.headers), self._body())
        try:
            refusal = self.place.refusal(request)
        except Exception as fault:  # noqa: BLE001 -- whatever it is, the test has to see it
            self.place.recorder.faults.append(f"{request}: {fault!r}")
            self._answer(501, {}, repr(fault).encode())
            return
        if refusal is None:
            self._forward(request)
        elif request.signed_by[1] == "s3tables" or self.place.json_errors:
            error = {"message": refusal, "type": "ForbiddenException", "code": 403}
            body = json.dumps({"error": error, "message": refusal}).encode()
            headers = {"Content-Type": "application/json", "x-amzn-errortype": "ForbiddenException"}
            self._answer(403, headers, body)
        else:
            xml = f"<Error><Code>AccessDenied</Code><Message>{escape(refusal)}</Message></Error>"
            self._answer(403, {"Content-Type": "application/xml"}, xml.encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 -- the base class looks for these

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _forward(self, request: Request) -> None:
        where = self.place.server
        connection = http.client.HTTPConnection(
            str(where.hostname), where.port, timeout=PATIENCE_SECONDS
        )
        try:
            # The client's own Host stays, because it is signed.
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            answer = connection.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
            body = answer.read()
            if self.command == "HEAD" and (length := answer.getheader("content-length")):
                headers["Content-Length"] = length
            self._answer(answer.status, headers, body)
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD" and status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        elif "Content-Length" not in headers and status == 403:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
