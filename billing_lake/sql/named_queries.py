"""Queries that finance asks every month, as SQL over one table of the lake.

Every cost stays an exact decimal, and currencies are never added up. They are written in what DuckDB and Trino have in common;
for Athena, sqlglot writes them in Trino's way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from textwrap import dedent

from billing_lake.domain.errors import QueryError
from billing_lake.formats.legacy_cur import costs
from billing_lake.sql.tables import Dialect

UNBLENDED = costs.UNBLENDED
CURRENCY = "line_item_currency_code"
USAGE_START = "line_item_usage_start_date"

_TYPE = "line_item_line_item_type"
_PRODUCT = "line_item_product_code"
_TAGGABLE = ("Usage", "DiscountedUsage", "SavingsPlanCoveredUsage")
_USER_TAG = "resource_tags_user_"
_TAG_MAP = "resource_tags"
_ACCOUNT = "line_item_usage_account_id"
_SERVICE = ("product_servicecode", _PRODUCT, "product_product_name")
_PRODUCT_MAP = "product"


@dataclass(frozen=True, kw_only=True)
class QueryTarget:
    """The table, and the billing period, that a named query reads.

    Attributes:
        table: The table, as SQL writes it.
        columns: Names of its columns.
        period: The billing period that counts; all of them where it is None.
    """

    table: str
    columns: Collection[str]
    period: str | None = None

    @property
    def name(self) -> str:
        """The table, as people write it."""
        return self.table.replace('"', "")

    def has(self, *columns: str) -> bool:
        """Say whether the table has all of ``columns``."""
        return all(column in self.columns for column in columns)

    def require(self, *columns: str) -> None:
        """Refuse to answer for a table that lacks one of ``columns``.

        Raises:
            QueryError: It does.
        """
        for column in columns:
            if not self.has(column):
                what = f"The query needs a column that {self.name} has not"
                remedy = "Have the export deliver the column, or write the SQL for the columns that there are; --sql shows it"
                raise QueryError(what, column=column, remedy=remedy)

    def text(self, column: str) -> str:
        """Return the column, or NULL where the table lacks it."""
        return column if self.has(column) else "CAST(NULL AS VARCHAR)"

    def amount(self, column: str) -> str:
        """Return the column with 0 for NULL, or 0 where the table lacks it."""
        return f"coalesce({column}, 0)" if self.has(column) else "CAST(0 AS DECIMAL(38, 18))"

    @property
    def where(self) -> str:
        """The condition on the billing period."""
        return "true" if self.period is None else f"billing_period = '{self.period}'"


@dataclass(frozen=True)
class NamedQuery:
    """A query by name."""

    description: str
    sql: Callable[[QueryTarget], str]


def service(target: QueryTarget) -> str:
    """Return the expression of a line's service: the product's name on the marketplace, else its service code."""
    if not any(map(target.has, _SERVICE)):
        target.require(*_SERVICE)
    code = ", ".join(
        f"nullif({target.text(column)}, '')" for column in ("product_servicecode", _PRODUCT)
    )
    in_map = target.has(_PRODUCT_MAP) and not target.has("product_product_name")
    text = f"{_PRODUCT_MAP}['product_name']" if in_map else target.text("product_product_name")
    name = f"nullif({text}, '')"
    marketplace = f"{target.text('bill_billing_entity')} = 'AWS Marketplace'"
    return (
        f"CASE WHEN {marketplace} THEN coalesce({name}, {code}) ELSE coalesce({code}, {name}) END"
    )


def untagged(target: QueryTarget) -> str:
    """Return the condition of a line that carries none of the user's tags.

    Raises:
        QueryError: The table has no column for tags, which says nothing about whether there are tags.
    """
    tags = sorted(column for column in target.columns if column.startswith(_USER_TAG))
    if tags:
        return " AND ".join(f"""coalesce("{tag}", '') = ''""" for tag in tags)
    if target.has(_TAG_MAP):
        users = f"list_filter(map_keys({_TAG_MAP}), tag -> starts_with(tag, 'user_'))"
        return f"coalesce(array_length({users}), 0) = 0"
    what = f"The query needs a column for each of your tags, and {target.name} has none"
    remedy = (
        "Activate your cost allocation tags in the billing console and have the export include resource tags; "
        "months that are delivered afterwards have them"
    )
    raise QueryError(what, column=f"{_USER_TAG}…", remedy=remedy)


def _account(target: QueryTarget) -> str:
    target.require(_ACCOUNT)
    return _ACCOUNT


def _day(target: QueryTarget) -> str:
    target.require(USAGE_START)
    return f"CAST({USAGE_START} AS DATE)"


def _by(
    heading: str, grouped: Callable[[QueryTarget], str], order: str
) -> Callable[[QueryTarget], str]:
    def sql(target: QueryTarget) -> str:
        target.require(UNBLENDED, CURRENCY)
        return f"""
            SELECT {grouped(target)} AS {heading}, {CURRENCY} AS currency,
                sum({target.amount(UNBLENDED)}) AS unblended_cost,
                sum({costs.amortised_cost(target.columns)}) AS amortised_cost,
                count(*) AS line_items
            FROM {target.table} WHERE {target.where} GROUP BY 1, 2 ORDER BY {order}
        """  # noqa: S608 -- the table is quoted, the period checked, the rest is ours

    return sql


def _untagged_by_service(target: QueryTarget) -> str:
    target.require(UNBLENDED, CURRENCY, _TYPE)
    kinds = ", ".join(f"'{kind}'" for kind in _TAGGABLE)
    usage = f"{_TYPE} IN ({kinds})"
    percent = "100 * CAST(untagged_cost AS DOUBLE) / nullif(CAST(cost AS DOUBLE), 0)"
    return f"""
        SELECT service, currency, untagged_cost, cost,
            CAST(round({percent}, 1) AS DECIMAL(9, 1)) AS untagged_percent
        FROM (
            SELECT service, currency,
                coalesce(sum(cost) FILTER (WHERE untagged), 0) AS untagged_cost, sum(cost) AS cost
            FROM (
                SELECT {service(target)} AS service, {CURRENCY} AS currency,
                    {costs.amortised_cost(target.columns)} AS cost, {untagged(target)} AS untagged
                FROM {target.table} WHERE {target.where} AND {usage}
            ) AS lines
            GROUP BY service, currency
        ) AS totals
        ORDER BY untagged_cost DESC, service
    """  # noqa: S608 -- as above


def written(named: str, target: QueryTarget, dialect: Dialect) -> str:
    """Return the SQL of the query ``named`` in a dialect.

    Raises:
        QueryError: The table lacks a column that the query needs.
    """
    return in_dialect(NAMED_QUERIES[named].sql(target), dialect)


def in_dialect(sql: str, dialect: Dialect) -> str:
    """Return SQL of DuckDB in ``dialect``."""
    sql = dedent(sql).strip()
    if dialect == "duckdb":
        return sql
    from sqlglot import exp, parse_one

    tree = parse_one(sql, read="duckdb")
    for value in tree.find_all(exp.Bracket):
        # A key that a map lacks is NULL in DuckDB, and an error in Trino unless it is asked for so.
        value.set("safe", True)  # noqa: FBT003 -- its own way
    return tree.sql(dialect, pretty=True)


NAMED_QUERIES = {
    "cost-by-service": NamedQuery(
        "Unblended and amortised cost of each service",
        _by("service", service, "unblended_cost DESC, service"),
    ),
    "cost-by-account": NamedQuery(
        "Unblended and amortised cost of each account",
        _by(
            "account",
            _account,
            "unblended_cost DESC, account",
        ),
    ),
    "cost-by-day": NamedQuery(
        "Unblended and amortised cost of each day (UTC)",
        _by("day", _day, "day, currency"),
    ),
    "untagged": NamedQuery(
        "Amortised cost of usage that carries none of your tags, by service",
        _untagged_by_service,
    ),
}
"""The named queries."""
