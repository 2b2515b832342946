"""The view of all exports: every line item once, under one set of names, adding up to the tables to the last digit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from billing_lake.assets.all_costs import ALL_COSTS_KEY
from billing_lake.commands.query import named_sql
from billing_lake.components.billing_export import all_costs_defs
from billing_lake.deployments.base import LAKE_RESOURCE
from billing_lake.deployments.local import LocalLake
from billing_lake.domain.errors import QueryError, number
from billing_lake.formats.core_columns import CORE_COLUMNS
from billing_lake.sample import SampleSpec
from billing_lake.sql.lake_sql import LakeSql
from billing_lake.sql.tables import QueryResult
from billing_lake_tests.lakes import SampleLake
from billing_lake_tests.servers.athena_engine import AthenaEngine
from billing_lake_tests.servers.aws import Aws

PERIOD = "2025-03"
ONLY_CHECKS = dg.AssetSelection.checks_for_assets(ALL_COSTS_KEY)
SPEC = SampleSpec(layout="create-new", report="daily", rows=60, chunks=1)


def exports(first: SampleLake, **formats: dict[str, Any]) -> list[SampleLake]:
    """Return an export for each of ``formats``, by name, in the lake of ``first``."""
    return [
        first.another_export({"name": name, "prefix": name, "outputs": ["iceberg"], **settings})
        for name, settings in formats.items()
    ]


def load(lakes: Sequence[SampleLake]) -> None:
    for one in lakes:
        settings = one.settings
        format_ = settings.get("format", "legacy_cur")
        one.deliver(PERIOD, spec=replace(SPEC, prefix=one.name, format=format_))
        one.sync()
        assert one.load(PERIOD).success


def materialize(
    lakes: Sequence[SampleLake], selection: dg.AssetSelection | None = None
) -> dict[str, dg.AssetCheckEvaluation]:
    """Make the view of the exports anew, or run what is selected, and return what its checks say."""
    chosen = dg.AssetSelection.all() if selection is None else selection
    definitions = dg.Definitions.merge(
        all_costs_defs([one.component for one in lakes]),
        dg.Definitions(
            jobs=[dg.define_asset_job("chosen", selection=chosen)],
            resources={LAKE_RESOURCE: lakes[0].lake},
            executor=dg.in_process_executor,
        ),
    )
    job = definitions.resolve_job_def("chosen")
    result = job.execute_in_process(instance=lakes[0].instance)
    assert result.success
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def rows(lake: SampleLake, sql: str) -> list[tuple[Any, ...]]:
    with lake.lake.sql() as tables:
        return sorted(tables.ask(sql.format(view=f"{lake.namespace}.all_costs")).rows())


def costs(lake: SampleLake) -> Mapping[str, tuple[int, Decimal]]:
    """Return line items and cost of each export in the view."""
    sql = "SELECT export_name, count(*), sum(billedcost) FROM {view} GROUP BY export_name"
    return {name: (count, cost) for name, count, cost in rows(lake, sql)}


def in_tables(lakes: Sequence[SampleLake]) -> Mapping[str, tuple[int, Decimal]]:
    """Return line items and cost of each export, as its table has them."""
    found = {}
    for one in lakes:
        profile = one.profile("iceberg", PERIOD)
        (cost,) = [
            profile.totals["USD"][name]
            for name in ("billedcost", "line_item_unblended_cost")
            if name in profile.totals["USD"]
        ]
        found[one.name] = (profile.rows, cost)
    return found


def assert_named_queries_answer(lakes: Sequence[SampleLake]) -> None:
    """Find that one query text serves the tables of every format, and the view but for tags, which it lacks."""
    found = in_tables(lakes)
    with lakes[0].lake.sql() as tables:
        whole = f"{lakes[0].namespace}.all_costs"
        for table, items, cost in (
            *((one.table, *found[one.name]) for one in lakes),
            (whole, sum(n for n, _ in found.values()), sum(cost for _, cost in found.values())),
        ):
            for name in ("cost-by-service", "cost-by-account", "cost-by-day"):
                answer = tables.ask(named_sql(tables, name, PERIOD, table))
                headings = ("billed_cost", "effective_cost")
                if table in {one.table for one in lakes if one.name != "focus"}:
                    headings = ("unblended_cost", "amortised_cost")
                assert answer.columns[1:] == ("currency", *headings, "line_items")
                lines = list(answer.rows())
                assert len(lines) > 1
                assert sum(line[2] for line in lines) == cost
                assert sum(line[4] for line in lines) == items
        by_tag = [
            {
                line[:2]: line[2:]
                for line in tables.ask(named_sql(tables, "untagged", PERIOD, one.table)).rows()
            }
            for one in lakes
        ]
        assert all(by_tag)
        with pytest.raises(QueryError, match="the view all_costs has no tags") as caught:
            named_sql(tables, "untagged", PERIOD, whole)
        assert "--table" in caught.value.how
        with pytest.raises(QueryError, match=r"deliveries is neither") as caught:
            named_sql(tables, "cost-by-day", PERIOD, f"{lakes[0].namespace}.deliveries")
        assert "--table" in caught.value.how
        assert tables.periods(tables.table(whole)) == (PERIOD,)


FORMATS = {
    "old": {},
    "new": {"format": "cur2", "reconcile": "old"},
    "focus": {"format": "focus", "reconcile": "old"},
}


def assert_the_bills_agree(check: dg.AssetCheckEvaluation) -> None:
    assert check.passed
    pairs = str(check.description).split(". ")
    assert [pair.split(" agree in ")[0] for pair in pairs] == ["focus and old", "new and old"]
    assert " agree in 0 " not in str(check.description)


def test_exports_of_every_format_are_one_view_that_adds_up_to_their_tables(
    make_lake: Any,
) -> None:
    lakes = exports(make_lake(), **FORMATS)
    assert materialize(lakes) == {}, "nothing is loaded yet"
    load(lakes)
    checks = materialize(lakes)
    assert checks["equals_tables"].passed
    assert costs(lakes[0]) == in_tables(lakes)
    assert_the_bills_agree(checks["reconcile"])
    assert_named_queries_answer(lakes)
    described = rows(lakes[0], "DESCRIBE {view}")
    assert {row[0] for row in described} == {"export_name", "billing_period", *CORE_COLUMNS}
    assert {row[1] for row in described if row[0].endswith("cost")} == {"DECIMAL(38,18)"}
    groups = (
        "SELECT DISTINCT export_name, chargecategory FROM {view} WHERE x_servicecode = 'AmazonEC2'"
    )
    assert {row[1] for row in rows(lakes[0], groups)} <= {
        "Usage",
        "Purchase",
        "Tax",
        "Credit",
        "Adjustment",
    }
    once = checks["counted_once"]
    assert not once.passed
    assert once.severity is dg.AssetCheckSeverity.WARN
    assert "1 month of payers counted by several exports" in str(once.description)


def test_an_export_that_does_not_count_is_left_out_and_nothing_counts_twice(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={"counts": False}, new={"format": "cur2"})
    load(lakes)
    checks = materialize(lakes)
    assert all(one.passed for one in checks.values())
    assert costs(lakes[0]) == in_tables(lakes[1:])


def test_the_view_shows_a_restatement_and_columns_that_come_with_it(make_lake: Any) -> None:
    (lake,) = exports(make_lake(), new={"format": "cur2"})
    load([lake])
    materialize([lake])
    lake.deliver(PERIOD, spec=replace(SPEC, prefix="new", format="cur2", rows=80), restatement=1)
    assert lake.load(PERIOD).success
    assert costs(lake) == in_tables([lake])
    assert costs(lake)["new"][0] == 80


def test_a_view_that_shows_other_costs_than_the_tables_is_found(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={}, new={"format": "cur2"})
    load(lakes)
    assert materialize(lakes)["equals_tables"].passed
    kept = lakes[0].home / "values" / "all_costs.json"
    value = json.loads(kept.read_text())
    new, old = value["counted"]
    kept.write_text(json.dumps({**value, "counted": [new, new]}))
    told = materialize(lakes, ONLY_CHECKS)["equals_tables"]
    assert not told.passed
    assert told.severity is dg.AssetCheckSeverity.ERROR
    assert "2 of 2 groups of export, billing period and currency differ" in str(told.description)
    table = str(told.metadata["differences"].value)
    count, cost = in_tables(lakes)["new"]
    assert f"| new | {PERIOD} | USD | {number(cost)} | {number(2 * cost)} |" in table
    assert f"| {number(count)} | {number(2 * count)} |" in table
    assert f"| old | {PERIOD} | USD | {number(in_tables(lakes)['old'][1])} |  |" in table
    kept.write_text(json.dumps({**value, "counted": [new, old]}))
    assert materialize(lakes, ONLY_CHECKS)["equals_tables"].passed


def test_a_month_that_is_replaced_between_two_questions_is_no_difference(
    make_lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lake,) = exports(make_lake(), old={})
    load([lake])
    materialize([lake])
    questions = 0
    here = LocalLake(lake.home)

    class AsAthena(LakeSql):
        """Reads tables as they are when a question is asked; after the first one, a restatement is loaded."""

        def ask(self, sql: str) -> QueryResult:
            nonlocal questions
            questions += 1
            with LakeSql(here) as now:
                answer = now.ask(sql)
                answer = replace(answer, batches=iter([list(answer.rows())]))
            if questions == 1:
                lake.deliver(PERIOD, spec=replace(SPEC, prefix="old", rows=80), restatement=1)
                assert lake.load(PERIOD).success
            return answer

    monkeypatch.setattr(type(lake.lake), "sql", lambda _: AsAthena(here))
    told = materialize([lake], ONLY_CHECKS)["equals_tables"]
    assert told.passed, told.description
    assert questions > len(("view", "table"))


def test_each_load_asks_for_the_view_once(make_lake: Any) -> None:
    lakes = exports(make_lake(), old={}, new={"format": "cur2"})
    load(lakes[:1])
    definitions = dg.Definitions.merge(
        *(one.component.definitions for one in lakes),
        all_costs_defs([one.component for one in lakes]),
        dg.Definitions(resources={LAKE_RESOURCE: lakes[0].lake}),
    )

    def asked(cursor: Any) -> tuple[int, Any]:
        made = dg.evaluate_automation_conditions(definitions, lakes[0].instance, cursor=cursor)
        return made.total_requested, made.cursor

    _, cursor = asked(None)
    materialize(lakes)
    none, cursor = asked(cursor)
    load(lakes[1:])
    one, cursor = asked(cursor)
    again, _ = asked(cursor)
    assert (none, one, again) == (0, 1, 0)


def test_athena_has_the_same_view(
    make_aws_lake: Any, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws.glue.athena, "answer", AthenaEngine(aws))
    lakes = exports(make_aws_lake(), **FORMATS)
    load(lakes)
    checks = materialize(lakes)
    assert_named_queries_answer(lakes)
    assert checks["equals_tables"].passed
    assert not checks["counted_once"].passed
    assert_the_bills_agree(checks["reconcile"])
    assert costs(lakes[0]) == in_tables(lakes)
