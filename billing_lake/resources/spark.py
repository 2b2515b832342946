"""Spark in this process: one session for a run, started by the first asset that needs it.

dagster-pyspark's lazy resource starts it. This module adds a Java that Spark runs on, settings that are safe on a laptop, and
a log line about settings that came too late for a JVM that already runs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from pydantic import Field, PrivateAttr

from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.resources.java import use_java
from billing_lake.resources.spark_settings import LOCAL, LOOPBACK, is_local, session_settings

if TYPE_CHECKING:
    from dagster_pyspark import LazyPySparkResource
    from pyspark.sql import SparkSession

    from billing_lake.engines.base import Log

MASTER = "BILLING_LAKE_SPARK_MASTER"
"""Environment variable with Spark's master; `local[*]` where it is not set."""

MEMORY = "BILLING_LAKE_SPARK_MEMORY"
"""Environment variable with the memory of Spark's driver; a quarter of the machine's where it is not set."""

SETTINGS = "BILLING_LAKE_SPARK_SETTINGS"
"""Environment variable with any other settings of Spark, as a JSON object."""

_SUPPORTED = "3.5."


class SparkResource(dg.ConfigurableResource[Any]):
    """A Spark session in this process; `resources: spark: config:` of a run configures it."""

    master: str = Field(
        default=LOCAL,
        description="Spark's master: local[*] for all cores of this machine, local[4] for four of them, or a cluster's address.",
    )
    driver_memory: str | None = Field(
        default=None,
        description="Memory of Spark's driver, such as 4g. A quarter of the machine's unless given.",
    )
    spark_config: dict[str, Any] = Field(
        default={},
        description="Any settings of Spark, such as spark.executor.memory. They win over all others.",
    )
    _lazy: LazyPySparkResource | None = PrivateAttr(default=None)

    def session(self, log: Log) -> SparkSession:
        """Return the session, which is started by the first call.

        Args:
            log: Called with a line about the start, and about settings that came too late.

        Raises:
            ConfigurationError: There is no Java 17, or Spark does not start.
        """
        if self._lazy is None:
            self._lazy = self._started(log)
        return cast("SparkSession", self._lazy.spark_session)

    def settings(self) -> dict[str, str]:
        """Return the settings that a session is started with."""
        asked = self._asked()
        return session_settings(asked.get("spark.master", LOCAL), self.driver_memory) | asked

    def _asked(self) -> dict[str, str]:
        """Return the settings that the configuration gives."""
        asked = {} if self.master == LOCAL else {"spark.master": self.master}
        if self.driver_memory:
            asked["spark.driver.memory"] = self.driver_memory
        return asked | {name: _text(value) for name, value in _flat(self.spark_config)}

    def _started(self, log: Log) -> LazyPySparkResource:
        from dagster_pyspark import LazyPySparkResource
        from pyspark import SparkContext

        settings = self.settings()
        runs = SparkContext._active_spark_context is not None  # noqa: SLF001 - there is no public way
        lazy = LazyPySparkResource(spark_config=settings)
        if not runs:
            java = use_java()
            if is_local(settings["spark.master"]):
                # Otherwise Spark looks for an address of the machine in its network, and warns of the one it takes.
                os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
                # The lake needs no Python beside the JVM; a user's own assets may, and would get any `python3`.
                os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            log(
                f"Starting Spark on {settings['spark.master']} with Java {java.version} ({java.source})"
            )
        session = _session(lazy, settings["spark.master"])
        if not session.version.startswith(_SUPPORTED):
            what = f"This is Spark {session.version}; Billing Lake runs on {_SUPPORTED}x"
            raise ConfigurationError(what, remedy="Unset SPARK_HOME, which points to another Spark")
        if late := _late(session, self._asked()) if runs else ():
            log(
                f"Spark already runs in this process, so these settings have no effect: {', '.join(late)}. "
                "Start a new run for them"
            )
        return lazy


def spark_defaults(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of `SparkResource` that the environment sets; what a run configures wins over them.

    Raises:
        ConfigurationError: A setting cannot be right; the message begins with its name.
    """
    fields: dict[str, Any] = {}
    if master := environment.get(MASTER):
        fields["master"] = master
    if memory := environment.get(MEMORY):
        try:
            session_settings(driver_memory=memory)
        except ConfigurationError as error:
            raise ConfigurationError(f"{MEMORY}: {error.what}", remedy=error.how) from None
        fields["driver_memory"] = memory
    if text := environment.get(SETTINGS):
        fields["spark_config"] = _read(text)
    return fields


def _read(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        # Not shown: it may hold the key to a bucket.
        remedy = """Write for instance {"spark.executor.memory": "4g"}"""
        raise ConfigurationError(f"{SETTINGS} is no JSON object", remedy=remedy)
    return settings


def _session(lazy: LazyPySparkResource, master: str) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        return cast("SparkSession", lazy.spark_session)
    except (PySparkException, Py4JError) as error:
        what = f"Spark does not start on {shown(master)}: {shown(_first_line(error), 300)}"
        remedy = (
            "Look at the step's stderr, and at the settings of the resource `billing_lake_spark`"
        )
        raise ConfigurationError(what, remedy=remedy) from error


def _first_line(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    text = str(error) if java is None else str(java.toString())
    return text.strip().partition("\n")[0]


def _late(session: SparkSession, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings that only a new JVM would have taken."""
    running = session.sparkContext.getConf()
    return tuple(
        name
        for name, value in sorted(settings.items())
        if not session.conf.isModifiable(name) and running.get(name) != value
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Spell out nested settings, as people write them in YAML."""
    flat = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", value))
    return flat


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
