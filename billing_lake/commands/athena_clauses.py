"""Clauses of DuckDB that Trino lacks, in the tree of a query: GROUP BY ALL, ORDER BY ALL, DISTINCT ON, and QUALIFY in company.

sqlglot has ways of its own for the last two, which leave in a subquery what belongs after it: a LIMIT would cut rows before
they are chosen, and an ORDER BY in there orders nothing.
"""

from __future__ import annotations

from sqlglot import exp

from billing_lake.domain.errors import QueryError

_AFTER = ("distinct", "order", "limit", "offset")
"""What applies to the rows that QUALIFY lets pass."""

_QUALIFIED = "qualified"
_KEPT = "qualified_row"


def outermost(query: exp.Expr | None) -> exp.Select | None:
    """Return the SELECT that names the result's columns."""
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    return query if isinstance(query, exp.Select) else None


def distinct_on_to_qualify(query: exp.Query) -> None:
    """Write DISTINCT ON as the first row of each group; before names are resolved, as it may use those of columns.

    Raises:
        QueryError: It stands beside something that makes this another question.
    """
    for select in query.find_all(exp.Select):
        distinct = select.args.get("distinct")
        on = distinct.args.get("on") if distinct is not None else None
        if on is None:
            continue
        order = select.args.get("order")
        keys = [*on.expressions, *(one.this for one in (order.expressions if order else ()))]
        if select.args.get("qualify") or any(isinstance(k, exp.Literal | exp.Var) for k in keys):
            what = "Athena has no equal of DISTINCT ON with QUALIFY, positions or ALL"
            raise QueryError(what, remedy="Name the columns, or use QUALIFY row_number() alone")
        first = exp.Window(
            this=exp.RowNumber(),
            partition_by=[key.copy() for key in on.expressions],
            order=order.copy() if order else None,
        )
        select.set("distinct", None)
        select.set("qualify", exp.Qualify(this=exp.EQ(this=first, expression=_number(1))))


def expand_all(query: exp.Query) -> None:
    """Write out GROUP BY ALL and ORDER BY ALL by position.

    Raises:
        QueryError: Not all columns are known.
    """
    for select in query.find_all(exp.Select):
        group = select.args.get("group")
        if group is not None and group.args.get("all"):
            _require_columns(select, "GROUP BY ALL")
            positions = [
                _number(number)
                for number, column in enumerate(select.expressions, start=1)
                if not _aggregates(column)
            ]
            select.set("group", exp.Group(expressions=positions) if positions else None)
    for order in list(query.find_all(exp.Order)):
        names = [one.name.upper() for one in order.expressions if isinstance(one.this, exp.Var)]
        if names == ["ALL"]:
            _order_by_all(order)


def filter_by_qualify(query: exp.Query) -> exp.Query:
    """Return the query with QUALIFY written as WHERE around a subquery; names are resolved by now.

    Raises:
        QueryError: It is ordered by what it does not select, or the columns are not known.
    """
    for select in list(query.find_all(exp.Select)):
        condition = select.args.get("qualify")
        if condition is None:
            continue
        _require_columns(select, "QUALIFY")
        names = [column.alias_or_name for column in select.expressions]
        if len(set(names)) < len(names):
            raise QueryError("QUALIFY needs columns of different names in Athena")
        order = select.args.get("order")
        for one in order.expressions if order else ():
            one.set("this", _number(_position(one.this, select)))
        columns = [
            exp.alias_(exp.column(name, _QUALIFIED, quoted=True), name, quoted=True)
            for name in names
        ]
        after = {key: select.args.get(key) for key in _AFTER}
        inner = select.copy()
        for key in ("qualify", *_AFTER):
            inner.set(key, None)
        inner.append("expressions", exp.alias_(condition.this.copy(), _KEPT, quoted=True))
        outer = exp.select(*columns).from_(inner.subquery(_QUALIFIED))
        outer = outer.where(exp.column(_KEPT, _QUALIFIED, quoted=True))
        for key, value in after.items():
            outer.set(key, value)
        if select is query:
            query = outer
        else:
            select.replace(outer)
    return query


def _position(ordered: exp.Expr, select: exp.Select) -> int:
    """Return the place of the column that rows are ordered by."""
    if isinstance(ordered, exp.Literal) and not ordered.is_string:
        return int(ordered.name)
    for number, column in enumerate(select.expressions, start=1):
        is_name = isinstance(ordered, exp.Column) and not ordered.table
        if (is_name and ordered.name == column.alias_or_name) or ordered == column.unalias():
            return number
    what = "With QUALIFY, Athena orders by columns of the result only"
    raise QueryError(what, remedy="Select what you order by")


def _order_by_all(order: exp.Order) -> None:
    ordered = order.expressions[0]
    select = outermost(order.parent)
    if select is None:
        raise QueryError("Athena has no ORDER BY ALL here", remedy="Name the columns")
    _require_columns(select, "ORDER BY ALL")
    positions = []
    for number in range(1, len(select.expressions) + 1):
        position = ordered.copy()
        position.set("this", _number(number))
        positions.append(position)
    order.set("expressions", positions)


def _require_columns(select: exp.Select, words: str) -> None:
    if any(column.is_star for column in select.expressions):
        what = f"{words} needs to know the columns, and the lake does not know them all"
        raise QueryError(what, remedy="Name the columns in place of *")


def _aggregates(column: exp.Expr) -> bool:
    """Say whether the column is made of many rows, by itself and not in a query within it."""
    found = column.find_all(exp.AggFunc, exp.Window)
    return any(node.find_ancestor(exp.Query) is column.find_ancestor(exp.Query) for node in found)


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)
