"""The code location as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import billing_lake
from billing_lake.components.billing_export import BillingExport
from billing_lake.components.broken_exports import ExportNotLoadedError
from billing_lake.definitions import defs, leave_out_known_warnings
from billing_lake.deployments import (
    _LAKES,
    DEPLOYMENT_SETTING,
    HOME_SETTING,
    Deployment,
    LocalLake,
    open_lake,
)
from billing_lake.deployments.local import DEMO_MARK, demo_home, home_folder
from billing_lake.domain.errors import ConfigurationError
from billing_lake.landing.export_yaml import DEFS_SETTING

ROOT = Path(billing_lake.__file__).parent.parent
EXPORT = "cost_and_usage"


@pytest.fixture(autouse=True)
def _no_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the checkout's own lakes out of it."""
    monkeypatch.setenv(HOME_SETTING, str(tmp_path / "none"))


def test_the_code_location_is_what_the_documentation_says() -> None:
    repository = defs().get_repository_def()
    keys = {key.to_user_string() for key in repository.assets_defs_by_key}
    tables = ("delivery", "raw_reports", "crawler_table", "hive_table", "iceberg_table", "s3_table")
    story = ("deliveries", "restatements")
    assert keys == {"all_costs", *(f"{EXPORT}/{name}" for name in (*tables, *story))}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        f"{EXPORT}_new_reports",
        "finops_alerts",
        "default_automation_condition_sensor",
    }
    assert {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")} == {
        f"{EXPORT}_load",
        f"{EXPORT}_rebuild_tables",
        f"{EXPORT}_maintenance",
        "s3_table_create",
        "s3_table_delete",
    }
    checks = {key.name for key in repository.asset_checks_defs_by_key}
    assert {"readable", "schema_diff", "equals_delivery", "equals_tables"} <= checks


def test_assets_are_described_owned_and_grouped() -> None:
    for asset in defs().get_repository_def().assets_defs_by_key.values():
        for spec in asset.specs:
            assert spec.owners
            assert spec.kinds
            assert spec.description
            if spec.key.path != ["all_costs"]:
                assert spec.group_name == EXPORT
                assert spec.tags["billing_lake/export"] == EXPORT


def test_jobs_and_what_asks_for_them_are_described_tagged_and_owned_and_nothing_is_warned_of() -> (
    None
):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        leave_out_known_warnings()
        repository = defs().get_repository_def()
        jobs = [job for job in repository.get_all_jobs() if job.name.startswith(EXPORT)]
    sensor = repository.get_sensor_def(f"{EXPORT}_new_reports")
    everything: list[Any] = [*jobs, sensor, *repository.schedule_defs]
    for one in everything:
        assert one.description
        assert one.owners == ["team:finops"]
        assert one.tags["billing_lake/export"] == EXPORT
    assert len(everything) == 5
    assert not [text for one in told if "`owners`" in (text := str(one.message))]


def test_the_jobs_of_an_export_have_the_tags_that_size_their_runs() -> None:
    size = {"ecs/cpu": "4096", "ecs/memory": "8192"}
    export = BillingExport(name="acme", layout="loose", outputs=["iceberg"], run_tags=size)
    for job in export.definitions.jobs or ():
        tags = job.tags or {}
        assert size.items() <= tags.items()
        assert tags["billing_lake/export"] == "acme"
    assert not BillingExport(name="acme", layout="loose").export.run_tags


def test_tables_of_an_export_that_goes_on_are_overdue_after_some_hours() -> None:
    def policy(**settings: Any) -> dg.FreshnessPolicy | None:
        export = BillingExport(name="acme", layout="loose", outputs=["iceberg"], **settings)
        (table,) = (
            spec
            for asset in export.definitions.assets or ()
            if isinstance(asset, dg.AssetsDefinition)
            for spec in asset.specs
            if spec.key.path[-1] == "iceberg_table"
        )
        return table.freshness_policy

    window = dg.FreshnessPolicy.time_window
    assert policy() == window(fail_window=timedelta(hours=36))
    assert policy(fresh_hours=6) == window(fail_window=timedelta(hours=6))
    assert policy(fresh_hours=0) is None
    assert policy(end="2025-03") is None, "it is delivered no longer"


def test_every_step_that_an_engine_works_for_is_in_one_pool() -> None:
    export = BillingExport(name="acme", layout="loose", static=True)
    pools = {
        asset.key.path[-1]: asset.op.pool
        for asset in export.definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable
    }
    assert pools.pop("raw_reports") is None
    assert set(pools) == {
        "crawler_table",
        "hive_table",
        "iceberg_table",
        "s3_table",
        "iceberg_static",
    }
    assert set(pools.values()) == {"billing_lake_engine"}


def test_loading_the_code_location_imports_no_engine_and_warns_of_nothing() -> None:
    program = (
        "import sys; from billing_lake.definitions import defs; from dagster._core.remote_representation.external_data import ComponentTreeSnap;"
        "tree = defs().get_repository_def().get_component_tree();"
        "print([one.full_type_name for one in ComponentTreeSnap.from_tree(tree).leaf_instances][1:]);"
        "print([m for m in ('boto3', 'dagster_aws', 'polars', 'pyarrow', 'pyiceberg', 'duckdb', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    types = ["billing_lake.components.AlertPolicy", "billing_lake.components.BillingExport"]
    assert done.stdout.splitlines() == [str(types), "[]"]


def test_a_deployment_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match=f"{DEPLOYMENT_SETTING} is 'moon'.*one of: local"):
        open_lake({DEPLOYMENT_SETTING: "moon"})


def test_every_deployment_has_a_lake_of_its_own() -> None:
    from typing import get_args

    assert set(_LAKES) == set(get_args(Deployment))


def test_the_demo_s_lake_stands_in_until_there_is_one_or_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo, own = tmp_path / "lake-demo", tmp_path / "lake"
    demo.mkdir()
    assert home_folder({}) == own
    (demo / DEMO_MARK).write_text("")
    assert home_folder({}) == demo
    assert home_folder({HOME_SETTING: "lake"}) == own
    own.mkdir()
    assert home_folder({}) == demo
    (own / "landing").mkdir()
    assert home_folder({}) == own
    assert demo_home(own) == demo == demo_home(demo)


def test_the_code_location_of_the_demo_s_lake_is_the_demo_s_export_and_alerts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DEMO_MARK).write_text("")
    monkeypatch.setenv(HOME_SETTING, str(tmp_path))
    repository = defs().get_repository_def()
    raw_reports = repository.assets_defs_by_key[dg.AssetKey([EXPORT, "raw_reports"])]
    assert raw_reports.partitions_def is not None
    assert raw_reports.partitions_def.get_partition_keys() == ["2025-01", "2025-02", "2025-03"]
    assert {key.path[0] for key in repository.assets_defs_by_key} == {EXPORT, "all_costs"}
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    automation = "default_automation_condition_sensor"
    assert set(sensors) == {f"{EXPORT}_new_reports", "finops_alerts", automation}
    assert sensors[automation].default_status is dg.DefaultSensorStatus.STOPPED
    assert sensors["finops_alerts"].default_status is dg.DefaultSensorStatus.RUNNING
    assert f"of {EXPORT} to log" in (sensors["finops_alerts"].description or "")


def test_the_home_of_a_lake_is_absolute_and_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = open_lake({HOME_SETTING: os.path.relpath(tmp_path / "x")})
    assert lake == LocalLake(tmp_path / "x")
    assert open_lake({}) == LocalLake(Path.cwd() / "lake")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=HOME_SETTING):
        open_lake({HOME_SETTING: str(tmp_path / "file")})


def test_opening_a_lake_makes_no_files(tmp_path: Path) -> None:
    open_lake({HOME_SETTING: str(tmp_path / "lake")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("type: x\nattributes:\n  name: two\n   layout: loose\n", "no YAML: .* line 4"),
        ("type: x\nattributes: {name: two\n", "no YAML: .* line 3"),
        (
            "type: billing_lake.components.BilingExport\nattributes: {}\n",
            "`type` is 'billing_lake.components.BilingExport', which there is not .* line 1",
        ),
        ("attributes: {}\ntype: nowhere.Export\n", "`type` is 'nowhere.Export', .* line 2"),
        ("type: \x00\n", "cannot be read"),
    ],
)
def test_a_defs_yaml_that_dagster_cannot_read_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    file = tmp_path / "defs" / "two" / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setenv(DEFS_SETTING, str(tmp_path / "defs"))
    with pytest.raises(ExportNotLoadedError, match=says) as caught:
        defs().get_repository_def()
    assert caught.value.file == str(file)
