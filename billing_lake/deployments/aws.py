"""A lake on AWS: S3, the Glue Data Catalog, an S3 Tables bucket, and Spark in a Glue job, or Polars in the run's process.

Nothing is kept on the machine that runs Dagster: values between assets and staged files lie in the warehouse, so that each
step of a run may be another container.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from billing_lake.aws.settings import AwsSettings
from billing_lake.deployments.aws_access import require_access, require_table_bucket
from billing_lake.deployments.base import LAKE_RESOURCE, Lake

if TYPE_CHECKING:
    from billing_lake.aws.clients import AwsClients
    from billing_lake.engines.base import Engine, Log, Reader
    from billing_lake.files.s3 import S3Files
    from billing_lake.landing.s3 import S3Storage
    from billing_lake.resources.glue_runs import GlueWaits
    from billing_lake.sql.tables import TableSql
    from billing_lake.tables.base import Crawler, KeptHistory
    from billing_lake.tables.glue_crawled import GlueCrawledTables
    from billing_lake.tables.glue_hive import GlueHiveTables
    from billing_lake.tables.iceberg import IcebergTables


@dataclass(frozen=True)
class AwsLake(Lake):
    """A lake on AWS.

    Attributes:
        settings: Where it lies and what works for it.
        waits: How long to wait for a Glue job; Glue's own pace unless given.
    """

    settings: AwsSettings
    waits: GlueWaits | None = None

    @property
    def root(self) -> str:
        """URI of the warehouse."""
        return self.settings.warehouse

    @cached_property
    def clients(self) -> AwsClients:
        """The clients of AWS."""
        from billing_lake.aws.clients import AwsClients

        return AwsClients(self.settings.region)

    @cached_property
    def storage(self) -> S3Storage:
        """Return where exports are delivered to: the landing bucket."""
        from billing_lake.landing.s3 import S3Storage

        return S3Storage(self.clients, self.settings.landing_bucket, self.stated_periods)

    @cached_property
    def files(self) -> S3Files:
        """The lake's own files."""
        from billing_lake.files.s3 import S3Files

        return S3Files(self.clients)

    @cached_property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables: `<warehouse>/iceberg/`, in the Glue Data Catalog."""
        from billing_lake.tables.glue_iceberg import GlueIcebergTables

        return GlueIcebergTables(self.files, f"{self.root}/iceberg")

    @cached_property
    def s3_tables(self) -> IcebergTables:
        """The tables in the S3 Tables bucket, through its Iceberg REST endpoint.

        Raises:
            ConfigurationError: No bucket is set.
        """
        from billing_lake.tables.aws_catalogs import s3_tables_properties
        from billing_lake.tables.iceberg import IcebergTables

        arn = require_table_bucket(self.settings)
        properties = s3_tables_properties(self.clients, arn, self.settings.s3_tables_uri)
        return IcebergTables("s3tables", properties, files=self.files)

    @cached_property
    def hive(self) -> GlueHiveTables:
        """The Hive-style tables: `<warehouse>/hive/`, in the Glue Data Catalog."""
        from billing_lake.tables.glue_hive import GlueHiveTables

        return GlueHiveTables(self.files, f"{self.root}/hive")

    @cached_property
    def crawled(self) -> GlueCrawledTables:
        """The tables over raw files, in the Glue Data Catalog."""
        from billing_lake.tables.glue_crawled import GlueCrawledTables

        return GlueCrawledTables(
            self.files,
            f"{self.root}/crawled",
            role=self.settings.crawler_role,
            database=self.settings.crawled_database,
        )

    @property
    def scratch(self) -> tuple[str, ...]:
        """See `Lake.scratch`: the messages of Glue runs are in the Pipes bucket."""
        from billing_lake.aws.settings import PIPES_FOLDER

        bucket = self.settings.pipes_bucket
        return (self.staging, *([f"s3://{bucket}/{PIPES_FOLDER}"] if bucket else []))

    @cached_property
    def reader(self) -> Reader:
        """Return what reads tables back: Polars in this process, straight from S3."""
        from billing_lake.engines.polars_engine import PolarsEngine

        return PolarsEngine(files=self.files, options=self.clients.polars_options())

    def sql(
        self,
        progress: Callable[[str], None] = lambda _: None,
        done: Callable[[str], None] = lambda _: None,
    ) -> TableSql:
        """Return Athena over the tables; see `Lake.sql`."""
        from billing_lake.sql.athena_queries import AthenaQueries
        from billing_lake.sql.athena_sql import AthenaSql

        queries = AthenaQueries(
            self.clients,
            workgroup=self.settings.athena_workgroup,
            output=self.settings.athena_output,
        )
        arn = self.settings.table_bucket_arn
        bucket = arn.rpartition("/")[-1] if arn else None
        return AthenaSql(self, queries, table_bucket=bucket, progress=progress, done=done)

    def keep_history(self, table: str, kept: KeptHistory) -> None:
        """See `Lake.keep_history`: S3 Tables maintains its tables."""
        from billing_lake.tables.s3_table_settings import keep_history

        keep_history(self.clients, require_table_bucket(self.settings), table, kept)

    def require(self, outputs: Collection[str], crawler: Crawler) -> None:
        """See `Lake.require`: buckets, catalog, job and rights are asked for."""
        require_access(self.settings, self.clients, outputs, crawler)

    def engine(self, log: Log, context: Any = None) -> Engine:
        """Return Spark in a Glue job, which belongs to the run of ``context``, or Polars in this process.

        Raises:
            ConfigurationError: Glue is to work, and there is no run.
        """
        if self.settings.engine == "polars":
            from billing_lake.engines.polars_engine import PolarsEngine

            return PolarsEngine(log=log, files=self.files, options=self.clients.polars_options())
        from billing_lake.engines.glue_engine import GlueEngine
        from billing_lake.resources.glue_jobs import GlueJobs
        from billing_lake.resources.glue_runs import GlueWaits

        jobs = GlueJobs(
            settings=self.settings,
            glue=self.clients.client("glue"),
            s3=self.clients.client("s3"),
            waits=self.waits or GlueWaits(),
        )
        return GlueEngine(jobs.launcher(context), log=log)

    def resources(self) -> dict[str, Any]:
        """Return what Dagster gives to assets: this lake, and Athena for those who want to ask it."""
        from billing_lake.deployments.lake_resource import aws_lake_resource
        from billing_lake.resources.athena import AthenaResource

        athena = AthenaResource(
            region=self.settings.region,
            workgroup=self.settings.athena_workgroup,
            output=self.settings.athena_output,
        )
        return {LAKE_RESOURCE: aws_lake_resource(self.settings), "billing_lake_athena": athena}


def aws_lake(environment: Mapping[str, str]) -> AwsLake:
    """Return the lake that the environment describes.

    Raises:
        ConfigurationError: A setting is missing or cannot be right.
    """
    return AwsLake(AwsSettings.from_environment(environment))
