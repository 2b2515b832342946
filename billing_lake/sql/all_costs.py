"""The view `all_costs`: the core columns of every export that counts, of whatever format, one row for each line item.

A table has the columns that its export ever delivered, so the view's text is made anew from what tables have; what one lacks is
NULL. Moments are in UTC and say nothing of a zone, because Athena keeps no other ones in a view.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from billing_lake.domain.errors import QueryError
from billing_lake.domain.types import DECIMAL, TIMESTAMP, Type
from billing_lake.formats.base import Format
from billing_lake.formats.core_columns import CORE_COLUMNS
from billing_lake.formats.registry import FORMATS
from billing_lake.sql.named_queries import in_dialect
from billing_lake.sql.tables import ALL_COSTS, Dialect, LakeTable, name_parts

_EXPORT, _PERIOD = "export_name", "billing_period"
_SQL_TYPES: dict[Type, str] = {DECIMAL: "DECIMAL(38, 18)", TIMESTAMP: "TIMESTAMP"}


@dataclass(frozen=True, kw_only=True)
class ViewPart:
    """An export that counts, and the table that its rows are read from.

    Attributes:
        export: Its name.
        format: The name of its format.
        catalog: The catalog of the table, one of `CATALOGS`.
        table: The table's name.
    """

    export: str
    format: str
    catalog: str
    table: str


@dataclass(frozen=True, kw_only=True)
class TotalsQueries:
    """The queries by which the view is compared with the table of an export: export, period, currency, cost, rows."""

    of_view: str
    of_tables: dict[str, str]


def view_name(counted: Sequence[ViewPart]) -> str:
    """Return the name of the view: it stands beside the table of the first export.

    Raises:
        QueryError: No export counts.
    """
    if not counted:
        raise QueryError(
            "No export counts for all_costs", remedy="Take `counts: false` out of one's settings"
        )
    return f"{name_parts(min(one.table for one in counted))[0]}.{ALL_COSTS}"


def view_sql(counted: Sequence[tuple[ViewPart, LakeTable]], dialect: Dialect) -> str:
    """Return the SELECT of the view of ``counted``, which are some."""
    selects = (
        part_sql(part, table) for part, table in sorted(counted, key=lambda one: one[0].export)
    )
    return in_dialect("\nUNION ALL\n".join(selects), dialect)


def part_sql(part: ViewPart, table: LakeTable) -> str:
    """Return the SELECT of the core columns of one export."""
    format_ = FORMATS[part.format]
    given = format_.core(table.columns)
    cells = ",\n    ".join(
        f"CAST({given.get(name, 'NULL')} AS {_SQL_TYPES.get(type_, 'VARCHAR')}) AS {name}"
        for name, type_ in CORE_COLUMNS.items()
    )
    return (
        f"SELECT {_EXPORT}, {_PERIOD},\n    {cells}\n"
        f"FROM {table.identifier} WHERE {_EXPORT} = '{part.export}'"
    )


def totals_queries(
    view: str, counted: Sequence[tuple[ViewPart, LakeTable]], dialect: Dialect
) -> TotalsQueries:
    """Return the queries of the totals of ``view``, as SQL writes it, and of each table that it is made of."""
    of_view = _totals(view, "billingcurrency", "billedcost", "true")
    return TotalsQueries(
        of_view=in_dialect(of_view, dialect),
        of_tables={
            part.export: in_dialect(
                _totals(
                    table.identifier,
                    _own_currency(FORMATS[part.format], table.columns),
                    _own_cost(FORMATS[part.format], table.columns),
                    f"{_EXPORT} = '{part.export}'",
                ),
                dialect,
            )
            for part, table in counted
        },
    )


def counted_twice_sql(view: str, dialect: Dialect) -> str:
    """Return the query of the payers and months that several exports count in ``view``."""
    sql = f"""
        SELECT billingaccountid, {_PERIOD}, min({_EXPORT}) AS first_export, max({_EXPORT}) AS last_export
        FROM {view} WHERE coalesce(billingaccountid, '') <> ''
        GROUP BY 1, 2 HAVING count(DISTINCT {_EXPORT}) > 1 ORDER BY 2, 1
    """  # noqa: S608 -- the view is quoted, the rest is ours
    return in_dialect(sql, dialect)


def _own_currency(format_: Format, columns: Collection[str]) -> str:
    own = format_.roles.currency
    return own if own in columns and own else "CAST(NULL AS VARCHAR)"


def _own_cost(format_: Format, columns: Collection[str]) -> str:
    """Return the cost that is on the invoice; a table cannot lack it."""
    return next((one for one in format_.headline_costs if one in columns), "NULL")


def _totals(table: str, currency: str, cost: str, where: str) -> str:
    return (
        f"SELECT {_EXPORT}, {_PERIOD}, nullif({currency}, '') AS currency, "  # noqa: S608 -- as above
        f"sum(CAST({cost} AS DECIMAL(38, 18))) AS cost, count(*) AS line_items "
        f"FROM {table} WHERE {where} GROUP BY 1, 2, 3"
    )
