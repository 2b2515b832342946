"""Every engine case runs on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from billing_lake.engines.base import Engine
from billing_lake.engines.glue_engine import GlueEngine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.engines.spark_engine import SparkEngine

if TYPE_CHECKING:
    from billing_lake.engines.glue_engine import Launch
    from billing_lake_tests.servers.aws import Aws

# PySpark leaves its sockets to the garbage collector.
SPARK = pytest.param(
    "spark", marks=pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run one case of each file on Glue unless all are asked for: the program is Spark's, Glue adds the way there and back.

    Cases that hypothesis makes never go there: each would be many runs of the job.
    """
    every = config.getoption("every_variant")
    kept: dict[Path, pytest.Item] = {}
    left_out = []
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        generated = hasattr(item.obj, "hypothesis")
        if item.callspec.params.get("engine") == "glue" and (
            generated or (not every and kept.setdefault(item.path, item) is not item)
        ):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def glue_launch(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """What runs the job of the Glue engine."""
    import dagster as dg

    from billing_lake_tests.engines.on_glue import glue_jobs, launch_with

    with dg.DagsterInstance.ephemeral() as instance:
        yield launch_with(glue_jobs(aws, tmp_path_factory.mktemp("glue")), instance)


@pytest.fixture(params=["polars", SPARK, "glue"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that a case runs on."""
    if request.param == "polars":
        return PolarsEngine()
    if request.param == "glue":
        return GlueEngine(request.getfixturevalue("glue_launch"))
    session = request.getfixturevalue("spark")
    return SparkEngine(lambda: session)
