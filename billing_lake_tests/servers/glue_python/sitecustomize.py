"""What a job on Glue would not find, a job here must not find either.

Python imports this at start when the folder is on PYTHONPATH. The environment of the tests has the whole
project and everything that it uses; Glue has Spark, boto3 and what the job brings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from types import ModuleType

_ABSENT = frozenset(
    "click dagster dagster_aws dagster_pyspark dagster_shared duckdb isal polars pyiceberg rich".split()
)
_FROM_THE_JOB = frozenset({"billing_lake", "billing_lake_tests"})


class _Refuse:
    """A finder that says no to some packages."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        del path, target
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r} (as on Glue)", name=name)


sys.meta_path.insert(0, _Refuse(_ABSENT))
# Found on sys.path, it came with the job; anything that looks later would find the checkout.
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, _Refuse(_FROM_THE_JOB))
