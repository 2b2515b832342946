"""From the SQL that people and named queries write, DuckDB's, to what Athena runs: Trino's.

sqlglot knows both grammars; what it leaves to us is what only the lake knows (which table is where, which columns it
has) and where the two engines give the same words another meaning. Those are rewritten to mean what they mean on the
laptop, or refused: a query that runs and answers something else is worse than one that does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import ErrorLevel, exp, parse
from sqlglot.errors import OptimizeError, ParseError, UnsupportedError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from billing_lake.commands.athena_clauses import (
    distinct_on_to_qualify,
    expand_all,
    filter_by_qualify,
    outermost,
)
from billing_lake.commands.athena_meaning import keep_meaning
from billing_lake.domain.errors import QueryError, shown
from billing_lake.sql.tables import CATALOGS, DEFAULT_CATALOG

HINT = "`billing-lake query --deployment aws --list` lists the tables"

_DUCKDB = "duckdb"
_ATHENA = "athena"
_ONE = "`query` takes one SELECT statement and only reads"
_TABLE_FUNCTIONS = (exp.GenerateSeries, exp.Unnest)
_WRITES = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.Lock, exp.Set, exp.Pragma)
_UNTRANSLATABLE = {
    exp.Pivot: "PIVOT",
    exp.TableSample: "SAMPLE",
    exp.Columns: "COLUMNS(…)",
    exp.Parameter: "a parameter",
    exp.Placeholder: "a parameter",
}

# The library tells of statements that it cannot read on the log; they are refused here, with a reason.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class Translated:
    """A query for Athena.

    Attributes:
        sql: The query.
        describes: Whether its columns are the answer, and it has no rows.
    """

    sql: str
    describes: bool


@dataclass(frozen=True)
class Name:
    """A table as a query names it.

    Attributes:
        catalog: One of `CATALOGS`.
        namespace: Its namespace.
        table: Its name.
    """

    catalog: str
    namespace: str
    table: str


Columns = Callable[[Name], Mapping[str, str] | None]
"""Gives the columns of a table and their types in SQL; None for a table that the lake does not know."""

Locate = Callable[[Name], tuple[str, str]]
"""Gives Athena's catalog and database of a table."""


def translate(sql: str, columns: Columns, locate: Locate) -> Translated:
    """Translate one query.

    Args:
        sql: One SELECT, or DESCRIBE of a table or a SELECT, in DuckDB's dialect.
        columns: Tells what a table has.
        locate: Tells where Athena has it.

    Raises:
        QueryError: It is none of these, or has no equal in Athena.
    """
    query, describes = _parsed(sql)
    known: dict[str, Any] = {}
    for name in _tables(query):
        found = columns(name)
        if found is not None:
            known.setdefault(name.catalog, {}).setdefault(name.namespace, {})[name.table] = found
    try:
        labels = _name_columns(query)
        distinct_on_to_qualify(query)
        query = qualify(
            query,
            dialect=_DUCKDB,
            catalog=DEFAULT_CATALOG,
            schema=known,
            validate_qualify_columns=False,
        )
        query = annotate_types(query, schema=known, dialect=_DUCKDB)
        query = keep_meaning(query)
        expand_all(query)
        query = filter_by_qualify(query)
        _label(query, labels)
        _move(query, locate)
        if describes:
            query = exp.select("*").from_(query.subquery("described")).limit(0)
        text = query.sql(_ATHENA, identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    except (OptimizeError, UnsupportedError) as error:
        what = f"Athena has no equal of this query: {_plain(error)}"
        raise QueryError(what, remedy="Write it in SQL that both know") from error
    return Translated(sql=text, describes=describes)


def _parsed(sql: str) -> tuple[exp.Query, bool]:
    """Return the one query in ``sql`` and whether it is only to be described."""
    try:
        trees = [tree for tree in parse(sql, dialect=_DUCKDB) if tree is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        place = f" at line {first['line']}, column {first['col']}" if first.get("line") else ""
        what = f"Parser Error: {_plain(first.get('description') or error)}{place}"
        raise QueryError(what, remedy="Write it as for DuckDB; it is translated") from error
    if len(trees) != 1:
        raise QueryError(_ONE, remedy=HINT)
    tree = trees[0]
    describes = isinstance(tree, exp.Describe)
    if describes:
        tree = tree.this
        if isinstance(tree, exp.Table):
            tree = exp.select("*").from_(tree)
    if not isinstance(tree, exp.Query) or isinstance(tree, exp.Table):
        raise QueryError(_ONE, remedy=HINT)
    if any(isinstance(node, _WRITES) for node in tree.walk()):
        raise QueryError(_ONE, remedy=HINT)
    if any(node.args.get("by_name") for node in tree.find_all(exp.SetOperation)):
        raise QueryError("Athena has no equal of UNION BY NAME", remedy="Name the columns")
    for kind, words in _UNTRANSLATABLE.items():
        if tree.find(kind) is not None:
            what = f"Athena has no equal of {words}"
            raise QueryError(what, remedy="Write it in SQL that both know")
    return tree, describes


def _tables(query: exp.Query) -> set[Name]:
    """Return the tables that the query reads; names of its own subqueries are none."""
    found = set()
    for scope in traverse_scope(query):
        for table in scope.tables:
            if isinstance(table.this, exp.Func):
                _check_function(table.this)
            elif table.db or scope.sources.get(table.alias_or_name) is table:
                found.add(_name(table))
    return found


def _check_function(function: exp.Func) -> None:
    if not isinstance(function, _TABLE_FUNCTIONS):
        name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
        what = f"`query` reads the lake's tables only; it does not call {shown(name.lower())}"
        raise QueryError(what, remedy=HINT)


def _name(table: exp.Table) -> Name:
    catalog = table.catalog.lower() or DEFAULT_CATALOG
    if not table.db or len(table.parts) > len(Name.__dataclass_fields__):
        what = f"There is no table {shown(table.sql(_DUCKDB))}"
        raise QueryError(what, remedy=f"Write <namespace>.<table>. {HINT}")
    if catalog not in CATALOGS:
        what = f"There is no catalog {shown(catalog)}"
        raise QueryError(what, remedy=f"Catalogs: {', '.join(CATALOGS)}. {HINT}")
    return Name(catalog, table.db.lower(), table.name.lower())


def _name_columns(query: exp.Query) -> Sequence[str]:
    """Name result columns as DuckDB does where the query does not, by the expression; return all names, or none for a star.

    The library writes every name in small letters on its way, and people read them.
    """
    select = outermost(query)
    if select is None or select.is_star:
        return ()
    for column in list(select.expressions):
        if not isinstance(column, exp.Alias | exp.Column):
            text = column.sql(_DUCKDB, normalize_functions="lower", comments=False)
            name = "count_star()" if text == "count(*)" else text
            column.replace(exp.alias_(column.copy(), name, quoted=True))
    return [column.alias_or_name for column in select.expressions]


def _label(query: exp.Query, labels: Sequence[str]) -> None:
    """Give result columns their names back."""
    select = outermost(query)
    if select is not None and len(labels) == len(select.expressions):
        for column, label in zip(select.expressions, labels, strict=True):
            column.set("alias", exp.to_identifier(label, quoted=True))


def _move(query: exp.Query, locate: Locate) -> None:
    """Give every table the name that Athena knows it by."""
    for table in query.find_all(exp.Table):
        if table.db:
            catalog, database = locate(_name(table))
            table.set("catalog", exp.to_identifier(catalog, quoted=True))
            table.set("db", exp.to_identifier(database, quoted=True))
    for column in query.find_all(exp.Column):
        # Every table has an alias by now; a longer name would mean nothing.
        column.set("db", None)
        column.set("catalog", None)


def _plain(error: object) -> str:
    """Return what the library says, without the codes by which it marks a place on a terminal."""
    return shown(str(error).replace("\x1b[4m", "").replace("\x1b[0m", ""), 400)
