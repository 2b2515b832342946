"""Totals rows while they are written, so that each is read and parsed once.

Spark totals what passes by on its way to a file (`Dataset.observe`), without groups. Nearly always the rows of a month state one
currency and one billing period; what they total together is then the profile of that group, and few columns have to be told
apart by file. Where they state several, or a sum is too large, or Spark does not say, nothing is taken from it: the rows are
read again and totalled in groups (`profiling`).

Each task's share counts once, when it has succeeded: Spark promises that of the last step before an action alone, so rows are
spread before they are looked at. A number of rows that is not the number of those written is taken for a share too many.
"""

from __future__ import annotations

import json
import queue
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

from billing_lake.domain.profiles import EXACT, FileProfile, Profile, currency_name
from billing_lake.spark_job.encoding import select_columns, target_columns
from billing_lake.spark_job.java import NamedSql, java_columns, java_errors
from billing_lake.spark_job.parquet_files import ParquetFiles
from billing_lake.spark_job.profiling import (
    Columns,
    cells_of,
    columns_to_total,
    period_sql,
    profile_of,
    sum_of,
    totals_of,
)
from billing_lake.spark_job.sql import identifier

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Observation

    from billing_lake.domain.sources import EncodeTarget, Source
    from billing_lake.spark_job.csv_files import CsvFiles

FILES_PER_OBSERVATION = 8
"""Files that are totalled together; each adds its costs to what is added up for every row."""

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class ObservedRows:
    """Holds rows of files on their way to Parquet, which are totalled when they pass.

    Attributes:
        files: The files.
        columns: Their columns, by what a profile does with them.
        rows: Their rows, as they are to be written.
        observation: Gets the totals.
    """

    files: CsvFiles | ParquetFiles
    columns: Columns
    rows: DataFrame
    observation: Observation

    def profile(self) -> Profile | None:
        """Return the profile of the rows, once they are written; None where it cannot be told from what was totalled."""
        row = self._told()
        if row is None or not row["rows"]:
            return None if row is None else Profile()
        row = {"first": None, "last": None, "currency": None, "period": None, **row, "file": None}
        files = self._files(row)
        if files is None or not (_is_one(row, "currency") and _is_one(row, "period")):
            return None
        for name in _costs(self.columns) if len(self.files.inputs) > 1 else ():
            sums = (file.totals[currency_name(row["currency"])][name] for file in files.values())
            row[f"number{self.columns.numbers.index(name)}"] = reduce(EXACT.add, sums)
        if any(sum_of(row, n) is None for n in range(len(self.columns.numbers))):
            return None
        whole_seconds = not isinstance(self.files, ParquetFiles)
        whole = profile_of(row, self.columns, whole_seconds=whole_seconds)
        return (
            replace(whole, files=files) if files else whole.in_file(self.files.inputs[0].file.name)
        )

    def _files(self, row: Mapping[str, Any]) -> dict[str, FileProfile] | None:
        """Return the profile of each file, none of a single one; None where a sum is too large."""
        costs = _costs(self.columns)
        found = {}
        for place, one in enumerate(self.files.inputs if len(self.files.inputs) > 1 else ()):
            rows = row[f"file{place}_0"]
            sums = [row.get(f"file{place}_{n}") for n, _ in enumerate(costs, 1)]
            known = [one for one in sums if one is not None]
            if rows and len(known) < len(sums):
                return None
            if rows:
                totals = {currency_name(row["currency"]): dict(zip(costs, known, strict=True))}
                periods = {row["period"]: rows} if row["period"] else {}
                found[one.file.name] = FileProfile(rows=rows, totals=totals, periods=periods)
        return found

    def _told(self) -> dict[str, Any] | None:
        """Return what was totalled; None where Spark does not say, as when it has dropped events."""
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self.observation.get["totals"])
            except java_errors():
                return

        # Spark's own wait has no end.
        threading.Thread(target=ask, daemon=True).start()
        try:
            found: dict[str, Any] = json.loads(
                answers.get(timeout=_PATIENCE_SECONDS), parse_float=Decimal
            )
        except queue.Empty:
            return None
        return found


def observe(files: CsvFiles | ParquetFiles, source: Source, target: EncodeTarget) -> ObservedRows:
    """Return the rows of ``files`` with the columns of ``target``, totalled when they pass."""
    from pyspark.sql import Observation

    wanted = target_columns(files, target)
    names = {one.sql: identifier(one.name) for one in wanted}
    prefix = uuid.uuid4().hex
    more: list[NamedSql] = []

    def taken(value: str) -> str:
        """Return the column that has ``value``; it is added where the target has none."""
        if value not in names:
            more.append(NamedSql(value, f"{prefix}{len(more)}", {}))
            names[value] = identifier(more[-1].name)
        return names[value]

    known = columns_to_total(files, source)
    cells = cells_of(files, source, known, taken)
    # What is summed for each of several files is not summed for all of them.
    apart = known.costs if len(files.inputs) > 1 else ()
    totals = [
        *totals_of(known, cells.__getitem__, {*known.numbers} - {*apart}),
        *_groups(cells["currency"], "currency"),
        *_groups(cells["start"], "period"),
        *_by_file(files, known, cells, taken),
    ]
    observation = Observation()
    session = files.rows.sparkSession
    (asked,) = java_columns(
        session, [NamedSql(f"to_json(struct({', '.join(totals)}))", "totals", {})]
    )
    rows = select_columns(files, [*wanted, *more]).observe(observation, asked)
    return ObservedRows(files, known, rows.drop(*(one.name for one in more)), observation)


def _groups(value: str, name: str) -> Sequence[str]:
    """Return SQL that says whether all rows are of one group, and of which."""
    ends = [f"{end}({value})" for end in ("min", "max")]
    if name == "period":
        ends = [period_sql(end) for end in ends]
    return [f"{ends[0]} AS {name}", f"{ends[1]} AS {name}_most", f"count({value}) AS {name}_rows"]


def _is_one(row: Mapping[str, Any], name: str) -> bool:
    return row[f"{name}_rows"] in (0, row["rows"]) and row.get(name) == row.get(f"{name}_most")


def _by_file(
    files: CsvFiles | ParquetFiles,
    known: Columns,
    cells: Mapping[str, str],
    taken: Callable[[str], str],
) -> Sequence[str]:
    """Return SQL that totals the rows and costs of each file."""
    if len(files.inputs) == 1:
        return []
    number = taken(files.number)
    costs = [cells[f"number{known.numbers.index(name)}"] for name in _costs(known)]
    totals = []
    for place in range(len(files.inputs)):
        is_here = f"{number} = {place}"
        totals.append(f"count_if({is_here}) AS file{place}_0")
        totals += [
            f"sum(CASE WHEN {is_here} THEN {cost} END) AS file{place}_{n}"
            for n, cost in enumerate(costs, 1)
        ]
    return totals


def _costs(known: Columns) -> Sequence[str]:
    return [name for name in known.numbers if name in known.costs]
