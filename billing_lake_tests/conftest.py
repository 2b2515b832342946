"""Fixtures that several folders share."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from billing_lake_tests.prepared import Prepared

# Tests start a Python a hundred times. Without compiled modules on disk, each spends more time on compiling what it imports than on
# anything else. The processes that share the tests, and what they start, inherit this.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SHARED = {
    "deployed stacks": (
        "infra/test_deployed.py",
        "infra/test_recorder.py::test_what_the_policies_do_not_allow_is_refused_and_what_they_allow_is_done",
    ),
    "checked stacks": ("infra/test_image.py", "infra/test_synthesis.py"),
    "glue": (
        "servers/test_job_runs.py",
        "test_dagster_dev.py::test_a_delivery_is_loaded_by_the_daemon_and_cancelling_its_run_stops_the_glue_run",
        "test_engines_share_tables.py",
        "test_on_aws.py",
    ),
    "spark": (
        "deployments/test_local_spark.py::test_spark_continues_what_polars_began_and_polars_what_spark_began",
        "engines/test_content.py::test_no_delivery_on_spark_raises_a_false_alarm",
        "engines/test_values.py::test_on_spark_too_in_few_examples_of_many_rows",
        "spark_job/test_bad_cells.py",
        "spark_job/test_observing.py",
        "spark_job/test_sql.py",
        "tables/test_hive_views.py::test_spark_reads_the_folder",
        "tables/test_spark_reads_iceberg.py",
        "test_types_everywhere.py::test_spark_reads_every_type_and_takes_hives_names_for_the_same",
    ),
}
"""What takes half a minute of a core until it has started and done for the first time what all tests ask of it: the stacks, deployed
and checked; the Spark of the Glue jobs; the Spark of a process. With the files, and the tests of other files, that use it without naming `glue` or
`spark` among their parameters."""

WITHOUT_SHARED_SPARK = (
    "resources/test_glue_jobs.py",
    "tables/test_any_catalog.py",
    "tables/test_iceberg_on_aws.py",
)
"""Files that name `glue` among their parameters and mean its catalog, or jobs without Spark."""

INFRA_TESTS = Path(__file__).parent / "infra"

pytest_plugins = [
    "billing_lake_tests.dagster_storage",
    "billing_lake_tests.servers.aws",
    "billing_lake_tests.servers.spark",
    "billing_lake_tests.aws_lakes",
    "billing_lake_tests.infra.stacks",
    "billing_lake_tests.infra.deployed",
    "billing_lake_tests.infra.passes",
]

# Dagster is some million objects that live as long as the process. By default Python looks at all of them again and again, an eighth
# of the time of a load. Within a test it looks at what is young, from a size on that few tests reach.
GARBAGE_THRESHOLDS = 50_000, 20, 50

# Files of few and long tests, which would otherwise be left to one process at the end.
LONGEST = (
    "test_on_aws.py",
    "test_values.py",
    "test_deployed.py",
    "test_dagster_dev.py",
    "test_local_spark.py",
    "test_public_reports.py",
    "test_rebuild.py",
    "test_killed_loads.py",
    "test_story_of_months.py",
    "test_containers_agree.py",
    "test_glue_jobs.py",
    "test_demo.py",
    "test_own_project.py",
    "test_any_catalog.py",
    "test_formats_agree.py",
    "test_parquet_sources.py",
    "test_bad_input.py",
    "test_load.py",
    "test_query_athena.py",
    "test_backfills.py",
    "test_refused_writes.py",
    "test_engines_share_tables.py",
    "test_synthesis.py",
    "test_staging.py",
    "test_killed_alerts.py",
    "test_ledger.py",
    "test_docs.py",
    "test_image.py",
    "test_all_costs.py",
    "test_new_reports.py",
    "test_maintenance.py",
    "test_histories.py",
    "test_killed_rebuilds.py",
    "test_operation_docs.py",
    "test_table_proofs.py",
    "test_relocation.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what this project's tests can be asked for."""
    parser.addoption(
        "--every-variant",
        action="store_true",
        help="run all of the engines' cases on Glue, not one of each file",
    )
    parser.addoption(
        "--without-infra",
        action="store_true",
        help="leave out the tests of infra/, which need 800 MB in an environment of their own",
    )
    parser.addoption(
        "--rounds", type=int, default=1, help="run all tests so often, one round after the other"
    )


@pytest.fixture
def round_(request: pytest.FixtureRequest) -> int:
    """The number of the round that a test is run in."""
    return int(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make as many tests of each as there are to be rounds."""
    rounds = metafunc.config.getoption("rounds")
    if rounds > 1:
        metafunc.fixturenames.append("round_")
        metafunc.parametrize("round_", range(rounds), indirect=True)


def _round_of(item: pytest.Item) -> int:
    return int(item.callspec.params.get("round_", 0)) if hasattr(item, "callspec") else 0


def pytest_configure() -> None:
    """Look for garbage seldom, and let Ctrl-C end what the tests start, also where a shell in the background has them ignore it."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def shared(nodeid: str) -> str | None:
    """Return which name in `SHARED` has what a test uses; None for a test that uses nothing of it."""
    test, _, case = nodeid.partition("[")
    file = test.partition("::")[0]
    for name, some in SHARED.items():
        if file.endswith(some) or test.endswith(some):
            return name
    named = re.search(r"\b(glue|spark)\b", case)
    return None if named is None or file.endswith(WITHOUT_SHARED_SPARK) else named.group()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests of a file to one process, and those that share what is `SHARED` to one process as well."""
    from xdist.scheduler import LoadFileScheduling

    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = lambda nodeid: shared(nodeid) or nodeid.partition("::")[0]
    return scheduling


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run three processes more than there are cores: each waits more than half of its time for servers and for what it started."""
    return (os.cpu_count() or 1) + 3


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests of infra/ where that is asked for."""
    without = config.getoption("--without-infra") and collection_path == INFRA_TESTS
    return True if without else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the longest files first, and what has the marker `every_variant` where all variants are asked for."""
    if not config.getoption("every_variant"):
        left_out = [item for item in items if item.get_closest_marker("every_variant")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (_round_of(item), order.get(item.path.name, len(LONGEST))))


def pytest_collection_finish(session: pytest.Session) -> None:
    """See that no test starts something of its own that is shared, and look for garbage no more among what has been imported."""
    users = {"spark": "spark", "deployed": "deployed stacks", "checked": "checked stacks"}
    for item in session.items:
        for fixture in users.keys() & {*getattr(item, "fixturenames", ())}:
            if shared(item.nodeid) != users[fixture]:
                msg = f"{item.nodeid} uses {fixture!r} and does not stand in SHARED"
                raise pytest.UsageError(msg)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_garbage(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let sockets and clients that a test with servers leaves to the garbage collector be its own: to another test they are a fault."""
    yield
    if {"aws", "spark"} & {*request.fixturenames}:
        gc.collect(1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case by its argument where the value is bytes.

    The content of a compressed file has the time in it, and processes that share the tests must agree on their names.
    """
    return argname if isinstance(val, bytes) else None


# How long an example takes says more about the machine than about the code; fixtures of a function hold what all its
# examples share, on purpose.
settings.register_profile(
    "lake",
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("lake")


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    """Processes of Dagster and of this project, whose imports are paid once."""
    from billing_lake_tests.prepared import IMPORTED, Prepared

    root = {"PYTHONPATH": str(Path(__file__).parents[1])}
    modules = (*IMPORTED, "billing_lake.definitions")
    with Prepared(modules, {**os.environ, **root}) as forks:
        yield forks


@pytest.fixture
def make_lake(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make lakes: `make_lake()` is one with all outputs; keyword arguments are settings of the component."""
    import dagster as dg

    from billing_lake_tests.lakes import SampleLake

    with ExitStack() as stack:

        def make(**settings: Any) -> SampleLake:
            instance = stack.enter_context(dg.DagsterInstance.ephemeral())
            return SampleLake(tmp_path / "lake", settings, instance)

        yield make


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the module of a name go on at once where it would pause; all others pause as before, in whatever thread."""

    def hurry(module: str) -> None:
        quick = SimpleNamespace(**{**vars(time), "sleep": lambda _seconds: None})
        monkeypatch.setattr(f"{module}.time", quick)

    return hurry
