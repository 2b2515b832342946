"""Words that DuckDB and Athena both know and do not mean alike, in the tree of a query.

Each case here is one where Athena would answer, and otherwise: a quotient of whole numbers cut off, NULL for an empty text, a
week that begins on another day. What Athena refuses by itself needs nothing: its message says so.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from sqlglot import exp

from billing_lake.domain.errors import QueryError

_FRACTION = re.compile(r"\.\d+")
_ZONE_OF_HOURS = re.compile(r":\d\d(?:\.\d+)?[+-]\d\d$")
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_TYPES = {
    exp.DType.INT128: "DECIMAL(38, 0)",
    exp.DType.UBIGINT: "DECIMAL(20, 0)",
    exp.DType.UINT: "BIGINT",
    exp.DType.USMALLINT: "INTEGER",
    exp.DType.UTINYINT: "SMALLINT",
}
"""Types that Athena lacks, and the smallest that hold their values."""

_REFUSED = {
    exp.Greatest: "greatest skips NULLs in DuckDB and returns NULL in Athena: use CASE",
    exp.Least: "least skips NULLs in DuckDB and returns NULL in Athena: use CASE",
    exp.Format: "format has placeholders of another kind in Athena: use ||",
    exp.Median: "it has no exact median, and approximates approx_quantile(x, 0.5)",
    exp.PercentileCont: "it has no exact quantiles, and approximates approx_quantile(x, 0.9)",
    exp.PercentileDisc: "it has no exact quantiles, and approximates approx_quantile(x, 0.9)",
    exp.Quantile: "it has no exact quantiles, and approximates approx_quantile(x, 0.9)",
    exp.Repeat: "repeat makes an array in Athena: use rpad",
}


def keep_meaning(query: exp.Query) -> exp.Query:
    """Return the query, of which the types are known, so that Athena answers as DuckDB does.

    Raises:
        QueryError: It calls a function that cannot be made to.
    """
    for kind, reason in _REFUSED.items():
        if query.find(kind) is not None:
            raise QueryError(f"Athena would answer otherwise: {reason}")
    # From the inside out: what is rewritten takes copies of what stands in it.
    for node in reversed(list(query.walk(bfs=False))):
        _keep(node)
    return query


def _keep(node: exp.Expr) -> None:
    if isinstance(node, exp.Div):
        _divide_doubles(node)
    elif isinstance(node, exp.Avg):
        for value in node.this.expressions if isinstance(node.this, exp.Distinct) else [node.this]:
            value.replace(_double(value))
    elif isinstance(node, _COMPARISONS):
        _compare(node.left, node.right)
        _compare(node.right, node.left)
    elif isinstance(node, exp.Between):
        _compare(node.this, node.args["low"])
        _compare(node.this, node.args["high"])
    elif isinstance(node, exp.In):
        for value in node.expressions:
            _compare(node.this, value)
    elif isinstance(node, exp.DataType) and node.this in _TYPES:
        node.replace(exp.DataType.build(_TYPES[node.this]))
    else:
        _keep_function(node)


def _keep_function(node: exp.Expr) -> None:
    if isinstance(node, exp.IgnoreNulls) and isinstance(node.this, exp.AnyValue):
        node.replace(node.this)  # it ignores them anyway, and outside a window may not say so
    elif isinstance(node, exp.Count) and node.this is None and not node.expressions:
        node.set("this", exp.Star())
    elif isinstance(node, exp.GroupConcat) and not isinstance(node.this, exp.Order):
        # Athena wants to be told an order; DuckDB takes any.
        value = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        ordered = [exp.Ordered(this=value.copy())]
        node.this.replace(exp.Order(this=node.this.copy(), expressions=ordered))
    elif isinstance(node, exp.DayOfWeek):
        # Sunday is 0; for Athena it is the seventh day.
        node.replace(exp.Mod(this=exp.DayOfWeekIso(this=node.this), expression=_number(7)))
    elif isinstance(node, exp.RegexpExtract | exp.SplitPart):
        _empty_for_null(node)


def _divide_doubles(node: exp.Div) -> None:
    """Divide as DuckDB does: a quotient is a double, whatever is divided."""
    node.left.replace(_double(node.left))
    node.args.update(typed=True, safe=False)


def _compare(moment: exp.Expr, text: exp.Expr) -> None:
    """Compare a date or a moment with a moment: Athena does not read the text that it is compared with."""
    if not text.is_string or not moment.is_type(*exp.DataType.TEMPORAL_TYPES):
        return
    try:
        read = _moment(text.name.strip())
    except ValueError:
        return
    if read.tzinfo is not None:
        read = read.astimezone(timezone.utc).replace(tzinfo=None)
    if moment.is_type(exp.DType.DATE):
        text.replace(exp.cast(exp.Literal.string(read.date().isoformat()), "DATE"))
    else:
        written = read.isoformat(
            sep=" ", timespec="microseconds" if read.microsecond else "seconds"
        )
        text.replace(exp.cast(exp.Literal.string(written), "TIMESTAMP"))


def _moment(text: str) -> datetime:
    """Read a moment in the spellings that Python reads from 3.11 on; 3.10 wants six decimals and minutes of the zone."""
    text = _FRACTION.sub(lambda found: found[0][:7].ljust(7, "0"), text.replace("Z", "+00:00"))
    return datetime.fromisoformat(_ZONE_OF_HOURS.sub(r"\g<0>:00", text))


def _empty_for_null(node: exp.Expr) -> None:
    """Return the empty text where nothing is found, as DuckDB does, and NULL for NULL alone."""
    found = node.copy()
    case = exp.case().when(
        found.this.copy().is_(exp.null()).not_(),
        exp.func("COALESCE", found, exp.Literal.string("")),
    )
    node.replace(case)


def _double(node: exp.Expr) -> exp.Expr:
    return exp.cast(node.copy(), "DOUBLE")


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)
