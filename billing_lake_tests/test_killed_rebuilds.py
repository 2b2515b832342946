"""A rebuild that is killed at any of its writes leaves each table as it was or as it shall be; the next one ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from billing_lake.domain.sources import PeriodKey
from billing_lake.tables.base import TableCatalog
from billing_lake_tests.jobs.test_rebuild import JOB, make_old_tables
from billing_lake_tests.lakes import EXPORT, TABLE, SampleLake
from billing_lake_tests.tables.making import count

if TYPE_CHECKING:
    from typing_extensions import Self

PERIODS = ("2025-01", "2025-02")
KEYS = [PeriodKey(EXPORT, period) for period in PERIODS]
KILLS = 4
OLD = {"hive": [2, 2], "iceberg": [2, 2], "s3_table": [2, 2]}
WRITES = {
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "shutil.rmtree",
    "sqlite3.connect",
}


def main() -> None:
    """Rebuild the lake in a process of its own for each number that is asked for, and say how that process ended.

    The numbered write kills it; of one that ends well the number of its writes is said, too.
    """
    home = Path(sys.argv[1])
    for module in ("polars", "pyiceberg.catalog.sql", "pyarrow.parquet"):
        __import__(module)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            rebuild(home, int(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def rebuild(home: Path, last: int) -> None:
    lake = SampleLake(home)
    job = lake.definitions.resolve_job_def(JOB)
    written = 0

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal written
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if (writes or event in WRITES) and str(home) in str(arguments):
            written += 1
            if written == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    job.execute_in_process(instance=lake.instance)
    print(written, flush=True)


@dataclass
class Rebuilds:
    """A process that rebuilds the lake in ``home`` in children of its own, so that its imports are paid once."""

    home: Path

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-W", "ignore", "-m", __name__, str(self.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def whole(self) -> int:
        """Let a rebuild end, and return the number of its writes."""
        writes = self._ask(0)
        assert self._answer() == 0
        return writes

    def killed_at(self, write: int) -> None:
        """Let a rebuild be killed at a write, counted from 1."""
        assert self._ask(write) == -signal.SIGKILL

    def _ask(self, last: int) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{last}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def found(lake: SampleLake) -> dict[str, list[int]]:
    """Rows of both periods in each table, for who asks the catalog."""
    catalogs: dict[str, TableCatalog] = {
        "hive": lake.lake.hive,
        "iceberg": lake.lake.iceberg,
        "s3_table": lake.lake.s3_tables,
    }
    for catalog in catalogs.values():
        assert catalog.fields(TABLE) is not None
    return {
        name: [count(catalog.files(TABLE, key)) for key in KEYS]
        for name, catalog in catalogs.items()
    }


def folder(lake: SampleLake) -> list[int]:
    """Rows of both periods for who reads the folder of the Hive table."""
    rows = pl.scan_parquet(lake.lake.hive.uri(TABLE)).select("billing_period").collect()
    return [rows.filter(pl.col("billing_period") == period).height for period in PERIODS]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_rebuild_killed_at_any_write_leaves_every_table_whole_and_the_next_one_ends_it(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    lake = SampleLake(tmp_path / "lake", instance=instance)
    rows = [lake.deliver(period).rows for period in PERIODS]
    new = dict.fromkeys(OLD, rows)
    make_old_tables(lake, *KEYS)
    template = tmp_path / "template"
    shutil.copytree(lake.home, template, symlinks=True)
    assert found(lake) == OLD
    states = set()
    with Rebuilds(lake.home) as rebuilds:
        writes = rebuilds.whole()
        assert found(lake) == new
        for kill in range(KILLS):
            shutil.rmtree(lake.home)
            shutil.copytree(template, lake.home, symlinks=True)
            rebuilds.killed_at((writes - 2) * (kill + 1) // KILLS)
            assert folder(lake) in ([2, 2], rows)
            left = found(lake)
            assert all(left[name] in (OLD[name], new[name]) for name in OLD), left
            states.add(tuple(sorted(name for name in OLD if left[name] == new[name])))
            rebuilds.whole()
            assert found(lake) == new
            assert folder(lake) == rows
    assert len(states) > 1, "kills before a table was changed, and behind it"


if __name__ == "__main__":
    main()
