"""What is sent to Athena, where an engine that stands for it is too lenient to notice a difference.

When these were written, Trino 400 itself ran each of them on the same rows as DuckDB, and gave the same answers.
"""

from __future__ import annotations

import re

import pytest

from billing_lake.commands.athena_dialect import Name, translate
from billing_lake.domain.errors import QueryError

COLUMNS = {
    "a": "VARCHAR",
    "b": "VARCHAR",
    "cost": "DECIMAL(38,18)",
    "day": "DATE",
    "n": "BIGINT",
    "ts": "TIMESTAMPTZ",
}


def sent(sql: str) -> str:
    """The query for Athena, without the quotes and without the name of its only table."""

    def columns(name: Name) -> dict[str, str] | None:
        return COLUMNS if name.table == "t" else None

    text = translate(sql, columns, lambda name: ("AwsDataCatalog", name.namespace)).sql
    plain = re.sub(r'"([a-z_]\w*)"', r"\1", text).replace("t.", "")
    return plain.replace(' FROM "AwsDataCatalog".billing.t AS t', " FROM t")


@pytest.mark.parametrize(
    ("sql", "athena"),
    [
        # A quotient and an average are doubles, whatever they are made of.
        ("SELECT cost / n / 2 AS x", "CAST(CAST(cost AS DOUBLE) / n AS DOUBLE) / 2 AS x"),
        ("SELECT avg(cost) AS x", "AVG(CAST(cost AS DOUBLE)) AS x"),
        ("SELECT avg(DISTINCT n) AS x", "AVG(DISTINCT CAST(n AS DOUBLE)) AS x"),
        # Moments are compared with moments, in UTC.
        ("SELECT ts > '2025-03-01' AS x", "ts > CAST('2025-03-01 00:00:00' AS TIMESTAMP) AS x"),
        (
            "SELECT ts < '2025-03-01T01:30:00.5+02:00' AS x",
            "ts < CAST('2025-02-28 23:30:00.500000' AS TIMESTAMP) AS x",
        ),
        (
            "SELECT ts = '2025-03-01 01:30:00.1234567-02' AS x",
            "ts = CAST('2025-03-01 03:30:00.123456' AS TIMESTAMP) AS x",
        ),
        ("SELECT '2025-03-01' = day AS x", "CAST('2025-03-01' AS DATE) = day AS x"),
        ("SELECT a > '2025' AS x", "a > '2025' AS x"),
        # Sunday is 0.
        ("SELECT dayofweek(ts) AS x", "DAY_OF_WEEK(ts) % 7 AS x"),
        # What is not found is empty; only NULL gives NULL.
        (
            "SELECT split_part(a, '-', 2) AS x",
            "CASE WHEN NOT a IS NULL THEN COALESCE(SPLIT_PART(a, '-', 2), '') END AS x",
        ),
        # Types that Athena lacks.
        ("SELECT sum(n)::HUGEINT AS x", "CAST(SUM(n) AS DECIMAL(38, 0)) AS x"),
        # What Athena wants to be told.
        ("SELECT count() AS x", "COUNT(*) AS x"),
        ("SELECT any_value(a) AS x", "ARBITRARY(a) AS x"),
        ("SELECT string_agg(a, ',') AS x", "LISTAGG(a, ',') WITHIN GROUP (ORDER BY a) AS x"),
    ],
)
def test_an_expression_means_in_athena_what_it_means_in_duckdb(sql: str, athena: str) -> None:
    assert sent(f"{sql} FROM billing.t") == f"SELECT {athena} FROM t"


@pytest.mark.parametrize(
    ("sql", "athena"),
    [
        (
            "SELECT a, sum(n) + 1 AS s, (SELECT max(1)) AS m FROM billing.t GROUP BY ALL ORDER BY ALL DESC",
            (
                "SELECT a AS a, SUM(n) + 1 AS s, (SELECT MAX(1) AS _col_0) AS m FROM t "
                "GROUP BY 1, 3 ORDER BY 1 DESC, 2 DESC, 3 DESC"
            ),
        ),
        ("SELECT sum(n) AS s FROM billing.t GROUP BY ALL", "SELECT SUM(n) AS s FROM t"),
        (
            "SELECT n AS k FROM billing.t QUALIFY row_number() OVER (ORDER BY k) > 1 ORDER BY k LIMIT 3",
            (
                "SELECT qualified.k AS k FROM (SELECT n AS k, ROW_NUMBER() OVER (ORDER BY n) > 1 AS qualified_row "
                "FROM t) AS qualified WHERE qualified.qualified_row ORDER BY 1 LIMIT 3"
            ),
        ),
        (
            "SELECT DISTINCT ON (a) a, n AS k FROM billing.t ORDER BY a, k DESC",
            (
                "SELECT qualified.a AS a, qualified.k AS k FROM (SELECT a AS a, n AS k, "
                "ROW_NUMBER() OVER (PARTITION BY a ORDER BY a, n DESC) = 1 AS qualified_row FROM t) AS qualified "
                "WHERE qualified.qualified_row ORDER BY 1, 2 DESC"
            ),
        ),
        (
            "SELECT DISTINCT a FROM billing.t QUALIFY row_number() OVER (PARTITION BY b ORDER BY n) = 1",
            (
                "SELECT DISTINCT qualified.a AS a FROM (SELECT a AS a, "
                "ROW_NUMBER() OVER (PARTITION BY b ORDER BY n) = 1 AS qualified_row FROM t) AS qualified "
                "WHERE qualified.qualified_row"
            ),
        ),
    ],
)
def test_clauses_that_athena_lacks_are_written_out(sql: str, athena: str) -> None:
    assert sent(sql) == athena


def test_result_columns_are_named_as_by_duckdb_and_keep_their_capitals() -> None:
    sql = 'SELECT count(*), sum(n), a AS "Große Kosten" FROM billing.t GROUP BY 3'
    text = translate(sql, lambda _: COLUMNS, lambda name: ("c", name.namespace)).sql
    assert re.findall(r'AS ("[^"]+")', text)[:3] == ['"count_star()"', '"sum(n)"', '"Große Kosten"']


def test_no_comment_travels() -> None:
    assert sent("SELECT a /* one */ FROM billing.t -- two") == "SELECT a AS a FROM t"


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT * FROM billing.other GROUP BY ALL", "GROUP BY ALL needs to know the columns"),
        ("SELECT * FROM billing.other ORDER BY ALL", "ORDER BY ALL needs to know the columns"),
        (
            "SELECT a FROM billing.t QUALIFY rank() OVER (ORDER BY n) = 1 ORDER BY cost",
            "Select what",
        ),
        ("SELECT a, b AS a FROM billing.t QUALIFY rank() OVER (ORDER BY n) = 1", "different names"),
        ("SELECT DISTINCT ON (1) a FROM billing.t", "no equal of DISTINCT ON"),
        ("SELECT a FROM billing.t UNION BY NAME SELECT a FROM billing.t", "UNION BY NAME"),
        ("SELECT a FROM billing.t USING SAMPLE 10", "SAMPLE"),
        ("SELECT least(n, 2) FROM billing.t", "least skips NULLs"),
        ("SELECT quantile_cont(n, 0.9) FROM billing.t", "approx_quantile"),
        ("SELECT a FROM", "Parser Error"),
    ],
)
def test_what_has_no_equal_is_refused_with_a_way_out(sql: str, says: str) -> None:
    with pytest.raises(QueryError, match=re.escape(says)):
        sent(sql)
