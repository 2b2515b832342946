"""Report files, csv.gz, as rows of text that nothing was lost from.

Spark's CSV reader is fast and lenient. What it is told to do here: keep empty text apart from NULL, refuse rows of the wrong width
and a quote that closes in the middle of a cell, take cells of any size. What it cannot be told: that blank lines are rows, that
bytes which are no UTF-8 are faults, and that a quote which is still open where the file ends has swallowed rows. `check_lines`
counts those in the raw lines, which costs a fraction of parsing them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from billing_lake.spark_job import sql
from billing_lake.spark_job.hadoop import same_path
from billing_lake.spark_job.inputs import (
    PATH,
    PER_PLAN,
    Input,
    complete,
    name_of,
    reading,
)
from billing_lake.spark_job.java import java_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession


@dataclass(frozen=True)
class Suspect:
    """A file whose lines may hide a fault.

    Attributes:
        input: The file.
        open_quote: Its quotes are an odd number.
        not_utf8: It has bytes that are no UTF-8.
    """

    input: Input
    open_quote: bool
    not_utf8: bool


@dataclass(frozen=True)
class Reports:
    """Files of the same columns.

    Attributes:
        inputs: The files.
        columns: Column name of each cell.
        rows: Their rows: the cells as text by position. A row with another number of them makes a query fail.
        path: SQL for the path of a row's file.
    """

    inputs: Sequence[Input]
    columns: Sequence[str]
    rows: DataFrame
    path: str = PATH

    def spread(self, tasks: int) -> Reports:
        """Return the same rows in ``tasks`` tasks. They go where their hash says: for round robin Spark would sort them."""
        from pyspark.sql import functions as f

        cells = ", ".join(f"c{n}" for n in range(len(self.columns)))
        rows = self.rows.selectExpr("*", f"{self.path} AS _path")
        return replace(
            self, rows=rows.repartition(tasks, f.expr(f"xxhash64({cells})")), path="_path"
        )

    @property
    def name(self) -> str:
        """SQL for the name of a row's file."""
        return name_of(self.inputs, self.path)

    def text(self, name: str) -> str:
        """Return SQL for the text of the column ``name``."""
        last = len(self.columns) - 1
        cells = [
            # The line end of Windows, where only some lines have it.
            f"CASE WHEN endswith(c{n}, '\\r') THEN left(c{n}, length(c{n}) - 1) ELSE c{n} END"
            if n == last
            else f"c{n}"
            for n, column in enumerate(self.columns)
            if column == name
        ]
        return sql.first_text(cells)

    def value(self, name: str, type_: str) -> str:
        """Return SQL for the column ``name`` as ``type_``; fails for a cell that does not fit."""
        cell = self.text(name)
        if type_ == "string":
            return cell
        value = sql.converted(cell, type_)
        return sql.checked(
            value, f"{cell} IS NOT NULL AND {cell} != ''", cell, type_, name, self.path
        )


def read_reports(spark: SparkSession, inputs: Sequence[Input]) -> Iterator[Reports]:
    """Yield ``inputs`` by their columns."""
    by_columns: dict[tuple[str, ...], list[Input]] = {}
    for one in inputs:
        by_columns.setdefault(one.file.columns, []).append(one)
    for columns, group in by_columns.items():
        for start in range(0, len(group), PER_PLAN):
            some = group[start : start + PER_PLAN]
            yield Reports(some, columns, _rows(spark, some, len(columns)))


def first_unreadable(spark: SparkSession, inputs: Sequence[Input]) -> Input | None:
    """Return the first of ``inputs`` that has no end, or a row of the wrong width; None where there is none.

    Spark does not say in which file its CSV reader stopped.
    """
    for one in inputs:
        try:
            for reports in read_reports(spark, [one]):
                reports.rows.selectExpr("count(c0)").collect()
        except java_errors():
            return one
    return None


def check_lines(spark: SparkSession, inputs: Sequence[Input]) -> list[Suspect]:
    """Return the files whose raw lines show what the CSV reader would not."""
    lines = reading(spark.read).text([one.file.uri for one in inputs], lineSep="\n")
    found = (
        complete(lines, inputs)
        .selectExpr(f"{PATH} AS path", "value")
        .groupBy("path")
        .agg(*_line_counts())
        .collect()
    )
    by_path = {one.path: one for one in inputs}
    return [
        Suspect(by_path[same_path(path)], open_quote=bool(quotes % 2), not_utf8=bool(wrong))
        for path, blank, quotes, wrong in found
        if blank or quotes % 2 or wrong
    ]


def _line_counts() -> list[Column]:
    from pyspark.sql import functions as f

    # Splitting decodes. Putting the parts together again gives other bytes where some were no UTF-8.
    parts = "split(value, '\"', -1)"
    counts = (
        "count_if(value = '' OR value = '\\r')",
        f"sum(size({parts}) - 1)",
        f"count_if(array_join({parts}, '\"') != value)",
    )
    return [f.expr(count) for count in counts]


def _rows(spark: SparkSession, inputs: Sequence[Input], width: int) -> DataFrame:
    cells = ", ".join(f"c{n} STRING" for n in range(width))
    rows = reading(spark.read).csv(
        [one.file.uri for one in inputs],
        schema=cells,
        header=True,
        enforceSchema=True,
        multiLine=True,
        encoding="UTF-8",
        sep=",",
        quote='"',
        escape='"',
        unescapedQuoteHandling="RAISE_ERROR",
        ignoreLeadingWhiteSpace=False,
        ignoreTrailingWhiteSpace=False,
        # Only what no cell can hold may stand for NULL: by default a quoted empty text does.
        nullValue=uuid.uuid4().hex,
        emptyValue="",
        maxCharsPerColumn=-1,
        # A row of the wrong width ends the query. To keep it in a column of its own would copy every row.
        mode="FAILFAST",
    )
    return complete(rows, inputs)
