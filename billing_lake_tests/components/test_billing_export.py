"""Settings of the component, and what it makes of them."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from billing_lake import definitions as code_location
from billing_lake.components import BillingExport
from billing_lake.domain.errors import ConfigurationError
from billing_lake.landing.export_yaml import DEFS_SETTING
from billing_lake_tests.lakes import EXPORT, SampleLake

# Dagster itself calls what pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*parse_obj_as.*")


def resolved(**settings: object) -> BillingExport:
    """Resolve settings as a defs.yaml would."""
    text = yaml.safe_dump({"name": "costs", "layout": "overwrite", "report": "daily", **settings})
    export: BillingExport = BillingExport.resolve_from_yaml(text)
    return export


def test_three_lines_are_enough_for_an_export() -> None:
    export = resolved().export
    assert export.outputs == ("hive", "iceberg", "s3_table")
    assert export.table == "billing.costs"
    assert export.partitions.get_first_partition_key() == "2024-01"


def test_outputs_are_loaded_in_one_order_whatever_order_they_are_written_in() -> None:
    assert resolved(outputs=["s3_table", "iceberg"]).export.outputs == ("iceberg", "s3_table")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", "Costs; DROP"),
        ("name", "../costs"),
        ("table", "a.b"),
        ("table", "deliveries"),
        ("layout", "other"),
        ("outputs", []),
        ("outputs", ["delta"]),
        ("start", "2024-1"),
        ("start", "January"),
        ("namespace", "a.b"),
        ("sensor_runs_per_tick", 0),
        ("sensor_interval_seconds", -1),
        ("owner", ["team:finops"]),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: object) -> None:
    with pytest.raises(Exception, match=setting):
        resolved(**{setting: value})


def test_a_layout_with_a_manifest_needs_the_reports_name() -> None:
    with pytest.raises(ConfigurationError, match="`report`"):
        _ = resolved(report="").export


@pytest.mark.parametrize(
    ("written", "buckets"),
    [("", ()), ("one", ("one",)), (["old", "new"], ("old", "new")), ([], ())],
)
def test_the_bucket_is_one_name_or_a_list_where_a_report_moved(
    written: object, buckets: tuple[str, ...]
) -> None:
    assert resolved(bucket=written).export.location.buckets == buckets


def test_every_setting_says_what_it_is_for() -> None:
    model = BillingExport.get_model_cls()
    assert model
    properties = model.model_json_schema()["properties"]
    assert all(len(one.get("description", "")) > 20 for one in properties.values()), properties


def keys(lake: SampleLake) -> dict[str, Any]:
    definitions = lake.definitions
    return {
        "assets": {key.path[-1] for key in definitions.resolve_all_asset_keys()},
        "jobs": {job.name for job in definitions.jobs or ()},
        "sensors": {sensor.name for sensor in definitions.sensors or ()},
    }


def test_an_export_is_its_assets_its_jobs_and_its_sensor(tmp_path: Path) -> None:
    found = keys(SampleLake(tmp_path, {"outputs": ["iceberg"]}))
    assert found["assets"] == {
        "delivery",
        "raw_reports",
        "crawler_table",
        "iceberg_table",
        "deliveries",
        "restatements",
        "iceberg_static",
    }
    jobs = ("load", "rebuild_tables", "maintenance")
    assert {f"{EXPORT}_{job}" for job in jobs} <= found["jobs"]
    assert found["sensors"] == {f"{EXPORT}_new_reports"}


def test_all_assets_of_an_export_have_the_same_periods_the_open_month_included(
    tmp_path: Path,
) -> None:
    definitions = SampleLake(tmp_path).definitions
    partitions = {
        asset.partitions_def
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and asset.partitions_def is not None
    }
    assert len(partitions) == 1
    periods = partitions.pop().get_partition_keys(
        current_time=datetime(2025, 3, 15, tzinfo=timezone.utc)
    )
    assert (periods[0], periods[-1]) == ("2025-01", "2025-03")


def test_two_exports_live_side_by_side(tmp_path: Path) -> None:
    one = SampleLake(tmp_path).definitions
    other = SampleLake(tmp_path, {"name": "other", "layout": "loose", "prefix": "x"})
    dg.Definitions.validate_loadable(dg.Definitions.merge(one, other.component.definitions))


@pytest.mark.parametrize("single_run", [True, False])
def test_a_backfill_of_a_range_is_one_run_or_one_for_each_month(
    tmp_path: Path, *, single_run: bool
) -> None:
    definitions = SampleLake(tmp_path, {"single_run_backfill": single_run}).definitions
    asset = definitions.resolve_assets_def(dg.AssetKey([EXPORT, "iceberg_table"]))
    expected = dg.BackfillPolicy.single_run() if single_run else dg.BackfillPolicy.multi_run()
    assert asset.backfill_policy == expected


def test_a_sensor_is_off_until_somebody_switches_it_on(tmp_path: Path) -> None:
    status = dg.DefaultSensorStatus
    for running, expected in ((False, status.STOPPED), (True, status.RUNNING)):
        definitions = SampleLake(tmp_path, {"sensor_running": running}).definitions
        sensor = definitions.resolve_sensor_def(f"{EXPORT}_new_reports")
        assert sensor.default_status == expected


def test_there_is_a_static_table_only_where_one_is_asked_for_and_in_a_group_of_its_own(
    tmp_path: Path,
) -> None:
    for settings, expected in (
        ({}, set()),
        ({"static": True}, {f"{EXPORT}_static"}),
        ({"static_files": ["archive/a.csv.gz"]}, {f"{EXPORT}_static"}),
    ):
        definitions = SampleLake(tmp_path, {"static": False, **settings}).definitions
        groups = {
            spec.group_name: spec.partitions_def is None
            for spec in definitions.resolve_all_asset_specs()
        }
        assert groups == {EXPORT: False, **dict.fromkeys(expected, True)}


def test_files_of_the_settings_are_the_default_of_the_static_table(tmp_path: Path) -> None:
    lake = SampleLake(tmp_path, {"static_files": ["archive/a.csv.gz"]})
    asset = lake.definitions.resolve_assets_def(dg.AssetKey([EXPORT, "iceberg_static"]))
    assert asset.op.config_schema.default_value == {"files": ["archive/a.csv.gz"]}


def exports_folder(folder: Path, **exports: str) -> dg.Definitions:
    """Load a folder of exports, each given by the lines of its settings, as the code location does."""
    for name, settings in exports.items():
        (folder / name).mkdir(parents=True)
        text = f"type: billing_lake.components.BillingExport\n\nattributes:\n{settings}"
        (folder / name / "defs.yaml").write_text(text)
    module = code_location.exports_folder({DEFS_SETTING: str(folder)})
    tree = dg.ComponentTree.from_module(module, folder.parent)
    return tree.build_defs(tree.defs_module_path)


def description(definitions: dg.Definitions, name: str) -> str:
    """Return what stands in place of an export that is not loaded."""
    key = dg.AssetKey(["not_loaded", name])
    (spec,) = (spec for spec in definitions.resolve_all_asset_specs() if spec.key == key)
    return str(spec.description)


GOOD = "  name: good\n  layout: loose\n"


def test_exports_of_two_formats_cannot_share_a_table_and_the_others_stay(tmp_path: Path) -> None:
    definitions = exports_folder(
        tmp_path / "defs",
        good=GOOD,
        old="  name: old\n  layout: loose\n  table: bill\n",
        new="  name: new\n  layout: loose\n  format: cur2\n  table: bill\n",
    )
    jobs = {job.name for job in definitions.get_repository_def().get_all_jobs()}
    assert "good_load" in jobs
    assert not {"old_load", "new_load"} & jobs
    said = description(definitions, "new")
    assert f"{tmp_path / 'defs' / 'new' / 'defs.yaml'}, line 7)" in said
    assert "go into the same table, billing.bill: new (cur2) and old (legacy_cur)" in said
    assert "another `table`" in said


def test_an_export_is_not_loaded_into_the_table_of_the_static_files_of_another(
    tmp_path: Path,
) -> None:
    definitions = exports_folder(
        tmp_path / "defs",
        bill="  name: bill\n  layout: loose\n  static: true\n",
        by_name="  name: bill_static\n  layout: loose\n",
        by_table="  name: other\n  layout: loose\n  table: bill_static\n",
        free="  name: free\n  layout: loose\n",
        free_static="  name: free_static\n  layout: loose\n",
    )
    jobs = {job.name for job in definitions.get_repository_def().get_all_jobs()}
    assert {"bill_load", "free_load", "free_static_load"} <= jobs
    assert not {"bill_static_load", "other_load"} & jobs
    for folder, name in (("by_name", "bill_static"), ("by_table", "other")):
        said = description(definitions, folder)
        assert f"the table of {name}, is the one of the static files of bill" in said


def test_a_shared_table_keeps_the_longest_history_that_one_of_its_exports_asks_for(
    tmp_path: Path,
) -> None:
    lines = "  layout: loose\n  table: bill\n"
    definitions = exports_folder(
        tmp_path / "defs",
        one=f"  name: one\n{lines}  keep_days: 400\n",
        two=f"  name: two\n{lines}  keep_loads: 9\n",
        alone="  name: alone\n  layout: loose\n  keep_days: 5\n",
    )
    kept = {}
    for name in ("one", "two", "alone"):
        job = definitions.resolve_job_def(f"{name}_maintenance")
        op: Any = job.get_node_named(f"{name}_maintain").definition
        fields = op.config_schema.config_type.fields
        kept[name] = (fields["keep_days"].default_value, fields["keep_loads"].default_value)
    assert kept == {"one": (400, 9), "two": (400, 9), "alone": (5, 3)}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("  name: my-bill\n  layout: loose\n", "line 4). `name`: Name of the export"),
        ("  name: bad\n  layout: createnew\n", "line 5). `layout`: How the provider"),
        ("  name: bad\n  layout: loose\n  outputs: iceberg\n", "line 6). `outputs`: Tables"),
        ("  name: bad\n  layout: loose\n  owner: [x]\n", "line 6). Write `owners`"),
        ("  name: bad\n  layout: loose\n  format: cur\n", "line 6). Choose one of: legacy_cur"),
        ("  name: bad\n", "`layout` is missing"),
        ("  name: bad\n  layout: overwrite\n", "line 4). Set `report`"),
        ("  name: bad\n  layout: loose\n  owners: [x]\n", "line 6). `owners`: Owners"),
        ("  name: bad\n  layout: loose\n  prefix: ../x\n", "line 6). Name folders only"),
    ],
)
def test_a_wrong_export_says_file_line_setting_and_remedy_and_the_others_stay(
    tmp_path: Path, settings: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = exports_folder(tmp_path / "defs", good=GOOD, wrong=settings)
    repository = definitions.get_repository_def()
    assert "good_load" in {job.name for job in repository.get_all_jobs()}
    assert "good_new_reports" in {sensor.name for sensor in repository.sensor_defs}
    said = description(definitions, "wrong")
    assert str(tmp_path / "defs" / "wrong" / "defs.yaml") in said
    assert sentence in said
    sensor = repository.get_sensor_def("wrong_not_loaded")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        sensor(dg.build_sensor_context())

    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        exports_folder(tmp_path / "again", good=GOOD, wrong=settings)


def test_exports_of_one_name_are_said_with_their_files_and_none_of_them_is_loaded(
    tmp_path: Path,
) -> None:
    other = GOOD.replace("good", "other")
    definitions = exports_folder(tmp_path / "defs", one=GOOD, other=other, two=GOOD)
    jobs = {job.name for job in definitions.get_repository_def().get_all_jobs()}
    assert {"other_load", "s3_table_create"} <= jobs
    assert "good_load" not in jobs
    for name in ("one", "two"):
        for file in ("one", "two"):
            place = f"{tmp_path / 'defs' / file / 'defs.yaml'}, line 4"
            assert place in description(definitions, name)
