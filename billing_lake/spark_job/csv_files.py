"""Report files of CSV as rows of text that nothing was lost from.

Spark's CSV reader is fast and lenient. What it is told to do here: keep empty text apart from NULL, refuse rows of the wrong width
and a quote that closes in the middle of a cell, take cells of any size. What it cannot be told: that blank lines are rows, that
bytes which are no UTF-8 are faults, that a quote stands in the middle of a cell or is still open where the file ends.
`check_lines` counts those in the raw lines, which costs a fraction of parsing them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from billing_lake.domain.shared_columns import origins
from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.domain.types import STRING, Map, Type
from billing_lake.spark_job import sql
from billing_lake.spark_job.hadoop import same_path
from billing_lake.spark_job.inputs import (
    FILES_PER_PLAN,
    OWN_PATH,
    PATH,
    Input,
    exact_files,
    file_name_sql,
    file_number_sql,
    require_all_read,
)
from billing_lake.spark_job.java import java_errors
from billing_lake.spark_job.zips import zipped_lines, zipped_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from pyspark.sql import Column, DataFrame, SparkSession

    from billing_lake.domain.sources import PeriodRows

_TEXTS = Map(STRING, STRING)

_WHOLE_LINE = r"""\A[^"]*+(?:(?<=\A|,)"[^"]*+(?:""[^"]*+)*+"(?=,|\r?\z)[^"]*+)*+\z"""
"""A line in which each quote opens at a cell's start, is doubled, or closes at a cell's end; none is open at its own."""


@dataclass(frozen=True)
class LineFindings:
    """Holds what the raw lines of a file say.

    Attributes:
        input: The file.
        is_suspect: Whether they may hide a fault from the CSV reader.
        quoted_return: Whether some end with a carriage return in quotes, which is a cell's own.
    """

    input: Input
    is_suspect: bool
    quoted_return: bool


@dataclass(frozen=True)
class CsvFiles:
    """Files of the same columns.

    Attributes:
        inputs: The files.
        columns: Column name of each cell.
        rows: Their rows: the cells as text by position. A row with another number of them makes a query fail.
        nulls: Texts of cells that mean NULL.
        path: SQL for the path of a row's file.
        exact_end: Whether a carriage return at the end of the last cell is part of it, and not of the line's end.
    """

    inputs: Sequence[Input]
    columns: Sequence[str]
    rows: DataFrame
    nulls: Collection[str]
    path: str = PATH
    exact_end: bool = False

    def spread(self, tasks: int) -> CsvFiles:
        """Return the same rows in ``tasks`` tasks. They go where their hash says: for round robin Spark would sort them."""
        from pyspark.sql import functions as f

        cells = ", ".join(f"c{n}" for n in range(len(self.columns)))
        rows = self.rows
        if self.path != OWN_PATH:
            rows = rows.selectExpr("*", f"{self.path} AS {OWN_PATH}")
        return replace(
            self, rows=rows.repartition(tasks, f.expr(f"xxhash64({cells})")), path=OWN_PATH
        )

    def rows_of(self, only: PeriodRows) -> CsvFiles:
        """Return the rows that state one billing period, of files that hold rows of several."""
        begins = f"startswith({self.text(only.column)}, {sql.literal(f'{only.period}-')})"
        return replace(self, rows=self.rows.where(begins))

    @property
    def name(self) -> str:
        """SQL for the name of a row's file."""
        return file_name_sql(self.inputs, self.path)

    @property
    def number(self) -> str:
        """SQL for the place of a row's file among them."""
        return file_number_sql(self.inputs, self.path)

    @property
    def names(self) -> set[str]:
        """Names of the columns that they have values for."""
        return {*self.columns, *(one.column for one in self.inputs[0].file.lifted)}

    def text(self, name: str) -> str:
        """Return SQL for the text of the column ``name``."""
        origin = origins(tuple(self.columns))[name]
        cells = [self._cell(position) for position in origin.cells]
        if origin.further is not None:
            own = sql.filled(self._cell(origin.further))
            return f"CASE WHEN {own} != {sql.first_text(cells)} THEN {own} END"
        return (
            sql.fail_unless_agreed(cells, name, self.path)
            if origin.agree
            else sql.first_text(cells)
        )

    def _cell(self, position: int) -> str:
        cell = self._own_text(position)
        if QUOTED_EMPTY in self.nulls:
            cell = sql.filled(cell)
        others = ", ".join(
            sql.literal(text) for text in self.nulls if text not in ("", QUOTED_EMPTY)
        )
        return f"CASE WHEN {cell} IN ({others}) THEN NULL ELSE {cell} END" if others else cell

    def _own_text(self, position: int) -> str:
        cell = f"c{position}"
        if position < len(self.columns) - 1 or self.exact_end:
            return cell
        # Lines end with a line feed for Spark, so that quoted cells keep theirs; the rest of the line end of Windows is here.
        return (
            f"CASE WHEN {cell} = '\\r' THEN NULL "
            f"WHEN endswith({cell}, '\\r') THEN left({cell}, length({cell}) - 1) ELSE {cell} END"
        )

    def value(self, name: str, type_: Type) -> str:
        """Return SQL for the column ``name`` as ``type_``; fails for a cell that does not fit."""
        lifted = self.inputs[0].file.lifted_as(name)
        if lifted is not None:
            return f"element_at({self.value(lifted.map, _TEXTS)}, {sql.literal(lifted.key)})"
        cell = self.text(name)
        if type_ == STRING:
            return cell
        value = sql.convert_text(cell, type_)
        return sql.fail_unless_converted(
            value, f"{cell} IS NOT NULL AND {cell} != ''", cell, type_, name, self.path
        )


def read_csv(
    spark: SparkSession,
    inputs: Sequence[Input],
    nulls: Collection[str],
    quoted_returns: Collection[Input] = (),
    *,
    zipped: bool = False,
    per_plan: int = FILES_PER_PLAN,
) -> Iterator[CsvFiles]:
    """Yield ``inputs``, which are ``zipped`` or not and in which the texts ``nulls`` mean NULL, by their columns.

    Each has ``per_plan`` of them at most.

    Those of ``quoted_returns``, whose rows may end with one, are read in a slower way.
    """
    groups: dict[tuple[tuple[str, ...], bool, PeriodRows | None], list[Input]] = {}
    for one in inputs:
        groups.setdefault((one.file.columns, one in quoted_returns, one.file.only), []).append(one)
    for (columns, slowly, only), group in groups.items():
        for start in range(0, len(group), per_plan):
            some = group[start : start + per_plan]
            if zipped:
                rows = _parsed_rows(zipped_rows(spark, some), len(columns))
                reports = CsvFiles(some, columns, rows, nulls, path=OWN_PATH, exact_end=True)
            elif slowly:
                rows = _joined_rows(spark, some, len(columns))
                reports = CsvFiles(some, columns, rows, nulls, path=OWN_PATH, exact_end=True)
            else:
                reports = CsvFiles(some, columns, _rows(spark, some, len(columns)), nulls)
            yield reports if only is None else reports.rows_of(only)


def first_unreadable(spark: SparkSession, inputs: Sequence[Input]) -> Input | None:
    """Return the first of ``inputs`` that has no end, or a row of the wrong width; None where there is none.

    Spark does not say in which file its CSV reader stopped.
    """
    for one in inputs:
        try:
            for reports in read_csv(spark, [one], nulls=()):
                reports.rows.selectExpr("count(c0)").collect()
        except java_errors():
            return one
    return None


def check_lines(
    spark: SparkSession, inputs: Sequence[Input], *, zipped: bool = False
) -> list[LineFindings]:
    """Return what the raw lines of each file show and the CSV reader would not; files without lines are left out."""
    if zipped:
        lines = zipped_lines(spark, inputs)
    else:
        lines = require_all_read(
            exact_files(spark.read).text([one.file.uri for one in inputs], lineSep="\n"), inputs
        ).selectExpr(f"{PATH} AS path", "value")
    found = lines.groupBy("path").agg(*_line_counts()).collect()
    by_path = {one.path: one for one in inputs}
    return [LineFindings(by_path[same_path(path)], *map(bool, counts)) for path, *counts in found]


def _line_counts() -> list[Column]:
    from pyspark.sql import functions as f

    # Splitting decodes. Putting the parts together again gives other bytes where some were no UTF-8.
    no_utf8 = "array_join(split(value, '\"', -1), '\"') != value"
    stray = f"instr(value, '\"') > 0 AND NOT value RLIKE {sql.pattern_literal(_WHOLE_LINE)}"
    counts = (
        f"value = '' OR value = '\\r' OR instr(value, '\\r,') > 0 OR instr(value, char(0)) > 0 OR {no_utf8} OR ({stray})",
        "endswith(value, '\\r\"') OR endswith(value, '\\r\"\\r')",
    )
    return [f.expr(f"count_if({count})") for count in counts]


def _rows(spark: SparkSession, inputs: Sequence[Input], width: int) -> DataFrame:
    rows = exact_files(spark.read).csv(
        [one.file.uri for one in inputs],
        schema=_cells(width),
        header=True,
        enforceSchema=True,
        multiLine=True,
        **_csv_options(),
    )
    return require_all_read(rows, inputs)


def _joined_rows(spark: SparkSession, inputs: Sequence[Input], width: int) -> DataFrame:
    """Return rows whose last cell is exact: Spark's reader of files does not say whether a return at a row's end was in quotes.

    Lines are joined to rows by their quotes, the line end of Windows is taken off where it is one, and the rest is parsed row
    by row. Each file is sorted once, in one task.
    """
    from pyspark.sql import functions as f

    lines = require_all_read(
        exact_files(spark.read).text([one.file.uri for one in inputs], lineSep="\n"), inputs
    )
    # A packed file is not divided, and each part of another one begins at a place of its own: so the lines of a file rise.
    numbered = lines.selectExpr(
        f"{PATH} AS {OWN_PATH}",
        "struct(_metadata.file_block_start, monotonically_increasing_id()) AS line",
        "value",
    )
    in_order = f"OVER (PARTITION BY {OWN_PATH} ORDER BY line ROWS UNBOUNDED PRECEDING)"
    quotes = "length(value) - length(replace(value, '\"', ''))"
    closed = f"CAST(sum({quotes}) {in_order} % 2 = 0 AS INT)"
    rows = (
        numbered.selectExpr("*", f"{closed} AS closed")
        .selectExpr("*", f"sum(closed) {in_order} - closed AS row")
        .where("row > 0")
        .groupBy(OWN_PATH, "row")
        .agg(
            f.expr("array_join(array_sort(collect_list(struct(line, value))).value, '\n') AS text")
        )
    )
    return _parsed_rows(rows, width)


def _parsed_rows(rows: DataFrame, width: int) -> DataFrame:
    """Return the cells of ``rows``, each the ``text`` of one, without the line end of Windows at its end, and their path."""
    from pyspark.sql import functions as f

    text = f.expr("regexp_replace(text, '\\\\r\\\\z', '')")
    options = {name: str(value) for name, value in _csv_options().items()}
    cells = f.from_csv(text, _cells(width), options)
    return rows.select(OWN_PATH, cells.alias("cells")).select("cells.*", OWN_PATH)


def _cells(width: int) -> str:
    return ", ".join(f"c{n} STRING" for n in range(width))


def _csv_options() -> dict[str, Any]:
    return {
        # Left to itself, Spark takes the first line end that it meets for that of the file, and changes those in quotes.
        "lineSep": "\n",
        "encoding": "UTF-8",
        "sep": ",",
        "quote": '"',
        "escape": '"',
        "unescapedQuoteHandling": "RAISE_ERROR",
        "ignoreLeadingWhiteSpace": False,
        "ignoreTrailingWhiteSpace": False,
        # Only what no cell can hold may stand for NULL: by default a quoted empty text does.
        "nullValue": uuid.uuid4().hex,
        "emptyValue": "",
        "maxCharsPerColumn": -1,
        # A row of the wrong width ends the query. To keep it in a column of its own would copy every row.
        "mode": "FAILFAST",
    }
