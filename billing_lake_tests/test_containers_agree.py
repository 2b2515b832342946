"""The same month in every container, layout and format has the same rows and totals, in every table, by every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from billing_lake.domain.deliveries import Layout
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import STRING, Map
from billing_lake.formats.legacy_cur.costs import amortised_cost
from billing_lake.sample import write_delivery
from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import SPEC, SampleLake, SampleLakeOnSpark

PERIOD = "2025-03"
Make = Callable[..., SampleLake]

# PySpark leaves its sockets to the garbage collector.
IGNORED = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def on_spark(request: pytest.FixtureRequest, make_lake: Make) -> Make:
    """Make lakes that Spark loads."""

    def make(**settings: Any) -> SampleLake:
        lake = make_lake(**settings)
        session = request.getfixturevalue("spark")
        return SampleLakeOnSpark(lake.home, lake.settings, lake.instance, session=session)

    return make


def loaded(make: Make, format_: str, container: str, layout: Layout) -> SampleLake:
    """Load the month, and compare the tables with what the generator has added up."""
    spec = replace(SPEC, format=format_, container=container, layout=layout)
    report = "" if layout == "loose" else spec.report
    lake = make(format=format_, layout=layout, report=report, quiet_seconds=0)
    delivery = lake.deliver(PERIOD, spec=spec)
    assert lake.load(PERIOD).success
    assert_tables_equal(lake, delivery)
    return lake


def legacy_totals(tmp_path: Path) -> dict[str, Decimal]:
    """Return what the same month adds up to in legacy CUR."""
    return dict(write_delivery(tmp_path / "legacy", PERIOD, SPEC).totals["USD"])


@pytest.mark.parametrize(
    ("format_", "container", "layout"),
    [
        ("legacy_cur", "csv.zip", "create-new"),
        ("legacy_cur", "csv", "overwrite"),
        ("legacy_cur", "snappy.parquet", "athena"),
        ("legacy_cur", "snappy.parquet", "loose"),
        ("cur2", "csv.zip", "loose"),
        ("cur2", "snappy.parquet", "overwrite"),
        ("focus", "csv.gz", "create-new"),
        ("focus", "snappy.parquet", "overwrite"),
        ("focus", "csv", "loose"),
    ],
)
def test_a_month_is_the_same_in_every_container_layout_and_format(
    make_lake: Make, tmp_path: Path, format_: str, container: str, layout: Layout
) -> None:
    lake = loaded(make_lake, format_, container, layout)
    found = lake.profile("iceberg", PERIOD).totals["USD"]
    billed, listed = (
        ("billedcost", "listcost")
        if format_ == "focus"
        else ("line_item_unblended_cost", "pricing_public_on_demand_cost")
    )
    wanted = legacy_totals(tmp_path)
    assert found[billed] == wanted["line_item_unblended_cost"]
    assert found[listed] == wanted["pricing_public_on_demand_cost"]


@pytest.mark.parametrize(
    ("engine", "format_", "container", "layout"),
    [
        pytest.param("spark", "legacy_cur", "csv.zip", "create-new", marks=IGNORED),
        pytest.param("spark", "focus", "csv.gz", "create-new", marks=IGNORED),
        pytest.param("spark", "cur2", "snappy.parquet", "overwrite", marks=IGNORED),
        pytest.param("glue", "focus", "snappy.parquet", "overwrite"),
    ],
)
def test_other_engines_load_the_same_month(
    request: pytest.FixtureRequest, engine: str, format_: str, container: str, layout: Layout
) -> None:
    if engine == "glue":
        make = cast("Make", partial(request.getfixturevalue("make_aws_lake"), "glue"))
    else:
        make = on_spark(request, request.getfixturevalue("make_lake"))
    loaded(make, format_, container, layout)


def test_the_effective_cost_of_focus_is_the_amortised_cost_of_legacy_cur(make_lake: Make) -> None:
    focus = loaded(make_lake, "focus", "csv.gz", "create-new")
    legacy = replace(focus, settings={"name": "legacy"})
    legacy.deliver(PERIOD, spec=SPEC)
    assert legacy.load(PERIOD).success
    source = legacy.lake.iceberg.files(legacy.table, PeriodKey(legacy.name, PERIOD))
    names = [column.name for column in source.columns]
    with duckdb.connect() as connection:
        rows = connection.read_parquet([file.uri for file in source.files])
        sql = f"SELECT sum({amortised_cost(names)}) FROM rows"
        ((amortised,),) = rows.query("rows", sql).fetchall()
    found = focus.profile("iceberg", PERIOD).totals["USD"]
    assert found["effectivecost"] == amortised
    assert found["effectivecost"] != found["billedcost"]


def test_every_engine_of_sql_takes_the_names_of_focus_as_the_specification_spells_them(
    make_lake: Make,
) -> None:
    lake = loaded(make_lake, "focus", "csv.gz", "create-new")
    source = lake.lake.iceberg.files(lake.table, PeriodKey(lake.name, PERIOD))
    assert source.type_of("tags") == source.type_of("x_discounts") == Map(STRING, STRING)
    with duckdb.connect() as connection:
        rows = connection.read_parquet([file.uri for file in source.files])
        sql = "SELECT sum(BilledCost), count(x_ServiceCode), count(Tags['user:Owner']) FROM rows"
        ((billed, services, owners),) = rows.query("rows", sql).fetchall()
    assert billed == lake.profile("iceberg", PERIOD).totals["USD"]["billedcost"]
    assert services
    assert owners
