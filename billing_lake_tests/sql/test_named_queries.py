"""The text of named queries: what they refuse, and that no change of theirs in either dialect goes unread."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import duckdb
import pytest

from billing_lake.domain.errors import QueryError
from billing_lake.sql.named_queries import (
    CURRENCY,
    NAMED_QUERIES,
    UNBLENDED,
    USAGE_START,
    QueryTarget,
    write_sql,
)
from billing_lake.sql.tables import Dialect, dotted_name

NEEDED = {
    "cost-by-service": {UNBLENDED, CURRENCY, "line_item_product_code"},
    "cost-by-account": {UNBLENDED, CURRENCY, "line_item_usage_account_id"},
    "cost-by-day": {UNBLENDED, CURRENCY, USAGE_START},
    "untagged": {
        UNBLENDED, CURRENCY, "line_item_product_code", "line_item_line_item_type", "resource_tags_user_team",
    },
}  # fmt: skip
"""The least that a table must have for each query."""

EVERY = set().union(*NEEDED.values()) | {
    "bill_billing_entity",
    "line_item_line_item_description",
    "product_product_name",
    "product_servicecode",
    "reservation_effective_cost",
    "reservation_reservation_a_r_n",
    "reservation_unused_amortized_upfront_fee_for_billing_period",
    "reservation_unused_recurring_fee",
    "resource_tags_user_環境",
    "savings_plan_savings_plan_effective_cost",
    "savings_plan_total_commitment_to_date",
    "savings_plan_used_commitment",
}
"""All columns that a query looks for."""

IDENTIFIERS: dict[Dialect, str] = {
    "duckdb": dotted_name("iceberg", "billing", "cost_and_usage"),
    "athena": dotted_name("AwsDataCatalog", "billing", "cost_and_usage"),
}
TEXTS = Path(__file__).with_name("named_queries")
"""The queries as they were last read by people: a file for each dialect and query, `athena/untagged.sql`.

`python -m billing_lake_tests.sql.test_named_queries` writes them anew; read the difference before you commit it.
"""


def text(dialect: Dialect, name: str) -> str:
    target = QueryTarget(table=IDENTIFIERS[dialect], columns=EVERY, period="2025-03")
    return f"{write_sql(name, target, dialect)}\n"


@pytest.mark.parametrize("dialect", get_args(Dialect))
@pytest.mark.parametrize("name", NAMED_QUERIES)
def test_the_text_of_a_query_is_the_one_that_was_read(dialect: Dialect, name: str) -> None:
    assert text(dialect, name) == (TEXTS / dialect / f"{name}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, some in NEEDED.items() for column in sorted(some)]
)
def test_a_named_query_refuses_where_a_column_that_it_needs_is_missing(
    name: str, column: str
) -> None:
    columns = NEEDED[name]
    assert write_sql(name, QueryTarget(table='"t"', columns=columns), "duckdb")
    with pytest.raises(QueryError) as caught:
        write_sql(name, QueryTarget(table='"t"', columns=columns - {column}), "duckdb")
    assert caught.value.how
    missing = caught.value.column or ""
    assert missing == column or column.startswith(missing.rstrip("…")) or "product" in missing


def test_every_named_query_has_its_needs_tested() -> None:
    assert NEEDED.keys() == NAMED_QUERIES.keys()


def test_tags_and_products_in_maps_are_looked_up_there_as_each_dialect_does_it() -> None:
    columns = (NEEDED["untagged"] - {"resource_tags_user_team"}) | {"resource_tags", "product"}
    target = QueryTarget(table="t", columns=columns)
    assert "product['product_name']" in write_sql("untagged", target, "duckdb")
    athena = write_sql("untagged", target, "athena")
    assert "ELEMENT_AT(product, 'product_name')" in athena
    assert "MAP_KEYS(resource_tags)" in athena
    assert "STARTS_WITH(tag, 'user_')" in athena
    assert "ELEMENT_AT(resource_tags, tag)" in athena


@pytest.mark.parametrize(
    ("column", "tags", "untagged"),
    [
        # `map_keys`, or the SQL of the export, made a column of one tag of many.
        ("resource_tags", "MAP {'user_owner': 'a'}", 0),
        ("resource_tags", "MAP {'aws_created_by': 'a'}", 2),
        ("tags", "MAP {'resourceTags/owner': 'a'}", 0),
        ("tags", "MAP {'resourceTags/aws:createdBy': 'a', 'accountTag/owner': 'a'}", 2),
    ],
)
@pytest.mark.parametrize("lifted", [True, False])
def test_a_line_that_carries_any_tag_of_the_map_is_not_untagged(
    column: str,
    tags: str,
    untagged: int,
    lifted: bool,  # noqa: FBT001
) -> None:
    cells = {
        UNBLENDED: "2",
        CURRENCY: "'USD'",
        "line_item_product_code": "'s'",
        "line_item_line_item_type": "'Usage'",
        column: f"CAST({tags} AS MAP(VARCHAR, VARCHAR))",
        **({"resource_tags_user_team": "CAST(NULL AS VARCHAR)"} if lifted else {}),
    }
    rows = ", ".join(f"{value} AS {name}" for name, value in cells.items())
    target = QueryTarget(table=f"(SELECT {rows})", columns=cells)
    with duckdb.connect() as connection:
        (row,) = connection.execute(write_sql("untagged", target, "duckdb")).fetchall()
    assert row[:4] == ("s", "USD", untagged, 2)


def test_a_tag_without_a_value_is_no_tag() -> None:
    columns = {
        "chargecategory",
        "billedcost",
        "effectivecost",
        "billingcurrency",
        "servicename",
        "tags",
    }
    sql = write_sql("untagged", QueryTarget(table="t", columns=columns), "duckdb")
    maps = ("MAP {'team': 'a'}", "MAP {'team': ''}", "MAP {'aws:x': 'b'}", "MAP {}", "NULL")
    with duckdb.connect() as connection:
        for number, tags in enumerate(maps):
            into = "INSERT INTO t" if number else "CREATE TABLE t AS"
            connection.execute(
                f"{into} SELECT 'Usage' AS chargecategory, 1 AS billedcost, 2 AS effectivecost, 'USD' AS billingcurrency, "
                f"'s' AS servicename, CAST({tags} AS MAP(VARCHAR, VARCHAR)) AS tags"
            )
        assert connection.execute(sql).fetchall() == [("s", "USD", 8, 10, 80)]


def test_a_line_of_focus_that_states_no_effective_cost_costs_what_is_billed() -> None:
    """As in a month that was delivered before the export had the column."""
    cells = {
        "billedcost": "CAST(3 AS DECIMAL(38, 18))",
        "effectivecost": "CAST(NULL AS DECIMAL(38, 18))",
        "billingcurrency": "'USD'",
        "servicename": "'s'",
    }
    rows = ", ".join(f"{value} AS {name}" for name, value in cells.items())
    target = QueryTarget(table=f"(SELECT {rows})", columns=cells)
    with duckdb.connect() as connection:
        (row,) = connection.execute(write_sql("cost-by-service", target, "duckdb")).fetchall()
    assert row == ("s", "USD", 3, 3, 1)


@pytest.mark.parametrize(
    "missing", ["servicename", "billingcurrency", "effectivecost", "tags", "chargecategory"]
)
def test_a_table_of_focus_that_lacks_a_column_is_told_of_its_own_column(missing: str) -> None:
    named = "untagged" if missing in ("tags", "chargecategory") else "cost-by-service"
    every = {
        "chargecategory",
        "billedcost",
        "effectivecost",
        "billingcurrency",
        "servicename",
        "tags",
    }
    with pytest.raises(QueryError) as caught:
        write_sql(
            named,
            QueryTarget(table='"iceberg"."billing"."focus"', columns=every - {missing}),
            "duckdb",
        )
    assert caught.value.column == missing


if __name__ == "__main__":
    for dialect in get_args(Dialect):
        (TEXTS / dialect).mkdir(parents=True, exist_ok=True)
        for name in NAMED_QUERIES:
            (TEXTS / dialect / f"{name}.sql").write_text(text(dialect, name), encoding="utf-8")
