"""A load asks the catalogs for no more than it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from billing_lake.tables.hive import HiveTables
from billing_lake.tables.iceberg import IcebergTables
from billing_lake_tests.lakes import SPEC, SampleLake


def test_a_load_reads_the_fields_of_each_table_few_times(
    make_lake: Callable[..., SampleLake], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_lake()
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    reads: Counter[str] = Counter()
    for kind in (HiveTables, IcebergTables):
        fields = kind.fields

        def counted(self: object, table: str, fields: Callable[..., object] = fields) -> object:
            if table == lake.table:
                reads[getattr(self, "name", "hive")] += 1
            return fields(self, table)

        monkeypatch.setattr(kind, "fields", counted)
    lake.deliver("2025-03", restatement=1)
    assert lake.load("2025-03").success
    # Once each for what the crawl encodes, for the schema diff and for the commit; the load of Hive asks once more for its own fields
    # and for those whose ids it shares.
    assert reads == {"hive": 4, "iceberg": 4, "s3tables": 3}


def test_a_table_says_what_its_columns_mean_those_of_later_deliveries_too(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg", "s3_table"])
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    first = {one.name for one in lake.lake.iceberg.fields(lake.table) or ()}
    lake.deliver("2025-04", spec=replace(SPEC, columns=300))
    assert lake.load("2025-04").success
    for catalog in (lake.lake.iceberg, lake.lake.s3_tables):
        described = {one.name: one.description for one in catalog.fields(lake.table) or ()}
        assert "cost" in described["line_item_unblended_cost"].lower()
        assert described["billing_period"].endswith("Added by the lake.")
        later = set(described) - first
        assert later
        assert {name: described[name] for name in later} == {
            name: lake.component.export.format.describe(name) for name in later
        }


@pytest.mark.parametrize("broken", ["", '{"format": 1}'])
def test_a_month_whose_stored_values_are_lost_or_of_another_release_is_loaded_again_at_once(
    make_lake: Callable[..., SampleLake], broken: str
) -> None:
    lake = make_lake()
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    values = [*(lake.home / "values").rglob("2025-03.json")]
    assert len(values) == 5
    for value in values:
        value.write_text(broken)
    assert lake.load("2025-03").success
    assert lake.lake.crawled.names() == ()
