"""Encoding: rows become typed Parquet files with a table's names, types and field ids.

Spark writes into a fresh folder below the target's; what it reports as written, and nothing else, is moved into the target's
folder under the load's own names. Whatever fails, that folder goes, and with it all that any attempt left behind.
"""

from __future__ import annotations

import errno
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING

from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.errors import StorageWriteError
from billing_lake.domain.sources import EncodedFile
from billing_lake.domain.types import Map
from billing_lake.spark_job import sql
from billing_lake.spark_job.csv_files import CsvFiles
from billing_lake.spark_job.hadoop import refusal_of
from billing_lake.spark_job.java import NamedSql, java_columns, java_errors
from billing_lake.spark_job.jobs import named_job
from billing_lake.spark_job.written import written_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from billing_lake.domain.sources import EncodeTarget
    from billing_lake.spark_job.hadoop import Hadoop
    from billing_lake.spark_job.parquet_files import ParquetFiles
    from billing_lake.spark_job.written import Part

_FILES_AT_ONCE = 8
_NO_MARKER = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
_REFUSALS = frozenset(
    {
        errno.ENOSPC,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EDQUOT,
        errno.EEXIST,
        errno.ENOTDIR,
    }
)


def make_folder(target: EncodeTarget, hadoop: Hadoop) -> None:
    """Make the target's folder.

    Raises:
        StorageWriteError: It cannot be made.
    """
    try:
        hadoop.make_folder(target.folder)
    except OSError as error:
        raise _refused(error, target) from error


def write_rows(
    spark: SparkSession,
    frames: Sequence[DataFrame],
    tasks: int,
    target: EncodeTarget,
    hadoop: Hadoop,
    *,
    verify: Callable[[int], None],
) -> tuple[EncodedFile, ...]:
    """Write the rows of ``frames`` as Parquet files of ``target``; ``verify``, given their number, may refuse them.

    Raises:
        StorageWriteError: The target's folder takes no more.
        LoadError: What Spark reports as written is not what it left.
    """
    attempt = uuid.uuid4().hex
    work = f"{target.folder.rstrip('/')}/{target.stem}-{attempt}"
    frame = reduce(lambda left, right: left.unionByName(right), frames)
    if len(frames) > 1:
        frame = frame.coalesce(max(tasks, 1))
    description = f"billing-lake encode {target.stem} {attempt}"
    try:
        with named_job(spark, description):
            frame.write.options(**_NO_MARKER).parquet(work)
        parts = written_parts(spark, hadoop, work, description)
        verify(sum(part.rows for part in parts))
        return _taken_over([part for part in parts if part.rows], target, hadoop)
    except OSError as error:
        raise _refused(error, target) from error
    except java_errors() as error:
        number = refusal_of(error, target.folder)
        if number is not None and number.errno in _REFUSALS:
            raise _refused(number, target) from error
        raise
    finally:
        with suppress(OSError):
            hadoop.remove(work)


def target_columns(files: CsvFiles | ParquetFiles, target: EncodeTarget) -> list[NamedSql]:
    """Return the columns of ``target`` in its order and, unless one is a map, under its field ids, as ``files`` have them."""
    # Spark has no place for the ids of a map's parts. Readers take ids from files that have all of them, or else go by names.
    with_ids = not any(isinstance(field.type, Map) for field in target.fields)
    present = files.names
    wanted = []
    for field in target.fields:
        if field.name == SOURCE_FILE:
            value = files.name
        elif field.name in target.constants:
            value = sql.literal(target.constants[field.name])
        elif field.name in present:
            value = files.value(field.name, field.type)
        else:
            value = f"CAST(NULL AS {sql.spark_type(field.type)})"
        wanted.append(
            NamedSql(value, field.name, {"parquet.field.id": field.field_id} if with_ids else {})
        )
    return wanted


def select_columns(files: CsvFiles | ParquetFiles, wanted: Iterable[NamedSql]) -> DataFrame:
    """Return the rows of ``files`` with the columns ``wanted``.

    In one step: Spark does not join two that name a row's file, and would copy every row twice.
    """
    return files.rows.select(*java_columns(files.rows.sparkSession, wanted))


def spread_rows(
    groups: Sequence[CsvFiles | ParquetFiles], tasks: int, log: Callable[[str], None]
) -> Sequence[CsvFiles | ParquetFiles]:
    """Return ``groups`` with their rows spread over ``tasks`` where one task for each file would leave cores idle."""
    number = sum(len(group.inputs) for group in groups)
    if number >= tasks or not any(isinstance(group, CsvFiles) for group in groups):
        return groups
    log(f"encode: a gz file cannot be split; the rows of {number} are spread over {tasks} tasks")
    return [group.spread(tasks) if isinstance(group, CsvFiles) else group for group in groups]


def _taken_over(
    parts: Sequence[Part], target: EncodeTarget, hadoop: Hadoop
) -> tuple[EncodedFile, ...]:
    """Move ``parts`` into the target's folder, all of them or none."""
    files = [
        EncodedFile(
            uri=f"{target.folder.rstrip('/')}/{target.stem}-{number:05d}.parquet",
            rows=part.rows,
            size=part.status.size,
        )
        for number, part in enumerate(parts)
    ]
    try:
        _move(
            hadoop, [(part.status.uri, file.uri) for part, file in zip(parts, files, strict=True)]
        )
    except BaseException:
        for file in files:
            with suppress(OSError):
                hadoop.remove(file.uri)
        raise
    return tuple(files)


def _move(hadoop: Hadoop, moves: Sequence[tuple[str, str]]) -> None:
    if not any("://" in target for _, target in moves):
        for source, target in moves:
            hadoop.move(source, target)
        return
    # On S3 to move is to copy and remove, which takes a while for each file.
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for done in [pool.submit(hadoop.move, *each) for each in moves]:
            done.result()


def _refused(error: OSError, target: EncodeTarget) -> StorageWriteError:
    what = f"The lake cannot be written: {error.strerror or error}"
    return StorageWriteError(what, file=target.folder)
