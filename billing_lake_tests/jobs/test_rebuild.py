"""The job that builds tables anew: the way out of a change that no table can follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake_tests.assets.test_load import assert_tables_equal, op_config
from billing_lake_tests.lakes import EXPORT, TABLE, World, failure, verdicts

JOB = f"{EXPORT}_rebuild_iceberg_table"
OP = f"{EXPORT}_rebuild"
COST = "line_item_unblended_cost"

Make = Callable[..., World]


def make_old_tables(lake: World) -> None:
    """Make the tables as an older dictionary would have, with money as DOUBLE."""
    old = plan(None, lake_columns([Column(COST, "double")])).fields
    for catalog in (lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables):
        catalog.create(TABLE, old)


def before(lake: World) -> list[list[str]]:
    return [
        [name for name in catalog.tables() if name.startswith(f"{TABLE}__")]
        for catalog in (lake.lake.hive, lake.lake.iceberg, lake.lake.s3_tables)
    ]


def test_after_a_rebuild_the_gate_passes_and_the_old_tables_are_still_there(world: Make) -> None:
    lake = world()
    make_old_tables(lake)
    deliveries = [lake.deliver(period) for period in ("2025-01", "2025-02")]
    assert not lake.load("2025-01").success
    assert lake.run(JOB).success
    for names in before(lake):
        assert len(names) == 1
        assert names[0].startswith(f"{TABLE}__before_")
    assert {f.name: f.type for f in lake.lake.iceberg.fields(TABLE) or ()}[
        COST
    ] == "decimal(38, 18)"
    for delivery in deliveries:
        for output in ("hive", "iceberg", "s3_table"):
            found = lake.profile(output, delivery.period)
            assert found.rows == delivery.rows
            assert found.totals["USD"][COST] == delivery.totals["USD"][COST]
    again = lake.load("2025-01")
    assert again.success
    assert all(one.passed for one in verdicts(again).values())


def test_one_bad_month_stops_the_switch_and_says_where_the_new_table_is(world: Make) -> None:
    lake = world(outputs=["iceberg"])
    good, bad = lake.deliver("2025-01"), lake.deliver("2025-02")
    assert lake.load_range("2025-01", "2025-02").success
    fields = lake.lake.iceberg.fields(TABLE)
    bad.files[0].write_bytes(b"this is no gzip")
    result = lake.run(JOB)
    assert not result.success
    text = failure(result, OP)
    assert text.startswith(
        "LoadError: 1 of 2 billing periods failed, so nothing was switched. 2025-02: "
    )
    assert f"What was built so far is {TABLE}__rebuilt_" in text
    assert lake.lake.iceberg.fields(TABLE) == fields
    assert lake.profile("iceberg", "2025-02").rows == bad.rows
    assert lake.profile("iceberg", "2025-01").rows == good.rows


def test_a_month_whose_delivery_is_gone_is_left_behind_only_when_it_is_named(world: Make) -> None:
    lake = world(outputs=["iceberg"])
    gone, kept = lake.deliver("2025-01"), lake.deliver("2025-02")
    assert lake.load_range("2025-01", "2025-02").success
    for file in (*gone.files, gone.manifest):
        assert file
        file.unlink()
    text = failure(lake.run(JOB), OP)
    assert "without a delivery in storage: 2025-01" in text
    assert lake.profile("iceberg", "2025-01").rows == gone.rows
    assert lake.run(JOB, config=op_config(OP, leave_behind=["2025-01"])).success
    assert lake.lake.iceberg.periods(TABLE, EXPORT) == (kept.period,)
    old = next(name for name in lake.lake.iceberg.tables() if "__before_" in name)
    assert lake.lake.iceberg.periods(old, EXPORT) == ("2025-01", "2025-02")


def test_a_switch_that_fails_half_way_gives_the_old_table_its_name_back(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from billing_lake.catalogs.iceberg import IcebergTables
    from billing_lake.domain.errors import StorageWriteError

    lake = world(outputs=["iceberg"])
    delivery = lake.deliver("2025-01")
    assert lake.load("2025-01").success
    fields, place = lake.lake.iceberg.fields(TABLE), lake.lake.iceberg.uri(TABLE)
    rename = IcebergTables.rename

    def fail_for_the_new(self: IcebergTables, table: str, name: str) -> None:
        if "__rebuilt_" in table:
            raise StorageWriteError("The disk is full")
        rename(self, table, name)

    monkeypatch.setattr(IcebergTables, "rename", fail_for_the_new)
    text = failure(lake.run(JOB), OP)
    assert text.startswith("LoadError: Nothing was switched: The disk is full")
    assert lake.lake.iceberg.fields(TABLE) == fields
    assert lake.profile("iceberg", "2025-01").rows == delivery.rows
    assert lake.lake.iceberg.uri(TABLE) == place


def during_the_switch(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen at the moment at which the old table loses its name."""
    from billing_lake.catalogs.iceberg import IcebergTables

    rename = IcebergTables.rename

    def wait_and_rename(self: IcebergTables, table: str, name: str) -> None:
        if table == TABLE:
            happens()
        rename(self, table, name)

    monkeypatch.setattr(IcebergTables, "rename", wait_and_rename)


def test_a_delivery_that_is_loaded_during_the_switch_is_in_the_new_table(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = world(outputs=["iceberg"])
    lake.deliver("2025-01")
    deliveries = [lake.deliver("2025-02")]
    assert lake.load_range("2025-01", "2025-02").success

    def load_anew() -> None:
        deliveries.append(lake.deliver("2025-01", restatement=1))
        assert lake.load("2025-01").success

    during_the_switch(monkeypatch, load_anew)
    assert lake.run(JOB).success
    assert_tables_equal(lake, *deliveries)


def test_a_delivery_during_the_switch_that_cannot_be_loaded_is_named_with_what_was_done(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = world(outputs=["iceberg"])
    old = lake.deliver("2025-01")
    assert lake.load("2025-01").success

    def damage() -> None:
        lake.deliver("2025-01", restatement=1).files[0].write_bytes(b"this is no gzip")

    during_the_switch(monkeypatch, damage)
    text = failure(lake.run(JOB), OP)
    assert text.startswith("LoadError: The tables were switched, but what was delivered meanwhile")
    assert "-00001.csv.gz" in text
    assert_tables_equal(lake, old)
