"""What docs/operation.md tells to type is typed here: backup and restore, and reading the tables from Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import ConfigurationError
from billing_lake.domain.profiles import Profile
from billing_lake.tables.relocation import relocate
from billing_lake_tests.commands.conftest import Runner
from billing_lake_tests.lakes import SampleLake

DOCS = Path(__file__).parents[1] / "docs" / "operation.md"
OUTPUTS = ("hive", "iceberg", "s3_table")
COST = "line_item_unblended_cost"


def blocks(heading: str, language: str) -> list[str]:
    """Return the blocks of code below a heading."""
    section = DOCS.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def profiles(lake: SampleLake, *periods: str) -> dict[tuple[str, str], Profile]:
    return {(one, period): lake.profile(one, period) for one in OUTPUTS for period in periods}


def back_up(lake: SampleLake, to: Path, meanwhile: Callable[[], None]) -> None:
    """Back the lake up as documented; something happens between the catalogs and the warehouse."""
    script = blocks("Backup, restore, moving", "sh")[0]
    script = script.replace("/backup/lake", str(to)).replace(".venv/bin/python", sys.executable)
    first, last = script.split("cp -a lake/warehouse")
    for part in (first, None, f"cp -a lake/warehouse{last}"):
        if part is None:
            meanwhile()
        else:
            subprocess.run(["bash", "-eu", "-c", part], cwd=lake.home.parent, check=True)


@pytest.fixture
def loaded(make_lake: Callable[..., SampleLake]) -> SampleLake:
    made = make_lake()
    for period in ("2025-01", "2025-02"):
        made.deliver(period)
        assert made.load(period).success
    return made


def test_a_backup_that_was_made_beside_a_load_is_restored_to_the_same_place_and_to_another(
    loaded: SampleLake, tmp_path: Path
) -> None:
    before = profiles(loaded, "2025-01", "2025-02")
    backup = tmp_path / "backup"

    def load() -> None:
        loaded.deliver("2025-02", restatement=1)
        assert loaded.load("2025-02").success

    back_up(loaded, backup, load)
    assert all(found != before[key] for key, found in profiles(loaded, "2025-02").items())

    elsewhere = SampleLake(tmp_path / "elsewhere", instance=loaded.instance)
    shutil.copytree(backup, elsewhere.home)
    with pytest.raises(ConfigurationError):
        _ = LocalLake(elsewhere.home).iceberg
    (command,) = blocks("Backup, restore, moving", "sh")[1:]
    assert command.split()[1:] == [".venv/bin/billing-lake", "relocate"]
    assert Runner(elsewhere.home)(command.split()[-1]).exit_code == 0
    assert profiles(elsewhere, "2025-01", "2025-02") == before

    shutil.move(loaded.home, tmp_path / "lost")
    shutil.copytree(backup, loaded.home)
    shutil.copytree(tmp_path / "lost" / "landing", loaded.home / "landing")
    assert relocate(loaded.home, print) == frozenset()
    assert profiles(loaded, "2025-01", "2025-02") == before
    assert loaded.load("2025-02").success
    assert profiles(loaded, "2025-01") == profiles(elsewhere, "2025-01")
    assert profiles(elsewhere, "2025-01", "2025-02") == before


def test_maintenance_runs_with_the_run_config_that_is_written_there(loaded: SampleLake) -> None:
    heading = "Keeping a lake for years"
    (config,) = blocks(heading, "yaml")
    (command,) = blocks(heading, "sh")
    assert "dagster job execute" in command
    assert "-j cost_and_usage_maintenance " in command
    run_config = yaml.safe_load(config.replace("cost_and_usage", loaded.name))
    result = loaded.run(f"{loaded.name}_maintenance", config=run_config)
    assert result.success
    (output,) = (one for one in result.all_node_events if one.is_successful_output)
    assert "would_be_freed_bytes" in output.step_output_data.metadata


@pytest.fixture
def _extensions(tmp_path: Path) -> None:
    """Have DuckDB find the extensions that are installed here as packages, where it keeps those that it fetched."""
    for name in ("avro", "iceberg"):
        source = Path(str(files(f"duckdb_extension_{name}"))) / "extensions"
        found = next(source.rglob(f"{name}.duckdb_extension"))
        (platform,) = duckdb.sql("PRAGMA platform").fetchone() or ("",)
        folder = tmp_path / "extensions" / f"v{duckdb.__version__}" / str(platform)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, folder)
    duckdb.sql(f"SET extension_directory = '{tmp_path / 'extensions'}'")


@pytest.mark.usefixtures("_extensions")
def test_what_is_written_of_python_reads_every_cost(make_lake: Callable[..., SampleLake]) -> None:
    made = make_lake(name="cost_and_usage")
    delivery = made.deliver("2025-03")
    done = made.load("2025-03")
    assert done.success
    pyiceberg, pandas, *others = blocks("Reading the tables from Python", "python")
    assert "to_pandas" in pandas  # the one library of them that is not installed here
    shown: list[Any] = []
    names: dict[str, Any] = {"print": shown.append}
    for block in (pyiceberg, *others):
        exec(block.replace("/path/to/lake", str(made.home)), names)
    arrow, polars, duck = shown
    sums = (
        sum(arrow[COST].to_pylist()),
        sum(polars[COST].to_list()),
        sum(row[1] for row in duck.fetchall()),
    )
    duckdb.close()
    assert set(sums) == {delivery.totals["USD"][COST]}
    assert all(isinstance(one, Decimal) for one in sums)
    (table,) = done.asset_materializations_for_node(f"{made.name}__iceberg_table")
    assert table.metadata["iceberg_metadata"].value == names["table"].metadata_location
