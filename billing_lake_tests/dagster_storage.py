"""Dagster's own databases, without what takes a third of each load in tests.

Each test has an instance of its own, each instance has three databases, and each run in a folder has one more. For each of them
Dagster reads its ninety migrations, and for each event it makes an engine of SQLAlchemy and a connection. Here that is done as seldom
as the code location does it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Let what this process writes into SQLite be the disk's business: no test cuts the power. What tests start waits as ever."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from billing_lake.tables.local_db import LocalDatabase

    def connected(connection: object, _record: object = None) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    def connect(database: LocalDatabase) -> sqlite3.Connection:
        connection = as_ever(database)
        connected(connection)
        return connection

    as_ever = LocalDatabase._connect
    event.listen(Engine, "connect", connected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalDatabase, "_connect", connect)
        yield
    event.remove(Engine, "connect", connected)


@pytest.fixture(scope="session", autouse=True)
def engines_are_kept() -> Iterator[None]:
    """Make one engine for each database of Dagster, not one for each event; those in memory keep their connections."""
    from dagster._core.storage.event_log import in_memory as events
    from dagster._core.storage.runs import in_memory as runs
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool, QueuePool

    from billing_lake.resources.run_history import keep_run_history_open

    def in_memory(url: str, *, poolclass: object) -> Engine:
        assert poolclass is NullPool
        any_thread: dict[str, Any] = {"check_same_thread": False}
        return create_engine(url, poolclass=QueuePool, max_overflow=-1, connect_args=any_thread)

    keep_run_history_open()
    with pytest.MonkeyPatch.context() as patch:
        for module in (events, runs):
            patch.setattr(module, "create_engine", in_memory)
        yield
