"""Every engine case runs on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from billing_lake.domain.errors import LoadError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
from billing_lake.engines.base import Engine
from billing_lake.engines.glue_engine import GlueEngine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake_tests.engines.report_files import target_of

if TYPE_CHECKING:
    from billing_lake.engines.glue_engine import Launch
    from billing_lake_tests.servers.aws import Aws

# PySpark leaves its sockets to the garbage collector.
ONE_PASS = "one_pass"

SPARK = pytest.param(
    "spark", marks=pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
)


ON_GLUE = {"test_maps.py", "test_parquet_sources.py", "test_values.py"}
"""Files of this folder of which one case runs on Glue: cells, maps and Parquet. `test_requests.py` sends there and back whatever else a
request may say."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run one case of a file on Glue unless all are asked for: the program is Spark's, Glue adds the way there and back.

    Cases that hypothesis makes never go there: each would be many runs of the job.
    """
    every = config.getoption("every_variant")
    kept: dict[Path, pytest.Item] = {}
    left_out = []
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        if item.callspec.params.get("engine") != "glue":
            continue
        generated = hasattr(item.obj, "hypothesis")
        elsewhere = item.path.parent != Path(__file__).parent
        goes_there = elsewhere or item.path.name in ON_GLUE
        is_first = goes_there and kept.setdefault(item.path, item) is item
        if generated or not (every or is_first):
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


class OnePassEngine(PolarsEngine):
    """Polars by its third verb: profiles and files come from one pass, and the profile is that of the first verb."""

    def profile(self, source: Source) -> Profile:
        """Return what `convert` does, into a folder that goes at once."""
        with TemporaryDirectory() as folder:
            converted = None if source.of_table else self.convert(source, target_of(source, folder))
        plain = super().profile(source)
        assert converted is None or converted[0] == plain
        return plain

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """Return what `convert` does, of files that nothing was read of yet and whose totals a table can hold."""
        is_first = not any(file.digest for file in source.files)
        try:
            converted = self.convert(source, target) if is_first else None
        except LoadError:
            converted = None
        return super().encode(source, target) if converted is None else converted[1]


@dataclass(frozen=True)
class SparkInOnePass(SparkEngine):
    """Spark that encodes by its third verb: the profile of that pass is that of the first verb, where a case has asked for it."""

    known: list[tuple[Source, Profile]] = field(default_factory=list)

    def profile(self, source: Source) -> Profile:
        """Remember what was found."""
        found = super().profile(source)
        self.known.append((source, found))
        return found

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """Return the files of `convert`, of rows whose totals a table can hold."""
        try:
            profile, files = self.convert(source, target)
        except LoadError:
            return super().encode(source, target)
        # A case may write other rows to the same file, so the last one counts.
        known = [found for one, found in self.known if one == source]
        assert known[-1:] in ([], [profile])
        return files


@pytest.fixture(params=["polars", ONE_PASS, SPARK, "glue"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that a case runs on."""
    if request.param == "polars":
        return PolarsEngine()
    if request.param == ONE_PASS:
        return OnePassEngine()
    if request.param == "glue":
        return GlueEngine(request.getfixturevalue("glue_launch"))
    session = request.getfixturevalue("spark")
    return SparkInOnePass(lambda: session)
