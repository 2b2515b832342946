from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from billing_lake import __version__
from billing_lake.sql.named_queries import UNBLENDED
from billing_lake_tests.commands.conftest import TABLE, Runner


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from billing_lake.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted({'dagster', 'duckdb', 'polars', 'pyarrow', 'pyiceberg', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(command in done.stdout for command in ("demo", "query", "sample"))


def test_queries_on_this_machine_import_neither_dagster_nor_anything_of_aws(run: Runner) -> None:
    asked = [["SELECT 1 AS one"], ["--named", "untagged"], ["--list"], ["--help"]]
    heavy = {"boto3", "botocore", "dagster", "polars", "pyspark", "sqlglot"}
    code = (
        "import sys; from billing_lake.cli import main\n"
        f"for asked in {asked}: main(['query', *asked], standalone_mode=False)\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "BILLING_LAKE_HOME": str(run.home)},
        check=True,
    )
    assert done.stdout.endswith("[]\n")


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    assert Runner(tmp_path)("--version").stdout == f"billing-lake, version {__version__}\n"


def test_the_installed_command_writes_clean_csv_into_a_pipe(run: Runner) -> None:
    sql = f"SELECT sum({UNBLENDED}) AS cost FROM {TABLE} WHERE line_item_currency_code = 'USD'"
    done = subprocess.run(
        [Path(sys.executable).with_name("billing-lake"), "query", "--format", "csv", sql],
        capture_output=True,
        text=True,
        env={**os.environ, "BILLING_LAKE_HOME": str(run.home)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "cost\n96.600000000000000001\n", "")


@pytest.mark.parametrize("command", [("demo",), ("sample",), ("query", "SELECT 1")])
def test_a_deployment_that_does_not_exist_is_a_panel_and_exit_2(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = Runner(tmp_path / "lake")(*command, env={"BILLING_LAKE_DEPLOYMENT": "moon"})
    assert result.exit_code == 2
    assert "ConfigurationError" in result.stderr
    assert "local" in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("command", [("demo",), ("sample",)])
def test_a_home_that_cannot_be_written_is_a_panel_and_exit_2(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "lake"):
        result = Runner(home)(*command)
        assert result.exit_code == 2, result.output
        assert "ConfigurationError" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = Runner(tmp_path / "none")("--debug", "query", "SELECT 1")
    assert type(result.exception).__name__ == "TableError"
