"""Two payers in one table: each is loaded, restated, rebuilt and proved as if it were alone, and both are read as one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from billing_lake.loads.ledger import Ledger
from billing_lake.loads.maintenance import maintain
from billing_lake.sample import SampleDelivery, SampleSpec
from billing_lake.sql.named_queries import QueryTarget, write_sql
from billing_lake.tables.base import CleanUp, KeptHistory
from billing_lake_tests.assets.test_all_costs import costs, in_tables, materialize
from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import SampleLake, failed, verdicts
from billing_lake_tests.servers.athena_engine import AthenaEngine
from billing_lake_tests.servers.aws import Aws

PERIOD = "2025-03"
PAYERS = {"acme": "000123456789", "globex": "000987654321"}
NOW = CleanUp(older_than=timedelta(0), kept=KeptHistory(days=1, loads=1))


def payers(first: SampleLake) -> list[SampleLake]:
    """Return an export of each payer, all in the lake of ``first`` and in one table."""
    shared = {"format": "cur2", "table": "payers"}
    return [first.another_export({"name": name, "prefix": name, **shared}) for name in PAYERS]


def deliver(lake: SampleLake, restatement: int = 0) -> SampleDelivery:
    spec = SampleSpec(
        format="cur2",
        layout="create-new",
        prefix=lake.name,
        report="daily",
        rows=60 + 20 * list(PAYERS).index(lake.name),
        chunks=1,
        payer=PAYERS[lake.name],
    )
    return lake.deliver(PERIOD, spec=spec, restatement=restatement)


def files(lake: SampleLake) -> Mapping[str, set[str]]:
    """Return the files that hold the payer's rows, by table."""
    tables = lake.lake.tables(lake.component.export)
    return {one.output: {file.uri for file in one.files(PERIOD).files} for one in tables}


def read_as_one(lakes: list[SampleLake]) -> None:
    """Find that the view and the queries have each row of each payer once."""
    checks = materialize(lakes)
    assert {name: one.passed for name, one in checks.items()} == {
        "equals_tables": True,
        "counted_once": True,
    }
    assert costs(lakes[0]) == in_tables(lakes)
    with lakes[0].lake.sql() as sql:
        table = sql.table(lakes[0].table)
        target = QueryTarget(table=table.identifier, columns=table.columns, period=PERIOD)
        asked = sql.ask(write_sql("cost-by-account", target, sql.dialect))
        items = sum(row[asked.columns.index("line_items")] for row in asked.rows())
        assert items == sum(rows for rows, _ in in_tables(lakes).values())
        paid = f"SELECT DISTINCT bill_payer_account_id FROM {table.identifier}"
        assert {row[0] for row in sql.ask(paid).rows()} == {*PAYERS.values()}


@pytest.mark.parametrize("where", ["local", "aws"])
def test_payers_of_one_table_are_loaded_restated_rebuilt_and_proved_each_alone_and_read_as_one(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "aws":
        aws: Aws = request.getfixturevalue("aws")
        monkeypatch.setattr(aws.glue.athena, "answer", AthenaEngine(aws))
    make = request.getfixturevalue({"local": "make_lake", "aws": "make_aws_lake"}[where])
    acme, globex = lakes = payers(make())
    delivered = {one.name: deliver(one) for one in lakes}
    for one in lakes:
        result = one.load(PERIOD)
        assert failed(verdicts(result)) == []
        made = result.asset_materializations_for_node(f"{one.name}__iceberg_table")
        named = str(made[0].metadata["dagster/table_name"].value)
        assert named.endswith(f".{one.namespace}.payers")
    for catalog in (acme.lake.hive, acme.lake.iceberg, acme.lake.s3_tables):
        own = [one for one in catalog.tables() if one.startswith(f"{acme.namespace}.")]
        assert {*own} - {f"{acme.namespace}.deliveries"} == {acme.table}
    with acme.lake.sql() as sql:
        assert sql.periods(sql.table(acme.table)) == (PERIOD,)
    before = files(globex)

    delivered["acme"] = deliver(acme, restatement=1)
    assert failed(verdicts(acme.load(PERIOD))) == []
    if where == "local":
        # On AWS the same commits take seconds each, and were tried above.
        assert acme.run("acme_rebuild_tables").success
    maintain(acme.lake, acme.component.export, NOW, lambda _: None)

    assert files(globex) == before
    for one in lakes:
        assert_tables_equal(one, delivered[one.name])
    read_as_one(lakes)
    stories = {
        one.name: Ledger(lake=one.lake, export=one.component.export, log=print).deliveries()
        for one in lakes
    }
    assert {name: len(rows) for name, rows in stories.items()} == {"acme": 2, "globex": 1}
