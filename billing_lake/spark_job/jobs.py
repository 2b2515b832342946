"""Spark jobs under a name of their own: found again among Spark's metrics, and stopped when whoever waits is interrupted."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from billing_lake.spark_job.java import java_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

_PROPERTIES = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")


@contextmanager
def named_job(spark: SparkSession, description: str) -> Iterator[None]:
    """Run what this thread asks of Spark as a group of jobs called ``description``; the caller's group is back afterwards."""
    context = spark.sparkContext
    before = {name: context.getLocalProperty(name) for name in _PROPERTIES}
    context.setJobGroup(description, description, interruptOnCancel=True)
    try:
        yield
    except java_errors():
        raise
    except BaseException:
        # Without this the JVM goes on writing for nobody.
        with suppress(*java_errors()):
            context.cancelJobGroup(description)
        raise
    finally:
        for name, value in before.items():
            context.setLocalProperty(name, value)  # type: ignore[arg-type] # None takes it away
