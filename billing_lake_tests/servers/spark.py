"""One Spark session for all tests of a process: a JVM takes seconds to start and half a gigabyte to run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from billing_lake.resources.java import use_java
from billing_lake.resources.spark_settings import LOOPBACK, session_settings
from billing_lake_tests.servers.jars import ICEBERG_IN_SQLITE, jar_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
"""Options of a JVM in tests: they are over before the optimising compiler, or the check of every class of Spark, has earned what it costs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let PySpark leave its sockets to the garbage collector, in the tests that use it and in no others."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session; UTC, two cores, nobody can reach it from outside."""
    from pyspark.sql import SparkSession

    use_java()
    os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
    # Rows that a test makes in Python pass through a Python process, which would otherwise be whatever `python3` is.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = session_settings("local[2]", "1g") | {
        "spark.sql.shuffle.partitions": "2",
        "spark.log.level": "ERROR",
        "spark.driver.extraJavaOptions": LIGHT,
    }
    # Jars must be there from the start, for the tests that read Iceberg tables. Where they are not to be had, those
    # tests say so and the others run.
    with suppress(subprocess.SubprocessError):
        settings["spark.jars"] = ",".join(map(str, jar_files(ICEBERG_IN_SQLITE)))
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    gateway = session.sparkContext._gateway
    session.stop()
    if gateway is not None:
        gateway.shutdown()
