"""Queries that finance asks every month, as SQL over one table of the lake: an export's, of any format, or the view `all_costs`.

A query is written by roles: `_Cur` and `_Focus` say which columns a table has for them. Every cost stays an exact decimal, and currencies are never added up. They are written in what DuckDB and Trino have in common;
for Athena, sqlglot writes them in Trino's way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from textwrap import dedent
from typing import Protocol

from billing_lake.domain.errors import QueryError
from billing_lake.formats.base import Format
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.legacy_cur import costs
from billing_lake.sql.tables import ALL_COSTS, Dialect

UNBLENDED = costs.UNBLENDED
CURRENCY = "line_item_currency_code"
USAGE_START = "line_item_usage_start_date"

_CUR_COLUMNS = ("line_item_", "bill_")
_TYPE = "line_item_line_item_type"
_PRODUCT = "line_item_product_code"
_TAGGABLE = ("Usage", "DiscountedUsage", "SavingsPlanCoveredUsage")
_USER_TAG = "resource_tags_user_"
_ACCOUNT = "line_item_usage_account_id"
_SERVICE = ("product_servicecode", _PRODUCT, "product_product_name")
_PRODUCT_MAP = "product"

_BILLED = "billedcost"
_EFFECTIVE = "effectivecost"


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
                what = f"The query needs a column that {self.name} does not have"
                remedy = "Have the export deliver the column, or write the SQL for the columns that there are; --sql shows it"
                raise QueryError(what, column=column, remedy=remedy)

    def needed(self, column: str) -> str:
        """Return the column; see `require`."""
        self.require(column)
        return column

    def text(self, column: str) -> str:
        """Return the column, or NULL where the table lacks it."""
        return column if self.has(column) else "CAST(NULL AS VARCHAR)"

    @property
    def is_all_costs(self) -> bool:
        """Whether it is the view of all exports."""
        return self.name.rpartition(".")[2] == ALL_COSTS

    @property
    def where(self) -> str:
        """The condition on the billing period."""
        return "true" if self.period is None else f"billing_period = '{self.period}'"


class _Lines(Protocol):
    """The lines of a table by roles, each an expression of SQL; `QueryError` where the table has no column for one."""

    @property
    def currency(self) -> str:
        """The currency of the costs."""

    @property
    def service(self) -> str:
        """The service."""

    @property
    def account(self) -> str:
        """The account that used it."""

    @property
    def start(self) -> str:
        """The moment at which the usage began."""

    @property
    def costs(self) -> dict[str, str]:
        """The cost on the invoice, and the one that spreads commitments over what they cover, by their names."""

    @property
    def is_taggable(self) -> str:
        """The condition of usage that tags belong to."""

    @property
    def is_untagged(self) -> str:
        """The condition of a line that carries none of the user's tags."""


@dataclass(frozen=True)
class _Cur:
    """The lines of a legacy CUR or a CUR 2.0."""

    target: QueryTarget

    @property
    def currency(self) -> str:
        return self.target.needed(CURRENCY)

    @property
    def service(self) -> str:
        """The product's name on the marketplace, else its service code."""
        target = self.target
        if not any(map(target.has, _SERVICE)):
            target.require(*_SERVICE)
        code = ", ".join(
            f"nullif({target.text(column)}, '')" for column in ("product_servicecode", _PRODUCT)
        )
        in_map = target.has(_PRODUCT_MAP) and not target.has("product_product_name")
        text = f"{_PRODUCT_MAP}['product_name']" if in_map else target.text("product_product_name")
        name = f"nullif({text}, '')"
        marketplace = f"{target.text('bill_billing_entity')} = 'AWS Marketplace'"
        return f"CASE WHEN {marketplace} THEN coalesce({name}, {code}) ELSE coalesce({code}, {name}) END"

    @property
    def account(self) -> str:
        return self.target.needed(_ACCOUNT)

    @property
    def start(self) -> str:
        return self.target.needed(USAGE_START)

    @property
    def costs(self) -> dict[str, str]:
        return {
            "unblended_cost": f"coalesce({self.target.needed(UNBLENDED)}, 0)",
            "amortised_cost": costs.amortised_cost(self.target.columns),
        }

    @property
    def is_taggable(self) -> str:
        return _is_one_of(self.target.needed(_TYPE), _TAGGABLE)

    @property
    def is_untagged(self) -> str:
        tags = sorted(column for column in self.target.columns if column.startswith(_USER_TAG))
        has_none = [f"""coalesce("{tag}", '') = ''""" for tag in tags]
        # A column that was made of a key of the map is one tag of many.
        if in_map := _no_tag_in_map(self.target, CUR2):
            has_none.append(in_map)
        if has_none:
            return " AND ".join(has_none)
        remedy = (
            "Activate your cost allocation tags in the billing console and have the export include resource tags; "
            "months that are delivered afterwards have them"
        )
        raise _no_tags(self.target, f"{_USER_TAG}…", remedy)


@dataclass(frozen=True)
class _Focus:
    """The lines of a FOCUS table, or of the view `all_costs`, whose columns have the names of FOCUS."""

    target: QueryTarget

    @property
    def currency(self) -> str:
        return self._role(FOCUS.roles.currency)

    @property
    def service(self) -> str:
        return self._role(FOCUS.roles.service)

    @property
    def account(self) -> str:
        return self._role(FOCUS.roles.account)

    @property
    def start(self) -> str:
        return self._role(FOCUS.roles.usage_start)

    @property
    def costs(self) -> dict[str, str]:
        names, needed = FOCUS.headline_costs, self.target.needed
        return {
            names[_BILLED]: f"coalesce({needed(_BILLED)}, 0)",
            # One that is not stated, as in months from before the export had the column, is the billed one.
            names[_EFFECTIVE]: f"coalesce({needed(_EFFECTIVE)}, {_BILLED}, 0)",
        }

    @property
    def is_taggable(self) -> str:
        return _is_one_of(self._role(FOCUS.roles.charge_type), sorted(FOCUS.charges.taggable))

    @property
    def is_untagged(self) -> str:
        if self.target.is_all_costs:
            what = "The query is for the table of an export: the view all_costs has no tags"
            remedy = (
                "Name the table of an export with --table; `billing-lake query --list` shows them"
            )
            raise QueryError(what, remedy=remedy)
        if has_none := _no_tag_in_map(self.target, FOCUS):
            return has_none
        remedy = (
            "Have the export deliver the column Tags; months that are delivered afterwards have it"
        )
        raise _no_tags(self.target, ", ".join(FOCUS.tag_maps), remedy)

    def _role(self, column: str | None) -> str:
        return self.target.needed(column or "")


def _lines(target: QueryTarget) -> _Lines:
    """Return what the lines of a table mean, as its columns tell.

    Raises:
        QueryError: They are no lines of a bill.
    """
    if any(column.startswith(_CUR_COLUMNS) for column in target.columns):
        return _Cur(target)
    if target.has(_BILLED):
        return _Focus(target)
    what = f"The named queries are for the tables of exports and for all_costs; {target.name} is neither"
    remedy = "Choose one with --table (`billing-lake query --list` shows them), or write the SQL"
    raise QueryError(what, remedy=remedy)


def _is_one_of(column: str, kinds: Collection[str]) -> str:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    return f"{column} IN ({listed})"


def _no_tag_in_map(target: QueryTarget, format_: Format) -> str:
    """Return the condition of a line without a tag of the user's own in the table's first map of tags; empty where it has no map."""
    for name, keys in format_.tag_maps.items():
        if not target.has(name):
            continue
        counts = [f"starts_with(tag, '{keys.begin}')"] if keys.begin else []
        counts += [f"NOT starts_with(tag, '{one}')" for one in keys.excepted]
        counts.append(f"coalesce({name}[tag], '') <> ''")
        keys_that_count = f"list_filter(map_keys({name}), tag -> {' AND '.join(counts)})"
        return f"coalesce(array_length({keys_that_count}), 0) = 0"
    return ""


def _no_tags(target: QueryTarget, column: str, remedy: str) -> QueryError:
    """Return the error of a table that has no column for tags, which says nothing about whether there are tags."""
    what = f"The query needs a column for your tags, and {target.name} has none"
    return QueryError(what, column=column, remedy=remedy)


@dataclass(frozen=True)
class NamedQuery:
    """A query by name.

    Attributes:
        description: What it answers.
        of: The tables that it is for.
        sql: Writes it for one of them.
    """

    description: str
    of: str
    sql: Callable[[QueryTarget], str]


def _by(
    heading: str, grouped: Callable[[_Lines], str], order: str | None = None
) -> Callable[[QueryTarget], str]:
    """Return what writes the query of the costs by one thing; the highest come first unless ``order`` is given."""

    def sql(target: QueryTarget) -> str:
        lines = _lines(target)
        sums = "".join(
            f"""
                sum({cost}) AS {name},"""
            for name, cost in lines.costs.items()
        )
        first = next(iter(lines.costs))
        return f"""
            SELECT {grouped(lines)} AS {heading}, {lines.currency} AS currency,{sums}
                count(*) AS line_items
            FROM {target.table} WHERE {target.where} GROUP BY 1, 2 ORDER BY {order or f"{first} DESC, {heading}"}
        """  # noqa: S608 -- the table is quoted, the period checked, the rest is ours

    return sql


def _untagged_by_service(target: QueryTarget) -> str:
    lines = _lines(target)
    *_, spread = lines.costs.values()
    percent = "100 * CAST(untagged_cost AS DOUBLE) / nullif(CAST(cost AS DOUBLE), 0)"
    return f"""
        SELECT service, currency, untagged_cost, cost,
            CAST(round({percent}, 1) AS DECIMAL(9, 1)) AS untagged_percent
        FROM (
            SELECT service, currency,
                coalesce(sum(cost) FILTER (WHERE untagged), 0) AS untagged_cost, sum(cost) AS cost
            FROM (
                SELECT {lines.service} AS service, {lines.currency} AS currency,
                    {spread} AS cost, {lines.is_untagged} AS untagged
                FROM {target.table} WHERE {target.where} AND {lines.is_taggable}
            ) AS lines
            GROUP BY service, currency
        ) AS totals
        ORDER BY untagged_cost DESC, service
    """  # noqa: S608 -- as above


def write_sql(named: str, target: QueryTarget, dialect: Dialect) -> str:
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


_EXPORTS = "tables of exports"
_ALL = f"{_EXPORTS}, all_costs"

NAMED_QUERIES = {
    "cost-by-service": NamedQuery(
        "Costs of each service", _ALL, _by("service", lambda one: one.service)
    ),
    "cost-by-account": NamedQuery(
        "Costs of each account", _ALL, _by("account", lambda one: one.account)
    ),
    "cost-by-day": NamedQuery(
        "Costs of each day (UTC)",
        _ALL,
        _by("day", lambda one: f"CAST({one.start} AS DATE)", "day, currency"),
    ),
    "untagged": NamedQuery(
        "Cost of usage that carries none of your tags, by service", _EXPORTS, _untagged_by_service
    ),
}
"""The named queries."""
