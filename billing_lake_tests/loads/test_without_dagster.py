"""A script loads and proves a delivery with the lines of the documentation, and never imports Dagster."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import billing_lake
from billing_lake.deployments import LocalLake
from billing_lake.domain.sources import PeriodKey
from billing_lake.sample import write_delivery
from billing_lake_tests.lakes import SPEC
from billing_lake_tests.patience import PATIENCE_SECONDS

PAGE = Path(billing_lake.__file__).parents[1] / "docs" / "architecture.md"


def test_the_lines_of_the_documentation_load_a_month_into_all_tables_without_dagster(
    tmp_path: Path,
) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "/data/lake" in lines
    home = tmp_path / "lake"
    delivery = write_delivery(home / "landing", "2025-03", SPEC)
    script = (
        lines.replace("/data/lake", str(home)) + "\nimport sys\nprint('dagster' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    lake = LocalLake(home)
    for catalog in (lake.hive, lake.iceberg, lake.s3_tables):
        found = catalog.files("billing.acme", PeriodKey("acme", "2025-03"))
        assert lake.reader.profile(found).rows == delivery.rows
