"""A lake on this machine: what the environment says of its folders."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING, Lake, LocalLake, open_lake
from billing_lake.deployments.base import LAKE_RESOURCE
from billing_lake.deployments.local import DEMO_MARK, home_folder, note_landing
from billing_lake.domain.errors import ConfigurationError
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.landing.local import LANDING_SETTING
from billing_lake_tests.landing.small_deliveries import deliver, put


def opened(deployment: str, home: Path, landing: str | None = None) -> LocalLake:
    settings = {DEPLOYMENT_SETTING: deployment, HOME_SETTING: str(home)}
    lake = open_lake(settings if landing is None else {**settings, LANDING_SETTING: landing})
    assert isinstance(lake, LocalLake)
    return lake


@pytest.mark.parametrize("deployment", ["local", "local_spark"])
def test_exports_are_delivered_into_the_lakes_folder_or_to_the_one_that_is_set(
    tmp_path: Path, deployment: str
) -> None:
    home, bill = tmp_path / "lake", tmp_path / "a bill"
    assert opened(deployment, home).landing == home / "landing"
    assert opened(deployment, home, "").landing == home / "landing"
    deliver(bill)
    lake = opened(deployment, home, str(bill))
    assert lake.landing == bill
    export = ExportLocation("cur", "create-new", "billing", "cur")
    delivery = resolve_delivery(lake.storage, export, "2025-03")
    assert Path(delivery.files[0].uri).is_relative_to(bill)
    assert not home.exists()


@pytest.mark.parametrize("deployment", ["local", "local_spark"])
def test_a_run_gets_the_lake_of_the_environment_and_may_set_each_folder_otherwise(
    tmp_path: Path, deployment: str
) -> None:
    home, bill, other = (tmp_path / name for name in ("lake", "bill", "other"))
    lake = opened(deployment, home, str(bill))
    given: list[LocalLake] = []

    @dg.asset
    def ask(billing_lake: dg.ResourceParam[Lake]) -> None:
        assert isinstance(billing_lake, LocalLake)
        given.append(billing_lake)

    definitions = dg.Definitions(assets=[ask], resources=lake.resources())
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process()
    job.execute_in_process(
        run_config={"resources": {LAKE_RESOURCE: {"config": {"landing": str(other)}}}}
    )
    assert [(one.home, one.landing) for one in given] == [(home, bill), (home, other)]
    assert {type(one) for one in given} == {type(lake)}


def test_a_folder_from_the_environment_is_shown_as_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_SETTING, str(tmp_path))
    lake = open_lake()
    resources = dg.Definitions(resources=lake.resources()).get_repository_def()
    shown = resources.get_top_level_resources()[LAKE_RESOURCE].config_schema.config_type
    assert isinstance(shown, dg.Shape)
    assert shown.fields["home"].default_value == {"env": HOME_SETTING}
    assert shown.fields["landing"].default_value == ""
    with dg.build_resources(lake.resources()) as given:
        assert getattr(given, LAKE_RESOURCE).home == tmp_path


@pytest.mark.parametrize("landing", ["bill", "./bill", "../bill"])
def test_a_landing_folder_that_depends_on_where_one_stands_is_refused(
    tmp_path: Path, landing: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{LANDING_SETTING} is .* not absolute"):
        opened("local", tmp_path, landing)


def test_a_run_gets_the_bucket_of_the_environment_or_another_one(tmp_path: Path) -> None:
    lake = opened("local", tmp_path, "s3://acme")
    with dg.build_resources(lake.resources()) as given:
        assert getattr(given, LAKE_RESOURCE) == lake
    config = {LAKE_RESOURCE: {"config": {"landing": "s3://other"}}}
    with dg.build_resources(lake.resources(), resource_config=config) as given:
        assert getattr(given, LAKE_RESOURCE).bucket == "other"


@pytest.mark.parametrize("landing", ["s3://", "s3://acme/finops"])
def test_a_landing_bucket_is_named_without_a_folder(tmp_path: Path, landing: str) -> None:
    assert opened("local", tmp_path, "s3://acme/").bucket == "acme"
    with pytest.raises(ConfigurationError, match=rf"^{LANDING_SETTING} is .* no bucket"):
        opened("local", tmp_path, landing)


def test_spark_on_this_machine_reads_no_bucket_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{LANDING_SETTING} is a bucket, and Spark"):
        opened("local_spark", tmp_path, "s3://acme")


def test_a_landing_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{LANDING_SETTING} is .* a file"):
        opened("local", tmp_path, str(put(tmp_path / "bill", b"")))


def test_a_lake_knows_the_folder_that_load_took_its_deliveries_from_as_long_as_it_is_one(
    tmp_path: Path,
) -> None:
    home, one, other = tmp_path / "lake", str(tmp_path / "one"), str(tmp_path / "other")
    assert opened("local", home, "").landing == home / "landing"
    for _ in range(2):
        note_landing(home, one)
        assert str(opened("local", home, "").landing) == one
    assert str(opened("local", home, other).landing) == other
    note_landing(home, other)
    assert opened("local", home, "").landing == home / "landing", "which one is meant is not known"
    (tmp_path / "second" / "landing").mkdir(parents=True)
    note_landing(tmp_path / "second", one)
    assert opened("local", tmp_path / "second", "").landing == tmp_path / "second" / "landing"


def test_the_demos_lake_keeps_to_its_own_folder_and_stands_in_for_none_whose_landing_folder_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "lake-demo" / DEMO_MARK, b"")
    bill = str(tmp_path / "bill")
    assert home_folder({}) == tmp_path / "lake-demo"
    assert home_folder({LANDING_SETTING: bill}) == tmp_path / "lake"
    demo = opened("local", tmp_path / "lake-demo", bill)
    assert demo.landing == tmp_path / "lake-demo" / "landing"
