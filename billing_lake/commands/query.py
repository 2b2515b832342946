"""`billing-lake query`: SQL over the lake's tables from the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from billing_lake.commands.home import existing_lake
from billing_lake.commands.named_queries import NAMED_QUERIES, Subject
from billing_lake.commands.terminal import console
from billing_lake.domain.periods import is_period

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.commands.lake_sql import LakeSql

_NAMES = "\n".join(f"  {name:<17}{query.description}" for name, query in NAMED_QUERIES.items())

_HELP = f"""Ask the lake's tables in SQL (DuckDB's dialect; one SELECT, which only reads).

billing.cost_and_usage is the Iceberg table; its sisters are hive.billing.cost_and_usage and
s3tables.billing.cost_and_usage.

\b
Named queries (--named):
{_NAMES}

\b
Examples:
  billing-lake query "SELECT billing_period, count(*) FROM billing.cost_and_usage GROUP BY ALL"
  billing-lake query "DESCRIBE billing.cost_and_usage"
  billing-lake query --named cost-by-service --period 2025-03 --format csv
"""  # noqa: S608 -- a help text


def _period(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_period(value):
        raise click.BadParameter(f"{value!r} is no billing period; write it YYYY-MM")
    return value


@click.command(help=_HELP, short_help="Ask the lake's tables in SQL.")
@click.argument("sql", required=False)
@click.option("--named", type=click.Choice(list(NAMED_QUERIES)), help="Run a named query.")
@click.option(
    "--period", callback=_period, help="Billing period of a named query; all unless given."
)
@click.option("--table", help="Table of a named query; the Iceberg table unless given.")
@click.option("--list", "listing", is_flag=True, help="List the tables and the named queries.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="CSV and JSON write every row; decimals exactly, in JSON as strings.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Rows that a table shows; 0 for all.",
)
def query(
    sql: str | None,
    named: str | None,
    period: str | None,
    table: str | None,
    *,
    listing: bool,
    format_: str,
    limit: int,
) -> None:
    """Run the command."""
    if sum((sql is not None, named is not None, listing)) != 1:
        raise click.UsageError("Give one of: SQL in quotes, --named, --list")
    if named is None and (period or table):
        raise click.UsageError("--period and --table belong to --named")
    lake = existing_lake()

    from billing_lake.commands.lake_sql import LakeSql
    from billing_lake.commands.results import print_table, write_csv, write_json

    with LakeSql(lake) as lake_sql:
        for name, reason in lake_sql.broken.items():
            click.echo(f"Table {name} cannot be read: {reason}", err=True)
        if listing:
            _list(lake_sql, console())
            return
        asked = named_sql(lake_sql, named, period, table) if named is not None else sql
        result = lake_sql.ask(asked or "")
        if format_ == "csv":
            write_csv(result, sys.stdout)
        elif format_ == "json":
            write_json(result, sys.stdout)
        else:
            print_table(result, console(), limit)


def named_sql(
    lake_sql: LakeSql, named: str, period: str | None = None, table: str | None = None
) -> str:
    """Return the SQL of a named query."""
    about = lake_sql.table(table)
    subject = Subject(table=about.identifier, columns=frozenset(about.columns), period=period)
    return NAMED_QUERIES[named].sql(subject)


def _list(lake_sql: LakeSql, out: Console) -> None:
    from billing_lake.commands.results import rows_table

    tables = [
        (table.name, table.catalog, len(table.columns), _count(lake_sql, table.identifier))
        for table in lake_sql.tables
    ]
    out.print(
        rows_table(("table", "catalog", "columns", "rows"), ("", "", "INTEGER", "INTEGER"), tables)
    )
    described = [(name, one.description) for name, one in NAMED_QUERIES.items()]
    out.print(rows_table(("named query", "answers"), ("", ""), described))


def _count(lake_sql: LakeSql, identifier: str) -> int:
    return int(next(lake_sql.ask(f"SELECT count(*) FROM {identifier}").rows())[0])  # noqa: S608
