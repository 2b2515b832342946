"""The job that removes what killed loads left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import DOUBLE, STRING
from billing_lake.loads.maintenance import maintain
from billing_lake.tables.base import CleanUp
from billing_lake_tests.assets.test_load import op_config
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import EXPORT, SampleLake

PERIOD = "2025-03"
# A moment ahead: the clock of a storage need not be ours to the second.
ANY = CleanUp(older_than=timedelta(seconds=-2))


@pytest.fixture(params=["local", "aws"])
def lake(request: pytest.FixtureRequest) -> SampleLake:
    """A lake whose period was loaded twice, so that it has a history."""
    fixture = {"local": "make_lake", "aws": "make_aws_lake"}[request.param]
    lake: SampleLake = request.getfixturevalue(fixture)()
    for restatement in (0, 1):
        lake.deliver(PERIOD, restatement=restatement)
        assert lake.load(PERIOD).success
    return lake


def left_by_a_kill(lake: SampleLake) -> list[str]:
    """Put files where a load has them at different moments; return what is to go."""
    uris = {
        str(lake.lake.hive.new_location(lake.table, PeriodKey(EXPORT, PERIOD))): "part-0.parquet",
        f"{lake.lake.iceberg.uri(lake.table)}/data/{EXPORT}/left.parquet": "",
        f"{lake.lake.staging}/0123abcd": "part-0.parquet",
    }
    for uri, name in uris.items():
        lake.lake.files.write(f"{uri}/{name}".rstrip("/"), b"half")
    return sorted(uris)


def files(lake: SampleLake) -> list[str]:
    """Return every file of the tables and of the staging folder."""
    tables = [lake.lake.hive.uri(lake.table), lake.lake.iceberg.uri(lake.table)]
    folders = [*tables, lake.lake.staging]
    return [file.uri for folder in folders for file in lake.lake.files.list(folder)]


def test_what_a_killed_load_left_goes_when_it_is_old_and_the_tables_stay_as_they_are(
    lake: SampleLake,
) -> None:
    tables = files(lake)
    left = left_by_a_kill(lake)
    beside_loads = files(lake)
    result = lake.run(f"{EXPORT}_maintenance")
    assert result.success
    (output,) = (one for one in result.all_node_events if one.is_successful_output)
    assert output.step_output_data.metadata["removed"].value == 0, "a load may be at work"
    assert files(lake) == beside_loads

    log: list[str] = []
    removed = maintain(lake.lake, lake.component.export, ANY, log.append)
    assert sorted(uri for uris in removed.values() for uri in uris) == left
    assert files(lake) == tables
    managed = [line for line in log if "cleans up by its own rules" in line]
    assert len(managed) == isinstance(lake, SampleLakeOnAws)


def test_an_age_that_would_reach_loads_at_work_is_refused(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake()
    config = op_config(f"{EXPORT}_clean_up", older_than_days=0)
    result = lake.run(f"{EXPORT}_maintenance", config=config)
    assert "greater than or equal to 1" in str(result.failure_data_for_node(f"{EXPORT}_clean_up"))


def test_tables_that_are_not_the_exports_are_left_alone(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    fields = plan(None, lake_columns([Column("line_item_unblended_cost", DOUBLE)])).fields
    mine = [f"{lake.table}{rest}" for rest in ("", "_static", "__before_1", "__rebuilt_1")]
    for table in (*mine, f"{lake.table}_of_others", "other.costs"):
        lake.lake.iceberg.create(table, fields)
        lake.lake.files.write(f"{lake.lake.iceberg.uri(table)}/data/left.parquet", b"half")
    removed = maintain(lake.lake, lake.component.export, ANY, print)
    assert set(removed) == {f"iceberg_table {table}" for table in mine}


def test_static_files_are_looked_after_whatever_else_the_export_is_loaded_into(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["hive"])
    static = lake.component.export.static_table
    lake.lake.iceberg.create(static, plan(None, lake_columns([Column("a", STRING)])).fields)
    lake.lake.files.write(f"{lake.lake.iceberg.uri(static)}/data/left.parquet", b"half")
    removed = maintain(lake.lake, lake.component.export, ANY, print)
    assert set(removed) == {f"iceberg_table {static}"}


def test_a_lake_without_tables_has_no_orphans(make_lake: Callable[..., SampleLake]) -> None:
    lake = make_lake()
    assert maintain(lake.lake, lake.component.export, ANY, print) == {}
