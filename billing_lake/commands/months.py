"""`billing-lake months` and `billing-lake restatements`: how months came to be what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from billing_lake.commands import options

if TYPE_CHECKING:
    from billing_lake.loads.months import MonthStory

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
    RESTATED if its costs changed after that.
    """
    from billing_lake.commands.lakes import lake_to_read
    from billing_lake.loads.months import months as found

    now = datetime.now(timezone.utc)
    rows = [
        row
        for month in found(lake_to_read(deployment), export, period or "")
        for row in (map(_of_focus, month.focus(now)) if focus else _of_month(month, now))
    ]
    _write(rows, format_, limit=0)


@click.command(short_help="Show what changed in a month from delivery to delivery.")
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
    r"""Show by account, service, charge type and currency what each delivery of a month changed.

    \b
    Examples:
      billing-lake restatements 2025-03
      billing-lake restatements 2025-03 --since 2025-04-03 --until 2025-04-07 --net
    """
    from billing_lake.commands.lakes import lake_to_read
    from billing_lake.loads import months as ledger

    first = None if since is None else since.replace(tzinfo=timezone.utc)
    end = None if until is None else until.replace(tzinfo=timezone.utc) + timedelta(days=1)
    found = ledger.restatements(lake_to_read(deployment), period, export, first, end)
    chosen = ledger.net(found) if net else found
    _write([_of_change(row, net=net) for row in chosen], format_, limit)


def _of_month(month: MonthStory, now: datetime) -> Iterable[Mapping[str, Any]]:
    """Yield a row for each currency of a month."""
    currencies: list[str | None] = [*sorted(month.last.costs)] or [None]
    for currency in currencies:
        yield {
            "export": month.last.export_name,
            "period": month.last.billing_period,
            "state": month.last.state_at(now),
            "deliveries": len(month.deliveries),
            "last_change": month.changed_at.replace(microsecond=0),
            "currency": currency,
            "total": None if currency is None else month.last.costs[currency],
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


def _write(rows: Sequence[Mapping[str, Any]], format_: str, limit: int) -> None:
    from billing_lake.commands.results import write
    from billing_lake.sql.tables import QueryResult

    columns = tuple(rows[0]) if rows else ()
    types = tuple(_type(name) for name in columns)
    result = QueryResult(columns, types, iter([[tuple(row.values()) for row in rows]]))
    if format_ == "table" and not rows:
        click.echo("No cost changed")
    else:
        write(result, format_, limit, cents=True)


def _type(name: str) -> str:
    if name.startswith("cost_") or name in {"total", "change"}:
        return "DECIMAL"
    return "BIGINT" if name.startswith("items_") or name == "deliveries" else "VARCHAR"
