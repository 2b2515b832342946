"""The engine's verbs on a Spark session: report files in, a profile or Parquet out, or both from one reading.

The same functions run in process (`SparkEngine`) and as a Glue job (`glue_main`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from billing_lake.domain.errors import BillingLakeError
from billing_lake.domain.profiles import Profile, merge, require_totals
from billing_lake.spark_job.bad_cells import (
    CellPlace,
    bad_value_error,
    place_of_error,
    raise_first_fault,
    report_fault,
)
from billing_lake.spark_job.csv_files import check_lines, first_unreadable, read_csv
from billing_lake.spark_job.encoding import (
    make_folder,
    select_columns,
    spread_rows,
    target_columns,
    write_rows,
)
from billing_lake.spark_job.hadoop import Hadoop
from billing_lake.spark_job.inputs import (
    FILES_PER_PLAN,
    count_cores,
    local_digest,
    open_inputs,
    require_unchanged,
    tasks_for,
)
from billing_lake.spark_job.java import error_text, java_errors
from billing_lake.spark_job.jobs import named_job
from billing_lake.spark_job.observing import FILES_PER_OBSERVATION, observe
from billing_lake.spark_job.parquet_files import damage_error, read_parquet
from billing_lake.spark_job.profiling import profile_rows
from billing_lake.spark_job.session import own_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import SparkSession

    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
    from billing_lake.spark_job.csv_files import CsvFiles
    from billing_lake.spark_job.inputs import Input
    from billing_lake.spark_job.parquet_files import ParquetFiles

Log = Callable[[str], None]
"""Takes a line about progress."""


def profile(spark: SparkSession, source: Source, log: Log) -> Profile:
    """Total ``source`` exactly.

    Raises:
        ReportFileError: A report file cannot be read, with file, line, column and value where they can be told.
        TableError: A Parquet file of a table is missing or unreadable.
    """
    hadoop = Hadoop(spark)
    inputs = open_inputs(source, hadoop)
    if not inputs:
        return Profile()
    own = own_session(spark, tasks_for(inputs, count_cores(spark)))
    with (
        _named(own, source, inputs, hadoop, log),
        named_job(spark, f"billing-lake profile {uuid.uuid4().hex}"),
    ):
        # Before the pass: what is rewritten in its course then differs from what the digest says.
        digests = {
            one.file.name: "" if source.of_table else local_digest(one, hadoop) for one in inputs
        }
        parts: list[Profile] = []
        done = 0
        for group in _groups(own, source, inputs, hadoop, log):
            parts += profile_rows(group, source)
            done += len(group.inputs)
            log(
                f"profile: {done} of {len(inputs)} files, {sum(part.rows for part in parts):,} rows"
            )
    if source.of_table:
        return merge(parts)
    # Files without rows are in no group.
    empty = (Profile().in_file(name, digests[name]) for name in digests)
    return require_totals(merge([*empty, *parts]))


def encode(
    spark: SparkSession, source: Source, target: EncodeTarget, log: Log
) -> tuple[EncodedFile, ...]:
    """Write ``source`` as Parquet (zstd) with the names, types and ids of ``target``.

    Columns that the source lacks are NULL. Files without rows are not kept.

    Raises:
        ReportFileError: As for `profile`; nothing that was written stays.
        DeliveryChangedError: A file of this machine has other bytes than its digest says.
        StorageWriteError: The target's folder takes no more.
        LoadError: What Spark reports as written is not what it left.
    """
    hadoop = Hadoop(spark)
    inputs = open_inputs(source, hadoop)
    make_folder(target, hadoop)
    if not inputs:
        return ()
    tasks = tasks_for(inputs, count_cores(spark))
    own = own_session(spark, tasks)
    with _named(own, source, inputs, hadoop, log):
        with named_job(spark, f"billing-lake check {target.stem} {uuid.uuid4().hex}"):
            groups = spread_rows(list(_groups(own, source, inputs, hadoop, log)), tasks, log)
        frames = [select_columns(group, target_columns(group, target)) for group in groups]
        files = write_rows(
            own, frames, tasks, target, hadoop, verify=lambda _: require_unchanged(inputs, hadoop)
        )
    log(_told("encode", inputs, files))
    return files


def convert(
    spark: SparkSession, source: Source, target: EncodeTarget, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    """Return what `profile` and `encode` would, from one reading of the rows wherever `observing` can tell the profile.

    Raises:
        ReportFileError: As for `profile` and `encode`; nothing that was written stays.
        StorageWriteError: As for `encode`.
        LoadError: As for both.
    """
    hadoop = Hadoop(spark)
    inputs = open_inputs(source, hadoop)
    make_folder(target, hadoop)
    if not inputs:
        return Profile(), ()
    tasks = tasks_for(inputs, count_cores(spark))
    own = own_session(spark, tasks)
    found: list[Profile] = []
    with _named(own, source, inputs, hadoop, log):
        # Before the pass: what is rewritten in its course then differs from what the digest says.
        empty = [Profile().in_file(one.file.name, local_digest(one, hadoop)) for one in inputs]
        with named_job(spark, f"billing-lake check {target.stem} {uuid.uuid4().hex}"):
            groups = list(_groups(own, source, inputs, hadoop, log, FILES_PER_OBSERVATION))
        passing = [observe(group, source, target) for group in spread_rows(groups, tasks, log)]

        def verify(rows: int) -> None:
            require_unchanged(inputs, hadoop)
            told = [one.profile() for one in passing]
            parts = [one for one in told if one is not None]
            if len(parts) < len(told) or sum(part.rows for part in parts) != rows:
                log("the rows are read again, to total them by file, currency and billing period")
                with named_job(spark, f"billing-lake profile {uuid.uuid4().hex}"):
                    parts = [part for group in groups for part in profile_rows(group, source)]
            found.append(require_totals(merge([*empty, *parts])))

        frames = [one.rows for one in passing]
        files = write_rows(own, frames, tasks, target, hadoop, verify=verify)
    log(_told("convert", inputs, files))
    return found[0], files


def _told(verb: str, inputs: Sequence[Input], files: Sequence[EncodedFile]) -> str:
    rows, size = sum(file.rows for file in files), sum(file.size for file in files)
    return (
        f"{verb}: {len(inputs)} of {len(inputs)} files, {rows:,} rows in {len(files)} Parquet files, "
        f"{size >> 20:,} MB"
    )


def _groups(
    spark: SparkSession,
    source: Source,
    inputs: Sequence[Input],
    hadoop: Hadoop,
    log: Log,
    per_plan: int = FILES_PER_PLAN,
) -> Iterator[CsvFiles | ParquetFiles]:
    if source.container == "parquet":
        yield from read_parquet(spark, inputs, hadoop, of_table=source.of_table, per_plan=per_plan)
    else:
        quoted_returns = _checked(spark, source, inputs, hadoop, log)
        yield from read_csv(
            spark,
            inputs,
            source.nulls,
            quoted_returns,
            zipped=source.compression == "zip",
            per_plan=per_plan,
        )


def _checked(
    spark: SparkSession, source: Source, inputs: Sequence[Input], hadoop: Hadoop, log: Log
) -> Sequence[Input]:
    """Look at the raw lines of report files; return those in which a carriage return at a row's end may be part of a cell."""
    lines = check_lines(spark, inputs, zipped=source.compression == "zip")
    for one in lines:
        if one.is_suspect:
            log(
                f"{one.input.file.name} is looked through: it has cells of several lines, or faults"
            )
            raise_first_fault(one.input, source, hadoop, only_hidden=True)
    log(f"the lines of {len(inputs)} files are whole")
    return [one.input for one in lines if one.quoted_return]


@contextmanager
def _named(
    spark: SparkSession, source: Source, inputs: Sequence[Input], hadoop: Hadoop, log: Log
) -> Iterator[None]:
    """Turn what Spark raises into the error that says where and why."""
    try:
        yield
    except BillingLakeError:
        raise
    except java_errors() as error:
        # A file that is being rewritten is no stream of gzip for a while, and that is not what is wrong with it.
        require_unchanged(inputs, hadoop)
        place = place_of_error(error, inputs)
        if source.container == "csv":
            suspects = (
                inputs if source.compression == "zip" else _suspects(spark, place, inputs, log)
            )
            raise report_fault(error, suspects, source, hadoop) from error
        if place is None:
            raise damage_error(error_text(error), inputs, of_table=source.of_table) from error
        raise bad_value_error(place, source) from error


def _suspects(
    spark: SparkSession, place: CellPlace | None, inputs: Sequence[Input], log: Log
) -> Sequence[Input]:
    """Return the report files of which one made Spark fail, as few as it can tell."""
    if place is not None:
        return inputs if place.input is None else [place.input]
    if len(inputs) == 1:
        return inputs
    log(f"Spark cannot read one of {len(inputs)} files; each is tried alone")
    with named_job(spark, f"billing-lake search {uuid.uuid4().hex}"):
        first = first_unreadable(spark, inputs)
    return inputs if first is None else [first]
