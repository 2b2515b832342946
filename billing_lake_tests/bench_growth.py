"""What more rows cost, in few files and in many, and what one large file costs: `make bench ARGS=--growth`."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from billing_lake_tests.bench_lines import child, line
from billing_lake_tests.bench_ways import deliver

LIMIT = 1.2
ONE_FILE_LIMIT = 1.1
TIMES = 5
"""How many times the rows are loaded."""


def report(folder: Path, rows: int, chunks: int, rounds: int, peak_mb: int) -> None:
    """Print them.

    Args:
        folder: Where the month of ``rows`` rows in ``chunks`` files lies, in the folder `lake`.
        rows: How many.
        chunks: In how many files.
        rounds: How often the pass is measured.
        peak_mb: Peak memory of a load of that month.
    """
    _report_one_file(folder, rows, chunks, rounds)
    for files in (4, 64):
        home = folder / f"large-{files}"
        deliver(home, rows * TIMES, files)
        large = child("month", home)["peak_mb"]
        line(
            f"peak memory at {TIMES} x the rows, {files} files / peak memory",
            f"{large / peak_mb:.2f} x ({large:,} MB)",
            large <= peak_mb * LIMIT,
            f"{LIMIT} x",
        )
        shutil.rmtree(home)


def _report_one_file(folder: Path, rows: int, chunks: int, rounds: int) -> None:
    """Compare the pass over one large file, as AWS makes of a small month, with that over four."""
    deliver(folder / "one", rows, 1)
    ratios: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    for _ in range(rounds):
        one, four = (child("convert", folder / home)["parts"]["pass"] for home in ("one", "lake"))
        for unit, found in ratios.items():
            found.append(one[unit] / four[unit])
    wall, cpu = (statistics.median(found) for found in ratios.values())
    line(
        f"one file / {chunks} files of the same rows, the pass",
        f"{wall:.2f} x, CPU {cpu:.2f} x",
        wall <= ONE_FILE_LIMIT,
        f"{ONE_FILE_LIMIT} x",
    )
