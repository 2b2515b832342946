"""The same month in every format gives the same totals, in every table, by every engine; maps are restated like everything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, cast

import dagster as dg
import duckdb
import pytest

from billing_lake.commands.query import named_sql
from billing_lake.deployments import LocalLake
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import STRING, Map
from billing_lake.formats.registry import format_named
from billing_lake.sql.lake_sql import LakeSql
from billing_lake.sql.named_queries import NAMED_QUERIES, QueryTarget, write_sql
from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import CHECKS, SPEC, SampleLake, SampleLakeOnSpark, failed, verdicts

PERIOD = "2025-03"
CUR2 = replace(SPEC, format="cur2", report="cur2")
MAPS = ("cost_category", "discount", "product", "resource_tags", "tags")

# PySpark leaves its sockets to the garbage collector.
SPARK = pytest.param(
    "spark", marks=pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
)

Make = Callable[..., SampleLake]

# Glue runs the program that Spark runs here, and loads maps of FOCUS in `test_containers_agree`.
GLUE = pytest.param("glue", marks=pytest.mark.every_variant)


@pytest.fixture(params=["polars", SPARK, GLUE])
def make(request: pytest.FixtureRequest) -> Make:
    """Make lakes that one of the engines loads."""
    if request.param == "glue":
        return cast("Make", partial(request.getfixturevalue("make_aws_lake"), "glue"))
    make_lake: Make = request.getfixturevalue("make_lake")
    if request.param == "polars":
        return make_lake

    def on_spark(**settings: Any) -> SampleLake:
        lake = make_lake(**settings)
        session = request.getfixturevalue("spark")
        return SampleLakeOnSpark(lake.home, lake.settings, lake.instance, session=session)

    return on_spark


def totals(lake: SampleLake, output: str) -> dict[str, Decimal]:
    """Return what the costs add up to that are not nothing."""
    found = lake.profile(output, PERIOD).totals["USD"]
    return {name: total for name, total in found.items() if total}


def untagged(result: dg.ExecuteInProcessResult) -> float:
    """Return the share of untagged costs in per cent that the check of it says."""
    assert result.success
    verdict = verdicts(result)["iceberg_table", "untagged_share", PERIOD]
    (percent,) = re.findall(
        r": ([\d.]+) % of the cost of usage carries no tag", verdict.description or ""
    )
    return float(percent)


def rows_of(lake: SampleLake, sql: str) -> list[tuple[Any, ...]]:
    """Ask DuckDB of the files of the Iceberg table, as `rows`."""
    source = lake.lake.iceberg.files(lake.table, PeriodKey(lake.name, PERIOD))
    with duckdb.connect() as connection:
        rows = connection.read_parquet([file.uri for file in source.files])
        return rows.query("rows", sql).fetchall()


def test_a_month_of_cur_2_has_the_rows_and_totals_of_the_same_month_in_legacy_cur(
    make: Make,
) -> None:
    lake = make(format="cur2", report="cur2")
    delivery = lake.deliver(PERIOD, spec=CUR2)
    legacy = lake.deliver(PERIOD, spec=SPEC)
    result = lake.load(PERIOD)
    assert result.success
    found = verdicts(result)
    assert len(found) == CHECKS
    assert failed(found) == []
    assert_tables_equal(lake, delivery)
    for output in lake.component.outputs:
        assert totals(lake, output) == {k: v for k, v in legacy.totals["USD"].items() if v}
        filled = lake.profile(output, PERIOD).filled or {}
        assert {filled[name] for name in MAPS if name != "discount"} == {SPEC.rows}
        assert 0 < filled["discount"] < SPEC.rows
    fields = {field.name: field.type for field in lake.lake.s3_tables.fields(lake.table) or ()}
    assert {fields[name] for name in MAPS} == {Map(STRING, STRING)}


@pytest.mark.parametrize("layout", ["create-new", "overwrite", "loose"])
def test_maps_are_restated_evolve_and_are_loaded_twice_as_once_in_every_layout(
    make_lake: Make, layout: Any
) -> None:
    spec = replace(CUR2, layout=layout)
    report = "" if layout == "loose" else "cur2"
    keys = {"resource_tags": ["user_project"]}
    lake = make_lake(format="cur2", layout=layout, report=report, quiet_seconds=0, map_keys=keys)
    first = lake.deliver(PERIOD, spec=spec)
    assert lake.load(PERIOD).success
    assert_tables_equal(lake, first)
    project = "resource_tags['user_project']"
    assert rows_of(lake, f"SELECT count({project}) FROM rows") == [(0,)]
    second = lake.deliver(PERIOD, spec=spec, restatement=1, extra_tags=("user:Project",))
    assert second.totals != first.totals
    for _ in range(2):
        assert lake.load(PERIOD).success
        assert_tables_equal(lake, second)
    ((projects, exact),) = rows_of(
        lake,
        f"SELECT count({project}), bool_and(CAST(discount['EDP discount'] AS DECIMAL(38, 18)) = "
        "line_item_net_unblended_cost - line_item_unblended_cost) FROM rows",
    )
    assert projects
    assert exact
    assert (lake.profile("hive", PERIOD).filled or {})["resource_tags_user_project"] == projects


def test_named_queries_answer_for_maps_of_tags(make_lake: Make) -> None:
    lake = make_lake(format="cur2", report="cur2")
    lake.deliver(PERIOD, spec=CUR2)
    legacy = replace(lake, settings={"name": "legacy"})
    lake.deliver(PERIOD, spec=SPEC)
    shares = [untagged(one.load(PERIOD)) for one in (lake, legacy)]
    assert shares[0] == shares[1]
    with LakeSql(LocalLake(lake.home)) as lake_sql:
        for name in NAMED_QUERIES:
            answers = []
            for table in (lake.table, legacy.table):
                one = lake_sql.table(table)
                sql = write_sql(
                    name, QueryTarget(table=one.identifier, columns=one.columns), "duckdb"
                )
                answers.append([*lake_sql.ask(sql).rows()])
            assert answers[0] == answers[1], name
            assert answers[0]


def test_the_share_of_untagged_costs_of_focus_counts_keys_of_ones_own(make_lake: Make) -> None:
    lake = make_lake(format="focus", report="focus")
    lake.deliver(PERIOD, spec=replace(SPEC, format="focus", report="focus"))
    percent = untagged(lake.load(PERIOD))
    own = "list_filter(map_keys(tags), tag -> NOT starts_with(tag, 'aws:'))"
    ((expected, ours),) = rows_of(
        lake,
        f"SELECT 100 * sum(billedcost) FILTER (coalesce(len({own}), 0) = 0) / sum(billedcost), "
        "bool_or(len(map_keys(tags)) > 0 AND starts_with(map_keys(tags)[1], 'aws:')) "
        "FROM rows WHERE chargecategory = 'Usage'",
    )
    assert percent == round(float(expected), 1)
    assert 0 < percent < 100
    assert ours
    with LakeSql(LocalLake(lake.home)) as lake_sql:
        answer = [*lake_sql.ask(named_sql(lake_sql, "untagged")).rows()]
    without, whole = (sum(row[at] for row in answer) for at in (2, 3))
    ((cost,),) = rows_of(lake, "SELECT sum(effectivecost) FROM rows WHERE chargecategory = 'Usage'")
    assert whole == cost
    assert 0 < without < whole
    ((mine,),) = rows_of(
        lake,
        f"SELECT sum(effectivecost) FROM rows WHERE chargecategory = 'Usage' AND coalesce(len({own}), 0) = 0",
    )
    assert without == mine


def test_tags_are_looked_for_in_the_first_of_the_maps_that_a_report_has() -> None:
    form = format_named("cur2")
    assert form.tags(("tags", "resource_tags", "line_item_line_item_type")).keys() == {
        "resource_tags"
    }
    assert form.tags(("tags", "product")).keys() == {"tags"}
    assert form.tags(("product",)) == {}
    names = ("resource_tags_user_a", "resource_tags_aws_created_by", "resource_tags_user_b")
    assert form.tags(names) == {}
    assert format_named("legacy_cur").tags(names) == dict.fromkeys(names[::2])
