"""Queries in Athena: start, wait, say why one failed, read its rows a page at a time as values.

What the ready-made client leaves to its caller: rows come typed (decimals exactly, NULL apart from the empty text) and
without the file in the results' bucket being read; a failure has Athena's reason and the query's id; who stops waiting, stops the
query, because Athena goes on and bills it otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing_lake.domain.errors import ConfigurationError, QueryError, shown
from billing_lake.resources.athena_values import reader, type_name

WORKGROUP = "BILLING_LAKE_ATHENA_WORKGROUP"
OUTPUT = "BILLING_LAKE_ATHENA_OUTPUT"

USD_PER_TB = Decimal(5)
"""What Athena asks for scanning a terabyte, its list price in most regions."""

LONGEST_SECONDS = 1800.0
"""Athena itself ends a query after half an hour."""

_LEAST_BYTES = 10_000_000
_BYTES_PER_TB = Decimal(10**12)
_PAGE = 1_000
_FIRST_WAIT = 0.1
_PATIENCE = 1.5
_RUNNING = ("QUEUED", "RUNNING")
_DENIED = ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException")

Progress = Callable[[str], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A query as Athena knows it.

    Attributes:
        id: Its execution id, by which the console finds it.
        state: QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED.
        reason: Why it is in that state; mostly empty.
        has_header: Whether the first row of the results repeats the names of the columns.
        scanned: Bytes read so far.
    """

    id: str
    state: str
    reason: str
    has_header: bool
    scanned: int

    @property
    def usd(self) -> Decimal:
        """What the query costs by the list price; an estimate, for the price depends on region and agreement."""
        billed = max(self.scanned, _LEAST_BYTES) if self.scanned else 0
        return billed / _BYTES_PER_TB * USD_PER_TB


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a query found.

    Attributes:
        execution: The query.
        columns: Names of the columns.
        types: Names of their types, in capitals.
        batches: The rows, a page at a time; pages are fetched as they are asked for.
    """

    execution: Execution
    columns: tuple[str, ...]
    types: tuple[str, ...]
    batches: Iterator[list[tuple[Any, ...]]]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Go through the rows."""
        for batch in self.batches:
            yield from batch


class AthenaQueries:
    """Queries in one workgroup.

    Args:
        client: boto3's client of Athena.
        workgroup: The workgroup.
        output: URI of the folder of results; not said to a workgroup that decides it, or keeps them itself.
        interval: Most seconds between two looks at a running query.
        timeout: Seconds after which a query is stopped.
    """

    def __init__(
        self,
        client: Any,
        *,
        workgroup: str,
        output: str | None = None,
        interval: float = 2.0,
        timeout: float = LONGEST_SECONDS,
    ) -> None:
        self._client = client
        self._workgroup = workgroup
        self._output = output
        self._interval = interval
        self._timeout = timeout
        self._results: dict[str, str] | None = None

    def run(self, sql: str, progress: Progress = lambda _: None) -> Answer:
        """Run a query and return what it found.

        Args:
            sql: In Athena's dialect.
            progress: Is told how it gets on.

        Raises:
            QueryError: It failed, was cancelled, or took too long.
            ConfigurationError: The workgroup, the results' folder or our rights are not what they should be.
        """
        return self.answer(self.wait(self.start(sql), progress))

    def start(self, sql: str) -> str:
        """Start a query and return its id.

        Raises:
            QueryError: Athena cannot read it.
            ConfigurationError: As above.
        """
        named: dict[str, Any] = {"QueryString": sql, "WorkGroup": self._workgroup}
        results = self._result_configuration()
        if results:
            named["ResultConfiguration"] = results
        with self._errors():
            return str(self._client.start_query_execution(**named)["QueryExecutionId"])

    def wait(self, query: str, progress: Progress = lambda _: None) -> Execution:
        """Wait until a query has succeeded; whatever ends the wait before, a Ctrl-C too, stops the query.

        Raises:
            QueryError: It failed, was cancelled, or took too long.
        """
        try:
            execution = self._ended(query, progress)
        except BaseException:
            self.stop(query)
            raise
        if execution.state != "SUCCEEDED":
            state = "was cancelled" if execution.state == "CANCELLED" else "failed"
            why = shown(execution.reason, 1_000) or "Athena gives no reason"
            what = f"The query {state}: {why}"
            raise QueryError(what, remedy=f"Query execution id: {query}")
        return execution

    def stop(self, query: str) -> None:
        """Stop a query; where that fails, it is logged, and Athena ends the query by itself in the end."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.stop_query_execution(QueryExecutionId=query)
        except (BotoCoreError, ClientError) as error:
            logger.warning("Query %s could not be stopped and goes on in Athena: %s", query, error)

    def answer(self, execution: Execution) -> Answer:
        """Return what a query that has succeeded found.

        Raises:
            ConfigurationError: We may not read it.
        """
        first = self._page(execution.id, None)
        about = first["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
        columns = _labels(about)
        return Answer(
            execution=execution,
            columns=columns,
            types=tuple(type_name(column) for column in about),
            batches=self._batches(execution, first, columns, [reader(c["Type"]) for c in about]),
        )

    def text_rows(self, execution: Execution) -> Iterator[tuple[str | None, ...]]:
        """Go through what a query that has succeeded found, as Athena writes it; NULL is None."""
        first = self._page(execution.id, None)
        about = first["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
        for batch in self._batches(execution, first, _labels(about), [str for _ in about]):
            yield from batch

    def _ended(self, query: str, progress: Progress) -> Execution:
        started = time.monotonic()
        pause = min(_FIRST_WAIT, self._interval)
        while True:
            execution = self._look(query)
            if execution.state not in _RUNNING:
                return execution
            seconds = time.monotonic() - started
            progress(
                f"{execution.state.lower()}, {seconds:.0f} s, {size(execution.scanned)} scanned"
            )
            if seconds > self._timeout:
                what = f"The query still ran after {self._timeout:.0f} s and was stopped"
                raise QueryError(what, remedy=f"Ask for less. Query execution id: {query}")
            time.sleep(pause)
            pause = min(pause * _PATIENCE, self._interval)

    def _look(self, query: str) -> Execution:
        with self._errors():
            told = self._client.get_query_execution(QueryExecutionId=query)["QueryExecution"]
        status = told["Status"]
        reason = status.get("StateChangeReason") or status.get("AthenaError", {}).get(
            "ErrorMessage"
        )
        return Execution(
            id=query,
            state=str(status["State"]),
            reason=str(reason or ""),
            has_header=told.get("StatementType") == "DML",
            scanned=int(told.get("Statistics", {}).get("DataScannedInBytes") or 0),
        )

    def _page(self, query: str, token: str | None) -> dict[str, Any]:
        with self._errors():
            page: dict[str, Any] = self._client.get_query_results(
                QueryExecutionId=query,
                MaxResults=_PAGE,
                **({} if token is None else {"NextToken": token}),
            )
        return page

    def _batches(
        self,
        execution: Execution,
        page: dict[str, Any],
        columns: tuple[str, ...],
        readers: Sequence[Callable[[str], Any]],
    ) -> Iterator[list[tuple[Any, ...]]]:
        rows = page["ResultSet"]["Rows"]
        # Only the first row of the first page, and only of a SELECT, is the header.
        if execution.has_header and rows and _texts(rows[0]) == list(columns):
            rows = rows[1:]
        while True:
            if rows:
                yield [_values(row, readers) for row in rows]
            token = page.get("NextToken")
            if token is None:
                return
            page = self._page(execution.id, token)
            rows = page["ResultSet"]["Rows"]

    def _result_configuration(self) -> dict[str, str]:
        """Return where results go, unless the workgroup says so: it is refused by some and ignored by others."""
        if self._output is None:
            return {}
        if self._results is None:
            own = self._workgroup_configuration()
            managed = own.get("ManagedQueryResultsConfiguration", {}).get("Enabled", False)
            located = own.get("ResultConfiguration", {}).get("OutputLocation")
            decided = managed or (own.get("EnforceWorkGroupConfiguration") and located)
            self._results = {} if decided else {"OutputLocation": f"{self._output.rstrip('/')}/"}
        return self._results

    def _workgroup_configuration(self) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        with self._errors():
            try:
                found = self._client.get_work_group(WorkGroup=self._workgroup)
            except ClientError as error:
                # Not everybody who may query may look at the workgroup; what is wrong with it, the query will tell.
                logger.debug("Workgroup %s cannot be looked at: %s", self._workgroup, error)
                return {}
        return (found.get("WorkGroup") or {}).get("Configuration") or {}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn AWS's errors inside the block into ours."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._refused(error) from error
        except BotoCoreError as error:
            what = f"Athena was not reached: {shown(error, 400)}"
            remedy = "Check the credentials, AWS_REGION and the network"
            raise ConfigurationError(what, remedy=remedy) from error

    def _refused(self, error: Any) -> ConfigurationError | QueryError:
        told = error.response.get("Error", {})
        code, said = str(told.get("Code", "")), str(told.get("Message", ""))
        what = f"Athena refuses {error.operation_name}: {shown(said or code, 1_000)}"
        lower = said.lower()
        if code in _DENIED:
            return ConfigurationError(what, remedy=f"Have athena:{error.operation_name} allowed")
        if code == "InvalidRequestException":
            if "workgroup" in lower:
                remedy = (
                    f"{WORKGROUP} is {shown(self._workgroup)}: correct it or create the workgroup"
                )
                return ConfigurationError(what, remedy=remedy)
            if "output location" in lower or "outputlocation" in lower:
                return ConfigurationError(what, remedy=f"Set {OUTPUT} to s3://<bucket>/<folder>")
            return QueryError(what)
        return QueryError(what, remedy=f"Try again; Athena says {shown(code)}")


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1_000:  # noqa: PLR2004 -- a thousand of one is one of the next
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"  # noqa: PLR2004
        value /= 1_000
    return f"{value:.1f} TB"


def _labels(about: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(column.get("Label") or column["Name"]) for column in about)


def _texts(row: dict[str, Any]) -> list[str | None]:
    return [cell.get("VarCharValue") for cell in row["Data"]]


def _values(row: dict[str, Any], readers: Sequence[Callable[[str], Any]]) -> tuple[Any, ...]:
    cells = zip(readers, _texts(row), strict=True)
    return tuple(None if text is None else read(text) for read, text in cells)
