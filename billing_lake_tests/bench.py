"""Speed and memory of a load, as ratios to bare Polars in the same run: `make bench`.

Machines are noisy, so nothing here is a number of seconds to compare with another day's: every figure is taken in a
process of its own, in turn with the baseline, and the median of the ratios is what counts. The baseline is the least that
anybody would do with the same files: `polars.scan_csv(chunks, schema).sink_parquet(zstd)`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from billing_lake_tests.bench_lines import Ratios, child, line
from billing_lake_tests.bench_ways import CHILDREN, deliver, load_of, measured

LIMITS = {
    "pass": 1.2,
    "convert": 1.3,
    "month": 2.0,
    "content": 1.5,
    "bill": 0.3,
}
CUR2_LIMITS = {"pass": 1.85, "convert": 2.0, "bill": 0.3}
"""Limits for CUR 2.0, whose maps the baseline leaves as text."""
PARQUET_LIMITS = {"parquet-pass": 1.3}
"""Limit for CUR 2.0 in Parquet; the baseline is `scan_parquet(...).sink_parquet(zstd)`."""
MEMORY_LIMIT_MB = 1_500
STORY_LIMIT = 0.15
STORY = "story"
"""The child that loads a restated month and says which share of it the ledger took."""
VALIDATE_LIMIT = 1.3
SPARK_LIMIT = 1.3
REPLACED_LEAST = 6.0
INSPECT_LIMIT_SECONDS = 10
INSPECT_LIMIT = 2.0
INSPECT = "inspect"
"""The child that looks at a bucket of a real S3 server."""
SMALL_MONTH_ROWS = 20_000
SMALL_MONTH_LIMIT_SECONDS = 1.5
BACKFILL_ROWS = 1_000
BACKFILL_LIMIT_SECONDS = 1.0
BACKFILL_GROWTH_LIMIT = 1.2
BACKFILL = "backfill"
"""The child that loads small months in one run."""
TICKS_LIMIT_SECONDS = 5
TICKS = "ticks"
"""The child in which sensors look at that bucket."""
SPARK = "spark"
"""The child that measures several ways in one Spark session."""


def main() -> None:
    """Run the benchmark, or one measurement of it in a child process."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--growth",
        action="store_true",
        help="also measure memory at 5 x rows, in 4 and in 64 files, and one file instead of 4",
    )
    parser.add_argument(
        "--spark-rows", type=int, default=500_000, help="rows for Spark, 0 for none"
    )
    parser.add_argument(
        "--cur2-rows", type=int, default=400_000, help="rows of CUR 2.0, 0 for none"
    )
    parser.add_argument(
        "--exports", type=int, default=4, help="exports of a bucket; the limits are for 10"
    )
    parser.add_argument(
        "--months",
        type=int,
        default=24,
        help="months of each, and of a backfill; the limits are for 120",
    )
    parser.add_argument(
        "--years",
        type=int,
        default=0,
        metavar="DELIVERIES",
        help="only measure commits and plans after so many deliveries of two years: 1000, say",
    )
    parser.add_argument(
        "--only-months",
        action="store_true",
        help="only measure small months and what looks at a bucket",
    )
    parser.add_argument(
        "--layout", action="store_true", help="only measure ways to lay out the files of a month"
    )
    children = [*CHILDREN, SPARK, STORY, INSPECT, BACKFILL, TICKS]
    parser.add_argument("--child", choices=sorted(children), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--format", default="legacy_cur", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measured(options)))
        return
    with tempfile.TemporaryDirectory(prefix="billing-lake-bench-") as folder:
        if options.years:
            _report_years(Path(folder), options.years)
            return
        if options.only_months:
            _report_months(Path(folder), options)
            return
        if options.layout:
            _report_layout(Path(folder), options.rows)
            return
        _run(Path(folder), options)


def _measured(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return what the child that ``options`` choose has measured."""
    # Imported in the child: what one measurement needs, another one shall not have in memory.
    if options.child in (INSPECT, BACKFILL, TICKS):
        from billing_lake_tests import bench_inspect, bench_months

        home, exports, months = options.home, options.exports, options.months
        if options.child == BACKFILL:
            return bench_months.measure_backfill(home, options.rows, months)
        if options.child == TICKS:
            return bench_months.measure_ticks(home, exports, months)
        return bench_inspect.measure(exports, months)
    if options.child == SPARK:
        from billing_lake_tests.bench_spark import measure_ways

        return measure_ways(options.home, options.rounds)
    if options.child == STORY:
        return _story_share(options.home)
    return measured(CHILDREN[options.child], options.home, options.format)


def _run(folder: Path, options: argparse.Namespace) -> None:
    deliver(folder / "lake", options.rows, options.chunks)
    ratios = Ratios(LIMITS)
    peak = 0
    for turn in range(options.rounds):
        base = child("baseline", folder / "lake")
        print(f"round {turn + 1}: baseline {base['seconds']:.2f} s", flush=True)
        for name in (one for one in LIMITS if one in CHILDREN):
            found = child(name, folder / "lake")
            ratios.add(name, found, base)
            print(f"  {name}: {found['seconds']:.2f} s, {found['peak_mb']:,} MB", flush=True)
            peak = max(peak, found["peak_mb"]) if name == "month" else peak
    print()
    ratios.report()
    line("peak memory of the whole month", f"{peak:,} MB", peak <= MEMORY_LIMIT_MB, "1,500 MB")
    if options.cur2_rows:
        _report_cur2(folder / "cur2", options)
        _report_parquet(folder / "cur2-parquet", options)
    _report_story(folder / "story", options)
    _report_validate(folder, options.rounds)
    _report_months(folder, options)
    if options.spark_rows:
        _report_spark(folder, options)
    if options.growth:
        from billing_lake_tests.bench_growth import report

        report(folder, options.rows, options.chunks, options.rounds, peak)


def _report_cur2(home: Path, options: argparse.Namespace) -> None:
    deliver(home, options.cur2_rows, options.chunks, "cur2")
    ratios = Ratios(CUR2_LIMITS)
    for _ in range(options.rounds):
        base = child("baseline", home)
        for name in (one for one in CUR2_LIMITS if one in CHILDREN):
            ratios.add(name, child(name, home, "--format", "cur2"), base)
    ratios.report("CUR 2.0: ")


def _report_parquet(home: Path, options: argparse.Namespace) -> None:
    deliver(home, options.cur2_rows, options.chunks, "cur2", container="snappy.parquet")
    ratios = Ratios(PARQUET_LIMITS)
    for _ in range(options.rounds):
        base = child("parquet-baseline", home)
        found = child("parquet-pass", home, "--format", "cur2")
        ratios.add("parquet-pass", found, base)
        print(f"  parquet: {found['seconds']:.2f} s, {found['peak_mb']:,} MB", flush=True)
    ratios.report("CUR 2.0 Parquet: ")


def _report_story(home: Path, options: argparse.Namespace) -> None:
    shares = []
    for turn in range(options.rounds + 1):
        deliver(home, options.rows // 5, options.chunks, restatement=turn)
        found = child(STORY, home)
        if turn:  # the first delivery restates nothing
            print(f"  story: {json.dumps(found)}", flush=True)
            shares.append(found["story_seconds"] / found["seconds"])
    middle = statistics.median(shares)
    line(
        "ledger and restatements / the whole restated month",
        f"{middle:.2f} x ({min(shares):.2f} to {max(shares):.2f})",
        middle <= STORY_LIMIT,
        f"{STORY_LIMIT} x",
    )


def _story_share(home: Path) -> dict[str, Any]:
    from billing_lake.loads.ledger import Ledger

    spent, record = 0.0, Ledger.record

    def timed(*args: Any) -> Any:
        nonlocal spent
        started = time.monotonic()
        found = record(*args)
        spent += time.monotonic() - started
        return found

    Ledger.record = timed  # type: ignore[method-assign,assignment]
    load = load_of(home, "legacy_cur")
    started = time.monotonic()
    if not load().success:
        raise AssertionError("The month was not loaded")
    return {"seconds": time.monotonic() - started, "story_seconds": spent}


def _report_spark(folder: Path, options: argparse.Namespace) -> None:
    from billing_lake_tests.bench_spark import ratio

    home = folder / "for-spark"
    deliver(home, options.spark_rows, options.chunks)
    taken = child(SPARK, home, "--rounds", str(options.rounds))
    print(f"  spark: {json.dumps(taken)}", flush=True)
    cpu, wall = (ratio(taken, "convert", "plain", of) for of in ("cpu_seconds", "seconds"))
    line(
        "Spark: profile + encode / plain spark.read.csv.write.parquet",
        f"{cpu:.2f} x, wall {wall:.2f} x",
        cpu <= SPARK_LIMIT,
        f"{SPARK_LIMIT} x CPU",
    )
    month = [child("month", home)["seconds"] for _ in range(options.rounds)]
    replaced = [one["seconds"] for one in taken["replaced"]]
    factor = statistics.median(replaced) / statistics.median(month)
    line(
        "the replaced way (infer, cache, count, append) on warm Spark / the whole month",
        f"{factor:.1f} x",
        factor >= REPLACED_LEAST,
        f"at least {REPLACED_LEAST} x",
    )


def _report_layout(folder: Path, rows: int) -> None:
    from billing_lake_tests.bench_layout import report

    for row in report(folder, rows):
        print(row)


def _report_years(folder: Path, deliveries: int) -> None:
    from billing_lake_tests.bench_years import LIMIT, report

    for what, ratio, is_limited in report(folder, deliveries):
        kept, limit = (ratio <= LIMIT, f"{LIMIT} x") if is_limited else (True, "any")
        line(what, f"{ratio:.2f} x the first ones", kept, limit)


def _report_validate(folder: Path, rounds: int) -> None:
    empty = folder / "empty"
    empty.mkdir()
    (empty / "nothing.py").write_text(
        "import dagster as dg\n\n\n@dg.asset\ndef nothing() -> None: ...\n\n\n"
        "defs = dg.Definitions(assets=[nothing])\n"
    )
    ratios = []
    for _ in range(rounds):
        ours = _validate("billing_lake.definitions", Path.cwd(), folder)
        ratios.append(ours / _validate("nothing", empty, folder))
    middle = statistics.median(ratios)
    line(
        "loading the code location / an empty project",
        f"{middle:.2f} x ({min(ratios):.2f} to {max(ratios):.2f})",
        middle <= VALIDATE_LIMIT,
        f"{VALIDATE_LIMIT} x",
    )


def _report_months(folder: Path, options: argparse.Namespace) -> None:
    """Report what small months cost, and what looks at a bucket of many months."""
    months = options.months
    small = [_backfill(folder, SMALL_MONTH_ROWS, 1) for _ in range(options.rounds)]
    middle = statistics.median(one["seconds"] for one in small)
    cpu = statistics.median(one["cpu_seconds"] for one in small)
    line(
        f"a month of {SMALL_MONTH_ROWS:,} rows in one Dagster run",
        f"{middle:.2f} s (CPU {cpu:.2f} s)",
        middle <= SMALL_MONTH_LIMIT_SECONDS,
        f"{SMALL_MONTH_LIMIT_SECONDS} s",
    )
    half, whole = (_backfill(folder, BACKFILL_ROWS, number) for number in (months // 2, months))
    each = whole["seconds"] / months
    line(
        f"{months} months of {BACKFILL_ROWS:,} rows in one run, each",
        f"{each:.2f} s (CPU {whole['cpu_seconds'] / months:.2f} s)",
        each <= BACKFILL_LIMIT_SECONDS,
        f"{BACKFILL_LIMIT_SECONDS} s",
    )
    growth = whole["cpu_seconds"] / half["cpu_seconds"] * (months // 2) / months
    line(
        f"CPU of each of {months} months / of each of {months // 2}",
        f"{growth:.2f} x",
        growth <= BACKFILL_GROWTH_LIMIT,
        f"{BACKFILL_GROWTH_LIMIT} x",
    )
    _report_ticks(folder, options.exports, months)
    _report_inspect(folder, options.exports, months)


def _backfill(folder: Path, rows: int, months: int) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(dir=folder))
    found = child(BACKFILL, home, "--rows", str(rows), "--months", str(months))
    print(f"  {months} months of {rows:,} rows: {json.dumps(found)}", flush=True)
    return found


def _report_ticks(folder: Path, exports: int, months: int) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    found = child(TICKS, home, "--exports", str(exports), "--months", str(months))
    print(f"  ticks: {json.dumps(found)}", flush=True)
    for which, manifests in (("first", exports * months), ("next", 0)):
        look = found[which]
        read = look["requests"].get("GetObject", 0)
        line(
            f"{which} tick of {exports} sensors, {months} months each, on S3",
            f"{look['seconds']:.1f} s, {read:,} manifests",
            look["seconds"] <= TICKS_LIMIT_SECONDS and read == manifests,
            f"{TICKS_LIMIT_SECONDS} s, {manifests:,}",
        )


def _report_inspect(folder: Path, exports: int, months: int) -> None:
    size = ("--exports", str(exports), "--months", str(months))
    found = child(INSPECT, folder, *size)
    seconds, ratio = found["seconds"], found["seconds"] / found["bare"]
    print(f"  inspect: {json.dumps(found)}", flush=True)
    line(
        f"inspect of {months} months x {exports} exports on S3 / boto3 alone",
        f"{ratio:.2f} x ({seconds:.1f} s)",
        ratio <= INSPECT_LIMIT and seconds <= INSPECT_LIMIT_SECONDS,
        f"{INSPECT_LIMIT} x, {INSPECT_LIMIT_SECONDS} s",
    )


def _validate(module: str, cwd: Path, home: Path) -> float:
    dagster = Path(sys.executable).with_name("dagster")
    started = time.monotonic()
    subprocess.run(
        [str(dagster), "definitions", "validate", "-m", module],
        check=True,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DAGSTER_HOME": str(home), "BILLING_LAKE_HOME": str(home / "lake")},
    )
    return time.monotonic() - started


if __name__ == "__main__":
    main()
