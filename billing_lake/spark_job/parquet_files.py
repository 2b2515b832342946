"""Parquet files as rows with the lake's types: a provider's reports, and the files of a table.

A provider's types change from month to month, even from file to file: money is a double here and text there. Files are read by
the schema that their footer states, those of one schema together. What can become the lake's type without a guess does, every
cell of it or none; anything else is a fault with a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from billing_lake.domain.errors import BadValueError, ReportFileError, TableError
from billing_lake.domain.types import (
    DECIMAL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    STRING,
    TIMESTAMP,
    Decimal,
    Map,
    Type,
)
from billing_lake.spark_job import sql
from billing_lake.spark_job.inputs import (
    FILES_PER_PLAN,
    PATH,
    exact_files,
    file_name_sql,
    file_number_sql,
    require_all_read,
)
from billing_lake.spark_job.java import error_text, java_errors
from billing_lake.spark_job.nested import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from billing_lake.domain.sources import PeriodRows
    from billing_lake.spark_job.hadoop import Hadoop
    from billing_lake.spark_job.inputs import Input

_NANOSECONDS = re.compile(r"int64 (\S+) \(TIMESTAMP\(NANOS,")
_INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint"})
_FLOATS = frozenset({"float", "double"})
_MAP_TYPE = re.compile(r"map<(\w+),([^<>]+)>")
_PAIRS_TYPE = re.compile(r"array<struct<key:(\w+),value:([^<>:]+)>>")
_ZEROS = r"[.]?0+\z"
_EXACT_IN_JAVA = "1E15"
"""Below it Java's text of a double is the shortest one that means it; above, Java 17 may write digits too many."""
_NANOS = "timestamp in nanoseconds"
_MOMENTS = ("date", "timestamp", "timestamp_ntz")
_MOMENT_TEXT = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"

_TEXTS = Map(STRING, STRING)


@dataclass(frozen=True)
class ParquetFiles:
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
        return file_name_sql(self.inputs)

    @property
    def number(self) -> str:
        """SQL for the place of a row's file among them."""
        return file_number_sql(self.inputs)

    @property
    def names(self) -> set[str]:
        """Names of the columns that they have values for."""
        return {*self.types, *(one.column for one in self.inputs[0].file.lifted)}

    def rows_of(self, only: PeriodRows) -> ParquetFiles:
        """Return the rows that state one billing period, of files that hold rows of several."""
        period = f"date_format({self.value(only.column, TIMESTAMP)}, 'yyyy-MM')"
        return replace(self, rows=self.rows.where(f"{period} = {sql.literal(only.period)}"))

    def text(self, name: str) -> str | None:
        """Return SQL for numbers as the text that `value` reads them from; None where they have none that can be rounded."""
        found = self.types.get(name)
        if found == "string" or found in _FLOATS:
            return _number_text(sql.identifier(name), found)
        return None

    def value(self, name: str, type_: Type) -> str:
        """Return SQL for the column ``name`` as ``type_``, NULL where the files lack it; fails for a cell that does not fit.

        Raises:
            BadValueError: No cell of the files' type can become one.
        """
        lifted = self.inputs[0].file.lifted_as(name)
        if lifted is not None:
            return f"element_at({self.value(lifted.map, _TEXTS)}, {sql.literal(lifted.key)})"
        wanted = sql.spark_type(type_)
        found = self.types.get(name)
        cell = sql.identifier(name)
        if found is None or found == "void":
            return f"CAST(NULL AS {wanted})"
        if found == wanted and not isinstance(type_, Map):
            return cell
        value = _converted(cell, found, type_)
        if value is None and type_ == STRING:
            spell = partial(_spelled, column=name)
            value = json_text(cell, self.rows.schema[name].dataType, spell)
        if value is None:
            what = f"A column of the type {found} cannot become {type_}"
            raise BadValueError(what, file=self.inputs[0].file.name, column=name)
        filled = f"{cell} IS NOT NULL" + (f" AND {cell} != ''" if found == "string" else "")
        return sql.fail_unless_converted(
            value, filled, f"CAST({cell} AS STRING)", type_, name, PATH
        )


def read_parquet(
    spark: SparkSession,
    inputs: Sequence[Input],
    hadoop: Hadoop,
    *,
    of_table: bool,
    per_plan: int = FILES_PER_PLAN,
) -> Iterator[ParquetFiles]:
    """Yield ``inputs`` by their schema, ``per_plan`` at a time unless they are a table's.

    Raises:
        ReportFileError: A file is no Parquet, or damaged.
        TableError: The same of a table's file.
    """
    by_schema: dict[tuple[str, PeriodRows | None], list[Input]] = {}
    for one in inputs:
        try:
            schema = hadoop.parquet(one.file.uri)[1]
        except (OSError, ValueError) as error:
            raise damage_error(str(error), [one], of_table=of_table) from error
        by_schema.setdefault((schema, one.file.only), []).append(one)
    size = len(inputs) if of_table else per_plan
    for (schema, only), group in by_schema.items():
        for start in range(0, len(group), size):
            some = group[start : start + size]
            try:
                tables = _parquet_files(spark, some, schema)
                yield tables if only is None else tables.rows_of(only)
            except java_errors() as error:
                raise damage_error(error_text(error), some, of_table=of_table) from error


def damage_error(
    reason: str, inputs: Sequence[Input], *, of_table: bool
) -> TableError | ReportFileError:
    """Return the error for Parquet files that cannot be read."""
    first = reason.splitlines()[0] if reason else "no reason"
    if of_table:
        what = f"The table's files cannot be read: {first}"
        return TableError(what, file=", ".join(one.file.uri for one in inputs[:3]))
    what = f"The file is damaged, or no Parquet: {first}"
    return ReportFileError(what, file=", ".join(one.file.name for one in inputs[:3]))


def _parquet_files(spark: SparkSession, inputs: Sequence[Input], schema: str) -> ParquetFiles:
    rows = require_all_read(
        exact_files(spark.read).parquet(*(one.file.uri for one in inputs)), inputs
    )
    types = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    types |= dict.fromkeys(_NANOSECONDS.findall(schema), _NANOS)
    names = inputs[0].file.renamed(rows.columns)
    rows = rows.toDF(*names.values()) if inputs[0].file.columns else rows
    return ParquetFiles(inputs, rows, {names[own]: type_ for own, type_ in types.items()})


def _converted(cell: str, found: str, type_: Type) -> str | None:
    """Return ``cell`` as ``type_``, or None where nothing says how."""
    wanted = sql.spark_type(type_)
    if isinstance(type_, Map):
        return _map(cell, found, type_)
    if found == wanted:
        return cell
    if isinstance(type_, Decimal):
        return _number(cell, found, type_)
    if type_ == TIMESTAMP:
        return _moment(cell, found)
    if type_ == STRING:
        return _text(cell, found)
    integer, floating = type_ in (INT, LONG), type_ in (FLOAT, DOUBLE)
    fits = (integer and found in _INTEGERS) or (floating and found in _FLOATS)
    return f"CAST({cell} AS {wanted})" if fits else None


def _number(cell: str, found: str, type_: Decimal) -> str | None:
    # A double stands for the number that its text says; casting it would bring its binary tail along. A decimal that is finer
    # than the type is rounded as text is.
    if found == "string" or found in _FLOATS or found.startswith("decimal("):
        return sql.decimal(_number_text(cell, found), type_.precision, type_.scale)
    return f"CAST({cell} AS {sql.spark_type(type_)})" if found in _INTEGERS else None


def _moment(cell: str, found: str) -> str | None:
    if found == "string":
        return sql.convert_text(cell, TIMESTAMP)
    if found == _NANOS:
        return f"timestamp_micros({cell} div 1000)"
    # One without a zone is UTC, as everything in a billing export.
    return f"CAST({cell} AS timestamp)" if found in _MOMENTS else None


def _text(cell: str, found: str) -> str | None:
    """Return what has one spelling as text: every engine's own would be another one for fractions and moments."""
    if found in _FLOATS or found.startswith("decimal("):
        number = _number(cell, found, DECIMAL)
        return _shortest(f"replace(format_number({number}, {DECIMAL.scale}), ',', '')")
    if found in _INTEGERS or found in ("boolean", "date"):
        return f"CAST({cell} AS STRING)"
    moment = _moment(cell, found)
    if moment is None:
        return None
    text = _shortest(f"date_format({moment}, {sql.literal(_MOMENT_TEXT)})")
    return f"concat({text}, 'Z')"


def _spelled(cell: str, found: str, column: str) -> str | None:
    """Return a part of a nested cell as text; the query fails where it does not fit, as nothing else would show it."""
    text = cell if found == "string" else _text(cell, found)
    if text is None or not (found in _FLOATS or found.startswith("decimal(")):
        return text
    shown = f"CAST({cell} AS STRING)"
    return sql.fail_unless_converted(text, f"{cell} IS NOT NULL", shown, STRING, column, PATH)


def _number_text(cell: str, found: str) -> str:
    """Return a number as text; that of a double is the shortest one that means it."""
    text = f"CAST({cell} AS STRING)"
    if found != "double":
        return text
    shorter = [f"format_string('%.{digits}e', {cell})" for digits in (13, 14, 15, 16)]
    exact = ", ".join(f"CASE WHEN CAST({one} AS DOUBLE) = {cell} THEN {one} END" for one in shorter)
    return (
        f"CASE WHEN abs({cell}) < {_EXACT_IN_JAVA} THEN {text} ELSE coalesce({exact}, {text}) END"
    )


def _shortest(text: str) -> str:
    """Return a number with a point, as text, without the zeros at its end that say nothing."""
    return f"regexp_replace({text}, {sql.pattern_literal(_ZEROS)}, '')"


def _map(cell: str, found: str, type_: Map) -> str | None:
    """Return the entries of ``cell``, a map or what older files write for one: a list of pairs."""
    if found == "string":
        return sql.convert_text(cell, type_)
    known = _MAP_TYPE.fullmatch(found) or _PAIRS_TYPE.fullmatch(found)
    if known is None:
        return None
    pairs = cell if found.startswith("array<") else f"map_entries({cell})"
    key = _converted("e.key", known[1], type_.key)
    value = _converted("e.value", known[2], type_.value)
    if key is None or value is None:
        return None
    entries = f"transform({pairs}, e -> struct({key} AS key, {value} AS value))"
    keys = f"transform({pairs}, e -> e.key)"
    # Of a map with a key twice the file keeps both values and readers one: it is no map.
    return f"IF(size(array_distinct({keys})) = size({keys}), map_from_entries({entries}), NULL)"
