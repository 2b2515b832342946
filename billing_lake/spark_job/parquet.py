"""Parquet files as rows with the lake's types: a provider's reports, and the files of a table.

A provider's types change from month to month, even from file to file: money is a double here and text there. Files are read by
the schema that their footer states, those of one schema together. What can become the lake's type without a guess does, every
cell of it or none; anything else is a fault with a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.domain.errors import BadValueError, ReportFileError, TableError
from billing_lake.domain.types import DOUBLE, FLOAT, INT, LONG, STRING, TIMESTAMP, Decimal, Type
from billing_lake.spark_job import sql
from billing_lake.spark_job.inputs import PATH, PER_PLAN, complete, name_of, reading
from billing_lake.spark_job.java import error_text, java_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from billing_lake.spark_job.hadoop import Hadoop
    from billing_lake.spark_job.inputs import Input

_NANOSECONDS = re.compile(r"int64 (\S+) \(TIMESTAMP\(NANOS,")
_INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint"})
_FLOATS = frozenset({"float", "double"})
_NANOS = "timestamp in nanoseconds"


@dataclass(frozen=True)
class Tables:
    """Parquet files of one schema.

    Attributes:
        inputs: The files.
        rows: Their rows.
        types: Spark's type of each column.
    """

    inputs: Sequence[Input]
    rows: DataFrame
    types: Mapping[str, str]

    @property
    def name(self) -> str:
        """SQL for the name of a row's file."""
        return name_of(self.inputs)

    def text(self, name: str) -> str | None:
        """Return SQL for numbers as the text that `value` reads them from; None where they have none that can be rounded."""
        found = self.types.get(name)
        if found == "string" or found in _FLOATS:
            return f"CAST({sql.identifier(name)} AS STRING)"
        return None

    def is_filled(self, name: str, type_: Type) -> str:
        """Return SQL for whether a row has something in the column ``name``."""
        return f"{self.value(name, type_)} IS NOT NULL"

    def value(self, name: str, type_: Type) -> str:
        """Return SQL for the column ``name`` as ``type_``, NULL where the files lack it; fails for a cell that does not fit.

        Raises:
            BadValueError: No cell of the files' type can become one.
        """
        wanted = sql.spark_type(type_)
        found = self.types.get(name)
        cell = sql.identifier(name)
        if found is None or found == "void":
            return f"CAST(NULL AS {wanted})"
        if found == wanted:
            return cell
        value = _converted(cell, found, type_)
        if value is None:
            what = f"A column of the type {found} cannot become {type_}"
            raise BadValueError(what, file=self.inputs[0].file.name, column=name)
        filled = f"{cell} IS NOT NULL" + (f" AND {cell} != ''" if found == "string" else "")
        return sql.checked(value, filled, f"CAST({cell} AS STRING)", type_, name, PATH)


def read_tables(
    spark: SparkSession, inputs: Sequence[Input], hadoop: Hadoop, *, of_table: bool
) -> Iterator[Tables]:
    """Yield ``inputs`` by their schema.

    Raises:
        ReportFileError: A file is no Parquet, or damaged.
        TableError: The same of a table's file.
    """
    by_schema: dict[str, list[Input]] = {}
    for one in inputs:
        try:
            schema = hadoop.parquet(one.file.uri)[1]
        except (OSError, ValueError) as error:
            raise damaged(str(error), [one], of_table=of_table) from error
        by_schema.setdefault(schema, []).append(one)
    size = len(inputs) if of_table else PER_PLAN
    for schema, group in by_schema.items():
        for start in range(0, len(group), size):
            some = group[start : start + size]
            try:
                yield _tables(spark, some, schema)
            except java_errors() as error:
                raise damaged(error_text(error), some, of_table=of_table) from error


def damaged(
    reason: str, inputs: Sequence[Input], *, of_table: bool
) -> TableError | ReportFileError:
    """Return the error for Parquet files that cannot be read."""
    first = reason.splitlines()[0] if reason else "no reason"
    if of_table:
        what = f"The table's files cannot be read: {first}"
        return TableError(what, file=", ".join(one.file.uri for one in inputs[:3]))
    what = f"The file is damaged, or no Parquet: {first}"
    return ReportFileError(what, file=", ".join(one.file.name for one in inputs[:3]))


def _tables(spark: SparkSession, inputs: Sequence[Input], schema: str) -> Tables:
    rows = complete(reading(spark.read).parquet(*(one.file.uri for one in inputs)), inputs)
    types = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    types |= dict.fromkeys(_NANOSECONDS.findall(schema), _NANOS)
    return Tables(inputs, rows, types)


def _converted(cell: str, found: str, type_: Type) -> str | None:
    """Return ``cell`` as ``type_``, or None where nothing says how."""
    wanted = sql.spark_type(type_)
    plain = f"CAST({cell} AS {wanted})"
    if type_ == TIMESTAMP:
        if found == "string":
            return sql.converted(cell, type_)
        if found == _NANOS:
            return f"timestamp_micros({cell} div 1000)"
        # One without a zone is UTC, as everything in a billing export.
        return plain if found in ("date", "timestamp", "timestamp_ntz") else None
    if isinstance(type_, Decimal):
        # A double stands for the number that its text says; casting it would bring its binary tail along. A decimal that is
        # finer than the type is rounded as text is.
        if found == "string" or found in _FLOATS or found.startswith("decimal("):
            return sql.decimal(f"CAST({cell} AS STRING)", type_.precision, type_.scale)
        return plain if found in _INTEGERS else None
    fits: dict[Type, bool] = {
        STRING: found in _INTEGERS or found in ("boolean", "date"),
        INT: found in _INTEGERS,
        LONG: found in _INTEGERS,
        FLOAT: found in _FLOATS,
        DOUBLE: found in _FLOATS,
    }
    return plain if fits.get(type_, False) else None
