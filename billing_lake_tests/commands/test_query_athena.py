from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from click.testing import Result

from billing_lake.commands.lakes import open_tables
from billing_lake.commands.query import named_sql
from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import QueryError
from billing_lake.sql.lake_sql import LakeSql
from billing_lake.sql.named_queries import NAMED_QUERIES, UNBLENDED
from billing_lake.sql.tables import TableSql
from billing_lake_tests.commands.aws_tables import copy_tables, settings
from billing_lake_tests.commands.conftest import LOCATION, TABLE, Runner
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.athena import Athena
from billing_lake_tests.servers.athena_engine import AthenaEngine
from billing_lake_tests.servers.aws import Aws

# A namespace of its own: other tests have tables in the same account.
REMOTE = "asked.cost_and_usage"
PREFIXES = ("", "hive.", "s3tables.")


@pytest.fixture(scope="module")
def variables(
    aws: Aws, lake: LocalLake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The settings of a lake on AWS with the rows of the one on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        environment = {**aws.environment(), **settings(aws)}
        for name, value in environment.items():
            patch.setenv(name, value)
        scratch = tmp_path_factory.mktemp("encoded")
        made = copy_tables(lake, LOCATION, ("2025-02", "2025-03"), environment, REMOTE, scratch)
        yield environment
        for catalog in (made.iceberg, made.hive, made.s3_tables):
            catalog.drop(REMOTE)


@pytest.fixture(scope="module")
def engine(aws: Aws) -> AthenaEngine:
    return AthenaEngine(aws)


@pytest.fixture(scope="module")
def here(lake: LocalLake) -> Iterator[TableSql]:
    """The tables of the lake on this machine."""
    with LakeSql(lake) as tables:
        yield tables


@pytest.fixture(scope="module")
def opened(variables: dict[str, str]) -> TableSql:
    return open_tables("aws", variables)


@pytest.fixture
def there(opened: TableSql, athena: Athena) -> TableSql:
    """The tables on AWS, asked through Athena."""
    return opened


@pytest.fixture
def athena(aws: Aws, engine: AthenaEngine, monkeypatch: pytest.MonkeyPatch) -> Athena:
    """Athena, which answers from the tables."""
    server = aws.glue.athena
    monkeypatch.setattr(server, "answer", engine)
    monkeypatch.setattr(server, "queries", [])
    monkeypatch.setattr(server, "stopped", [])
    return server


class RemoteRunner(Runner):
    """Runs `billing-lake query` on the lake on AWS."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(Path("/nowhere"))
        self.variables = variables

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        command = ("query", "--deployment", "aws", *arguments)
        return super().__call__(*command, env={**self.variables, **(env or {})})


@pytest.fixture
def ask(variables: dict[str, str], athena: Athena) -> RemoteRunner:
    return RemoteRunner(variables)


def rows_of(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return list(csv.reader(StringIO(result.stdout)))


@pytest.mark.parametrize("named", sorted(NAMED_QUERIES))
@pytest.mark.parametrize("period", [None, "2025-03"])
def test_a_named_query_gives_the_same_rows_from_athena_as_on_the_machine(
    here: TableSql, there: TableSql, named: str, period: str | None
) -> None:
    local = list(here.ask(named_sql(here, named, period, TABLE)).rows())
    assert len(local) > 2
    remote = there.ask(named_sql(there, named, period, REMOTE))
    assert list(remote.rows()) == local
    assert set(remote.types) <= {"VARCHAR", "DATE", "BIGINT", "DECIMAL(38,18)", "DECIMAL(9,1)"}


def test_a_named_query_is_written_as_csv(run: Runner, ask: RemoteRunner) -> None:
    arguments = ("--named", "cost-by-service", "--period", "2025-03", "--format", "csv", "--table")
    assert ask(*arguments, REMOTE).stdout == run("query", *arguments, TABLE).stdout


@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_of_the_three_tables_is_listed_and_asked_under_the_name_that_athena_knows(
    ask: RemoteRunner, athena: Athena, variables: dict[str, str], prefix: str
) -> None:
    bucket = variables["BILLING_LAKE_TABLE_BUCKET_ARN"].rpartition("/")[-1]
    name = {
        "": '"AwsDataCatalog"."asked"."cost_and_usage"',
        "hive.": '"AwsDataCatalog"."asked_hive"."cost_and_usage"',
        "s3tables.": f'"s3tablescatalog/{bucket}"."asked"."cost_and_usage"',
    }[prefix]
    assert re.search(rf"^ {prefix}{REMOTE} +{name}$", ask("--list").stdout, re.MULTILINE)
    sql = f"SELECT sum({UNBLENDED}) AS cost FROM {name} WHERE line_item_currency_code = 'USD'"
    assert rows_of(ask(sql, "--format", "csv")) == [["cost"], ["96.600000000000000001"]]
    named = ("--named", "cost-by-day", "--format", "csv", "--table", f"{prefix}{REMOTE}")
    assert len(rows_of(ask(*named))) == 5
    assert name in athena.queries[-1].sql


TYPED = [
    f"SELECT count(*) FROM {REMOTE}",
    f"  SELECT count(*) AS n FROM {REMOTE} /* Athena's own */ WHERE billing_period LIKE '2025%' -- all",
    f"(WITH m AS (SELECT billing_period AS p FROM {REMOTE}) SELECT p, ';delete' FROM m);",
]


@pytest.mark.parametrize("sql", TYPED)
def test_what_a_person_types_is_sent_as_it_is(ask: RemoteRunner, athena: Athena, sql: str) -> None:
    assert ask(sql).exit_code == 0
    assert [query.sql for query in athena.queries] == [sql]


def test_the_sql_of_a_named_query_is_shown_in_athena_s_dialect_and_works_as_it_is(
    ask: RemoteRunner, athena: Athena
) -> None:
    named = ("--named", "untagged", "--table", REMOTE)
    shown = ask(*named, "--sql").stdout
    assert athena.queries == []
    assert ask(shown, "--format", "csv").stdout == ask(*named, "--format", "csv").stdout
    assert "FILTER(WHERE" in shown


def test_json_has_the_values_with_their_types(run: Runner, ask: RemoteRunner) -> None:
    sql = (
        "SELECT min({c}) AS cost, count(*) AS n, min(line_item_usage_start_date) AS first, "
        "max(nullif(line_item_line_item_description, '')) AS text, min(line_item_line_item_description) AS nothing, "
        "sum({c}) > 0 AS yes, NULL AS gone, CAST(1.5 AS DOUBLE) AS half FROM {t}"
    )
    here = json.loads(run("query", sql.format(t=TABLE, c=UNBLENDED), "--format", "json").stdout)
    there = json.loads(ask(sql.format(t=REMOTE, c=UNBLENDED), "--format", "json").stdout)
    assert there == here
    assert there[0]["cost"] == "-96"
    assert there[0]["first"] == "2025-02-01T00:00:00+00:00"
    assert there[0]["gone"] is None


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE {t}",
        "DELETE FROM {t}",
        "INSERT INTO {t} SELECT * FROM {t}",
        "WITH x AS (DELETE FROM {t} RETURNING *) SELECT * FROM x",
        "CREATE TABLE other AS SELECT 1",
        "UPDATE {t} SET billing_period = ''",
        "MERGE INTO {t} USING {t} AS s ON true WHEN MATCHED THEN DELETE",
        "EXPLAIN ANALYZE SELECT 1",
        "UNLOAD (SELECT 1) TO 's3://elsewhere/' WITH (format = 'PARQUET')",
        "USING EXTERNAL FUNCTION f(x INT) RETURNS INT LAMBDA 'l' SELECT f(1)",
        "COPY {t} TO 's3://elsewhere'",
        "CALL system.sync()",
        "SET x = 1",
        "SELECT 1; DROP TABLE {t}",
        "SELECT 1; SELECT 2",
        "SELECT 1 -- \n; DROP TABLE {t}",
        "SELECT 'open",
        "SELEC 1",
        "",
    ],
)
def test_what_may_write_is_never_sent(there: TableSql, athena: Athena, sql: str) -> None:
    with pytest.raises(QueryError):
        there.ask(sql.format(t=REMOTE))
    assert athena.queries == []


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT nothing_like_it FROM {t}", "COLUMN_NOT_FOUND"),
        ("SELECT 1 FROM asked.nowhere", "TABLE_NOT_FOUND"),
    ],
)
def test_athena_s_reason_and_the_query_s_id_are_shown(
    ask: RemoteRunner, sql: str, says: str
) -> None:
    result = ask(sql.format(t=REMOTE), env={"COLUMNS": "400"})
    assert result.exit_code == 1
    assert result.stdout == ""
    assert says in result.stderr
    assert "Query execution id: " in result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_query_read_and_costs_is_on_standard_error(ask: RemoteRunner) -> None:
    result = ask("SELECT 1 AS one", "--format", "csv")
    assert result.stdout == "one\n1\n"
    assert "Athena scanned 12.3 MB, about 0.000062 USD at 5 USD per TB" in result.stderr


def test_list_names_the_tables_of_three_catalogs_and_asks_athena_nothing(
    ask: RemoteRunner, athena: Athena
) -> None:
    out = ask("--list").stdout
    assert all(f"{prefix}{REMOTE}" in out for prefix in PREFIXES)
    assert "cost-by-service" in out
    assert athena.queries == []


def test_without_a_table_bucket_the_other_tables_are_listed_and_asked(
    ask: RemoteRunner, athena: Athena
) -> None:
    env = {"BILLING_LAKE_TABLE_BUCKET_ARN": ""}
    out = ask("--list", env=env).stdout
    assert f"hive.{REMOTE}" in out
    assert "s3tables" not in out
    assert ask(f"SELECT 1 FROM {REMOTE} LIMIT 1", env=env).exit_code == 0
    refused = ask("--named", "cost-by-day", "--table", f"s3tables.{REMOTE}", env=env)
    assert refused.exit_code == 1
    assert f"There is no table s3tables.{REMOTE}" in refused.stderr


def test_the_environment_chooses_the_deployment_and_the_option_overrules_it(
    run: Runner, variables: dict[str, str], athena: Athena
) -> None:
    env = {**variables, "BILLING_LAKE_DEPLOYMENT": "aws"}
    assert "1" in run("query", "SELECT 1 AS one", env=env).stdout
    assert len(athena.queries) == 1
    assert run("query", "--deployment", "local", "SELECT 1 AS one", env=env).exit_code == 0
    assert len(athena.queries) == 1


def test_a_missing_setting_is_a_panel_that_names_it_and_exit_2(run: Runner) -> None:
    env = {"AWS_REGION": "us-east-1", "BILLING_LAKE_WAREHOUSE": ""}
    result = run("query", "--deployment", "aws", "SELECT 1", env=env)
    assert result.exit_code == 2
    assert "BILLING_LAKE_WAREHOUSE is not set" in result.stderr


def test_a_workgroup_that_does_not_exist_is_a_matter_of_configuration(ask: RemoteRunner) -> None:
    result = ask("SELECT 1", env={"BILLING_LAKE_ATHENA_WORKGROUP": "finance"})
    assert result.exit_code == 2
    assert "BILLING_LAKE_ATHENA_WORKGROUP is finance" in result.stderr


@pytest.mark.parametrize("package", ["boto3", "pyathena", "sqlglot"])
def test_missing_packages_are_named_with_what_to_install(
    run: Runner, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = run("query", "--deployment", "aws", "SELECT 1", env=variables)
    assert result.exit_code == 2
    assert package in result.stderr
    assert "billing-lake[aws]" in result.stderr


def test_ctrl_c_stops_the_query_in_athena(
    variables: dict[str, str], athena: Athena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(athena, "held", True)
    code = (
        "import signal, sys, time; from billing_lake.cli import main\n"
        "time.sleep = lambda _: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['billing-lake', 'query', '--deployment', 'aws', 'SELECT 1']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip().endswith("Interrupted")
    assert len(athena.stopped) == 1


def test_a_query_on_aws_imports_neither_dagster_nor_duckdb(
    variables: dict[str, str], athena: Athena
) -> None:
    code = (
        "import sys; from billing_lake.cli import main\n"
        f"main(['query', '--deployment', 'aws', 'SELECT count(*) FROM {REMOTE}'], standalone_mode=False)\n"
        "print(sorted({'dagster', 'duckdb', 'polars', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=True,
    )
    assert done.stdout.endswith("[]\n")
    assert "12 \n" in done.stdout
