"""Deployments: the one place that knows where the lake lives and what moves its data.

An asset asks its `Lake` for a storage, a catalog or an engine and never learns which one it got. Every deployment has
its own entry in `_LAKES` and none is a default branch: a deployment that is forgotten must fail at start, not inherit
another one's tables.

Nothing heavy is imported here: a code location is loaded many times a day, most often only to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.io.values import ValueStore

if TYPE_CHECKING:
    from billing_lake.catalogs.crawled import CrawledTables
    from billing_lake.catalogs.hive import HiveTables
    from billing_lake.catalogs.iceberg import IcebergTables
    from billing_lake.engines.base import Engine, Log
    from billing_lake.storage.base import Storage

Deployment = Literal["local"]
"""The deployments that exist."""

DEPLOYMENT_SETTING = "BILLING_LAKE_DEPLOYMENT"
"""Environment variable that chooses the deployment; `local` where it is not set."""

HOME_SETTING = "BILLING_LAKE_HOME"
"""Environment variable with the folder of a local lake; `lake` in the working directory where it is not set."""


class Lake(Protocol):
    """Everything that a load needs, for one deployment."""

    @property
    def storage(self) -> Storage:
        """Where exports are delivered to."""

    @property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables."""

    @property
    def s3_tables(self) -> IcebergTables:
        """The S3 Tables."""

    @property
    def hive(self) -> HiveTables:
        """The Hive-style tables."""

    @property
    def crawled(self) -> CrawledTables:
        """The tables over raw files."""

    @property
    def values(self) -> ValueStore:
        """The values between assets."""

    @property
    def staging(self) -> Path:
        """Folder for files that belong to no table yet; whoever makes some removes them."""

    def engine(self, log: Log) -> Engine:
        """Return the engine; it tells ``log`` how it gets on."""


@dataclass(frozen=True)
class LocalLake:
    """A lake in one folder of this machine.

    Attributes:
        home: The folder, absolute.
    """

    home: Path

    @cached_property
    def storage(self) -> Storage:
        """Where exports are delivered to: `landing/`."""
        from billing_lake.storage.local import LocalStorage

        return LocalStorage(self.home / "landing")

    @cached_property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables: `warehouse/iceberg/`, catalogued in SQLite."""
        return self._iceberg_tables("iceberg")

    @cached_property
    def s3_tables(self) -> IcebergTables:
        """What stands for an S3 Tables bucket here: `warehouse/s3tables/`, with a catalog of its own."""
        return self._iceberg_tables("s3tables")

    @cached_property
    def hive(self) -> HiveTables:
        """The Hive-style tables: `warehouse/hive/`."""
        from billing_lake.catalogs.hive import HiveTables

        return HiveTables(self.home / "warehouse" / "hive", self.home / "catalog" / "hive.db")

    @cached_property
    def crawled(self) -> CrawledTables:
        """The tables over raw files, in the Hive catalog's database."""
        from billing_lake.catalogs.crawled import CrawledTables

        return CrawledTables(self.home / "catalog" / "hive.db")

    @cached_property
    def values(self) -> ValueStore:
        """The values between assets: `values/`."""
        return ValueStore(self.home / "values")

    @property
    def staging(self) -> Path:
        """Folder for files that belong to no table yet: `staging/`."""
        return self.home / "staging"

    def engine(self, log: Log) -> Engine:
        """Return Polars in this process."""
        from billing_lake.engines.polars_engine import PolarsEngine

        return PolarsEngine(log=log)

    def _iceberg_tables(self, name: str) -> IcebergTables:
        from billing_lake.catalogs.iceberg import IcebergTables

        return IcebergTables(
            name,
            {
                "type": "sql",
                "uri": f"sqlite:///{self.home}/catalog/{name}.db",
                "warehouse": f"file://{self.home}/warehouse/{name}",
            },
        )


def open_lake(environment: Mapping[str, str] = os.environ) -> Lake:
    """Return the lake of the deployment that the environment chooses.

    Raises:
        ConfigurationError: The environment names no deployment that exists, or a home that is no folder.
    """
    return _LAKES[chosen_deployment(environment)](environment)


def chosen_deployment(environment: Mapping[str, str]) -> Deployment:
    """Return the deployment that the environment names.

    Raises:
        ConfigurationError: It is none.
    """
    name = environment.get(DEPLOYMENT_SETTING, "local")
    for deployment in _LAKES:
        if name == deployment:
            return deployment
    what = f"{DEPLOYMENT_SETTING} is {shown(name)!r}, which is no deployment"
    raise ConfigurationError(what, remedy=f"Set it to one of: {', '.join(get_args(Deployment))}")


def _local(environment: Mapping[str, str]) -> Lake:
    # Not `resolve`: a home that is a link stays the name under which tables are catalogued.
    home = Path(
        os.path.normpath(Path.cwd() / Path(environment.get(HOME_SETTING) or "lake").expanduser())
    )
    if home.exists() and not home.is_dir():
        what = f"{HOME_SETTING} is {shown(home)!r}, which is a file"
        raise ConfigurationError(what, remedy="Set it to a folder that may be written to")
    return LocalLake(home)


_LAKES: dict[Deployment, Callable[[Mapping[str, str]], Lake]] = {"local": _local}
