"""What the demo tells at its end: what was loaded, the proofs, the changed columns, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from billing_lake.commands.query import named_sql
from billing_lake.commands.results import as_text
from billing_lake.domain.errors import ProofError
from billing_lake.sql.named_queries import CURRENCY, UNBLENDED

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.commands.demo_runs import Evaluation, Run
    from billing_lake.loads.exports import TableOutput
    from billing_lake.sample import SampleDelivery
    from billing_lake.sql.lake_sql import LakeSql

CATALOG_OF: dict[TableOutput, str] = {
    "hive": "hive",
    "iceberg": "iceberg",
    "s3_table": "s3tables",
}
"""The catalog in which SQL finds the table of an output."""

_PROOFS = {
    "equals_delivery": "rows and totals equal",
    "same_content": "every cell",
    "one_delivery_version": "delivery",
    "usage_dates_in_period": "dates",
    "unique_line_items": "unique",
}
_TOP = 8
_DIFF_CELLS = 6


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One delivery of the demo's story."""

    period: str
    title: str
    restatement: int = 0
    extra_tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Told:
    """A chapter, and what came of it."""

    chapter: Chapter
    delivery: SampleDelivery
    run: Run


def prove(lake_sql: LakeSql, table: str, told: Told) -> None:
    """Compare what every table of the chapter answers in SQL with what the sample's generator added up on its own.

    Raises:
        ProofError: A figure differs.
    """
    columns = sorted({column for totals in told.delivery.totals.values() for column in totals})
    sums = "".join(f", sum({column})" for column in columns)
    expected = {
        (currency, told.delivery.rows, *(totals.get(column, Decimal()) for column in columns))
        for currency, totals in told.delivery.totals.items()
    }
    for load in told.run.loads:
        name = f"{CATALOG_OF[load.output]}.{table}"
        identifier = lake_sql.table(name).identifier
        sql = (
            f"SELECT {CURRENCY}, count(*){sums} FROM {identifier} "  # noqa: S608 -- names of our own
            f"WHERE billing_period = '{told.chapter.period}' GROUP BY ALL"
        )
        found = set(lake_sql.ask(sql).rows())
        if found != expected:
            what = f"{name} does not hold what was delivered for {told.chapter.period}: {found} instead of {expected}"
            raise ProofError(what)


def print_loaded(out: Console, story: Sequence[Told]) -> None:
    """Say what each run loaded, and what it replaced."""
    from rich.table import Table
    from rich.text import Text

    heading(out, "Loaded")
    for told in story:
        replaced = sorted({one.replaced_version for one in told.run.loads if one.replaced_version})
        line = Text(f"{told.chapter.period}  ", style="bold")
        line.append(f"delivery {told.delivery.version}, {told.chapter.title}", style="not bold")
        out.print(line)
        if replaced:
            out.print(f"  replaced delivery {', '.join(replaced)}")
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for load in told.run.loads:
            table.add_row(
                f"  {CATALOG_OF[load.output]}",
                f"{load.rows:,} rows",
                f"{load.files} {'file' if load.files == 1 else 'files'}",
                _cost(told.delivery),
                f"replaced {load.replaced_rows:,} rows" if load.replaced_version else "new",
            )
        out.print(table)


def print_proofs(out: Console, story: Sequence[Told]) -> None:
    """Show the checks of every table, and what `prove` found, for the latest delivery of each month."""
    from rich import box
    from rich.table import Table

    from billing_lake.loads.exports import TABLE_ASSETS

    heading(out, "Proofs: each table, read back, against the raw files")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("month", "table", *_PROOFS.values()):
        table.add_column(title, no_wrap=True)
    for told in story:
        period = told.chapter.period
        for load in told.run.loads:
            found = {
                one.check: one
                for one in told.run.evaluations
                if one.asset == TABLE_ASSETS[load.output]
            }
            cells = (_mark(found.get(name)) for name in _PROOFS)
            table.add_row(period, CATALOG_OF[load.output], *cells)
    out.print(table)
    for told in story:
        figures = sum(len(totals) for totals in told.delivery.totals.values())
        out.print(
            f"{told.chapter.period}  {_cost(told.delivery)} delivered = SQL over "
            f"{len(told.run.loads)} tables, all {figures} totals [green]✓[/]"
        )


def print_schema_diff(out: Console, told: Told) -> None:
    """Show how the chapter's columns differed from the tables'."""
    from billing_lake.commands.results import rows_table

    heading(out, f"Columns of {told.chapter.period} against the tables")
    for one in told.run.evaluations:
        if one.check == "schema_diff":
            out.print(one.description, markup=False)
            changes = _changes(str(one.metadata.get("schema_diff", "")))
            if changes:
                head = ("column", "change", "type", "effect", "tables")
                out.print(rows_table(head, ("",) * len(head), changes))


def print_services(out: Console, lake_sql: LakeSql, table: str) -> None:
    """Show the services that cost most."""
    from billing_lake.commands.results import rows_table

    heading(out, "Top services by cost (rounded to cents here; `query` gives every digit)")
    result = lake_sql.ask(named_sql(lake_sql, "cost-by-service", table=table))
    rows = [
        [f"{value:,.2f}" if isinstance(value, Decimal) else value for value in row]
        for _, row in zip(range(_TOP), result.rows(), strict=False)
    ]
    out.print(rows_table(result.columns, result.types, rows))


def heading(out: Console, text: str) -> None:
    """Print a heading."""
    out.print(f"\n{text}", style="bold")


def total(delivery: SampleDelivery) -> Iterator[tuple[str, str]]:
    """Go through the delivery's currencies and exact unblended costs."""
    for currency, totals in delivery.totals.items():
        yield currency, as_text(totals.get(UNBLENDED, Decimal()))


def _cost(delivery: SampleDelivery) -> str:
    return ", ".join(f"{cost} {currency}" for currency, cost in total(delivery)) or "0"


def _changes(markdown: str) -> list[tuple[str, str, str, str, str]]:
    """Return the changes of a check's Markdown table, one row for those that several tables share."""
    tables: dict[tuple[str, str, str, str], list[str]] = {}
    for line in markdown.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if len(cells) == _DIFF_CELLS:
            table, column, change, old, new, effect = cells
            kind = f"{old} → {new}" if old and new else old or new
            tables.setdefault((column, change, kind, effect), []).append(table)
    return [(*change, ", ".join(names)) for change, names in tables.items()]


def _mark(found: Evaluation | None) -> str:
    if found is None:
        return "[dim]not run[/]"
    if not found.passed:
        return "[yellow]! warns[/]" if found.warns else "[red]✗ fails[/]"
    if found.check != "equals_delivery":
        return "[green]✓[/]"
    facts = found.metadata
    return f"[green]✓[/] {facts['rows_expected']:,} = {facts['rows_found']:,} rows"
