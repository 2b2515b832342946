"""The files of a source as Spark will see them: that they are there, how large they are, and how many tasks they deserve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.domain.errors import (
    ReportFileError,
    TableError,
    UnreadableFileError,
)
from billing_lake.domain.packing import START_BYTES, as_gzip, require_packing
from billing_lake.spark_job import sql
from billing_lake.spark_job.hadoop import path_spellings
from billing_lake.spark_job.session import INPUT_PER_TASK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

    from billing_lake.domain.packing import Compression
    from billing_lake.domain.sources import Source, SourceFile
    from billing_lake.spark_job.hadoop import Hadoop, Status

_LEAST_BYTES_PER_TASK = 16 << 20
"""Compressed bytes below which another task costs more than it saves."""

WITH_POLARS = "Load this period with the engine polars"

_LARGEST_ZIP_BYTES = (1 << 31) - (1 << 20)

PATH = "input_file_name()"
"""SQL for the path of a row's file; `_metadata.file_path` would copy every row once more."""

OWN_PATH = "_path"
"""Column with that path, of rows that no scan says it of."""

FILES_PER_PLAN = 50
"""Files of one scan; each adds a comparison to every row."""


@dataclass(frozen=True)
class Input:
    """A file of a source.

    Attributes:
        file: The file.
        path: How Spark spells it: everything special as its number.
        size: Its bytes.
    """

    file: SourceFile
    path: str
    size: int


def open_inputs(source: Source, hadoop: Hadoop) -> list[Input]:
    """Look at every file of ``source``; one of CSV must be packed as its name says.

    Raises:
        ReportFileError: A report file is missing, may not be read, is empty or packed otherwise.
        TableError: The same of a table's file.
    """
    inputs = []
    for file in source.files:
        try:
            status = hadoop.status(file.uri)
            if source.container == "csv":
                _require_csv(file, status, source.compression, hadoop)
        except OSError as error:
            what = f"The file cannot be read: {error.strerror or error}"
            if source.of_table:
                raise TableError(what, file=file.uri) from error
            raise UnreadableFileError(what, file=file.name) from error
        inputs.append(Input(file, status.path, status.size))
    return inputs


def _require_csv(
    file: SourceFile, status: Status, compression: Compression, hadoop: Hadoop
) -> None:
    start = hadoop.start(file.uri, START_BYTES) if status.size else b""
    require_packing(start, compression, file.name)
    if compression == "zip":
        if status.size > _LARGEST_ZIP_BYTES:
            what = f"The ZIP has {status.size:,} bytes, and Spark takes at most {_LARGEST_ZIP_BYTES:,} as a whole"
            raise ReportFileError(what, file=file.name, remedy=WITH_POLARS)
        with hadoop.open(file.uri) as raw:
            as_gzip(raw, file.name)


def local_digest(one: Input, hadoop: Hadoop) -> str:
    """Return the SHA-256 of a file of this machine; empty for one in an object store, which has a tag for its content.

    Raises:
        ReportFileError: It cannot be read.
    """
    if not one.path.startswith("file:"):
        return ""
    try:
        return hadoop.digest(one.file.uri)
    except OSError as error:
        what = f"The file cannot be read: {error.strerror or error}"
        raise UnreadableFileError(what, file=one.file.name) from error


def require_unchanged(inputs: Sequence[Input], hadoop: Hadoop) -> None:
    """Compare files of this machine with the digests that an earlier pass took.

    Raises:
        DeliveryChangedError: A file has other bytes now.
    """
    for one in inputs:
        if one.file.digest:
            one.file.require_digest(local_digest(one, hadoop))


def count_cores(spark: SparkSession) -> int:
    """Return how many tasks the cluster runs at once, as far as Spark knows."""
    return max(1, int(spark.sparkContext.defaultParallelism))


def tasks_for(inputs: Sequence[Input], cores: int) -> int:
    """Return how many tasks ``inputs`` deserve: no more than there are cores, unless files would grow too large."""
    size = sum(one.size for one in inputs)
    return max(1, min(cores, size // _LEAST_BYTES_PER_TASK), -(-size // INPUT_PER_TASK_BYTES))


def exact_files(reader: DataFrameReader) -> DataFrameReader:
    """Return ``reader`` for exactly the files that it is given: no pattern in a name, no partition in a path."""
    return reader.option("recursiveFileLookup", True).option("__globPaths__", False)  # noqa: FBT003


def require_all_read(rows: DataFrame, inputs: Sequence[Input]) -> DataFrame:
    """Return ``rows`` when Spark reads all of ``inputs``: it leaves out names that begin with a dot or an underscore.

    Raises:
        ReportFileError: A file would be left out.
    """
    if len(rows.inputFiles()) != len(inputs):
        names = ", ".join(one.file.name for one in inputs[:3])
        what = "Spark does not read every file: it takes those whose names begin with . or _ for hidden"
        raise ReportFileError(what, file=names, remedy=WITH_POLARS)
    return rows


def file_name_sql(inputs: Sequence[Input], path: str = PATH) -> str:
    """Return SQL for the name of the file that a row is from, by SQL for the ``path`` of that file."""
    return _by_path(inputs, path, [sql.literal(one.file.name) for one in inputs])


def file_number_sql(inputs: Sequence[Input], path: str = PATH) -> str:
    """Return SQL for the place among ``inputs`` of the file that a row is from, counted from 0."""
    return _by_path(inputs, path, [str(number) for number in range(len(inputs))])


def _by_path(inputs: Sequence[Input], path: str, values: Sequence[str]) -> str:
    if len(inputs) == 1:
        return values[0]
    whens = " ".join(
        f"WHEN {sql.literal(spelling)} THEN {value}"
        for one, value in zip(inputs, values, strict=True)
        for spelling in path_spellings(one.path)
    )
    return f"CASE {path} {whens} END"
