"""A load that is killed, at whatever moment, leaves the old month or the new one; the next load puts all right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.profiles import Profile, compare
from billing_lake.tables.base import VERSION_PROPERTY
from billing_lake_tests.lakes import EXPORT, SPEC, SampleLake

PERIOD = "2025-03"
OUTPUTS = ("hive", "iceberg", "s3_table")


def main() -> None:
    """Load the period as a process of its own that kills itself at the given event, and print how many events there were.

    An event is what Python audits: a file that is opened, renamed, linked or removed, a folder that is listed, a database
    that is connected to. The same events come in every load, however fast the machine is.
    """
    last = int(sys.argv[2])
    lake = SampleLake(Path(sys.argv[1]), json.loads(sys.argv[3]))
    job = lake.definitions.resolve_job_def(f"{EXPORT}_load")
    for module in ("polars", "pyiceberg.catalog.sql", "pyarrow.parquet"):
        __import__(module)
    seen = 0

    def count(event: str, _arguments: object) -> None:
        nonlocal seen
        if event == "open" or event.startswith(("os.", "sqlite3.")):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    job.execute_in_process(instance=lake.instance, partition_key=PERIOD)
    print(seen)


def load_and_die(lake: SampleLake, last: int = 0) -> subprocess.CompletedProcess[str]:
    """Load in another process, which dies at event ``last``, or lives where that is 0."""
    return subprocess.run(
        [
            # A compiled module that is written is an event that comes once.
            *(sys.executable, "-B", "-W", "ignore", "-m", __name__),
            *(str(lake.home), str(last), json.dumps(lake.settings)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.mark.parametrize(
    ("settings", "kills"),
    [({"format": "legacy_cur"}, 5), ({"format": "cur2", "table": "payers"}, 2)],
    ids=["alone", "beside another payer"],
)
def test_a_load_killed_at_many_moments_never_mixes_months_and_the_next_one_is_exact(
    tmp_path: Path, instance: dg.DagsterInstance, settings: dict[str, str], kills: int
) -> None:
    lake = SampleLake(tmp_path / "lake", settings, instance)
    spec = replace(SPEC, format=settings["format"])
    other = replace(lake, settings={**settings, "name": "other", "prefix": "other"})
    beside: dict[str, Profile] = {}
    if "table" in settings:
        other.deliver(PERIOD, spec=replace(spec, prefix="other", payer="000987654321"))
        assert other.load(PERIOD).success
        beside = {output: other.profile(output, PERIOD) for output in OUTPUTS}

    def raw() -> Profile:
        return lake.lake.values.get([EXPORT, "crawler_table"], PERIOD, Crawl).profile

    def found() -> dict[str, Profile]:
        return {output: lake.profile(output, PERIOD) for output in OUTPUTS}

    lake.deliver(PERIOD, spec=spec)
    assert lake.load(PERIOD).success
    old = raw()
    lake.deliver(PERIOD, spec=spec, restatement=1)

    whole = load_and_die(lake)
    assert whole.returncode == 0
    events = int(whole.stdout.split()[-1])
    assert events > 10 * kills
    new = raw()
    assert compare(old, new) != []

    for turn in range(kills):
        lake.deliver(PERIOD, spec=spec, restatement=2 + turn)
        before = found()
        killed = load_and_die(lake, events * (2 * turn + 1) // (2 * kills))
        assert killed.returncode == -signal.SIGKILL
        after = found()
        for output in OUTPUTS:
            assert after[output] == before[output] or not compare(raw(), after[output])
        assert {output: other.profile(output, PERIOD) for output in beside} == beside

    assert lake.load(PERIOD).success
    for profile in found().values():
        assert compare(raw(), profile) == []
    iceberg = lake.lake.iceberg.open(lake.table)
    last = iceberg.current_snapshot()
    assert last is not None
    assert last.summary is not None
    newest = lake.lake.values.get([EXPORT, "raw_reports"], PERIOD, Delivery)
    assert last.summary[VERSION_PROPERTY] == newest.version


if __name__ == "__main__":
    main()
