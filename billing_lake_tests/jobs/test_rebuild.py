"""The job that builds tables anew: the way out of a change that no table can follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.schemas import Column, Field, lake_columns, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import DOUBLE, STRING
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.loads import load as loading
from billing_lake.loads.crawl import crawl_delivery
from billing_lake.tables.base import TableCatalog
from billing_lake.tables.exports import TableOutput
from billing_lake_tests.assets.test_load import assert_tables_equal, op_config
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake, failed, failure, verdicts
from billing_lake_tests.tables.making import count, encode

JOB = f"{EXPORT}_rebuild_tables"
OP = f"{EXPORT}_rebuild"
COST = "line_item_unblended_cost"
OLD = plan(None, lake_columns([Column(COST, DOUBLE)])).fields
"""A table as an older dictionary would have made it, with money as DOUBLE."""

AS_TEXT = plan(None, lake_columns([Column(COST, STRING)])).fields

Make = Callable[..., SampleLake]


def make_old_tables(lake: SampleLake, *keys: PeriodKey) -> None:
    """Make such tables, with two rows in each of ``keys``."""
    for output in lake.component.export.outputs:
        lake.lake.catalog(output).create(lake.table, OLD)
        for key in keys:
            put(lake, output, key, OLD)


def put(lake: SampleLake, output: TableOutput, key: PeriodKey, fields: tuple[Field, ...]) -> None:
    """Put two rows into a table, as somebody else's loader would."""
    folder = lake.home / "by-hand"
    encoded = encode(folder, key, fields=fields)
    files = []
    for file in encoded.files:
        uri = f"{lake.lake.staging}/by-hand/{Path(file.uri).name}"
        lake.lake.files.write(uri, Path(file.uri).read_bytes())
        files.append(replace(file, uri=uri))
    lake.lake.catalog(output).replace_period(
        lake.table,
        key,
        replace(encoded, files=tuple(files)),
        properties={},
        verify=lambda: None,
    )


def types(catalog: TableCatalog, table: str = TABLE) -> dict[str, str]:
    return {field.name: str(field.type) for field in catalog.fields(table) or ()}


def during_the_rebuild(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once, when the new files are ready and the table is about to take them over."""
    from billing_lake.loads.rebuild import Rebuilder

    verify, happened = Rebuilder._verify, list[bool]()

    def verify_and_go_on(self: Rebuilder, deliveries: Any) -> None:
        verify(self, deliveries)
        if not happened:
            happened.append(True)
            happens()

    monkeypatch.setattr(Rebuilder, "_verify", verify_and_go_on)


@pytest.mark.parametrize("where", ["local", "aws"])
def test_after_a_rebuild_the_gate_passes_and_the_rows_from_before_can_still_be_found(
    where: str, request: pytest.FixtureRequest
) -> None:
    lake: SampleLake = request.getfixturevalue(
        {"local": "make_lake", "aws": "make_aws_lake"}[where]
    )()
    make_old_tables(lake, PeriodKey(EXPORT, "2025-01"))
    deliveries = [lake.deliver(period) for period in ("2025-01", "2025-02")]
    assert not lake.load("2025-01").success
    result = lake.run(JOB)
    assert result.success, failure(result, OP)
    for output in ("hive", "iceberg", "s3_table"):
        catalog = lake.lake.catalog(output)
        assert types(catalog, lake.table)[COST] == "decimal(38, 18)"
        for delivery in deliveries:
            found = lake.profile(output, delivery.period)
            assert found.rows == delivery.rows
            assert found.totals["USD"][COST] == delivery.totals["USD"][COST]
    key = PeriodKey(EXPORT, "2025-01")
    (old,) = (name for name in lake.lake.hive.tables() if name.startswith(f"{lake.table}__"))
    assert old.startswith(f"{lake.table}__before_")
    assert types(lake.lake.hive, old)[COST] == "double"
    assert count(lake.lake.hive.files(old, key)) == 2
    for tables in (lake.lake.iceberg, lake.lake.s3_tables):
        table = tables.open(lake.table)
        (tag,) = (name for name in table.refs() if name.startswith("before_rebuild_"))
        before = table.scan(snapshot_id=table.refs()[tag].snapshot_id).to_arrow()
        assert before[COST].to_pylist() == [1.5, 1.5]
    again = lake.load("2025-01")
    assert again.success
    assert failed(verdicts(again)) == []


def test_a_table_that_a_rebuild_makes_is_as_the_others(make_lake: Make) -> None:
    lake = make_lake()
    delivery = lake.deliver("2025-01")
    lake.lake.iceberg.create(TABLE, OLD)
    assert lake.run(JOB).success
    assert_tables_equal(lake, delivery)
    assert lake.lake.hive.tables() == (TABLE,), "there were no rows before"


def test_one_bad_month_stops_the_rebuild_before_any_table_is_touched(make_lake: Make) -> None:
    lake = make_lake(outputs=["iceberg"])
    good, bad = lake.deliver("2025-01"), lake.deliver("2025-02")
    assert lake.load_range("2025-01", "2025-02").success
    before = lake.lake.iceberg.open(TABLE).metadata_location
    bad.files[0].write_bytes(b"this is no gzip")
    result = lake.run(JOB)
    assert not result.success
    text = failure(result, OP)
    assert text.startswith("LoadError: 1 of 2 billing periods cannot be loaded. 2025-02: ")
    assert lake.lake.iceberg.open(TABLE).metadata_location == before
    assert lake.profile("iceberg", "2025-02").rows == bad.rows
    assert lake.profile("iceberg", "2025-01").rows == good.rows
    assert lake.lake.files.list(lake.lake.staging) == []


def test_a_month_whose_delivery_is_gone_is_left_behind_only_when_it_is_named(
    make_lake: Make,
) -> None:
    lake = make_lake()
    gone, kept = lake.deliver("2025-01"), lake.deliver("2025-02")
    assert lake.load_range("2025-01", "2025-02").success
    for file in (*gone.files, gone.manifest):
        assert file
        file.unlink()
    text = failure(lake.run(JOB), OP)
    assert "without a delivery in storage: 2025-01" in text
    assert lake.profile("iceberg", "2025-01").rows == gone.rows
    assert lake.run(JOB, config=op_config(OP, leave_behind=["2025-01"])).success
    for output in ("hive", "iceberg", "s3_table"):
        catalog = lake.lake.catalog(output)
        assert catalog.periods(TABLE, EXPORT) == (kept.period,)
        assert set(catalog.held(TABLE, EXPORT)) == {kept.period}
    old = next(name for name in lake.lake.hive.tables() if "__before_" in name)
    assert lake.lake.hive.periods(old, EXPORT) == ("2025-01", "2025-02")


@pytest.mark.parametrize("where", ["local", "aws"])
def test_rows_of_another_export_stay_and_where_they_would_lose_values_nothing_is_done(
    where: str, request: pytest.FixtureRequest
) -> None:
    lake: SampleLake = request.getfixturevalue(
        {"local": "make_lake", "aws": "make_aws_lake"}[where]
    )()
    other = PeriodKey("others", "2025-01")
    make_old_tables(lake, PeriodKey(EXPORT, "2025-01"), other)
    delivery = lake.deliver("2025-01")
    text = failure(lake.run(JOB), OP)
    assert f"also holds rows of others, which would lose their values of {COST}" in text
    for output in lake.component.export.outputs:
        catalog = lake.lake.catalog(output)
        assert catalog.fields(lake.table) == OLD
        assert count(catalog.files(lake.table, PeriodKey(EXPORT, "2025-01"))) == 2
        lake.lake.files.remove_folder(lake.lake.staging)
        catalog.drop(lake.table)
    assert lake.load("2025-01").success
    for output in lake.component.export.outputs:
        put(lake, output, other, lake.lake.catalog(output).fields(lake.table) or ())
    assert lake.run(JOB).success
    for output in lake.component.export.outputs:
        assert count(lake.lake.catalog(output).files(lake.table, other)) == 2
        assert lake.profile(output, "2025-01").rows == delivery.rows


@pytest.mark.parametrize("output", ["hive", "iceberg"])
def test_a_delivery_that_is_loaded_while_a_rebuild_is_at_work_is_in_the_table(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch, output: TableOutput
) -> None:
    lake = make_lake(outputs=[output])
    lake.deliver("2025-01")
    deliveries = [lake.deliver("2025-02")]
    assert lake.load_range("2025-01", "2025-02").success

    def load_anew_and_another() -> None:
        deliveries.extend((lake.deliver("2025-01", restatement=1), lake.deliver("2025-03")))
        assert lake.load_range("2025-01", "2025-03").success

    during_the_rebuild(monkeypatch, load_anew_and_another)
    result = lake.run(JOB)
    assert result.success, failure(result, OP)
    for delivery in deliveries:
        assert (
            lake.profile(output, delivery.period).totals["USD"][COST]
            == (delivery.totals["USD"][COST])
        )
    periods = lake.lake.catalog(output).periods(TABLE, EXPORT)
    assert periods == ("2025-01", "2025-02", "2025-03")


@pytest.mark.parametrize("where", ["local", "aws"])
def test_a_load_that_was_encoded_for_the_columns_before_a_rebuild_is_encoded_again(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with the old columns would have no costs for who reads the new ones."""
    lake: SampleLake = request.getfixturevalue(
        {"local": "make_lake", "aws": "make_aws_lake"}[where]
    )()
    for output in lake.component.export.outputs:
        lake.lake.catalog(output).create(lake.table, AS_TEXT)
    lake.deliver("2025-01")
    delivery = lake.deliver("2025-02")
    # An older version would have loaded the delivery into the old table.
    monkeypatch.setattr(loading, "_refuse", lambda *_: None)
    opened, export = lake.lake, lake.component.export
    engine = opened.engine(print)
    loader = loading.Loader(lake=opened, export=export, run_id="a run", engine=engine)
    found = find_deliveries(opened.storage, export.location).deliveries["2025-02"]
    crawl = crawl_delivery(opened, engine, found)
    encode_, rebuilt = loading.encode_delivery, list[bool]()

    def encode_and_rebuild(*args: Any) -> Any:
        encoded = encode_(*args)
        if not rebuilt:
            rebuilt.append(True)
            result = lake.run(JOB)
            assert result.success, failure(result, OP)
        return encoded

    monkeypatch.setattr(loading, "encode_delivery", encode_and_rebuild)
    for output in export.outputs:
        loader.load(opened.table(export, output), crawl)
        assert types(opened.catalog(output), lake.table)[COST] == "decimal(38, 18)"
        profile = lake.profile(output, "2025-02")
        assert profile.totals["USD"][COST] == delivery.totals["USD"][COST]


def test_a_delivery_that_cannot_be_used_and_arrives_during_a_rebuild_changes_nothing(
    make_lake: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake(outputs=["iceberg"])
    old = lake.deliver("2025-01")
    assert lake.load("2025-01").success

    def damage() -> None:
        lake.deliver("2025-01", restatement=1).files[0].write_bytes(b"this is no gzip")
        # Somebody else commits, so that the rebuild has to look again.
        put(lake, "iceberg", PeriodKey("others", "2025-01"), lake.lake.iceberg.fields(TABLE) or ())

    during_the_rebuild(monkeypatch, damage)
    text = failure(lake.run(JOB), OP)
    assert "-00001.csv.gz" in text
    assert len(lake.lake.iceberg.open(TABLE).metadata.snapshots) == 2, "the load and the others'"
    assert lake.profile("iceberg", "2025-01").rows == old.rows
