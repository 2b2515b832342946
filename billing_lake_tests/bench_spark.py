"""Spark's share of `make bench`: the program against plain Spark, and the system that is being replaced against a whole month.

Everything runs in one session, in turn, after a round that does not count: a JVM is slow at first, and the ratio of two
cold starts says nothing.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.domain.schemas import lake_columns, plan
from billing_lake.domain.sources import EncodeTarget, Source
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake.resources.java import use_java
from billing_lake.resources.spark_settings import session_settings
from billing_lake.spark_job.sql import spark_type
from billing_lake_tests.bench_ways import source_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PERIOD = "2025-03"


Taken = dict[str, list[Mapping[str, float]]]
"""Seconds and seconds of CPU time of each way, round by round."""


def measure_ways(home: Path, rounds: int) -> Taken:
    """Return what three ways took to get the report files of the lake ``home`` into Parquet.

    Args:
        home: The lake; what is written into it goes again.
        rounds: How often, beside the first one.
    """
    *_, known = source_of(home)
    source = replace(known, files=tuple(replace(file, digest="") for file in known.files))
    folder = home / "spark"
    session = _session()
    ways: dict[str, Callable[[Path], None]] = {
        "plain": lambda out: _plain(session, source, out),
        "convert": lambda out: _convert(session, source, out),
        "replaced": lambda out: _replaced(session, source, out),
    }
    taken: Taken = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            out = folder / name
            started, before = time.monotonic(), _cpu_seconds(session)
            way(out)
            seconds, cpu = time.monotonic() - started, _cpu_seconds(session) - before
            if turn:
                taken[name].append({"seconds": seconds, "cpu_seconds": cpu})
            shutil.rmtree(out)
    session.stop()
    return taken


def ratio(taken: Taken, name: str, base: str, of: str) -> float:
    """Return the median of the ratios of two ways, round by round, of the figure ``of``."""
    pairs = zip(taken[name], taken[base], strict=True)
    return statistics.median(one[of] / other[of] for one, other in pairs)


def _cpu_seconds(session: SparkSession) -> float:
    """Return the CPU time of this process and of its JVM, which `ps` tells in whole seconds."""
    jvm: Any = session.sparkContext._gateway
    told = subprocess.check_output(["ps", "-o", "time=", "-p", str(jvm.proc.pid)], text=True)
    days, _, rest = told.strip().rpartition("-")
    hours, minutes, seconds = (["0", *rest.split(":")])[-3:]
    of_jvm = int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    return of_jvm + time.process_time()


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    use_java()
    builder: Any = SparkSession.builder
    settings = session_settings() | {
        "spark.log.level": "ERROR",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session: SparkSession = builder.getOrCreate()
    return session


def _plain(session: SparkSession, source: Source, out: Path) -> None:
    """Do what anybody would: the same types, the same codec, no question asked."""
    types = {column.name: spark_type(column.type) for column in source.columns}
    # By position: two spellings of one tag are two columns of the same name.
    names = enumerate(source.files[0].columns)
    schema = ", ".join(f"c{position} {types[name]}" for position, name in names)
    files = [file.uri for file in source.files]
    session.read.schema(schema).csv(files, header=True).write.parquet(str(out))


def _convert(session: SparkSession, source: Source, out: Path) -> None:
    target = EncodeTarget(
        fields=plan(None, lake_columns(source.columns)).fields,
        constants={"export_name": "bench", "billing_period": PERIOD, "delivery_version": "1"},
        folder=str(out),
        stem="bench",
    )
    profile, files = SparkEngine(lambda: session, log=lambda _: None).convert(source, target)
    if profile.rows != sum(file.rows for file in files):
        raise AssertionError(profile.rows)


def _replaced(session: SparkSession, source: Source, out: Path) -> None:
    """Do what the replaced system does with each delivery: infer the schema, cache, count, append."""
    rows = session.read.csv([file.uri for file in source.files], header=True, inferSchema=True)
    rows = rows.toDF(*(f"c{position}" for position in range(len(rows.columns)))).cache()
    rows.count()
    rows.write.mode("append").parquet(str(out))
    rows.unpersist()
