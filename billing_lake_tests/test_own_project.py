"""A Dagster project of somebody else's, with the built wheel beside its own assets, as docs/own-project.md describes it."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import billing_lake
from billing_lake.deployments import LocalLake
from billing_lake.domain.sources import PeriodKey
from billing_lake.landing.export_yaml import export_yaml
from billing_lake.sample import SampleSpec, write_delivery
from billing_lake_tests.prepared import IMPORTED, Prepared

ROOT = Path(billing_lake.__file__).parents[1]
PAGE = ROOT / "docs" / "own-project.md"
PERIOD = "2025-03"
SPEC = SampleSpec(layout="create-new", prefix="billing", report="daily", rows=300, chunks=2)

HOST = """
import json, os
from pathlib import Path
import dagster as dg

OUT = Path(os.environ["HOST_OUT"])

class Texts(dg.ConfigurableIOManager):
    def handle_output(self, context, obj):
        (OUT / f"{context.asset_key.path[-1]}.txt").write_text(str(obj))

    def load_input(self, context):
        return (OUT / f"{context.asset_key.path[-1]}.txt").read_text()

@dg.asset
def foreign(context: dg.AssetExecutionContext) -> str:
    return f"foreign in {os.getpid()}"

@dg.asset
def after(foreign: str) -> str:
    return f"{foreign}, read in {os.getpid()}"

foreign_job = dg.define_asset_job("foreign_job", [foreign, after])

@dg.definitions
def host():
    return dg.Definitions(
        assets=[foreign, after], jobs=[foreign_job], resources={"io_manager": Texts(), "lake": "my own"},
        executor=dg.multiprocess_executor.configured({"start_method": {"forkserver": {}}}),
    )
"""

LOAD = f"""
import dagster as dg
from host.definitions import defs

host = defs()
with dg.DagsterInstance.get() as instance:
    load = host.resolve_job_def("acme_load")
    assert load.execute_in_process(instance=instance, partition_key="{PERIOD}").success
    assets = host.resolve_implicit_global_asset_job_def()
    assert assets.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("costs")]).success
"""
"""Loads a month and then what the project makes of it, in one process: it takes seconds to import all components that are installed."""


COMPONENTS = ("dagster.components.list", "dagster_aws.components", "dagster_dg_cli.cli.labs")
"""What `dg` imports more, but for the wheel and the project."""


def without_ours() -> dict[str, str]:
    """Return the variables of the tests, without those that lead to a lake or to the checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if "BILLING_LAKE" not in name and name != "PYTHONPATH"
    }


@dataclass(frozen=True)
class Host:
    """A project, and the environment that it is installed in."""

    folder: Path
    prepared: Prepared
    python: Path
    home: Path
    out: Path

    def run(
        self, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = self.prepared.run(
            arguments,
            cwd=self.folder,
            environment=without_ours()
            | {
                "BILLING_LAKE_HOME": str(self.home),
                "DAGSTER_HOME": str(self.out / "dagster"),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "HOST_OUT": str(self.out),
                "NO_COLOR": "1",
                **variables,
            },
        )
        if check:
            assert done.returncode == 0, f"{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
        return done

    def dg(self, *arguments: str, check: bool = True) -> str:
        done = self.run(
            "-c", "from dagster_dg_cli.cli import main; main()", *arguments, check=check
        )
        return done.stdout + done.stderr

    def settings(self, export: str, settings: Mapping[str, object]) -> None:
        folder = self.folder / "host" / "defs" / export
        folder.mkdir(exist_ok=True)
        document = {"type": "billing_lake.components.BillingExport", "attributes": settings}
        (folder / "defs.yaml").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "billing_lake", source / "billing_lake", ignore=shutil.ignore_patterns("__pycache__")
    )
    program = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(folder)],
        cwd=source,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A project with the wheel installed, whose dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("host")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    project = folder / "project"
    (project / "host" / "defs").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "host"\nversion = "1"\n[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "host"\ncode_location_target_module = "host.definitions"\n'
        '[tool.dg.cli]\nsuppress_warnings = ["project_and_activated_venv_mismatch"]\n'
    )
    for package in (project / "host", project / "host" / "defs"):
        (package / "__init__.py").touch()
    (project / "host" / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n\n@dg.definitions\ndef defs():\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    (project / "host" / "defs" / "own.py").write_text(HOST)
    (site / "project.pth").write_text(str(project))
    (folder / "out" / "dagster").mkdir(parents=True)
    with Prepared((*IMPORTED, *COMPONENTS), without_ours(), python) as prepared:
        yield Host(project, prepared, python, folder / "lake", folder / "out")


def test_the_wheel_describes_itself_and_brings_no_export_of_its_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(archive.read(metadata))
    assert not [name for name in names if name.endswith("defs.yaml")]
    assert described["Description-Content-Type"] == "text/markdown"
    assert str(described.get_payload()).strip().startswith("# Billing Lake")


def test_the_installed_code_location_starts_in_an_empty_folder(host: Host, tmp_path: Path) -> None:
    program = (
        "from billing_lake.definitions import defs; import billing_lake;"
        "print(billing_lake.__file__, [job.name for job in defs().get_repository_def().get_all_jobs()])"
    )
    empty = replace(host, folder=tmp_path, home=tmp_path / "lake")
    where, _, jobs = empty.run("-c", program).stdout.partition(" ")
    assert Path(where).is_relative_to(host.python.parents[1])
    assert jobs.strip() == "[]"
    (tmp_path / "exports" / "acme").mkdir(parents=True)
    (tmp_path / "exports" / "acme" / "defs.yaml").write_text(
        "type: billing_lake.components.BillingExport\nattributes: {name: acme, layout: loose}\n"
    )
    loaded = empty.run("-c", program, BILLING_LAKE_DEFS=str(tmp_path / "exports")).stdout
    assert "acme_load" in loaded


def test_the_installed_command_loads_a_folder_where_there_is_no_project(
    host: Host, tmp_path: Path
) -> None:
    delivery = write_delivery(tmp_path / "bucket", PERIOD, SPEC)
    empty = replace(host, folder=tmp_path, home=tmp_path / "lake")
    program = "from billing_lake.cli import main; main()"
    load = ("-c", program, "load", "bucket", "--yes", "--outputs", "iceberg", "--json")
    (result,) = json.loads(empty.run(*load).stdout)
    assert (result["period"], result["rows"], result["error"]) == (PERIOD, delivery.rows, None)
    assert result["tables"] == {"iceberg": {"rows": delivery.rows, "equal": True}}
    assert (tmp_path / "defs" / "daily" / "defs.yaml").is_file()
    assert "billing.daily" in empty.run("-c", program, "query", "--list").stdout


def test_the_component_is_listed_and_scaffolded_and_its_yaml_is_checked(host: Host) -> None:
    components = host.dg("list", "components")
    assert "billing_lake.components.BillingExport" in components
    assert "billing_lake.components.AlertPolicy" in components
    scaffolded = host.folder / "host" / "defs" / "My-Bill"
    host.dg("scaffold", "defs", "billing_lake.components.BillingExport", "My-Bill")
    try:
        written = {"name": "my_bill", "format": "legacy_cur", "layout": "create-new", "prefix": ""}
        written |= {"report": "My-Bill", "start": "2024-01"}
        assert (scaffolded / "defs.yaml").read_text() == export_yaml(written)
        host.dg("check", "defs")
        host.settings(
            "My-Bill",
            {"name": "my-bill", "layout": "createnew", "outputs": "iceberg", "start": "2024-1"},
        )
        text = host.dg("check", "yaml", check=False)
    finally:
        shutil.rmtree(scaffolded)
    for wrong in ("createnew", "'iceberg'", "my-bill", "2024-1", "'report' is a required"):
        assert wrong in text, text


def test_a_month_is_loaded_beside_assets_that_keep_their_io_manager_and_their_executor(
    host: Host,
) -> None:
    settings = {"layout": "create-new", "report": "daily"}
    for export, prefix in (("acme", "billing"), ("other", "elsewhere")):
        host.settings(export, {"name": export, "prefix": prefix, **settings})
    (downstream,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (host.folder / "host" / "defs" / "downstream.py").write_text(downstream)
    delivery = write_delivery(host.home / "landing", PERIOD, SPEC)
    host.run("-c", LOAD)
    lake = LocalLake(host.home)
    for catalog in (lake.hive, lake.iceberg, lake.s3_tables):
        source = catalog.files("billing.acme", PeriodKey("acme", PERIOD))
        assert lake.reader.profile(source).rows == delivery.rows

    host.run("-m", "dagster", "job", "execute", "-m", "host.definitions", "-j", "foreign_job")
    first, _, second = (host.out / "after.txt").read_text().partition(", read in ")
    assert first == (host.out / "foreign.txt").read_text()
    assert first != f"foreign in {second}", "the host's executor runs each step in a process"
    assert "AmazonEC2" in (host.out / "costs.txt").read_text()
