"""Compares what Spark reports as written with what is there: only a write whose every file is accounted for counts.

A folder may hold what a dead attempt of a task, or of a whole job, has left. So every write goes to a fresh folder of its
own, and the files found there must be the ones that Spark's own metrics of this very execution count: their number, rows
and bytes, all under one write job's UUID.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import LoadError
from billing_lake.spark_job.java import java_session, jvm_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

    from billing_lake.spark_job.hadoop import Hadoop, Status

_PART = re.compile(r"part-\d{5,}-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[-.][\w.-]*parquet")
_MARKERS = frozenset({"_SUCCESS"})
_FILES, _ROWS, _BYTES = _FIGURES = (
    "number of written files",
    "number of output rows",
    "written output",
)
_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Part:
    """A Parquet file that Spark wrote."""

    status: Status
    rows: int


def written_parts(
    spark: SparkSession, hadoop: Hadoop, folder: str, description: str
) -> Sequence[Part]:
    """Return the files that the write called ``description`` left in ``folder``.

    Raises:
        LoadError: Spark says it wrote something else than is there.
    """
    found = [
        one
        for one in hadoop.list(folder)
        if _name(one) not in _MARKERS and not _name(one).startswith(".")
    ]
    jobs = {None if (match := _PART.fullmatch(_name(one))) is None else match[1] for one in found}
    if found and (None in jobs or len(jobs) != 1):
        raise _differs(folder, "one write job's files", ", ".join(_name(one) for one in found[:3]))
    parts = [Part(one, hadoop.parquet(one.uri)[0]) for one in found]
    metrics = _metrics(spark, description)
    size = sum(one.size for one in found)
    here = {
        _FILES: f"{len(parts):,}",
        _ROWS: f"{sum(part.rows for part in parts):,}",
        _BYTES: str(jvm_of(spark).org.apache.spark.util.Utils.bytesToString(size)),
    }
    for name, value in here.items():
        if metrics.get(name) != value:
            raise _differs(folder, f"{name}: {metrics.get(name)}", value)
    return parts


def _metrics(spark: SparkSession, description: str) -> dict[str, str]:
    """Return Spark's metrics of the execution called ``description``, once it has told all of them."""
    store = java_session(spark).sharedState().statusStore()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        executions = store.executionsList()
        for execution in reversed(_items(executions)):
            if execution.description() == description and execution.completionTime().isDefined():
                values = execution.metricValues()
                figures = _figures(store.planGraph(execution.executionId()), values)
                if figures:
                    return figures
        time.sleep(_PAUSE_SECONDS)
    raise LoadError("Spark does not say what it wrote", remedy="Load the period again")


def _figures(graph: Any, values: Any) -> dict[str, str]:
    """Return the metrics of the node that wrote files; readers count rows under the same name."""
    for node in _items(graph.allNodes()):
        metrics = {str(one.name()): one.accumulatorId() for one in _items(node.metrics())}
        if _FILES in metrics and values is not None:
            return {
                name: str(values.get(metrics[name]).get())
                for name in _FIGURES
                if values.contains(metrics[name])
            }
    return {}


def _items(sequence: Any) -> list[Any]:
    return [sequence.apply(index) for index in range(sequence.size())]


def _name(status: Status) -> str:
    return status.uri.rpartition("/")[2]


def _differs(folder: str, reported: str, found: str) -> LoadError:
    what = f"Spark reports other files than it left behind: {reported}; found: {found}"
    return LoadError(what, file=folder, remedy="Load the period again; nothing was committed")
