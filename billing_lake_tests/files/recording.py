"""What a boto3 client is asked for, request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recorded(client: Any) -> Iterator[list[str]]:
    """Give a list that each request within the block is added to: its operation, and its range where it has one."""
    requests: list[str] = []

    def note(model: Any, params: Any, **_: Any) -> None:
        requests.append(" ".join(filter(None, (model.name, params["headers"].get("Range")))))

    with _listening(client, note):
        yield requests


@contextmanager
def failing(client: Any, operation: str, error: BaseException) -> Iterator[None]:
    """Let each request of ``operation`` within the block fail before it is sent."""

    def fail(model: Any, **_: Any) -> None:
        if model.name == operation:
            raise error

    with _listening(client, fail):
        yield


@contextmanager
def _listening(client: Any, listener: Callable[..., None]) -> Iterator[None]:
    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}"
    client.meta.events.register(event, listener)
    try:
        yield
    finally:
        client.meta.events.unregister(event, listener)
