"""The jobs that make and delete an S3 table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pytest
from pyiceberg.table.update.snapshot import ExpireSnapshots

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.types import DOUBLE
from billing_lake.loads.s3_tables import defined_schema
from billing_lake.tables import iceberg_compaction
from billing_lake.tables.iceberg_compaction import compact
from billing_lake_tests.assets.test_load import figures, op_config
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import EXPORT, SPEC, TABLE, SampleLake, failed, failure, verdicts

Make = Callable[..., SampleLake]


def message(lake: SampleLake, job: str, **config: object) -> str:
    op = {"s3_table_create": "create_s3_table", "s3_table_delete": "delete_s3_table"}[job]
    result = lake.run(job, config=op_config(op, **config))
    if not result.success:
        return failure(result, op)
    output = next(e for e in result.all_node_events if e.is_successful_output)
    return str(output.step_output_data.metadata["result"].value)


def test_a_table_is_made_once_with_the_defined_schema(make_lake: Make) -> None:
    lake = make_lake()
    columns = len(defined_schema())
    assert message(lake, "s3_table_create", table=TABLE) == f"Made {TABLE} with {columns} columns"
    fields = lake.lake.s3_tables.fields(TABLE)
    assert fields == defined_schema()
    again = message(lake, "s3_table_create", table=TABLE)
    assert again == f"{TABLE} exists already with the defined schema; nothing was done"


@pytest.mark.parametrize("name", ["keep_days", "keep_snapshots"])
def test_a_number_out_of_bounds_is_refused_by_name(make_lake: Make, name: str) -> None:
    lake = make_lake()
    said = message(lake, "s3_table_create", table=TABLE, **{name: 0})
    assert f"`{name}` in the run config is 0; it may be 1 to 365,000" in said
    assert lake.lake.s3_tables.fields(TABLE) is None


def test_a_table_for_cur_2_has_its_dictionary_and_takes_its_deliveries(make_lake: Make) -> None:
    lake = make_lake(outputs=["s3_table"], format="cur2")
    made = message(lake, "s3_table_create", table=TABLE, format="cur2")
    assert made == f"Made {TABLE} with {131 + len(LAKE_COLUMNS)} columns"
    delivery = lake.deliver("2025-03", spec=replace(SPEC, format="cur2"))
    assert lake.load("2025-03").success
    assert "nothing was done" in message(lake, "s3_table_create", table=TABLE, format="cur2")
    assert "with another schema" in message(lake, "s3_table_create", table=TABLE)
    assert lake.profile("s3_table", "2025-03").rows == delivery.rows
    assert "There is no format 'cur'" in message(
        lake, "s3_table_create", table="billing.other", format="cur"
    )


def test_a_loaded_table_still_counts_as_made(make_lake: Make) -> None:
    lake = make_lake(outputs=["s3_table"])
    message(lake, "s3_table_create", table=TABLE)
    delivery = lake.deliver("2025-03")
    assert lake.load("2025-03").success
    assert "nothing was done" in message(lake, "s3_table_create", table=TABLE)
    assert lake.profile("s3_table", "2025-03").rows == delivery.rows


def test_a_table_with_another_schema_is_refused_and_left_alone(make_lake: Make) -> None:
    lake = make_lake()
    other = plan(None, lake_columns([Column("line_item_unblended_cost", DOUBLE)])).fields
    lake.lake.s3_tables.create(TABLE, other)
    text = message(lake, "s3_table_create", table=TABLE)
    assert text.startswith(f"TableError: {TABLE} exists with another schema: ")
    assert lake.lake.s3_tables.fields(TABLE) == other


def test_a_table_is_deleted_only_when_its_name_is_typed_as_confirmation(make_lake: Make) -> None:
    lake = make_lake()
    message(lake, "s3_table_create", table=TABLE)
    for confirm in ("", "yes", "costs", f"{TABLE} "):
        text = message(lake, "s3_table_delete", table=TABLE, confirm=confirm)
        assert text.startswith("ConfirmationError: ")
        assert lake.lake.s3_tables.fields(TABLE) is not None
    assert message(lake, "s3_table_delete", table=TABLE, confirm=TABLE).startswith("Deleted")
    assert lake.lake.s3_tables.fields(TABLE) is None
    gone = message(lake, "s3_table_delete", table=TABLE, confirm=TABLE)
    assert gone.startswith("TableError: There is no S3 table")


def test_a_name_without_a_namespace_is_said_with_one_that_has_it(make_lake: Make) -> None:
    text = message(make_lake(), "s3_table_create", table="mytable")
    assert "'mytable' has no namespace. Write billing.mytable" in text


def test_after_a_table_was_deleted_its_asset_is_as_before_and_its_checks_say_what_to_do(
    make_lake: Make,
) -> None:
    lake = make_lake(outputs=["iceberg", "s3_table"])
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    key = dg.AssetKey([EXPORT, "s3_table"])
    assert lake.instance.get_materialized_partitions(key) == {"2025-03"}
    message(lake, "s3_table_delete", table=TABLE, confirm=TABLE)
    assert lake.instance.get_materialized_partitions(key) == set()
    assert lake.instance.get_latest_materialization_event(key) is None
    assert lake.lake.values.periods(key.path) == ()
    result = lake.run("__ASSET_JOB", assets=["s3_table"], partition_key="2025-03")
    assert result.success
    assert lake.profile("s3_table", "2025-03").rows > 0


def settings_of(lake: SampleLakeOnAws) -> dict[str, object]:
    """Return how AWS maintains the S3 table."""
    arn = lake.lake.settings.table_bucket_arn
    found = lake.aws.client("s3tables").get_table_maintenance_configuration(
        tableBucketARN=arn, namespace=lake.namespace, name=lake.name
    )
    return {
        kind: value["settings"][kind]
        for kind, value in found["configuration"].items()
        if value["status"] == "enabled" and "settings" in value
    }


def test_the_history_of_a_table_that_aws_maintains_is_set_and_can_be_set_again(
    make_aws_lake: Callable[..., SampleLakeOnAws],
) -> None:
    lake = make_aws_lake(outputs=["s3_table"])
    made = message(lake, "s3_table_create", table=lake.table)
    assert made.endswith("AWS keeps its snapshots for 30 days, the last 3 however old")
    assert settings_of(lake) == {
        "icebergSnapshotManagement": {"maxSnapshotAgeHours": 720, "minSnapshotsToKeep": 3},
        "icebergCompaction": {"targetFileSizeMB": 512},
    }
    again = message(lake, "s3_table_create", table=lake.table, keep_days=7, keep_snapshots=1)
    assert "nothing was done; AWS keeps its snapshots for 7 days" in again
    snapshots = settings_of(lake)["icebergSnapshotManagement"]
    assert snapshots == {"maxSnapshotAgeHours": 168, "minSnapshotsToKeep": 1}


def test_loads_go_on_where_aws_has_compacted_the_table_and_forgotten_its_snapshots(
    make_aws_lake: Callable[..., SampleLakeOnAws], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_aws_lake(outputs=["s3_table"])
    message(lake, "s3_table_create", table=lake.table)
    lake.deliver("2025-03")
    assert lake.load("2025-03").success
    held = lake.lake.s3_tables.held(lake.table, lake.name)

    monkeypatch.setattr(iceberg_compaction, "FEWEST_FILES", 1)
    table = lake.lake.s3_tables.open(lake.table)
    before = [one.snapshot_id for one in table.snapshots()]
    assert len(list(compact(table, lambda _, __: None, dry_run=False))) == 1
    with lake.lake.s3_tables.open(lake.table).transaction() as transaction:
        ExpireSnapshots(transaction).by_ids(before).commit()
    assert len(lake.lake.s3_tables.open(lake.table).snapshots()) == 1
    assert lake.lake.s3_tables.held(lake.table, lake.name) == held

    delivery = lake.deliver("2025-03", restatement=1)
    result = lake.load("2025-03")
    assert result.success
    assert failed(verdicts(result)) == []
    assert figures(lake.profile("s3_table", "2025-03")) == figures(delivery)
