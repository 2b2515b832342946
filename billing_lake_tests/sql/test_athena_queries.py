from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.errors import ConfigurationError, CredentialsError, QueryError
from billing_lake.resources.athena import AthenaResource
from billing_lake.sql.athena_queries import Answer, AthenaQueries
from billing_lake_tests.servers.athena import SCANNED, Athena, AthenaError, Query, Result
from billing_lake_tests.servers.aws import Aws

ROWS: list[list[str | None]] = [
    ["98765432109876543210.123456789012345678", "9223372036854775807", "", "true"],
    ["-0.000000000000000001", None, None, None],
]
FOUND = Result(
    columns=["cost", "n", "text", "yes"],
    types=["decimal(38,18)", "bigint", "varchar", "boolean"],
    rows=ROWS,
)


@pytest.fixture
def athena(aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch) -> Athena:
    """Athena, which finds two rows."""
    server = aws.glue.athena
    monkeypatch.setattr(server, "answer", lambda _: FOUND)
    for name in ("queries", "ids", "stopped", "pages"):
        monkeypatch.setattr(server, name, [])
    monkeypatch.setattr(server, "looks", 0)
    monkeypatch.setattr(server, "held", False)
    return server


@pytest.fixture
def output(aws: Aws) -> str:
    return f"s3://{aws.new_bucket()}/athena"


@pytest.fixture
def queries(aws: Aws, athena: Athena, output: str) -> AthenaQueries:
    return new_queries(aws, output=output)


def new_queries(aws: Aws, **settings: Any) -> AthenaQueries:
    return AthenaQueries(
        AwsClients(aws.region), **{"workgroup": "primary", "poll_seconds": 0.01, **settings}
    )


@pytest.fixture
def new_workgroup(aws: Aws) -> Iterator[Callable[..., str]]:
    client = aws.client("athena")
    made: list[str] = []

    def make(**configuration: Any) -> str:
        name = f"group-{len(made)}"
        client.create_work_group(Name=name, Configuration=configuration)
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_work_group(WorkGroup=name)


def test_rows_are_values_and_null_is_not_the_empty_text(queries: AthenaQueries) -> None:
    answer = queries.run("SELECT 1")
    assert answer.columns == ("cost", "n", "text", "yes")
    assert answer.types == ("DECIMAL(38,18)", "BIGINT", "VARCHAR", "BOOLEAN")
    assert list(answer.rows()) == [
        (Decimal("98765432109876543210.123456789012345678"), 2**63 - 1, "", True),
        (Decimal("-0.000000000000000001"), None, None, None),
    ]


def _clock(microsecond: int) -> datetime:
    return datetime(2025, 3, 1, 10, 0, 0, microsecond)  # noqa: DTZ001 -- Athena's plain timestamps have no zone


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("double", "1.0E-5", 1e-5),
        ("double", "Infinity", float("inf")),
        ("date", "2025-03-01", date(2025, 3, 1)),
        ("date", "+12025-03-01", "+12025-03-01"),
        ("timestamp", "2025-03-01 10:00:00.123", _clock(123_000)),
        (
            "timestamp with time zone",
            "2025-03-01 10:00:00.000000 UTC",
            datetime(2025, 3, 1, 10, tzinfo=timezone.utc),
        ),
        (
            "timestamp with time zone",
            "2025-03-01 10:00:00.000 +05:30",
            datetime(2025, 3, 1, 10, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        ),
        (
            "timestamp with time zone",
            "2025-07-01 10:00:00.000 Europe/Berlin",
            datetime(2025, 7, 1, 10, tzinfo=ZoneInfo("Europe/Berlin")),
        ),
        ("array", "[1, 2]", "[1, 2]"),
        ("map", "{a=1}", "{a=1}"),
        ("json", '{"cost": 0.1234567890123456789}', '{"cost": 0.1234567890123456789}'),
        ("varchar", "1", "1"),
    ],
)
def test_each_type_becomes_its_value_and_what_python_lacks_stays_text(
    queries: AthenaQueries,
    athena: Athena,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    text: str,
    value: object,
) -> None:
    found = Result(columns=["x"], types=[kind], rows=[[text], [None]])
    monkeypatch.setattr(athena, "answer", lambda _: found)
    assert list(queries.run("SELECT 1").rows()) == [(value,), (None,)]


def test_pages_are_fetched_as_rows_are_asked_for(
    queries: AthenaQueries, athena: Athena, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The third page begins with a row that reads like the header and is none.
    many = [["n"] if number == 1999 else [str(number)] for number in range(2500)]
    found = Result(columns=["n"], types=["varchar"], rows=many)
    monkeypatch.setattr(athena, "answer", lambda _: found)
    answer = queries.run("SELECT 1")
    assert athena.pages == [1000]
    rows = answer.rows()
    assert next(rows) == ("0",)
    assert athena.pages == [1000, 1000]
    assert [row[0] for row in rows] == [row[0] for row in many[1:]]
    assert athena.pages == [1000, 1000, 501]


def test_a_failure_has_athena_s_reason_and_the_query_s_id(
    queries: AthenaQueries, athena: Athena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Query) -> Result:
        raise AthenaError("DIVISION_BY_ZERO: / by zero")

    monkeypatch.setattr(athena, "answer", fail)
    with pytest.raises(QueryError, match="failed: DIVISION_BY_ZERO: / by zero") as raised:
        queries.run("SELECT 1")
    assert raised.value.how == f"Query execution id: {athena.ids[-1]}"
    assert athena.stopped == []


def test_progress_is_reported_while_a_query_runs(queries: AthenaQueries, athena: Athena) -> None:
    athena.looks = 2
    lines: list[str] = []
    answer = queries.run("SELECT 1", lines.append)
    texts = [re.sub(r" \d+ s,", "", line) for line in lines]
    assert texts == [
        "queued, 0 bytes scanned",
        "running, 12.3 MB scanned",
        "succeeded, 12.3 MB scanned",
    ]
    assert answer.scanned_bytes == SCANNED
    assert answer.query == athena.ids[-1]


class _StepIsCancelledError(BaseException):
    """What Dagster raises in a run that is cancelled is no Exception either."""


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def _cancel() -> None:
    raise _StepIsCancelledError


@pytest.mark.parametrize(
    ("end", "error"), [(_interrupt, KeyboardInterrupt), (_cancel, _StepIsCancelledError)]
)
def test_whatever_ends_the_wait_stops_the_query(
    queries: AthenaQueries,
    athena: Athena,
    end: Callable[[], None],
    error: type[BaseException],
) -> None:
    athena.held = True
    with pytest.raises(error):
        queries.run("SELECT 1", lambda _: end())
    assert athena.stopped == athena.ids[-1:]


def test_a_query_that_somebody_else_stopped_is_an_error(
    aws: Aws, queries: AthenaQueries, athena: Athena
) -> None:
    def stop(_: str) -> None:
        aws.client("athena").stop_query_execution(QueryExecutionId=athena.ids[-1])

    athena.held = True
    with pytest.raises(QueryError, match="was cancelled: Athena gives no reason"):
        queries.run("SELECT 1", stop)


def test_results_go_where_the_lake_says(
    queries: AthenaQueries, athena: Athena, output: str
) -> None:
    queries.run("SELECT 1")
    sent = athena.queries[-1]
    assert (sent.output or "").startswith(f"{output}/")
    assert sent.workgroup == "primary"


@pytest.mark.parametrize("decides", ["keeps them itself", "enforces its folder"])
def test_a_workgroup_that_decides_where_results_go_is_not_told(
    aws: Aws, athena: Athena, output: str, new_workgroup: Callable[..., str], decides: str
) -> None:
    configurations: dict[str, dict[str, Any]] = {
        "keeps them itself": {"ManagedQueryResultsConfiguration": {"Enabled": True}},
        "enforces its folder": {
            "EnforceWorkGroupConfiguration": True,
            "ResultConfiguration": {"OutputLocation": "s3://elsewhere/"},
        },
    }
    group = new_workgroup(**configurations[decides])
    new_queries(aws, output=output, workgroup=group).run("SELECT 1")
    assert athena.queries[-1].output is None


def test_no_folder_for_results_is_a_matter_of_configuration(aws: Aws, athena: Athena) -> None:
    with pytest.raises(ConfigurationError, match="Set BILLING_LAKE_ATHENA_OUTPUT"):
        new_queries(aws).run("SELECT 1")


def test_missing_rights_are_named_by_the_action(
    aws: Aws, queries: AthenaQueries, athena: Athena
) -> None:
    aws.glue.fail_next("GetWorkGroup", "AccessDeniedException", "no looking")
    aws.glue.fail_next("StartQueryExecution", "AccessDeniedException", "not you")
    with pytest.raises(ConfigurationError, match=r"not you.*athena:StartQueryExecution"):
        queries.run("SELECT 1")


def test_sql_that_athena_cannot_read_is_a_query_error(
    aws: Aws, queries: AthenaQueries, athena: Athena
) -> None:
    message = "line 1:8: mismatched input 'FROM'"
    aws.glue.fail_next("StartQueryExecution", "InvalidRequestException", message)
    with pytest.raises(QueryError, match="mismatched input 'FROM'"):
        queries.run("SELECT FROM")


def test_missing_credentials_are_named(
    aws: Aws, athena: Athena, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsError, match="Unable to locate credentials"):
        new_queries(aws, output=output).run("SELECT 1")


def test_throttled_requests_are_sent_again(
    aws: Aws, queries: AthenaQueries, athena: Athena
) -> None:
    for action in ("StartQueryExecution", "GetQueryExecution", "GetQueryResults"):
        aws.glue.fail_next(action, "ThrottlingException", "Rate exceeded")
    assert len(list(queries.run("SELECT 1").rows())) == 2
    assert len(athena.queries) == 1


def test_the_estimate_counts_ten_megabytes_at_least() -> None:
    def usd(scanned: int) -> Decimal:
        answer = Answer(columns=(), types=(), batches=iter(()), query="", scanned_bytes=scanned)
        return answer.usd

    assert usd(0) == 0
    assert usd(1) == usd(10_000_000) == Decimal("0.00005")
    assert usd(2 * 10**12) == 10


def test_an_asset_asks_athena_through_the_resource(aws: Aws, athena: Athena, output: str) -> None:
    @dg.asset
    def asked(athena: AthenaResource) -> dg.MaterializeResult[None]:
        rows = athena.queries().run("SELECT 2 LIKE '%2'").rows()
        return dg.MaterializeResult(metadata={"cost": str(next(rows)[0])})

    resource = AthenaResource(region=aws.region, output=output)
    done = dg.materialize([asked], resources={"athena": resource})
    (made,) = done.asset_materializations_for_node("asked")
    assert made.metadata["cost"].value == "98765432109876543210.123456789012345678"
    assert [query.sql for query in athena.queries] == ["SELECT 2 LIKE '%2'"]
