"""The program runs where nothing of the lake but its domain is installed."""

from __future__ import annotations

import subprocess
import sys

ALONE = """
import importlib, pkgutil, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        ours = name.startswith(("billing_lake.domain", "billing_lake.spark_job")) or name == "billing_lake"
        allowed = top.startswith("_") or top in sys.stdlib_module_names or top in {"pyspark", "py4j", "dagster_pipes"} or ours
        if not allowed:
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
import billing_lake.spark_job
for module in pkgutil.walk_packages(billing_lake.spark_job.__path__, "billing_lake.spark_job."):
    importlib.import_module(module.name)
    print(module.name)
from billing_lake.spark_job.java import java_errors
java_errors()
heavy = {"dagster", "polars", "pyarrow", "pyiceberg", "numpy", "pandas", "boto3"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_program_imports_with_nothing_but_pyspark_and_pipes_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "billing_lake.spark_job.glue_main" in done.stdout
    assert "billing_lake.spark_job.program" in done.stdout
