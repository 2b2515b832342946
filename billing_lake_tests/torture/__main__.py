"""Kills, faults and races for as long as is asked for: `make torture`. Ends with 1 where anything was wrong."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg

from billing_lake_tests.torture.changes import Change, Load, Maintenance, Rebuild, Relocation
from billing_lake_tests.torture.disturbed import Figures, disturb, every_fault, every_kill

CHANGES: dict[str, type[Change]] = {
    one.name: one for one in (Load, Rebuild, Maintenance, Relocation)
}
SHARES = {
    "race": 12,
    "kills of load": 24,
    "kills of rebuild": 8,
    "kills of maintenance": 18,
    "kills of relocation": 18,
    "faults of load": 8,
    "faults of rebuild": 4,
    "faults of maintenance": 4,
    "faults of relocation": 4,
}
"""Parts of the time that each part gets."""

_WHOLE_EVERY = 5
_SHOWN = 20


def main() -> None:
    """Run all parts, or one of them in a process of its own."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="time for all of it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--part", choices=sorted(SHARES), help="run this part only")
    parser.add_argument("--told", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.told:
        found = run_part(options.part, options.minutes * 60, random.Random(options.seed))
        options.told.write_text(json.dumps(vars(found)))
        return
    sys.exit(run_all(options))


def run_part(part: str, seconds: float, choice: random.Random) -> Figures:
    """Run one part in this process."""
    with tempfile.TemporaryDirectory(prefix="billing-lake-torture-") as folder:
        if part == "race":
            command = [sys.executable, "-W", "ignore", "-m", "billing_lake_tests.torture.races"]
            done = subprocess.run(
                [*command, folder, f"{seconds}", "1000000", "60"],
                check=True,
                stdout=subprocess.PIPE,
            )
            return Figures(**json.loads(done.stdout))
        kind, name = part.split(" of ")
        plan = {"kills": every_kill, "faults": every_fault}[kind](choice)
        until = time.monotonic() + seconds
        with dg.DagsterInstance.ephemeral() as instance:
            change = CHANGES[name](Path(folder), instance)
            return disturb(change, plan, whole_every=_WHOLE_EVERY, until=until)


def run_all(options: argparse.Namespace) -> int:
    """Run the parts, print what was done and found; return the status to end with."""
    parts = [options.part] if options.part else list(SHARES)
    seconds = options.minutes * 60 * min(options.processes, len(parts))
    whole = sum(SHARES[part] for part in parts)
    print(f"{options.minutes:g} minutes, {options.processes} processes, --seed {options.seed}")
    total = Figures()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as threads:

        def run(part: str) -> None:
            found = _in_a_process(
                part, seconds * SHARES[part] / whole, options.seed, Path(folder, part)
            )
            wrong = "".join(f"\nWRONG {one}" for one in found.wrong[:_SHOWN])
            print(f"{part + ':':<24}{_line(found)}{wrong}", flush=True)
            total.add(found)

        list(threads.map(run, parts))
    print(f"{'all:':<24}{_line(total)}")
    tried = total.looks and total.kills + total.faults + total.races
    return 0 if tried and not total.wrong else 1


def _in_a_process(part: str, seconds: float, seed: int, told: Path) -> Figures:
    command = [sys.executable, "-W", "ignore", "-m", "billing_lake_tests.torture"]
    command += ["--part", part, "--minutes", f"{seconds / 60}", "--seed", f"{seed}"]
    done = subprocess.run(
        [*command, "--told", str(told)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode or not told.exists():
        return Figures(wrong=[f"{part} ended with {done.returncode}: {done.stderr[-2000:]}"])
    return Figures(**json.loads(told.read_text()))


def _line(found: Figures) -> str:
    return (
        f"{found.kills:>6,} kills {found.faults:>5,} faults ({found.refused:,} refused) {found.races:>5,} races "
        f"{found.looks:>7,} looks {len(found.wrong):>3} wrong"
    )


if __name__ == "__main__":
    main()
