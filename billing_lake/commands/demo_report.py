"""Prints the end of the demo: what was loaded, the proofs, the changed columns, and what it cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from billing_lake.commands.query import named_sql
from billing_lake.commands.results import as_text, print_table, rows_table
from billing_lake.domain.bill import Limits
from billing_lake.domain.errors import ProofError, counted
from billing_lake.sql.named_queries import CURRENCY, UNBLENDED
from billing_lake.tables.exports import SQL_CATALOGS, TABLE_ASSETS

if TYPE_CHECKING:
    import dagster as dg
    from rich.console import Console

    from billing_lake.commands.runs import LoadRun
    from billing_lake.deployments import Lake
    from billing_lake.sample import SampleDelivery
    from billing_lake.sql.lake_sql import LakeSql

_CATALOGS = {TABLE_ASSETS[output]: name for output, name in SQL_CATALOGS.items()}
"""The catalog in which SQL finds the table of an asset."""

_SHOWN_SERVICES = 8
_SHOWN_CHANGES = 4


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One delivery of the demo's story."""

    period: str
    title: str
    restatement: int = 0
    extra_tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoadedChapter:
    """A chapter, its delivery, and the run that loaded it."""

    chapter: Chapter
    delivery: SampleDelivery
    run: LoadRun

    @property
    def cost(self) -> str:
        """The delivery's exact unblended cost: `1234.5 USD`."""
        totals = self.delivery.totals.items()
        costs = ((currency, as_text(sums.get(UNBLENDED, Decimal()))) for currency, sums in totals)
        return ", ".join(f"{cost} {currency}" for currency, cost in costs) or "0"


def prove_chapter(lake_sql: LakeSql, table: str, loaded: LoadedChapter) -> None:
    """Compare what every table of the chapter answers in SQL with what the sample's generator added up on its own.

    Raises:
        ProofError: A figure differs.
    """
    delivery, period = loaded.delivery, loaded.chapter.period
    columns = sorted({column for totals in delivery.totals.values() for column in totals})
    sums = "".join(f", sum({column})" for column in columns)
    expected = {
        (currency, delivery.rows, *(totals.get(column, Decimal()) for column in columns))
        for currency, totals in delivery.totals.items()
    }
    for asset in loaded.run.tables:
        name = f"{_CATALOGS[asset]}.{table}"
        sql = (
            f"SELECT {CURRENCY}, count(*){sums} FROM {lake_sql.table(name).identifier} "  # noqa: S608 -- names of our own
            f"WHERE billing_period = '{period}' GROUP BY ALL"
        )
        found = set(lake_sql.ask(sql).rows())
        if found != expected:
            what = f"{name} does not hold what was delivered for {period}: {found} instead of {expected}"
            raise ProofError(what)


def print_loaded(out: Console, story: Sequence[LoadedChapter]) -> None:
    """Show what each run loaded, and what it replaced."""
    heading(out, "Loaded")
    for one in story:
        version = f"delivery {one.delivery.version}, {one.chapter.title}"
        out.print(f"[bold]{one.chapter.period}[/]  {version}")
        tables = one.run.tables.items()
        old = (facts.get("replaced_delivery_version") for _, facts in tables)
        versions = {str(version) for version in old if version is not None}
        if versions:
            out.print(f"  replaced delivery {', '.join(sorted(versions))}")
        for asset, facts in tables:
            replaced = f"replaced {facts['replaced_rows']:,} rows" if versions else "new"
            rows, files = facts["dagster/partition_row_count"], facts["files"]
            counts = f"{_CATALOGS[asset]:<9} {rows:>8,} rows {counted(files, 'file'):>9}"
            out.print(f"  {counts}  {one.cost}  {replaced}", soft_wrap=True)


def print_proofs(out: Console, latest: Sequence[LoadedChapter]) -> None:
    """Show the checks of every table, and what `prove_chapter` found, for the latest delivery of each month."""
    heading(out, "Proofs: each table, read back, against the raw files")
    rows = [
        (one.chapter.period, _CATALOGS[asset], _counts(checks), _passed(checks))
        for one in latest
        for asset in one.run.tables
        if (checks := [c for c in one.run.checks if c.asset_key.path[-1] == asset])
    ]
    head = ("month", "table", "rows delivered and read back", "checks")
    out.print(rows_table(head, ("",) * len(head), rows))
    for one in latest:
        figures = sum(len(totals) for totals in one.delivery.totals.values())
        out.print(
            f"{one.chapter.period}  {one.cost} delivered = SQL over {len(one.run.tables)} tables, all {figures} totals [green]✓[/]"
        )


def print_schema_diff(out: Console, loaded: LoadedChapter) -> None:
    """Show how the chapter's columns differed from the tables'."""
    heading(out, f"Columns of {loaded.chapter.period} against the tables")
    for one in loaded.run.checks:
        if one.check_name == "schema_diff":
            out.print(one.description, markup=False)


def print_services(out: Console, lake_sql: LakeSql, table: str) -> None:
    """Show the services that cost most."""
    heading(out, "Top services by cost (rounded to cents here; `query` gives every digit)")
    sql = f"{named_sql(lake_sql, 'cost-by-service', table=table)} LIMIT {_SHOWN_SERVICES}"
    print_table(lake_sql.ask(sql), out, 0, cents=True)


def print_story(out: Console, lake: Lake, period: str) -> None:
    """Show how a month came to be what it is: its deliveries, and the largest changes of the last one."""
    from billing_lake.loads.months import read_months, read_restatements

    (month,) = read_months(lake, period=period)
    heading(out, f"The story of {period}")
    for row in month.deliveries:
        cost = ", ".join(f"{as_text(cost)} {currency}" for currency, cost in row.costs.items())
        out.print(
            f"  delivery {row.delivery_version}  {row.month_state:<8}  {cost}", soft_wrap=True
        )
    last = month.last.delivery_identity
    changed = [one for one in read_restatements(lake, period) if one["after_identity"] == last]
    shown = ("account", "service", "charge_type", "currency", "cost_change")
    rows = [tuple(as_text(one[name]) for name in shown) for one in changed[:_SHOWN_CHANGES]]
    groups = counted(len(changed), "group")
    out.print(f"  {groups} of costs changed with the last delivery; the largest:")
    out.print(rows_table(shown, ("", "", "", "", "DECIMAL"), rows))


def print_alerts(out: Console, told: Sequence[str]) -> None:
    """Show what the log notifier of the demo's alert policy wrote."""
    from billing_lake.components.demo_export import demo_export

    heading(
        out, "Alerts, as the log notifier wrote them (docs/alerts.md has Slack, e-mail and others)"
    )
    if not told:
        out.print(
            "  none: nothing failed or warned, or the daemon of a running `make dev` tells of it"
        )
    else:
        limits, usual = demo_export().checks, Limits.restatement_percent
        out.print(
            f"  (here `restatement_percent` is {limits.restatement_percent:g}, so that a restatement of this size warns; "
            f"the default is {usual:g})"
        )
    for one in told:
        out.print(textwrap.indent(one, "  "), markup=False, highlight=False, soft_wrap=True)


def heading(out: Console, text: str) -> None:
    """Print a heading."""
    out.print(f"\n{text}", style="bold")


def _counts(checks: Sequence[dg.AssetCheckEvaluation]) -> str:
    facts = next(one.metadata for one in checks if one.check_name == "equals_delivery")
    expected, found = (facts[name].value for name in ("rows_expected", "rows_found"))
    return f"{expected:,} {'=' if expected == found else '≠'} {found:,} rows"


def _passed(checks: Sequence[dg.AssetCheckEvaluation]) -> str:
    red = {one.check_name: one.severity.value for one in checks if not one.passed}
    if not red:
        return f"✓ all {len(checks)} passed"
    if "ERROR" in red.values():
        return f"✗ {', '.join(red)}"
    return f"✓ {len(checks) - len(red)} of {len(checks)} passed, warning: {', '.join(red)}"
