"""Speed and memory of a load, as ratios to bare Polars in the same run: `make bench`.

Machines are noisy, so nothing here is a number of seconds to compare with another day's: every figure is taken in a
process of its own, in turn with the baseline, and the median of the ratios is what counts. The baseline is the least that
anybody would do with the same files: `polars.scan_csv(chunks, schema).sink_parquet(zstd)`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

PERIOD = "2025-03"
LIMITS = {
    "encode": 1.25,
    "profile": 0.55,
    "month": 2.0,
    "content": 1.5,
    "bill": 0.3,
}
WHAT = {
    "encode": "csv.gz -> Hive and Iceberg table",
    "profile": "profile of the raw files",
    "month": "the whole month, five assets, all proofs",
    "content": "same_content: every cell, raw and one table",
    "bill": "the checks of the bill, one reading of the table",
}
CUR2_LIMITS = {"encode": 1.25, "profile": 0.6, "bill": 0.3}
"""Limits for CUR 2.0, whose maps the baseline leaves as text."""
MEMORY_LIMIT_MB = 1_500
GROWTH_LIMIT = 1.2
VALIDATE_LIMIT = 1.3
SPARK_LIMIT = 1.2
SPARK = "spark"
"""The child that measures several ways in one Spark session."""


def main() -> None:
    """Run the benchmark, or one measurement of it in a child process."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="also measure memory at 5 x rows")
    parser.add_argument(
        "--spark-rows", type=int, default=500_000, help="rows for Spark, 0 for none"
    )
    parser.add_argument(
        "--cur2-rows", type=int, default=400_000, help="rows of CUR 2.0, 0 for none"
    )
    parser.add_argument("--child", choices=sorted([*CHILDREN, SPARK]), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--format", default="legacy_cur", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == SPARK:
        print(json.dumps(_spark_seconds(options.home, options.rounds)))
        return
    if options.child:
        print(json.dumps(_measured(CHILDREN[options.child], options.home, options.format)))
        return
    with tempfile.TemporaryDirectory(prefix="billing-lake-bench-") as folder:
        _run(Path(folder), options)


def _run(folder: Path, options: argparse.Namespace) -> None:
    _deliver(folder / "lake", options.rows, options.chunks)
    ratios: dict[str, list[float]] = {name: [] for name in LIMITS}
    peak = 0
    for turn in range(options.rounds):
        base = _child("baseline", folder / "lake")["seconds"]
        print(f"round {turn + 1}: baseline {base:.2f} s", flush=True)
        for name in LIMITS:
            found = _child(name, folder / "lake")
            ratios[name].append(found["seconds"] / base)
            print(f"  {name}: {found['seconds']:.2f} s, {found['peak_mb']:,} MB", flush=True)
            peak = max(peak, found["peak_mb"]) if name == "month" else peak
    print()
    for name, limit in LIMITS.items():
        middle = statistics.median(ratios[name])
        spread = f"{min(ratios[name]):.2f} to {max(ratios[name]):.2f}"
        _line(
            f"{WHAT[name]} / baseline", f"{middle:.2f} x ({spread})", middle <= limit, f"{limit} x"
        )
    _line("peak memory of the whole month", f"{peak:,} MB", peak <= MEMORY_LIMIT_MB, "1,500 MB")
    if options.cur2_rows:
        _report_cur2(folder / "cur2", options)
    _report_validate(folder, options.rounds)
    if options.spark_rows:
        _report_spark(folder, options)
    if options.growth:
        _deliver(folder / "large", options.rows * 5, options.chunks * 5)
        large = _child("month", folder / "large")["peak_mb"]
        _line(
            "peak memory at 5 x the rows / peak memory",
            f"{large / peak:.2f} x ({large:,} MB)",
            large <= peak * GROWTH_LIMIT,
            f"{GROWTH_LIMIT} x",
        )


def _report_cur2(home: Path, options: argparse.Namespace) -> None:
    _deliver(home, options.cur2_rows, options.chunks, "cur2")
    ratios: dict[str, list[float]] = {name: [] for name in CUR2_LIMITS}
    for _ in range(options.rounds):
        base = _child("baseline", home)["seconds"]
        for name in CUR2_LIMITS:
            ratios[name].append(_child(name, home, "--format", "cur2")["seconds"] / base)
    for name, limit in CUR2_LIMITS.items():
        middle = statistics.median(ratios[name])
        spread = f"{min(ratios[name]):.2f} to {max(ratios[name]):.2f}"
        found = f"{middle:.2f} x ({spread})"
        _line(f"CUR 2.0: {WHAT[name]} / baseline", found, middle <= limit, f"{limit} x")


def _spark_seconds(home: Path, rounds: int) -> dict[str, list[float]]:
    from billing_lake_tests.bench_spark import measure

    *_, source = _source(home)
    return measure(source, home / "spark", rounds)


def _report_spark(folder: Path, options: argparse.Namespace) -> None:
    from billing_lake_tests.bench_spark import ratio

    home = folder / "for-spark"
    _deliver(home, options.spark_rows, options.chunks)
    seconds = _child(SPARK, home, "--rounds", str(options.rounds))
    print(f"  spark: {json.dumps(seconds)}", flush=True)
    found = ratio(seconds, "encode", "plain")
    _line(
        "Spark: encode / plain spark.read.csv.write.parquet",
        f"{found:.2f} x",
        found <= SPARK_LIMIT,
        f"{SPARK_LIMIT} x",
    )
    month = [_child("month", home)["seconds"] for _ in range(options.rounds)]
    factor = statistics.median(seconds["replaced"]) / statistics.median(month)
    print(
        "     the replaced system's infer, cache, count, append on warm Spark takes "
        f"{factor:.1f} x the whole month on Polars, proofs included"
    )


def _line(what: str, found: str, kept: bool, limit: str) -> None:  # noqa: FBT001 - a row of a table
    print(f"{'ok  ' if kept else 'MISS'} {what:<58} {found:<28} at most {limit}", flush=True)


def _deliver(home: Path, rows: int, chunks: int, format_: str = "legacy_cur") -> None:
    from billing_lake.sample import SampleSpec, write_delivery

    spec = SampleSpec(
        format=format_,
        layout="create-new",
        prefix="billing",
        report="daily",
        rows=rows,
        chunks=chunks,
    )
    started = time.monotonic()
    delivery = write_delivery(home / "landing", PERIOD, spec)
    size = sum(file.stat().st_size for file in delivery.files) >> 20
    print(
        f"sample: {rows:,} rows in {len(delivery.files)} files, {size:,} MB gzipped, "
        f"{rows / (time.monotonic() - started):,.0f} rows/s",
        flush=True,
    )


def _child(name: str, home: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "billing_lake_tests.bench"]
    done = subprocess.run(
        [*command, "--child", name, "--home", str(home), *more],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured(
    prepare: Callable[[Path, str], Callable[[], None]], home: Path, format_: str
) -> dict[str, Any]:
    work = prepare(home, format_)
    started = time.monotonic()
    work()
    return {
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _baseline(home: Path, _: str) -> Callable[[], None]:
    import polars as pl

    files = sorted((home / "landing").rglob("*.csv.gz"))
    names = pl.scan_csv(files[0], infer_schema=False).collect_schema().names()

    def work() -> None:
        out = home / "baseline.parquet"
        pl.scan_csv(files, schema=dict.fromkeys(names, pl.String())).sink_parquet(
            out, compression="zstd"
        )
        out.unlink()

    return work


def _source(home: Path, format_: str = "legacy_cur") -> Any:
    import polars  # noqa: F401, ICN001 - imported before the clock starts
    import pyiceberg.catalog.sql  # noqa: F401

    from billing_lake.deployments import LocalLake
    from billing_lake.engines.digests import local_digest
    from billing_lake.formats.locations import ExportLocation
    from billing_lake.formats.registry import format_named
    from billing_lake.landing.deliveries import read_source, resolve_delivery

    lake = LocalLake(home)
    location = ExportLocation(
        name="bench",
        layout="create-new",
        prefix="billing",
        report="daily",
        format=format_named(format_),
    )
    delivery = resolve_delivery(lake.storage, location, PERIOD)
    source, _ = read_source(lake.storage, delivery)
    # As the profile's pass would leave them: encoding compares what it read.
    files = tuple(replace(file, digest=local_digest(file, lake.files)) for file in source.files)
    return lake, location, delivery, replace(source, files=files)


def _profile(home: Path, format_: str) -> Callable[[], None]:
    lake, _, _, source = _source(home, format_)

    def work() -> None:
        lake.engine(_silent).profile(source)

    return work


def _encode(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake.domain.schemas import lake_columns, plan
    from billing_lake.domain.sources import Encoded, EncodeTarget, PeriodKey

    lake, _, delivery, source = _source(home, format_)
    table, key = "bench.encode", PeriodKey("bench", PERIOD)

    def work() -> None:
        fields = plan(None, lake_columns(source.columns)).fields
        target = EncodeTarget(
            fields=fields,
            constants={
                "export_name": "bench",
                "billing_period": PERIOD,
                "delivery_version": delivery.version,
            },
            folder=str(lake.hive.new_location(table, key)),
            stem="bench",
        )
        files = lake.engine(_silent).encode(source, target)
        encoded = Encoded(
            identity=delivery.identity, version=delivery.version, files=files, fields=fields
        )
        for catalog in (lake.hive, lake.iceberg):
            catalog.create(table, fields)
            catalog.replace_period(table, key, encoded, properties={}, verify=_silent_verify)

    return work


def _content(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake.domain.column_names import LAKE_COLUMNS, SOURCE_FILE
    from billing_lake.domain.sources import PeriodKey

    lake, _, _, source = _source(home, format_)
    table = lake.iceberg.files("bench.encode", PeriodKey("bench", PERIOD))
    columns = [
        one for one in table.columns if one.name == SOURCE_FILE or one.name not in LAKE_COLUMNS
    ]

    def work() -> None:
        if lake.reader.content(source, columns) != lake.reader.content(table, columns):
            msg = "The table holds other cells than the report files"
            raise AssertionError(msg)

    return work


def _bill(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake.domain.sources import PeriodKey
    from billing_lake.formats.registry import format_named

    lake, _, _, _ = _source(home, format_)
    form = format_named(format_)
    table = form.meaning(lake.iceberg.files("bench.encode", PeriodKey("bench", PERIOD)))
    cost = next(iter(form.headline_costs))
    tags = form.tags(one.name for one in table.columns)
    rows = lake.reader.profile(replace(table, columns=table.columns[:1])).rows

    def work() -> None:
        bill = lake.reader.bill(table, cost, form.charges, tags)
        if sum(bill.payers.values()) != rows:
            msg = "The checks of the bill did not see every row"
            raise AssertionError(msg)

    return work


def _month(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake_tests.lakes import SampleLake

    _source(home, format_)
    logging.disable(logging.CRITICAL)
    settings = {"layout": "create-new", "prefix": "billing", "report": "daily"}
    lake = SampleLake(home, {**settings, "format": format_})
    definitions = lake.definitions
    job = definitions.resolve_job_def("costs_load")

    def work() -> None:
        done = job.execute_in_process(
            instance=lake.instance, partition_key=PERIOD, raise_on_error=True
        )
        failed = [
            check.check_name for check in done.get_asset_check_evaluations() if not check.passed
        ]
        if failed:
            raise AssertionError(failed)

    return work


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
    _line(
        "loading the code location / an empty project",
        f"{middle:.2f} x ({min(ratios):.2f} to {max(ratios):.2f})",
        middle <= VALIDATE_LIMIT,
        f"{VALIDATE_LIMIT} x",
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


def _silent(_: str) -> None:
    """Take a line of progress and forget it."""


def _silent_verify() -> None:
    """Take the delivery for unchanged; nothing else writes here."""


CHILDREN: dict[str, Callable[[Path, str], Callable[[], None]]] = {
    "baseline": _baseline,
    "encode": _encode,
    "profile": _profile,
    "month": _month,
    "content": _content,
    "bill": _bill,
}

if __name__ == "__main__":
    main()
