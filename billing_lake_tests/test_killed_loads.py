"""A load that is killed, at whatever moment, leaves the old month or the new one; the next load puts all right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake.catalogs.base import DELIVERY_VERSION
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.profiles import Profile, compare
from billing_lake_tests.lakes import EXPORT, SPEC, World

PERIOD = "2025-03"
OUTPUTS = ("hive", "iceberg", "s3_table")
KILLS = 8


def main() -> None:
    """Load the period as a process of its own; says when it begins, so that it can be killed after that."""
    world = World(Path(sys.argv[1]))
    job = world.definitions.resolve_job_def(f"{EXPORT}_load")
    for module in ("polars", "pyiceberg.catalog.sql", "pyarrow.parquet"):
        __import__(module)
    print("ready", flush=True)
    job.execute_in_process(instance=world.instance, partition_key=PERIOD)
    print("done", flush=True)


def start(home: Path) -> subprocess.Popen[str]:
    """Start a load in a process group of its own and return when it begins."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__, str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> bool:
    """Kill the load; say whether it was still at work."""
    at_work = process.poll() is None
    if at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    return at_work


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_load_killed_at_many_moments_never_mixes_months_and_the_next_one_is_exact(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = World(tmp_path / "lake", instance=instance)

    def raw() -> Profile:
        return world.lake.values.get([EXPORT, "crawler_table"], PERIOD, Crawl).profile

    def found() -> dict[str, Profile]:
        return {output: world.profile(output, PERIOD) for output in OUTPUTS}

    world.deliver(PERIOD, spec=SPEC)
    assert world.load(PERIOD).success
    old = raw()
    world.deliver(PERIOD, spec=SPEC, restatement=1)

    process = start(world.home)
    began = time.monotonic()
    assert process.wait() == 0
    whole = time.monotonic() - began
    kill(process)
    new = raw()
    assert compare(old, new) != []

    killed = 0
    for turn in range(KILLS):
        world.deliver(PERIOD, spec=SPEC, restatement=2 + turn)
        before = found()
        process = start(world.home)
        time.sleep(whole * (turn + 0.5) / KILLS)
        killed += kill(process)
        after = found()
        for output in OUTPUTS:
            assert after[output] == before[output] or not compare(raw(), after[output])
    assert killed >= KILLS // 2

    assert world.load(PERIOD).success
    for profile in found().values():
        assert compare(raw(), profile) == []
    iceberg = world.lake.iceberg.load(f"billing.{EXPORT}")
    last = iceberg.current_snapshot()
    assert last is not None
    assert last.summary is not None
    newest = world.lake.values.get([EXPORT, "raw_reports"], PERIOD, Delivery)
    assert last.summary[DELIVERY_VERSION] == newest.version


if __name__ == "__main__":
    main()
