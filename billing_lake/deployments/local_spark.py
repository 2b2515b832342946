"""The lake of the deployment `local` with Spark in place of Polars: the same folder, the same tables, the same catalogs.

Each of the two finds everything that the other loaded. The session belongs to a Dagster resource of its
own, `billing_lake_spark`, so that a run configures it and an asset that needs no engine starts none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from billing_lake.deployments.base import DEPLOYMENT_SETTING, LAKE_RESOURCE
from billing_lake.deployments.lake_resource import LocalLakeResource, local_settings
from billing_lake.deployments.local import LocalLake, local_lake
from billing_lake.domain.errors import ConfigurationError
from billing_lake.landing.local import LANDING_SETTING
from billing_lake.resources.spark import SparkResource, spark_defaults

if TYPE_CHECKING:
    from billing_lake.engines.base import Engine, Log


SPARK_RESOURCE = "billing_lake_spark"
"""Key of the session among Dagster's resources."""


@dataclass(frozen=True)
class LocalSparkLake(LocalLake):
    """A lake in one folder of this machine, loaded by Spark."""

    spark: SparkResource = field(default_factory=SparkResource, compare=False)

    def engine(self, log: "Log", context: Any = None) -> "Engine":  # noqa: ARG002  # its run is this process
        """Return Spark in this process."""
        from billing_lake.engines.spark_engine import SparkEngine

        return SparkEngine(partial(self.spark.session, log), log=log)

    def resources(self) -> dict[str, Any]:
        """Return what Dagster gives to assets: this lake, and the session that a run may configure."""
        # "At launch": otherwise a run that configures one field would lose what the environment says of the others.
        set_fields = self.spark.model_dump(include=self.spark.model_fields_set)
        spark = SparkResource.configure_at_launch(**set_fields)
        lake = LocalSparkLakeResource.configure_at_launch(**local_settings(self), spark=spark)
        return {LAKE_RESOURCE: lake, SPARK_RESOURCE: spark}


class LocalSparkLakeResource(LocalLakeResource):
    """A lake in a folder of this machine, loaded by Spark."""

    spark: dg.ResourceDependency[SparkResource]

    def create_lake(self) -> LocalSparkLake:
        """See `LakeResource`."""
        return _on_spark(super().create_lake(), self.spark)


def local_spark_lake(environment: Mapping[str, str]) -> LocalSparkLake:
    """Return the lake that the environment describes.

    Raises:
        ConfigurationError: A setting cannot be right.
    """
    return _on_spark(local_lake(environment), SparkResource(**spark_defaults(environment)))


def _on_spark(lake: LocalLake, spark: SparkResource) -> LocalSparkLake:
    """Return ``lake`` with Spark for an engine.

    Raises:
        ConfigurationError: Its exports are delivered to a bucket.
    """
    if lake.bucket:
        what = f"{LANDING_SETTING} is a bucket, and Spark on this machine reads folders alone"
        remedy = f"Set {DEPLOYMENT_SETTING} to local, or copy the bucket: aws s3 sync s3://{lake.bucket} FOLDER"
        raise ConfigurationError(what, remedy=remedy)
    return LocalSparkLake(lake.home, spark, elsewhere=lake.elsewhere)
