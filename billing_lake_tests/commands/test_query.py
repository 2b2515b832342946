from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from pyiceberg.types import ListType, StringType

from billing_lake.commands.results import as_text
from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import QueryError, TableError
from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.types import DECIMAL, STRING, Map
from billing_lake.sql.lake_sql import LakeSql, text_literal
from billing_lake.sql.named_queries import UNBLENDED
from billing_lake.sql.tables import quoted
from billing_lake_tests.commands.conftest import TABLE, Runner
from billing_lake_tests.tables import making

TAGS = Map(STRING, STRING)

SISTERS = (TABLE, f"s3tables.{TABLE}", f"hive.{TABLE}")


def rows_of(run: Runner, *arguments: str) -> list[dict[str, str]]:
    result = run("query", "--format", "csv", *arguments)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(StringIO(result.stdout)))


@pytest.mark.parametrize("table", SISTERS)
def test_cost_by_service_gives_exact_unblended_and_amortised_cost_from_every_table(
    run: Runner, table: str
) -> None:
    rows = rows_of(run, "--named", "cost-by-service", "--period", "2025-03", "--table", table)
    assert [tuple(row.values()) for row in rows] == [
        ("AmazonRDS", "USD", "65", "4", "3"),
        ("ComputeSavingsPlans", "USD", "12.5", "4.5", "3"),
        ("AmazonEC2", "USD", "10.1", "18.1", "3"),
        ('Contoso "Pro", GmbH', "USD", "7.000000000000000001", "7.000000000000000001", "1"),
        ("AmazonS3", "EUR", "1.1", "1.1", "1"),
    ]


def test_all_months_are_added_up_where_no_period_is_given_and_currencies_never(run: Runner) -> None:
    rows = rows_of(run, "--named", "cost-by-account")
    assert [tuple(row.values()) for row in rows] == [
        ("000000000002", "USD", "65", "4", "3"),
        ("000000000001", "USD", "31.600000000000000001", "31.600000000000000001", "8"),
        ("000000000001", "EUR", "1.1", "1.1", "1"),
    ]


def test_cost_by_day_goes_through_the_days_in_order(run: Runner) -> None:
    rows = rows_of(run, "--named", "cost-by-day")
    assert [(row["day"], row["currency"], row["unblended_cost"]) for row in rows] == [
        ("2025-02-01", "USD", "2"),
        ("2025-03-01", "EUR", "1.1"),
        ("2025-03-01", "USD", "94.600000000000000001"),
        ("2025-03-02", "USD", "0"),
    ]


def test_untagged_counts_usage_without_a_tag_at_its_amortised_cost(run: Runner) -> None:
    rows = rows_of(run, "--named", "untagged", "--period", "2025-03")
    assert [tuple(row.values()) for row in rows] == [
        ("AmazonEC2", "USD", "8", "18.1", "44.2"),
        ("AmazonRDS", "USD", "3.25", "3.25", "100"),
        ("AmazonS3", "EUR", "1.1", "1.1", "100"),
    ]


def test_a_column_that_an_older_partition_lacks_is_null_there(run: Runner) -> None:
    sql = f"SELECT billing_period, count(resource_tags_user_project) AS n FROM hive.{TABLE} GROUP BY ALL ORDER BY ALL"
    assert [row["n"] for row in rows_of(run, sql)] == ["0", "1"]


def test_json_keeps_every_digit_as_text_and_numbers_columns_of_one_name(run: Runner) -> None:
    sql = f"SELECT {UNBLENDED} AS cost, 1 AS n, NULL AS gone, true AS yes, [1, 2] AS list FROM {TABLE} ORDER BY cost"
    result = run("query", sql, "--format", "json")
    last = json.loads(result.stdout)[-1]
    assert last == {"cost": "96", "n": 1, "gone": None, "yes": True, "list": [1, 2]}
    twice = run("query", "SELECT 1 AS a, 2 AS a", "--format", "json")
    assert sorted(json.loads(twice.stdout)[0].values()) == [1, 2]
    assert json.loads(run("query", "SELECT 1 WHERE false", "--format", "json").stdout) == []


def test_moments_are_utc_whatever_the_machine_thinks(run: Runner) -> None:
    sql = f"SELECT min(line_item_usage_start_date) AS first FROM {TABLE}"
    result = run("query", sql, "--format", "csv", env={"TZ": "Asia/Tokyo"})
    assert result.stdout == "first\n2025-02-01T00:00:00+00:00\n"


def test_a_table_on_the_terminal_shows_some_rows_and_says_that_there_are_more(run: Runner) -> None:
    result = run("query", f"SELECT {UNBLENDED} FROM {TABLE} ORDER BY 1", "--limit", "3")
    assert "-96" in result.stdout
    assert "000000" not in result.stdout
    assert "the first 3 rows" in result.stdout
    assert (
        "the first" not in run("query", f"SELECT {UNBLENDED} FROM {TABLE}", "--limit", "0").stdout
    )


def test_rows_that_are_too_wide_for_a_line_are_written_column_by_column(run: Runner) -> None:
    result = run("query", f"SELECT * FROM {TABLE} ORDER BY {UNBLENDED} DESC", "--limit", "2")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 400
    named = [line.split() for line in lines if line.startswith(UNBLENDED)]
    assert named == [[UNBLENDED, "96"], [UNBLENDED, "60"]]
    assert [line.strip() for line in lines if line.startswith("row ")] == ["row 1", "row 2"]
    assert "the first 2 rows" in result.stdout


def test_text_from_a_report_cannot_move_the_cursor(run: Runner) -> None:
    sql = (
        f"SELECT line_item_line_item_description FROM {TABLE} WHERE line_item_currency_code = 'EUR'"
    )
    assert "two\\x0alines \\x1b[31m" in run("query", sql).stdout


def test_describe_and_show_work(run: Runner) -> None:
    rows = rows_of(run, f"DESCRIBE {TABLE}")
    assert {"line_item_unblended_cost": "DECIMAL(38,18)"}.items() <= {
        row["column_name"]: row["column_type"] for row in rows
    }.items()


def test_list_names_tables_and_queries(run: Runner) -> None:
    out = run("query", "--list").stdout
    assert all(name in out for name in (*SISTERS, "cost-by-service", "untagged"))
    assert "tables of exports, all_costs" in out
    assert "/warehouse/" not in out, "paths are for those who ask for them"


def test_list_tells_what_readers_of_files_are_given(run: Runner, lake: LocalLake) -> None:
    shown = dict(
        re.findall(r"^ (\S+) +(\S*/.*)$", run("query", "--list", "--paths").stdout, re.MULTILINE)
    )
    assert shown == {
        TABLE: lake.iceberg.open(TABLE).metadata_location,
        f"s3tables.{TABLE}": lake.s3_tables.open(TABLE).metadata_location,
        f"hive.{TABLE}": lake.hive.uri(TABLE),
        # The ledger of deliveries, which every load writes.
        "billing.deliveries": lake.iceberg.open("billing.deliveries").metadata_location,
    }


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT nothing_like_it FROM billing.cost_and_usage", "Binder Error"),
        ("SELECT 1 FROM nowhere", "Catalog Error"),
        ("SELEC 1", "Parser Error"),
        ("SELECT CAST('x' AS INTEGER)", "Conversion Error"),
    ],
)
def test_an_error_of_duckdb_is_a_panel_with_a_hint_and_no_traceback(
    run: Runner, sql: str, says: str
) -> None:
    result = run("query", sql)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert says in result.stderr
    assert f"Tables: {TABLE}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{file}''')",
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{file}'}})",
        "SELECT (SELECT count(*) FROM read_text('/etc/hostname'))",
        "COPY (SELECT 1) TO '{file}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS other",
        "CREATE TABLE other AS SELECT 1",
        "DROP VIEW billing.cost_and_usage",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT 1; COPY (SELECT 1) TO '{file}'",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_sql_reaches_no_file_and_changes_nothing(
    run: Runner, lake: LocalLake, tmp_path: Path, sql: str
) -> None:
    for folder in (tmp_path, lake.home / "warehouse"):
        file = folder / "written"
        result = run("query", sql.format(file=str(file).replace("'", "''")))
        assert result.exit_code == 1, result.output
        assert "Error" in result.stderr
        assert "Traceback" not in result.stderr
        assert not file.exists()


def test_the_connection_itself_is_locked_should_the_parser_let_something_pass(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LakeSql(lake) as lake_sql:
        monkeypatch.setattr(lake_sql, "_check", lambda _: None)
        with pytest.raises(QueryError, match="Permission"):
            lake_sql.ask("SELECT * FROM read_text('/etc/hostname')")


def test_empty_tables_are_empty_and_typed(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    names = ("export_name", "billing_period")
    columns = [
        *(Column(name, STRING) for name in names),
        Column("cost", DECIMAL),
        Column("tags", TAGS),
    ]
    for catalog in (lake.iceberg, lake.hive):
        catalog.create("billing.empty", plan(None, columns).fields)
    with LakeSql(lake) as lake_sql:
        assert not lake_sql.broken
        for name in ("billing.empty", "hive.billing.empty"):
            result = lake_sql.ask(f"SELECT cost, billing_period, tags FROM {name}")
            assert result.types == ("DECIMAL(38,18)", "VARCHAR", "MAP(VARCHAR, VARCHAR)")
            assert list(result.rows()) == []
        with pytest.raises(TableError, match=r"no table billing\.other"):
            lake_sql.table("billing.other")


def test_maps_and_columns_that_somebody_else_added_are_read_as_they_are(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path / "lake")
    fields = plan(None, (*making.COLUMNS, Column("tags", TAGS))).fields
    lake.iceberg.create(making.TABLE, fields)
    with lake.iceberg.open(making.TABLE).update_schema() as update:
        update.add_column("theirs", ListType(element_id=1, element=StringType()))
    encoded = making.encode(tmp_path / "staging", rows=(1,), fields=fields, tags={"a": "1"})
    making.load(lake.iceberg, encoded)
    with LakeSql(lake) as lake_sql:
        assert not lake_sql.broken
        result = lake_sql.ask(f"SELECT tags['a'], theirs FROM {making.TABLE}")
        assert list(result.rows()) == [("1", None)]


def test_identifiers_and_literals_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert text_literal("it's") == "'it''s'"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("2018.160237320000000000"), "2018.16023732"),
        (Decimal("1E+3"), "1000"),
        (Decimal(100), "100"),
        (Decimal("0E-18"), "0"),
        (Decimal("-0.000"), "0"),
        (Decimal("-1.50"), "-1.5"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_values_are_exact_without_noise(value: Decimal | bool, text: str) -> None:  # noqa: FBT001 - a case
    assert as_text(value) == text


def test_a_lake_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    result = Runner(tmp_path / "none")("query", "SELECT 1")
    assert result.exit_code == 1
    assert "There is no lake at" in result.stderr
    assert not (tmp_path / "none").exists()


def test_wrong_options_are_refused(run: Runner) -> None:
    assert run("query").exit_code == 2
    assert run("query", "SELECT 1", "--list").exit_code == 2
    assert run("query", "SELECT 1", "--paths").exit_code == 2
    assert run("query", "SELECT 1", "--period", "2025-03").exit_code == 2
    assert run("query", "--named", "untagged", "--period", "2025-13").exit_code == 2
    assert run("query", "--named", "untagged", "--table", "billing.other").exit_code == 1


def test_a_lake_that_spark_loads_is_asked_like_any_folder(run: Runner) -> None:
    sql = f"SELECT count(*) AS n FROM {TABLE}"
    result = run("query", "--deployment", "local_spark", sql, "--format", "csv")
    assert result.stdout == "n\n12\n"
