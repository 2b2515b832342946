"""A lake in a folder of this machine: SQLite for catalogs, Polars for an engine, nothing to start and nothing to pay."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.deployments.base import HOME_SETTING, LAKE_RESOURCE, Lake
from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.files.local import LocalFiles
from billing_lake.landing.local import LANDING_SETTING
from billing_lake.tables.local_place import require_made_here

if TYPE_CHECKING:
    from billing_lake.aws.clients import AwsClients
    from billing_lake.engines.base import Engine, Log, Reader
    from billing_lake.files.base import Files
    from billing_lake.landing.base import Storage
    from billing_lake.sql.tables import TableSql
    from billing_lake.tables.base import Crawler, KeptHistory
    from billing_lake.tables.crawled_tables import CrawledTables
    from billing_lake.tables.hive import HiveTables
    from billing_lake.tables.iceberg import IcebergTables

_BUCKET = "s3://"
_LANDINGS = "catalog/landing.json"

DEMO_MARK = "demo.txt"
"""File in the folder of a lake that the demo made."""


@dataclass(frozen=True)
class LocalLake(Lake):
    """A lake in one folder of this machine.

    Attributes:
        home: The folder, absolute.
        elsewhere: Folder that exports are delivered to, absolute; `landing/` in the lake's folder unless given.
        bucket: Bucket that they are delivered to, in place of a folder; read with the credentials of this process.
    """

    home: Path
    elsewhere: Path | None = field(default=None, kw_only=True)
    bucket: str = field(default="", kw_only=True)

    @property
    def landing(self) -> Path:
        """Folder that exports are delivered to, unless that is a bucket."""
        return self.elsewhere or self.home / "landing"

    @cached_property
    def _here(self) -> Path:
        """The home, once it is sure that no table is catalogued elsewhere: asked for before anything is read or written."""
        require_made_here(self.home)
        return self.home

    @cached_property
    def storage(self) -> Storage:
        """Return where exports are delivered to: `landing/`, or the folder or bucket that the environment names."""
        from billing_lake.landing.local import LocalStorage

        if self.bucket:
            from billing_lake.landing.s3 import S3Storage

            return S3Storage(self._clients, self.bucket, self.stated_periods)
        return LocalStorage(self.landing, self.stated_periods)

    @cached_property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables: `warehouse/iceberg/`, catalogued in SQLite."""
        return self._iceberg_tables("iceberg")

    @cached_property
    def s3_tables(self) -> IcebergTables:
        """Return what stands for an S3 Tables bucket here: `warehouse/s3tables/`, with a catalog of its own."""
        return self._iceberg_tables("s3tables")

    @cached_property
    def hive(self) -> HiveTables:
        """The Hive-style tables: `warehouse/hive/`."""
        from billing_lake.tables.hive import HiveTables

        return HiveTables(self._here / "warehouse" / "hive", self._here / "catalog" / "hive.db")

    @cached_property
    def crawled(self) -> CrawledTables:
        """The tables over raw files, in the Hive catalog's database."""
        from billing_lake.tables.crawled_tables import CrawledTables

        return CrawledTables(self._here / "catalog" / "hive.db")

    @property
    def root(self) -> str:
        """Path of the folder."""
        return str(self.home)

    @cached_property
    def files(self) -> Files:
        """The lake's own files."""
        return LocalFiles()

    @cached_property
    def reader(self) -> Reader:
        """Return what reads tables and report files: Polars."""
        from billing_lake.engines.polars_engine import PolarsEngine

        return PolarsEngine(**self._access)

    def sql(self, *_: object) -> TableSql:
        """Return DuckDB over the tables as they are now."""
        from billing_lake.sql.lake_sql import LakeSql

        return LakeSql(self)

    def require(self, outputs: Collection[str], crawler: Crawler) -> None:  # noqa: ARG002  # a folder has all of them
        """See `Lake.require`; a folder has every table, and one crawler."""
        from billing_lake.tables.crawled_tables import require_crawler

        require_crawler(crawler)
        require_made_here(self.home)

    def keep_history(self, table: str, kept: KeptHistory) -> None:
        """See `Lake.keep_history`: maintenance of this machine's tables is told each time."""

    def engine(self, log: Log, context: Any = None) -> Engine:  # noqa: ARG002  # needs no run
        """Return Polars in this process."""
        from billing_lake.engines.polars_engine import PolarsEngine

        return PolarsEngine(log=log, **self._access)

    @cached_property
    def _clients(self) -> AwsClients:
        """The clients that read the bucket of deliveries."""
        from billing_lake.aws.clients import clients_for

        return clients_for(self.bucket)

    @property
    def _access(self) -> dict[str, Any]:
        """Return how Polars gets at report files that are not on this machine."""
        if not self.bucket:
            return {}
        from billing_lake.files.s3 import S3Files
        from billing_lake.files.with_s3 import FilesWithS3

        files = FilesWithS3(S3Files(self._clients))
        return {"files": files, "options": self._clients.polars_options()}

    def _iceberg_tables(self, name: str) -> IcebergTables:
        from billing_lake.tables.iceberg import IcebergTables

        return IcebergTables(
            name,
            {
                "type": "sql",
                "uri": f"sqlite:///{self._here}/catalog/{name}.db",
                "warehouse": f"file://{self._here}/warehouse/{name}",
            },
        )

    def resources(self) -> dict[str, Any]:
        """See `Lake.resources`."""
        # Imports Dagster, which the command line does without.
        from billing_lake.deployments.lake_resource import local_lake_resource

        return {LAKE_RESOURCE: local_lake_resource(self)}


def local_lake(environment: Mapping[str, str]) -> LocalLake:
    """Return the lake in the folder that the environment names.

    Raises:
        ConfigurationError: It is a file, or the landing folder cannot be one.
    """
    return LocalLake(
        home_folder(environment),
        elsewhere=landing_folder(environment),
        bucket=landing_bucket(environment),
    )


def home_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the lake on this machine.

    It is the demo's where neither a lake nor a landing folder is named, and only the demo has made one.

    Raises:
        ConfigurationError: It is a file.
    """
    home = own_home(environment)
    demo = demo_home(home)
    named = environment.get(HOME_SETTING) or environment.get(LANDING_SETTING)
    stands_in = not named and not is_lake(home) and is_demo(demo)
    return demo if stands_in else home


def own_home(environment: Mapping[str, str]) -> Path:
    """Return the folder of the lake that is the user's own, whether there is a lake yet or not.

    Raises:
        ConfigurationError: It is a file.
    """
    # Not `resolve`: a home that is a link stays the name under which tables are catalogued.
    home = Path(
        os.path.normpath(Path.cwd() / Path(environment.get(HOME_SETTING) or "lake").expanduser())
    )
    if home.exists() and not home.is_dir():
        what = f"{HOME_SETTING} is {shown(home)!r}, which is a file"
        raise ConfigurationError(what, remedy="Set it to a folder that may be written to")
    return home


def demo_home(home: Path) -> Path:
    """Return the folder of the demo's lake, beside ``home`` unless that is the demo's itself."""
    return home if is_demo(home) else home.with_name(f"{home.name}-demo")


def is_lake(home: Path) -> bool:
    """Say whether the folder is a lake, or is to be one: it has tables, or exports are delivered to it."""
    return any((home / part).is_dir() for part in ("catalog", "landing"))


def is_demo(home: Path) -> bool:
    """Say whether the demo made the lake in ``home``."""
    return (home / DEMO_MARK).is_file()


def landing_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the landing folder that is not in the lake's own folder, where the environment names one.

    Raises:
        ConfigurationError: It is not absolute, or a file.
    """
    named = _landing(environment)
    if not named or named.startswith(_BUCKET):
        return None
    landing = Path(named).expanduser()
    if not landing.is_absolute() or (landing.exists() and not landing.is_dir()):
        what = f"{LANDING_SETTING} is {shown(named)!r}, which is {'a file' if landing.is_absolute() else 'not absolute'}"
        remedy = "Set it to the absolute path of the folder that exports are delivered to, or to a bucket as s3://bucket"
        raise ConfigurationError(what, remedy=remedy)
    return Path(os.path.normpath(landing))


def landing_bucket(environment: Mapping[str, str]) -> str:
    """Return the bucket that exports are delivered to; empty where the environment names none.

    Raises:
        ConfigurationError: It names a folder in a bucket.
    """
    named = _landing(environment)
    bucket = named.removeprefix(_BUCKET).rstrip("/") if named.startswith(_BUCKET) else ""
    if named.startswith(_BUCKET) and (not bucket or "/" in bucket):
        what = f"{LANDING_SETTING} is {shown(named)!r}, which is no bucket"
        remedy = "Set it to s3://bucket alone: a folder in it is the `prefix` of an export"
        raise ConfigurationError(what, remedy=remedy)
    return bucket


def _landing(environment: Mapping[str, str]) -> str:
    """Return where exports are delivered to, if not into the lake's own folder: where the environment says, or where `load` took them.

    The demo keeps to its own folder, whatever is set.
    """
    named, home = environment.get(LANDING_SETTING) or "", home_folder(environment)
    if is_demo(home):
        return ""
    noted = noted_landings(home)
    is_clear = len(noted) == 1 and not (home / "landing").exists()
    return named or (noted[0] if is_clear else "")


def noted_landings(home: Path) -> tuple[str, ...]:
    """Return the folders and buckets outside of the lake's folder that `load` has taken deliveries from."""
    try:
        found = json.loads((home / _LANDINGS).read_text(encoding="utf-8"))["places"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def note_landing(home: Path, place: str) -> None:
    """Note that `load` takes deliveries from ``place``, for those who name no landing folder: Dagster's pages and sensors, say."""
    noted = noted_landings(home)
    if place not in noted:
        text = json.dumps({"format": 1, "places": [*noted, place]}, indent=1)
        LocalFiles().write(str(home / _LANDINGS), text.encode())
