"""The lines that `make bench` prints, and the processes in which it measures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WHAT = {
    "pass": "csv.gz -> raw totals and Parquet",
    "convert": "the same, and commits to Hive and Iceberg",
    "month": "the whole month, five assets, all proofs",
    "content": "same_content: every cell, raw and one table",
    "bill": "the checks of the bill, one reading of the table",
    "parquet-pass": "profile + encode",
}


class Ratios:
    """Ratios of CPU time and of seconds to the baseline of the same round; the limits are for CPU time, which other work disturbs less."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._cpu: dict[str, list[float]] = {name: [] for name in limits}
        self._wall: dict[str, list[float]] = {name: [] for name in limits}

    def add(self, name: str, found: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        """Add what ``name`` took, and each of its parts, beside the baseline of the same round."""
        self._cpu[name].append(found["cpu_seconds"] / base["cpu_seconds"])
        self._wall[name].append(found["seconds"] / base["seconds"])
        for part, spent in found.get("parts", {}).items():
            self.add(part, spent, base)

    def report(self, of: str = "") -> None:
        """Print the medians, and whether they keep their limits."""
        for name, limit in self._limits.items():
            cpu, wall = self._cpu[name], statistics.median(self._wall[name])
            middle = statistics.median(cpu)
            found = f"{middle:.2f} x ({min(cpu):.2f} to {max(cpu):.2f}), wall {wall:.2f} x"
            line(f"{of}{WHAT[name]} / baseline", found, middle <= limit, f"{limit} x CPU")


def line(what: str, found: str, kept: bool, limit: str) -> None:  # noqa: FBT001 - a row of a table
    """Print a figure and its limit, the most that it may be unless it says otherwise."""
    bound = "" if limit.startswith("at least") else "at most "
    print(f"{'ok  ' if kept else 'MISS'} {what:<58} {found:<28} {bound}{limit}", flush=True)


def child(name: str, home: Path, *more: str) -> dict[str, Any]:
    """Measure ``name`` in a process of its own."""
    command = [sys.executable, "-m", "billing_lake_tests.bench"]
    done = subprocess.run(
        [*command, "--child", name, "--home", str(home), *more],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
