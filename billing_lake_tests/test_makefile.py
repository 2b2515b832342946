"""What `make` does to the environment of somebody who put packages of their own into it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from billing_lake_tests import often

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("installed", ["runtime", "spark", "aws", "dev"])
def test_an_update_installs_and_removes_nothing_that_somebody_added(installed: str) -> None:
    # All that it would run, as if every file were out of date.
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "VENV=fresh", f"fresh/.{installed}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "/uv" in line or "pip" in line]
    assert any(f"requirements/{installed}.txt" in line for line in lines)
    assert not [line for line in lines if "sync" in line or "uninstall" in line]


def test_every_file_that_is_to_be_run_often_is_there() -> None:
    assert [one for one in often.FILES if not (often.HERE / one).is_file()] == []
