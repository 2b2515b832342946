"""Spark's share of `make bench`: the program against plain Spark, and the system that is being replaced against a whole month.

Everything runs in one session, in turn, after a round that does not count: a JVM is slow at first, and the ratio of two
cold starts says nothing.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.domain.schemas import lake_columns, plan
from billing_lake.domain.sources import EncodeTarget, Source
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake.resources.java import use_java
from billing_lake.resources.spark_settings import session_settings
from billing_lake.spark_job.sql import spark_type

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PERIOD = "2025-03"


def measure(source: Source, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return seconds, one for each round, of three ways to get report files into Parquet.

    Args:
        source: The report files, all with the same columns.
        folder: Where to write; emptied again.
        rounds: How often, beside the first one.
    """
    session = _session()
    ways: dict[str, Callable[[Path], None]] = {
        "plain": lambda out: _plain(session, source, out),
        "encode": lambda out: _encode(session, source, out),
        "replaced": lambda out: _replaced(session, source, out),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            out = folder / name
            started = time.monotonic()
            way(out)
            if turn:
                seconds[name].append(time.monotonic() - started)
            shutil.rmtree(out)
    session.stop()
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, base: str) -> float:
    """Return the median of the ratios of two ways, round by round."""
    pairs = zip(seconds[name], seconds[base], strict=True)
    return statistics.median(one / other for one, other in pairs)


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


def _encode(session: SparkSession, source: Source, out: Path) -> None:
    target = EncodeTarget(
        fields=plan(None, lake_columns(source.columns)).fields,
        constants={"export_name": "bench", "billing_period": PERIOD, "delivery_version": "1"},
        folder=str(out),
        stem="bench",
    )
    SparkEngine(lambda: session, log=lambda _: None).encode(source, target)


def _replaced(session: SparkSession, source: Source, out: Path) -> None:
    """Do what the replaced system does with each delivery: infer the schema, cache, count, append."""
    rows = session.read.csv([file.uri for file in source.files], header=True, inferSchema=True)
    rows = rows.toDF(*(f"c{position}" for position in range(len(rows.columns)))).cache()
    rows.count()
    rows.write.mode("append").parquet(str(out))
    rows.unpersist()
