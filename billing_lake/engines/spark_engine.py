"""The engine on Spark in this process, or on the cluster that its session belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
from billing_lake.engines.base import Log

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparkEngine:
    """An `Engine` on Spark.

    Attributes:
        session: Returns the session; it is asked with the first call, so that nobody starts a JVM for nothing.
        log: Takes messages about progress.
    """

    session: Callable[[], SparkSession]
    log: Log = _LOGGER.info

    @property
    def name(self) -> str:
        """Name for people."""
        return "spark"

    def profile(self, source: Source) -> Profile:
        """See `Engine.profile`."""
        from billing_lake.spark_job.program import profile

        return profile(self.session(), source, self.log)

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """See `Engine.encode`."""
        from billing_lake.spark_job.program import encode

        return encode(self.session(), source, target, self.log)

    def convert(
        self, source: Source, target: EncodeTarget
    ) -> tuple[Profile, tuple[EncodedFile, ...]]:
        """See `Engine.convert`."""
        from billing_lake.spark_job.program import convert

        return convert(self.session(), source, target, self.log)

    def facts(self) -> Mapping[str, str | int | float]:
        """See `Engine.facts`: Spark in this process has nothing to tell."""
        return {}
