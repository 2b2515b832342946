"""Defines a deployment: everything that a load needs, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from billing_lake.tables.exports import Catalogs

if TYPE_CHECKING:
    from billing_lake.engines.base import Engine, Log, Reader
    from billing_lake.files.base import Files
    from billing_lake.landing.base import Storage
    from billing_lake.landing.stated_periods import StatedPeriods
    from billing_lake.sql.tables import TableSql
    from billing_lake.tables.base import CrawledCatalog, Crawler, KeptHistory
    from billing_lake.values import ValueStore

Deployment = Literal["local", "local_spark", "aws"]
"""The deployments that exist."""

DEPLOYMENT_SETTING = "BILLING_LAKE_DEPLOYMENT"
"""Environment variable that chooses the deployment; `local` where it is not set."""

HOME_SETTING = "BILLING_LAKE_HOME"
"""Environment variable with the folder of a lake on this machine; `lake` in the working directory where it is not set."""


LAKE_RESOURCE = "billing_lake"
"""Key of the lake among Dagster's resources: what a project that has other resources too cannot mean by anything else."""


class Lake(Catalogs, Protocol):
    """Everything that a load needs, for one deployment."""

    @property
    def storage(self) -> Storage:
        """Return where exports are delivered to."""

    @property
    def files(self) -> Files:
        """The lake's own files, by URI."""

    @property
    def crawled(self) -> CrawledCatalog:
        """The tables over raw files."""

    @property
    def root(self) -> str:
        """Path or URI of the lake's folder."""

    @cached_property
    def values(self) -> ValueStore:
        """The values between assets: `values/`."""
        from billing_lake.values import ValueStore

        return ValueStore(f"{self.root}/values", self.files)

    @property
    def stated_periods(self) -> StatedPeriods:
        """The findings about report files that the lake keeps."""
        from billing_lake.landing.stated_periods import REPORT_FILES_FOLDER, StatedPeriods

        return StatedPeriods(f"{self.values.root}/{REPORT_FILES_FOLDER}", self.files)

    @property
    def staging(self) -> str:
        """URI of the folder for files that belong to no table yet, `staging/`; whoever makes some removes them."""
        return f"{self.root}/staging"

    @property
    def scratch(self) -> tuple[str, ...]:
        """URIs of folders in which each run at work has a folder of its own, `staging` among them."""
        return (self.staging,)

    @property
    def reader(self) -> Reader:
        """Return what reads tables back: in this process, whatever the engine."""

    def sql(
        self, progress: Callable[[str], None] = ..., done: Callable[[str], None] = ...
    ) -> TableSql:
        """Return SQL over the tables: DuckDB here, Athena on AWS.

        Args:
            progress: Called with a line of text while a query of Athena runs.
            done: Called with a line of text, what it read and costs, when it has run.
        """

    def keep_history(self, table: str, kept: KeptHistory) -> None:
        """Say how much history a table of `s3_tables` keeps, where its storage maintains it by itself."""

    def require(self, outputs: Collection[str], crawler: Crawler) -> None:
        """Make sure, before anything is done, that all that an export needs is set, there, and open to us.

        Args:
            outputs: Tables that it is loaded into: of `hive`, `iceberg`, `s3_table`.
            crawler: What makes its crawled table.

        Raises:
            ConfigurationError: Something is not; the message names the setting.
        """

    def engine(self, log: Log, context: Any = None) -> Engine:
        """Return the engine.

        Args:
            log: Takes messages about the progress of the engine.
            context: Dagster's context of the run that it works for, where there is one; an engine elsewhere reports to it and ends
                with it.
        """

    def resources(self) -> dict[str, Any]:
        """Return what Dagster gives to assets: the lake as `billing_lake`, and what a run may configure beside it."""
