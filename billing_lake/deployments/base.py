"""Defines a deployment: everything that a load needs, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal, Protocol

from billing_lake.tables.exports import Export, Table, TableOutput

if TYPE_CHECKING:
    from billing_lake.engines.base import Engine, Log, Reader
    from billing_lake.files.base import Files
    from billing_lake.landing.base import Storage
    from billing_lake.sql.tables import TableSql
    from billing_lake.tables.base import CrawledCatalog, Crawler, TableCatalog
    from billing_lake.tables.iceberg import IcebergTables
    from billing_lake.values import ValueStore

Deployment = Literal["local", "local_spark", "aws"]
"""The deployments that exist."""

DEPLOYMENT_SETTING = "BILLING_LAKE_DEPLOYMENT"
"""Environment variable that chooses the deployment; `local` where it is not set."""

HOME_SETTING = "BILLING_LAKE_HOME"
"""Environment variable with the folder of a lake on this machine; `lake` in the working directory where it is not set."""


LAKE_RESOURCE = "billing_lake"
"""Key of the lake among Dagster's resources: what a project that has other resources too cannot mean by anything else."""


class Lake(Protocol):
    """Everything that a load needs, for one deployment."""

    @property
    def storage(self) -> Storage:
        """Where exports are delivered to."""

    @property
    def files(self) -> Files:
        """The lake's own files, by URI."""

    @property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables."""

    @property
    def s3_tables(self) -> IcebergTables:
        """The S3 Tables."""

    @property
    def hive(self) -> TableCatalog:
        """The Hive-style tables."""

    @property
    def crawled(self) -> CrawledCatalog:
        """The tables over raw files."""

    @property
    def values(self) -> ValueStore:
        """The values between assets."""

    @property
    def staging(self) -> str:
        """URI of a folder for files that belong to no table yet; whoever makes some removes them."""

    @property
    def scratch(self) -> tuple[str, ...]:
        """URIs of folders in which each run at work has a folder of its own, `staging` among them."""
        return (self.staging,)

    @property
    def reader(self) -> Reader:
        """What reads tables back: in this process, whatever the engine."""

    def sql(
        self, progress: Callable[[str], None] = ..., done: Callable[[str], None] = ...
    ) -> TableSql:
        """Return SQL over the tables: DuckDB here, Athena on AWS.

        Args:
            progress: Called with a line of text while a query of Athena runs.
            done: Called with a line of text, what it read and costs, when it has run.
        """

    def catalog(self, output: TableOutput) -> TableCatalog:
        """Return the catalog that holds the tables of ``output``."""
        match output:
            case "hive":
                return self.hive
            case "iceberg":
                return self.iceberg
            case "s3_table":
                return self.s3_tables

    def tables(self, export: Export) -> tuple[Table, ...]:
        """Return the tables that an export is loaded into, in the order in which they are loaded."""
        return tuple(self.table(export, output) for output in export.outputs)

    def table(self, export: Export, output: TableOutput, name: str = "") -> Table:
        """Return the table of ``output``: the export's, or another one of the same catalog called ``name``."""
        catalog = self.catalog(output)
        return Table(output=output, name=name or export.table, export=export.name, catalog=catalog)

    def static_table(self, export: Export) -> Table:
        """Return the table of the export's static files."""
        return self.table(export, "iceberg", export.static_table)

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
