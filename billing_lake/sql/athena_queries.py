"""Run queries in Athena with PyAthena.

PyAthena starts a query, waits for it, reads its pages and makes values of their text. What is left to do here: results go
where the workgroup or the lake decides, a query that nobody waits for any more is stopped, because Athena goes on and bills
it otherwise, and an error names the query and what to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import Fault, credentials_error, error_code, error_text, fault_of
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, QueryError, shown
from billing_lake.sql.tables import QueryResult

if TYPE_CHECKING:
    from pyathena.connection import Connection
    from pyathena.converter import Converter
    from pyathena.cursor import Cursor
    from pyathena.model import AthenaQueryExecution

WORKGROUP = "BILLING_LAKE_ATHENA_WORKGROUP"
OUTPUT = "BILLING_LAKE_ATHENA_OUTPUT"

USD_PER_TB = Decimal(5)
"""What Athena asks for scanning a terabyte, its list price in most regions."""

_LEAST_BYTES = 10_000_000
_BYTES_PER_TB = Decimal(10**12)
_PAGE_ROWS = 1_000
_POLL_SECONDS = 0.5
_NESTED = ("array", "json", "map", "row", "varbinary")
"""Types whose text PyAthena could only guess values from; they stay as Athena writes them."""

Progress = Callable[[str], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer(QueryResult):
    """The result of a query in Athena; further pages are fetched as rows are asked for.

    Attributes:
        query: Its execution id, by which the console finds it: `3f1e4f2a-…`.
        scanned_bytes: Bytes that it read.
    """

    query: str
    scanned_bytes: int

    @property
    def usd(self) -> Decimal:
        """Return what the query costs by the list price; an estimate, for the price depends on region and agreement."""
        billed = max(self.scanned_bytes, _LEAST_BYTES) if self.scanned_bytes else 0
        return billed / _BYTES_PER_TB * USD_PER_TB


class AthenaQueries:
    """Queries in one workgroup.

    Args:
        clients: Their region and settings are those of the queries.
        workgroup: The workgroup: `primary`.
        output: URI of the folder of results, used unless the workgroup decides it: `s3://acme-lake/athena`.
        poll_seconds: Seconds between two looks at a running query.
    """

    def __init__(
        self,
        clients: AwsClients,
        *,
        workgroup: str,
        output: str | None = None,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._clients = clients
        self._workgroup = workgroup
        self._output = output
        self._poll_seconds = poll_seconds

    def run(self, sql: str, progress: Progress = lambda _: None) -> Answer:
        """Run a query and return what it found; whatever ends the wait for it, a Ctrl-C too, stops the query.

        Args:
            sql: One statement in Athena's dialect, sent as it is.
            progress: Called with a line of text, such as `running, 3 s, 12.3 MB scanned`, at each look at the query.

        Raises:
            QueryError: Athena cannot read it, or it failed or was cancelled.
            ConfigurationError: The workgroup, the results' folder or our rights are not what they should be.
        """
        started = time.monotonic()
        seen: list[AthenaQueryExecution] = []

        def look(execution: Any) -> None:
            seen[:] = [execution]
            seconds = time.monotonic() - started
            scanned = in_bytes(execution.data_scanned_in_bytes or 0)
            progress(f"{execution.state.lower()}, {seconds:.0f} s, {scanned} scanned")

        with self._errors():
            cursor = self._connection.cursor(on_poll=look)
        try:
            with self._errors(seen):
                cursor.execute(sql, paramstyle="qmark", s3_staging_dir=self._results_folder)
        except BillingLakeError:
            raise
        except BaseException:
            # Ctrl-C, and what Dagster raises in a run that is cancelled.
            _stop(cursor)
            raise
        columns = cursor.description or []
        return Answer(
            columns=tuple(column[0] for column in columns),
            types=tuple(_type_name(column) for column in columns),
            batches=self._batches(cursor, seen),
            query=str(cursor.query_id),
            scanned_bytes=cursor.data_scanned_in_bytes or 0,
        )

    def _batches(
        self, cursor: Cursor, seen: Sequence[AthenaQueryExecution]
    ) -> Iterator[list[tuple[Any, ...]]]:
        while True:
            with self._errors(seen):
                batch = cast("list[tuple[Any, ...]]", cursor.fetchmany(_PAGE_ROWS))
            if not batch:
                return
            yield batch

    @cached_property
    def _connection(self) -> Connection[Cursor]:
        from pyathena import connect
        from pyathena.util import RetryConfig

        # It logs the traceback of each error that it raises.
        logging.getLogger("pyathena").setLevel(logging.CRITICAL)
        return connect(
            region_name=self._clients.region,
            config=self._clients.config(),
            retry_config=RetryConfig(attempt=1),  # the client tries again by itself
            work_group=self._workgroup,
            s3_staging_dir="",  # not from the environment
            schema_name=None,
            catalog_name=None,
            poll_interval=self._poll_seconds,
            kill_on_interrupt=False,
            converter=_converter(),
        )

    @cached_property
    def _results_folder(self) -> str | None:
        """Return where results go; None where the workgroup decides it: it then refuses or ignores another folder."""
        from botocore.exceptions import ClientError

        if self._output is None:
            return None
        try:
            client: Any = self._connection.client
            group = client.get_work_group(WorkGroup=self._workgroup).get("WorkGroup") or {}
        except ClientError as error:
            # Not everybody who may query may look at the workgroup; what is wrong with it, the query will tell.
            logger.debug("Workgroup %s cannot be looked at: %s", self._workgroup, error)
            group = {}
        own = group.get("Configuration") or {}
        managed = own.get("ManagedQueryResultsConfiguration", {}).get("Enabled", False)
        located = own.get("ResultConfiguration", {}).get("OutputLocation")
        decided = managed or (own.get("EnforceWorkGroupConfiguration") and located)
        return None if decided else f"{self._output.rstrip('/')}/"

    @contextmanager
    def _errors(self, seen: Sequence[AthenaQueryExecution] = ()) -> Iterator[None]:
        """Turn PyAthena's and AWS's errors inside the block into ours; ``seen`` ends with the query as it was last."""
        from botocore.exceptions import BotoCoreError, ClientError
        from pyathena import Error

        try:
            yield
        except (Error, ClientError, BotoCoreError) as error:
            cause = error.__cause__ if isinstance(error, Error) else error
            if cause is not None and fault_of(cause) is not None:
                raise self._refused(cause) from error
            state = "was cancelled" if seen and seen[-1].state == "CANCELLED" else "failed"
            why = shown(error, 1_000) if str(error) != "None" else "Athena gives no reason"
            remedy = f"Query execution id: {seen[-1].query_id}" if seen else None
            raise QueryError(f"The query {state}: {why}", remedy=remedy) from error

    def _refused(self, error: BaseException) -> BillingLakeError:
        """Return what to raise for an answer of AWS, or for none."""
        if (named := credentials_error(error)) is not None:
            return named
        text = error_text(error)
        action = f"athena:{getattr(error, 'operation_name', '*')}"
        if fault_of(error) is Fault.DENIED:
            what = f"AWS refuses {action}: {text}"
            return ConfigurationError(what, remedy=f"Have {action} allowed")
        if error_code(error) != "InvalidRequestException":
            return QueryError(f"Athena does not answer: {text}", remedy="Try again")
        what, lower = f"Athena refuses the query: {text}", text.lower()
        if "workgroup" in lower:
            group = shown(self._workgroup)
            remedy = f"{WORKGROUP} is {group}: correct it or create the workgroup"
            return ConfigurationError(what, remedy=remedy)
        if "output location" in lower or "outputlocation" in lower:
            return ConfigurationError(what, remedy=f"Set {OUTPUT} to s3://<bucket>/<folder>")
        return QueryError(what)


def _stop(cursor: Cursor) -> None:
    from pyathena import Error

    if cursor.query_id is not None:
        try:
            cursor.cancel()
        except Error as error:
            about = "Query %s could not be stopped and goes on in Athena: %s"
            logger.warning(about, cursor.query_id, error)


def in_bytes(count: int) -> str:
    """Return a number of bytes as people write it: `12.3 MB`."""
    from rich.filesize import decimal

    return decimal(count)


def _type_name(column: Any) -> str:
    """Return the type of a result column in capitals: `DECIMAL(38,18)`."""
    kind, precision, scale = str(column[1]).upper(), column[4], column[5]
    return f"DECIMAL({precision},{scale})" if kind == "DECIMAL" else kind


def _converter() -> Converter:
    """Return what makes values of Athena's text; text that has none in Python, such as the year 12025, stays text."""
    from pyathena.converter import DefaultTypeConverter

    def careful(read: Callable[[str | None], Any]) -> Callable[[str | None], Any]:
        def convert(text: str | None) -> Any:
            try:
                return read(text)
            except Exception:  # noqa: BLE001 -- showing what Athena sent is better than failing over it, whatever the reason
                return text

        return convert

    converter = DefaultTypeConverter()
    for kind in _NESTED:
        converter.remove(kind)
    converter.update({kind: careful(read) for kind, read in converter.mappings.items()})
    return converter
