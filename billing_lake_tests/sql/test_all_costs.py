"""The text of the view of all costs, and what it makes of each kind of line."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import duckdb
import pytest

from billing_lake.domain.errors import QueryError
from billing_lake.formats.core_columns import CORE_COLUMNS
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.registry import FORMATS
from billing_lake.sql.all_costs import ViewPart, view_name, view_sql
from billing_lake.sql.duckdb_types import duckdb_type
from billing_lake.sql.tables import Dialect, LakeTable, dotted_name

DATABASES: dict[Dialect, str] = {"duckdb": "iceberg", "athena": "AwsDataCatalog"}
TEXTS = Path(__file__).with_name("all_costs")
"""The view as it was last read by people, `athena.sql`: `python -m billing_lake_tests.sql.test_all_costs` writes it anew."""


def text(dialect: Dialect) -> str:
    counted = []
    for name, format_ in FORMATS.items():
        identifier = dotted_name(DATABASES[dialect], "billing", name)
        columns = tuple(format_.known_columns)
        part = ViewPart(export=name, format=name, catalog="iceberg", table=f"billing.{name}")
        table = LakeTable(
            catalog="iceberg", table=part.table, columns=columns, identifier=identifier
        )
        counted.append((part, table))
    return f"{view_sql(counted, dialect)}\n"


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_the_text_of_the_view_is_the_one_that_was_read(dialect: Dialect) -> None:
    assert text(dialect) == (TEXTS / f"{dialect}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_gives_what_a_bill_is_added_up_by(format_: str) -> None:
    given = FORMATS[format_].core(FORMATS[format_].known_columns)
    assert given.keys() <= CORE_COLUMNS.keys()
    for name in ("billingaccountid", "subaccountid", "chargeperiodstart", "chargecategory"):
        assert name in given
    for name in ("servicename", "billingcurrency", "billedcost", "effectivecost", "listcost"):
        assert name in given


def test_a_table_of_the_columns_that_cannot_lack_has_a_view(tmp_path: Path) -> None:
    for name, format_ in FORMATS.items():
        part = ViewPart(export=name, format=name, catalog="iceberg", table="t")
        table = LakeTable(catalog="iceberg", table="t", columns=format_.required, identifier='"t"')
        columns = ", ".join(
            f'CAST(NULL AS {duckdb_type(format_.type_of(one))}) AS "{one}"'
            for one in format_.required
        )
        with duckdb.connect(str(tmp_path / name)) as connection:
            lake = f"'{name}' AS export_name, '2025-03' AS billing_period"
            connection.execute(f"CREATE TABLE t AS SELECT {lake}, {columns}")
            (row,) = connection.execute(view_sql([(part, table)], "duckdb")).fetchall()
        assert row[:2] == (name, "2025-03")
        assert len(row) == 2 + len(CORE_COLUMNS)


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        ("Usage", "Usage"),
        ("SavingsPlanNegation", "Usage"),
        ("RIFee", "Purchase"),
        ("Tax", "Tax"),
        ("Credit", "Credit"),
        ("EdpDiscount", "Adjustment"),
        ("Refund", "Adjustment"),
        ("SomethingNew", "Adjustment"),
        ("", None),
    ],
)
def test_each_kind_of_line_has_a_category_of_focus(kind: str, category: str | None) -> None:
    sql = LEGACY_CUR.core(["line_item_line_item_type"])["chargecategory"]
    with duckdb.connect() as connection:
        asked = connection.execute(
            f"SELECT {sql} FROM (SELECT ? AS line_item_line_item_type)", [kind]
        )
        assert asked.fetchone() == (category,)


@pytest.mark.parametrize(
    ("kind", "parent", "quantity", "listed"),
    [
        ("Usage", "", 3, 5),
        ("Usage", None, 3, 5),
        ("SavingsPlanCoveredUsage", None, 3, 5),
        ("DiscountedUsage", None, 3, 5),
        # It takes back what the covered usage was billed, which was consumed all the same.
        ("SavingsPlanNegation", None, None, 0),
        ("RIFee", None, None, 5),
        ("Tax", None, None, 5),
        # A share of an instance that has a line of its own.
        ("Usage", "i-0123456789", None, 5),
    ],
)
def test_what_was_consumed_and_its_list_price_count_once(
    kind: str, parent: str | None, quantity: int | None, listed: int
) -> None:
    cells = {
        "line_item_line_item_type": kind,
        "line_item_usage_amount": 3,
        "pricing_public_on_demand_cost": 5,
        "split_line_item_parent_resource_id": parent,
    }
    given = LEGACY_CUR.core(cells)
    row = ", ".join(f"? AS {name}" for name in cells)
    with duckdb.connect() as connection:
        asked = connection.execute(
            f"SELECT {given['consumedquantity']}, {given['listcost']} FROM (SELECT {row})",
            [*cells.values()],
        )
        assert asked.fetchone() == (quantity, listed)


@pytest.mark.parametrize(
    ("cells", "effective"),
    [
        ({"billedcost": 3, "effectivecost": 2}, 2),
        ({"billedcost": 3, "effectivecost": 0}, 0),
        ({"billedcost": 3, "effectivecost": None}, 3),
        ({"billedcost": 3}, 3),
    ],
)
def test_an_effective_cost_of_focus_that_is_not_stated_is_the_billed_one(
    cells: dict[str, int | None], effective: int
) -> None:
    row = ", ".join(f"? AS {name}" for name in cells)
    with duckdb.connect() as connection:
        asked = connection.execute(
            f"SELECT {FOCUS.core(cells)['effectivecost']} FROM (SELECT {row})", [*cells.values()]
        )
        assert asked.fetchone() == (effective,)


def test_a_view_of_nothing_is_refused() -> None:
    with pytest.raises(QueryError, match="No export counts"):
        view_name([])


if __name__ == "__main__":
    TEXTS.mkdir(exist_ok=True)
    for dialect in get_args(Dialect):
        (TEXTS / f"{dialect}.sql").write_text(text(dialect), encoding="utf-8")
