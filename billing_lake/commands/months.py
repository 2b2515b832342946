"""`billing-lake months` and `billing-lake restatements`: how months came to be what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from billing_lake.commands import options
from billing_lake.commands.results import IN_CENTS
from billing_lake.domain.errors import number, shown

if TYPE_CHECKING:
    from billing_lake.loads.months import MonthStory
    from billing_lake.sql.tables import QueryResult

_NUMBERS = frozenset(("deliveries", "total", "change", "items", "before", "after"))
"""Columns of a table that stand to the right."""

_IN_UTC = "moments in UTC"

_NOTHING = "\N{EN DASH}"

_RESTATEMENTS = """Show by account, service, charge type and currency what each delivery of a month changed.

\b
Examples:
  billing-lake restatements 2025-03
  billing-lake restatements 2025-03 --since 2025-04-03 --until 2025-04-07 --net
"""

_EXPORT = click.option("--export", default="", help="Name of the export; all unless given.")


@click.command(short_help="Show the state and the deliveries of each month.")
@click.option("--period", callback=options.checked_period, help="Billing period; all unless given.")
@_EXPORT
@options.deployment
@options.format_
@click.option("--focus", is_flag=True, help="Write the FOCUS 1.4 dataset Billing Period.")
def months(
    period: str | None, export: str, deployment: str | None, format_: str, *, focus: bool
) -> None:
    """Show the months of each export: state, deliveries, last change, total, change since the last delivery.

    A month is OPEN until it is over, SETTLING until every row carries an invoice id, CLOSED then, and
    RESTATED if its costs changed after that. The state is today's; beside it stands the one when the last
    delivery was made, which the ledger keeps.
    """
    from billing_lake.commands.lakes import lake_to_read
    from billing_lake.loads.months import read_months as found

    now = datetime.now(timezone.utc)
    rows = [
        row
        for month in found(lake_to_read(deployment), export, period or "")
        for row in (map(_of_focus, month.focus(now)) if focus else _of_month(month, now))
    ]
    if format_ != "table":
        _write(rows, format_)
    elif focus:
        _print(rows, "")
    else:
        above, rows = _apart(rows, "export", "currency")
        _print(list(map(_of_month_table, rows)), ", ".join(filter(None, (above, _IN_UTC))))
        click.echo(IN_CENTS, err=True)


@click.command(
    help=_RESTATEMENTS, short_help="Show what changed in a month from delivery to delivery."
)
@click.argument("period", callback=options.checked_period)
@_EXPORT
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day (UTC) of delivery.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day (UTC) of delivery.")
@click.option("--net", is_flag=True, help="Add up the deliveries, group by group.")
@options.deployment
@options.format_
@options.limit
def restatements(
    period: str,
    export: str,
    since: datetime | None,
    until: datetime | None,
    deployment: str | None,
    format_: str,
    limit: int,
    *,
    net: bool,
) -> None:
    """Run the command."""
    from billing_lake.commands.lakes import lake_to_read
    from billing_lake.loads import months as ledger

    first = None if since is None else since.replace(tzinfo=timezone.utc)
    end = None if until is None else until.replace(tzinfo=timezone.utc) + timedelta(days=1)
    lake = lake_to_read(deployment)
    months = ledger.read_months(lake, export, period)
    found = ledger.read_restatements(lake, period, export, first, end)
    untold = ledger.untold_changes(months, found, first, end)
    chosen = ledger.net_changes(found) if net else found
    rows = [_of_change(row, net=net) for row in chosen]
    if format_ != "table":
        _write(rows, format_)
    elif rows:
        _print_changes(rows, limit)
        click.echo(IN_CENTS, err=True)
    elif all(len(one.deliveries) == 1 for one in months):
        click.echo(f"{period} has one delivery; there is nothing to compare")
    elif not untold:
        click.echo("No cost changed")
    for (name, currency), amount in untold.items():
        text = (
            f"{name}: {number(amount, '+')} {shown(currency)} more came between deliveries that could not be compared, because the "
            "table kept the files of one no longer"
        )
        click.echo(text, err=True)


def _of_month(month: MonthStory, now: datetime) -> Iterable[Mapping[str, Any]]:
    """Yield a row for each currency of a month."""
    currencies: list[str | None] = [*month.currencies] or [None]
    for currency in currencies:
        yield {
            "export": month.last.export_name,
            "period": month.last.billing_period,
            "state": month.last.state_at(now),
            "state_when_delivered": month.last.month_state,
            "deliveries": len(month.deliveries),
            "last_change": month.changed_at.replace(microsecond=0),
            "currency": currency,
            "total": None if currency is None else month.last.costs.get(currency, Decimal()),
            "change": None if currency is None else month.change(currency),
        }


def _of_focus(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write moments as FOCUS asks for them: in UTC, to the second, with a Z."""
    return {
        name: f"{value.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }


def _of_change(row: Mapping[str, Any], *, net: bool) -> Mapping[str, Any]:
    at = row["delivered_at"] or row["loaded_at"]
    delivery = (
        {} if net else {"delivered_at": at.replace(microsecond=0), "delivery": row["version_after"]}
    )
    names = ("account", "service", "charge_type", "currency")
    amounts = ("items_before", "items_after", "cost_before", "cost_after", "cost_change")
    return {
        "export": row["export_name"],
        **delivery,
        **{n: row[n] for n in (*names, "kind", *amounts)},
    }


def _of_month_table(row: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {
        "state": "state today",
        "state_when_delivered": "when delivered",
        "last_change": "last change",
    }
    return {names.get(name, name): value for name, value in row.items()}


def _print_changes(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    """Print a table for each delivery, of ``limit`` rows together, all for 0."""
    shown_rows = rows[:limit] if limit else rows
    for _, changes in groupby(
        shown_rows, lambda row: (row["export"], row.get("delivered_at"), row.get("delivery"))
    ):
        above, each = _apart(
            list(changes), "export", "delivered_at", "delivery", "currency", "kind"
        )
        _print(list(map(_of_change_table, each)), above)
    if len(shown_rows) < len(rows):
        click.echo(f"… the first {limit} of {len(rows):,} rows; --limit 0 shows all of them")


def _of_change_table(row: Mapping[str, Any]) -> Mapping[str, Any]:
    before, after = row["items_before"], row["items_after"]
    texts = ("account", "service", "charge_type", "currency", "kind")
    return {
        **{name.replace("_", " "): row[name] for name in texts if name in row},
        "items": f"{before:,}" if before == after else f"{before:,} → {after:,}",
        "before": row["cost_before"],
        "after": row["cost_after"],
        "change": row["cost_change"],
    }


def _apart(rows: Sequence[Mapping[str, Any]], *names: str) -> tuple[str, list[Mapping[str, Any]]]:
    """Return what is the same in all rows as one line, and the rows without it."""
    same = {
        name: rows[0][name]
        for name in names
        if rows and name in rows[0] and len({row[name] for row in rows}) == 1
    }
    words = {"delivered_at": "delivered"}
    line = ", ".join(
        f"{words.get(name, name)} {_minutes(value)}{' UTC' if isinstance(value, datetime) else ''}"
        for name, value in same.items()
        if value is not None
    )
    left: list[Mapping[str, Any]] = [
        {name: value for name, value in row.items() if name not in same} for row in rows
    ]
    return line, left


def _minutes(value: Any) -> Any:
    return (
        f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value
    )


def _print(rows: Sequence[Mapping[str, Any]], above: str) -> None:
    """Print rows as a table below a line that holds for all of them, moments to the minute, costs in cents."""
    from billing_lake.commands.results import print_table
    from billing_lake.commands.terminal import console

    texts = [
        {name: _NOTHING if one is None else _minutes(one) for name, one in row.items()}
        for row in rows
    ]
    out = console()
    if above:
        out.print(above, markup=False)
    print_table(_result(texts), out, 0, cents=True)


def _write(rows: Sequence[Mapping[str, Any]], format_: str) -> None:
    from billing_lake.commands.results import write_result

    write_result(_result(rows), format_, limit=0)


def _result(rows: Sequence[Mapping[str, Any]]) -> QueryResult:
    from billing_lake.sql.tables import QueryResult

    columns = tuple(rows[0]) if rows else ()
    types = tuple("DECIMAL" if name in _NUMBERS else "VARCHAR" for name in columns)
    return QueryResult(columns, types, iter([[tuple(row.values()) for row in rows]]))
