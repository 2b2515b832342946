"""A Glue Data Catalog and an S3 bucket of a test's own, and what a reader finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.files.s3 import S3Files
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.making import (
    FIELDS,
    MARCH,
    count,
    encode,
    files_in_s3,
    load,
    versions,
)


@dataclass(frozen=True)
class GlueDatabase:
    """The services, and one lake in them."""

    aws: Aws
    bucket: str
    files: S3Files
    namespace: str

    @property
    def table(self) -> str:
        return f"{self.namespace}.cur"

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/hive"

    @property
    def glue(self) -> Any:
        return self.aws.client("glue")

    def hive(self, patience: float = 60.0) -> GlueHiveTables:
        return GlueHiveTables(self.files, self.root, patience=patience)

    def encode(
        self,
        key: PeriodKey = MARCH,
        rows: Sequence[int] = (2,),
        *,
        folder: str | None = None,
        version: str = "v1",
        fields: Sequence[Field] = FIELDS,
        ids: bool = True,
    ) -> Encoded:
        """Write files as an engine would: into ``folder``, or somewhere in staging."""
        folder = folder or f"s3://{self.bucket}/staging"
        return encode(folder, key, rows, version=version, fields=fields, ids=ids)

    def load(
        self,
        tables: GlueHiveTables,
        encoded: Encoded,
        key: PeriodKey = MARCH,
        verify: Callable[[], None] = lambda: None,
        table: str | None = None,
    ) -> Any:
        return load(tables, encoded, key, verify, table or self.table)

    def count(self, source: Source) -> int:
        return count(source)

    def versions(self, source: Source) -> set[str]:
        return versions(source)

    def athena(self, key: PeriodKey = MARCH, table: str | None = None) -> set[str] | None:
        """The files that Athena reads for a partition; None where there is no partition."""
        found = self.partition(key, table)
        if found is None:
            return None
        folder = found["StorageDescriptor"]["Location"]
        return {file.uri for file in self.files.list(folder)}

    def partition(self, key: PeriodKey = MARCH, table: str | None = None) -> Any:
        database, _, name = (table or self.table).partition(".")
        found = self.glue.get_partitions(DatabaseName=f"{database}_hive", TableName=name)
        return next(
            (p for p in found["Partitions"] if p["Values"] == [key.period, key.export]), None
        )

    def entry(self, table: str | None = None) -> Any:
        database, _, name = (table or self.table).partition(".")
        return self.glue.get_table(DatabaseName=f"{database}_hive", Name=name)["Table"]

    def data(self) -> set[str]:
        """Every Parquet file below the tables' root."""
        return {f.uri for f in self.files.list(self.root) if f.uri.endswith(".parquet")}


def new_database(aws: Aws) -> Iterator[GlueDatabase]:
    """A bucket and a namespace that no other test has, and that the next one does not have to look through."""
    bucket = aws.new_bucket()
    lake = GlueDatabase(aws, bucket, files_in_s3(), bucket.replace("-", "_"))
    yield lake
    for database in list(aws.glue.backend.databases):
        if database.startswith(lake.namespace):
            del aws.glue.backend.databases[database]
