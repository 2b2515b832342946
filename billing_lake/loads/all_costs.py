"""Chooses the exports that count in the view `all_costs`, and adds up what their tables hold, to compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_lake.deployments.base import Lake
from billing_lake.sql.all_costs import ViewPart, counted_twice_sql, totals_queries
from billing_lake.sql.tables import LakeTable, TableSql
from billing_lake.tables.exports import SQL_CATALOGS, Export

CostKey = tuple[str, str, str]
"""Export, billing period and currency."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Holds what a group of line items adds up to."""

    cost: Decimal
    line_items: int


def view_part(lake: Lake, export: Export) -> ViewPart | None:
    """Return where the rows of ``export`` are read from; None where it has no table yet."""
    if lake.table(export, export.ledger_output).fields() is None:
        return None
    return ViewPart(
        export=export.name,
        format=export.format.name,
        catalog=SQL_CATALOGS[export.ledger_output],
        table=export.table,
    )


def counted_parts(lake: Lake, exports: Iterable[Export]) -> list[ViewPart]:
    """Return the part of each of ``exports`` that counts and has a table."""
    counted = sorted((one for one in exports if one.counts), key=lambda one: one.name)
    return [part for one in counted if (part := view_part(lake, one)) is not None]


def view_and_tables(
    sql: TableSql, view: str, parts: Sequence[ViewPart]
) -> tuple[dict[CostKey, Figures], dict[CostKey, Figures]]:
    """Return what the view adds up to, and what the tables that it is made of do, by export, period and currency."""
    asked = totals_queries(view, _tables(sql, parts), sql.dialect)
    found = _figures(sql, asked.of_view)
    expected: dict[CostKey, Figures] = {}
    for text in asked.of_tables.values():
        expected |= _figures(sql, text)
    return found, expected


def counted_twice(sql: TableSql, view: str) -> list[tuple[str, str, str, str]]:
    """Return payer, billing period and two of the exports, where several exports count the same payer's month."""
    return [tuple(row) for row in sql.ask(counted_twice_sql(view, sql.dialect)).rows()]


def _tables(sql: TableSql, parts: Sequence[ViewPart]) -> list[tuple[ViewPart, LakeTable]]:
    return [(part, sql.table(f"{part.catalog}.{part.table}")) for part in parts]


def _figures(sql: TableSql, text: str) -> dict[CostKey, Figures]:
    return {
        (export, period, currency or ""): Figures(
            cost=Decimal() if cost is None else cost, line_items=items
        )
        for export, period, currency, cost, items in sql.ask(text).rows()
    }
