"""A session of the program's own beside the caller's: the same Spark, the settings that equal files need.

Whatever a cluster, a notebook or Glue has set, the files come out the same; and nothing that is set here reaches the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INPUT_PER_TASK_BYTES = 256 << 20
"""Compressed bytes that one task reads and one Parquet file holds; it comes out at about 100 MB."""

_SETTINGS = {
    "spark.sql.ansi.enabled": "false",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.sources.useV1SourceList": "csv,text,parquet",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.maxRecordsPerFile": "0",
    "spark.sql.files.maxPartitionBytes": str(INPUT_PER_TASK_BYTES),
    # Files smaller than this are read several to a task, so that a small month is not a file for each of them.
    "spark.sql.files.openCostInBytes": str(1 << 20),
    "spark.sql.csv.parser.columnPruning.enabled": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.parquet.fieldId.write.enabled": "true",
    "spark.sql.parquet.fieldId.read.enabled": "false",
    "spark.sql.parquet.mergeSchema": "false",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.filterPushdown": "false",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # Wide tables make long plans, and Spark writes each into its log of executions.
    "spark.sql.maxPlanStringLength": "2000",
    "spark.sql.debug.maxToStringFields": "5",
}


def own_session(spark: SparkSession, tasks: int = 1) -> SparkSession:
    """Return a new session on the Spark of ``spark``.

    Args:
        spark: The caller's session; it stays as it is.
        tasks: How many tasks shall read, as far as there are files for them.
    """
    own = spark.newSession()
    settings = _SETTINGS | {
        "spark.sql.files.minPartitionNum": str(tasks),
        "spark.sql.shuffle.partitions": str(tasks),
    }
    for name, value in settings.items():
        own.conf.set(name, value)
    return own
