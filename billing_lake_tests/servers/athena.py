"""Athena's API in front of answers that a test chooses: moto keeps the queries and runs none.

Set `answer` to a function of the query: `athena_engine.AthenaEngine` really runs it over the tables of the catalogs.
Without one, every query gives no rows. A query goes through Athena's states, gives its rows page by page, and can be
held until somebody stops it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from billing_lake_tests.servers.account import Account

SCANNED = 12_345_678
"""Bytes that every query reads."""


_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a query gives: names, Athena's types, and rows of text (None for NULL)."""

    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[str | None]]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What somebody sent to Athena."""

    sql: str
    database: str | None
    workgroup: str
    output: str | None


class AthenaError(Exception):
    """Raised by `answer`: the query fails with this reason."""


@dataclass
class _Run:
    state: str = "SUCCEEDED"
    reason: str | None = None
    rows: list[Any] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0


class Athena:
    """The queries that came, and what they are answered with.

    Attributes:
        queries: The queries.
        ids: Their execution ids.
        stopped: Ids of those that somebody stopped.
        pages: Numbers of rows of the pages that were given.
        answer: Answers a query.
        looks: For how many looks a query is still running.
        held: Whether queries run until they are stopped.
    """

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._runs: dict[str, _Run] = {}
        self.queries: list[Query] = []
        self.ids: list[str] = []
        self.stopped: list[str] = []
        self.pages: list[int] = []
        self.answer: Callable[[Query], Result | None] = lambda _query: None
        self.looks = 0
        self.held = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of moto's empty answers."""
        from moto.athena.models import AthenaBackend, Execution
        from moto.athena.responses import AthenaResponse

        start = AthenaBackend.start_query_execution
        respond, describe = (
            AthenaResponse.start_query_execution,
            AthenaResponse.get_query_execution,
        )

        def start_query_execution(backend: AthenaBackend, *args: Any, **named: Any) -> str:
            identity = start(backend, *args, **named)
            self._run(backend.executions[identity])
            return identity

        def answer_start(response: AthenaResponse) -> Any:
            why_not = _refusal(response)
            return respond(response) if why_not is None else response.error(why_not, 400)

        def get_query_results(response: AthenaResponse) -> Any:  # moto takes plain functions only
            return self._page(response)

        patch.setattr(AthenaBackend, "start_query_execution", start_query_execution)
        patch.setattr(AthenaBackend, "stop_query_execution", lambda _, exec_id: self._stop(exec_id))
        patch.setattr(AthenaResponse, "start_query_execution", answer_start)
        patch.setattr(
            AthenaResponse, "get_query_execution", lambda one: self._described(describe(one))
        )
        patch.setattr(AthenaResponse, "get_query_results", get_query_results)
        patch.setattr(Execution, "status", property(lambda one: self._state(self._runs[one.id])))

    def _stop(self, identity: str) -> None:
        self.stopped.append(identity)
        self._runs[identity].state = "CANCELLED"

    def _described(self, told: str) -> str:
        about: dict[str, Any] = json.loads(told)
        query = about["QueryExecution"]
        run = self._runs[query["QueryExecutionId"]]
        run.looks += 1
        state = self._state(run)
        query["Status"]["State"] = state
        query["Statistics"]["DataScannedInBytes"] = SCANNED if state != "QUEUED" else 0
        if run.reason is not None:
            query["Status"]["StateChangeReason"] = run.reason
        return json.dumps(about)

    def _page(self, response: Any) -> Any:
        run = self._runs[response._get_param("QueryExecutionId")]
        if self._state(run) != "SUCCEEDED":
            return response.error("Query has not yet finished.", 400)
        first = int(response._get_param("NextToken") or 0)
        last = first + min(int(response._get_param("MaxResults") or _MOST), _MOST)
        self.pages.append(len(run.rows[first:last]))
        about = {"ResultSetMetadata": {"ColumnInfo": run.columns}}
        told: dict[str, Any] = {"ResultSet": {"Rows": run.rows[first:last], **about}}
        if last < len(run.rows):
            told["NextToken"] = str(last)
        return json.dumps(told)

    def _state(self, run: _Run) -> str:
        if run.state == "CANCELLED":
            return run.state
        if self.held or (self.looks and run.looks <= self.looks):
            return "QUEUED" if run.looks <= 1 else "RUNNING"
        return run.state

    def _run(self, execution: Any) -> None:
        output = (execution.config or {}).get("OutputLocation")
        query = Query(
            sql=execution.query,
            database=(execution.context or {}).get("Database"),
            workgroup=execution.workgroup.name if execution.workgroup else "primary",
            output=output,
        )
        self.queries.append(query)
        self.ids.append(execution.id)
        run = self._runs[execution.id] = _Run()
        try:
            result = self.answer(query)
        except AthenaError as error:
            run.state, run.reason = "FAILED", str(error)
            return
        if result is None:
            return
        rows: list[Sequence[str | None]] = [result.columns, *result.rows]
        run.rows = [{"Data": [_cell(value) for value in row]} for row in rows]
        run.columns = list(map(_column, result.columns, result.types))
        if output:
            text = "".join(",".join(map(_csv, row)) + "\n" for row in rows)
            where = urlsplit(output)
            self._aws.client("s3").put_object(
                Bucket=where.netloc, Key=where.path.lstrip("/"), Body=text.encode()
            )


def _refusal(response: Any) -> str | None:
    """Say why Athena does not start a query."""
    group = response.athena_backend.get_work_group(response._get_param("WorkGroup") or "primary")
    if group is None:
        return "WorkGroup is not found."
    own = group["Configuration"]
    kept = own.get("ManagedQueryResultsConfiguration", {}).get("Enabled")
    located = own.get("ResultConfiguration", {}).get("OutputLocation")
    asked = (response._get_param("ResultConfiguration") or {}).get("OutputLocation")
    if kept and asked:
        return "Managed query results allow no output location"
    return None if kept or located or asked else "No output location provided."


def _cell(value: str | None) -> dict[str, str]:
    return {} if value is None else {"VarCharValue": value}


def _column(name: str, kind: str) -> dict[str, Any]:
    """As Athena describes a column: digits of a decimal apart from its type."""
    about: dict[str, Any] = {
        "Name": name,
        "Label": name,
        "Type": kind,
        "Precision": 0,
        "Scale": 0,
        "Nullable": "UNKNOWN",
    }
    digits = re.fullmatch(r"decimal\((\d+),(\d+)\)", kind)
    if digits is not None:
        about |= {"Type": "decimal", "Precision": int(digits[1]), "Scale": int(digits[2])}
    return about


def _csv(value: str | None) -> str:
    # As Athena writes: NULL is nothing, everything else is in quotes.
    return "" if value is None else '"' + value.replace('"', '""') + '"'
