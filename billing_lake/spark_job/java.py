"""Finds what went wrong inside the JVM: Spark wraps a cause in three others, and only the innermost says anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyspark.sql import Column, SparkSession

_MOST_CAUSES = 20


@dataclass(frozen=True)
class Cause:
    """One exception of a chain: its Java class, and what it says."""

    kind: str
    message: str


def causes_of(error: BaseException) -> list[Cause]:
    """Return the chain of Java exceptions behind ``error``, outermost first; empty where there is none."""
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    chain: list[Cause] = []
    while java is not None and len(chain) < _MOST_CAUSES:
        chain.append(Cause(str(java.getClass().getName()), str(java.getMessage() or "")))
        java = java.getCause()
    return chain


def error_text(error: BaseException) -> str:
    """Return the first line of what the innermost cause of ``error`` says."""
    chain = causes_of(error)
    text = next((cause.message for cause in reversed(chain) if cause.message), str(error))
    return text.splitlines()[0] if text else type(error).__name__


def java_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that calls into the JVM raise, for an `except`."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return Py4JError, PySparkException


def jvm_of(spark: SparkSession) -> Any:
    """Return the JVM behind ``spark``: its classes by their full names."""
    return cast("Any", spark)._jvm  # noqa: SLF001 - PySpark has no other way to it


def java_session(spark: SparkSession) -> Any:
    """Return the Java object behind ``spark``."""
    return cast("Any", spark)._jsparkSession  # noqa: SLF001 - PySpark has no other way to it


@dataclass(frozen=True)
class NamedSql:
    """A column to be: its SQL, its name, and what Spark shall keep with it."""

    sql: str
    name: str
    metadata: Mapping[str, int]


def java_columns(spark: SparkSession, wanted: Iterable[NamedSql]) -> list[Column]:
    """Return ``wanted`` as columns, read by the rules of the session ``spark``; PySpark's `expr` may read it by another's.

    Every name below a package is a call into the JVM, so each is looked up once for all columns.
    """
    from pyspark.sql import Column

    parser = java_session(spark).sessionState().sqlParser()
    package = jvm_of(spark).org.apache.spark.sql
    column, metadata = package.Column, package.types.Metadata
    return [
        Column(
            getattr(column(parser.parseExpression(one.sql)), "as")(
                one.name, metadata.fromJson(json.dumps(one.metadata))
            )
        )
        for one in wanted
    ]
