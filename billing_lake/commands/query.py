"""`billing-lake query`: SQL over the lake's tables from the terminal."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import click

from billing_lake.commands import options
from billing_lake.commands.terminal import console
from billing_lake.domain.errors import QueryError
from billing_lake.sql.named_queries import NAMED_QUERIES, QueryTarget, write_sql

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.sql.tables import LakeTable, QueryResult, TableSql

_MAX_PERIODS = 24

_NAMES = "\n".join(
    f"  {name:<17}{query.description} (for {query.of})" for name, query in NAMED_QUERIES.items()
)

_HELP = f"""Ask the lake's tables in SQL: one SELECT, which only reads.

SQL is sent as you write it. On this machine it is DuckDB's dialect: billing.cost_and_usage is the
Iceberg table, hive.billing.cost_and_usage and s3tables.billing.cost_and_usage hold the same rows; a
query may take half of the memory and writes nothing to disk. On AWS it is Athena's dialect
(Trino's), and Athena asks money for what it reads; --list shows how it names the tables. Named
queries work in both. Ctrl-C ends a query.

\b
Named queries (--named), for exports of every format:
{_NAMES}

Costs are unblended and amortised in tables of legacy CUR and CUR 2.0, billed and effective in those of
FOCUS and in the view all_costs.

\b
Examples:
  billing-lake query "SELECT billing_period, count(*) FROM billing.cost_and_usage GROUP BY ALL"
  billing-lake query "DESCRIBE billing.cost_and_usage"
  billing-lake query --named cost-by-service --period 2025-03 --format csv
  billing-lake query --named cost-by-day --table all_costs --period 2025-03
  billing-lake query --deployment aws --named cost-by-service --period 2025-03
"""  # noqa: S608 -- a help text


@click.command(help=_HELP, short_help="Ask the lake's tables in SQL.")
@click.argument("sql", required=False)
@click.option("--named", type=click.Choice(list(NAMED_QUERIES)), help="Run a named query.")
@click.option(
    "--period",
    callback=options.checked_period,
    help="Billing period of a named query; all unless given.",
)
@click.option(
    "--table",
    help="Table of a named query, its namespace may be left out; the Iceberg table unless given.",
)
@options.deployment
@click.option("--list", "listing", is_flag=True, help="List the tables and the named queries.")
@click.option(
    "--paths", is_flag=True, help="With --list: the paths that readers of files are given."
)
@options.format_
@click.option("--sql", "show_sql", is_flag=True, help="Show the SQL of a named query; ask nothing.")
@options.limit
def query(
    sql: str | None,
    named: str | None,
    period: str | None,
    table: str | None,
    deployment: str | None,
    *,
    listing: bool,
    paths: bool,
    format_: str,
    show_sql: bool,
    limit: int,
) -> None:
    """Run the command."""
    if sum((sql is not None, named is not None, listing)) != 1:
        raise click.UsageError("Give one of: SQL in quotes, --named, --list")
    if named is None and (period or table or show_sql):
        raise click.UsageError("--period, --table and --sql belong to --named")
    if paths and not listing:
        raise click.UsageError("--paths belongs to --list")

    from billing_lake.commands.lakes import open_tables
    from billing_lake.commands.results import write_result

    with open_tables(deployment) as lake_sql:
        if listing:
            _list(lake_sql, console(), paths=paths)
            return
        asked = named_sql(lake_sql, named, period, table) if named is not None else sql
        if show_sql:
            click.echo(asked)
            return
        _say_broken(lake_sql)
        result = lake_sql.ask(asked or "")
        if period is not None:
            result = _of_period(lake_sql, lake_sql.table(table), period, result)
        write_result(result, format_, limit, cents=named is not None)


def named_sql(
    lake_sql: TableSql, named: str, period: str | None = None, table: str | None = None
) -> str:
    """Return the SQL of a named query."""
    about = lake_sql.table(table)
    target = QueryTarget(table=about.identifier, columns=frozenset(about.columns), period=period)
    return write_sql(named, target, lake_sql.dialect)


def _of_period(
    lake_sql: TableSql, table: LakeTable, period: str, result: QueryResult
) -> QueryResult:
    """Return ``result``, which may be empty only where the table holds the billing period.

    Raises:
        QueryError: It does not; the message says which ones it holds.
    """
    first = next(result.batches, None)
    if first is not None:
        return replace(result, batches=chain([first], result.batches))
    held = lake_sql.periods(table)
    if period not in held:
        listed = ", ".join(held[-_MAX_PERIODS:]) or "none"
        what = f"{table.name} holds no row of the billing period {period}"
        raise QueryError(what, remedy=f"Load it, or choose one that is there: {listed}")
    return result


def _list(lake_sql: TableSql, out: Console, *, paths: bool) -> None:
    from billing_lake.commands.results import rows_table

    tables = [(table, lake_sql.count(table)) for table in lake_sql.tables]
    _say_broken(lake_sql)
    headings, types = ["table", "catalog", "columns", "rows"], ["", "", "INTEGER", "INTEGER"]
    rows = [
        [table.name, "view" if table.is_view else table.catalog, len(table.columns), count]
        for table, count in tables
    ]
    if tables and all(count is None for _, count in tables):
        # Who would have to ask money for a count says none, and an empty column tells nothing.
        headings, types, rows = headings[:-1], types[:-1], [row[:-1] for row in rows]
    out.print(rows_table(headings, types, rows))
    # Where names are longer than one writes them, how SQL has them; paths where somebody wants them.
    identified = [
        (table.name, table.identifier) for table, _ in tables if lake_sql.dialect == "athena"
    ]
    located = [(table.name, table.location) for table, _ in tables if paths and table.location]
    for name, place in (*identified, *located):
        # Not in the table: a path that is cut or broken cannot be copied.
        line = f" {name:<{max(len(table.name) for table, _ in tables)}}   {place}"
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    described = [(name, one.description, one.of) for name, one in NAMED_QUERIES.items()]
    out.print(rows_table(("named query", "answers", "for"), ("", "", ""), described))


def _say_broken(lake_sql: TableSql) -> None:
    for name, reason in lake_sql.broken.items():
        click.echo(f"Table {name} cannot be read: {reason}", err=True)
