"""Small deliveries as Parquet files, and what a reader finds in a table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey, Source
from billing_lake.domain.types import DECIMAL, DOUBLE, STRING, TIMESTAMP
from billing_lake.files.base import Files
from billing_lake.files.local import LocalFiles
from billing_lake.files.parquet_types import arrow_schema
from billing_lake.files.s3 import S3Files
from billing_lake.tables.aws_catalogs import s3_tables_properties
from billing_lake.tables.base import TableCatalog
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.glue_iceberg import GlueIcebergTables
from billing_lake.tables.hive import HiveTables
from billing_lake.tables.iceberg import IcebergTables

if TYPE_CHECKING:
    from billing_lake_tests.servers.aws import Aws

TABLE = "billing.cur"
MARCH = PeriodKey("cur", "2025-03")
APRIL = PeriodKey("cur", "2025-04")
OTHER_MARCH = PeriodKey("other", "2025-03")

COLUMNS = (
    Column("line_item_unblended_cost", DECIMAL),
    Column("line_item_usage_start_date", TIMESTAMP),
    Column("export_name", STRING),
    Column("billing_period", STRING),
    Column("delivery_version", STRING),
    Column("source_file", STRING),
)
FIELDS = plan(None, COLUMNS).fields


def iceberg(home: Path) -> IcebergTables:
    return IcebergTables(
        "lake",
        {
            "type": "sql",
            "uri": f"sqlite:///{home}/catalog/iceberg.db",
            "warehouse": f"file://{home}/warehouse/iceberg",
        },
    )


def hive(home: Path) -> HiveTables:
    return HiveTables(home / "warehouse" / "hive", home / "catalog" / "hive.db")


@cache
def files_in_s3(region: str = "us-east-1") -> S3Files:
    """Files in the S3 that the environment leads to; clients cost more than what these tests do with them."""
    return S3Files(AwsClients(region))


def files_of(uri: str) -> Files:
    """Files here, or in the S3 that the environment leads to."""
    return files_in_s3() if uri.startswith("s3://") else LocalFiles()


@cache
def glue(aws: Aws) -> IcebergTables:
    """Iceberg tables in the Glue Data Catalog; the environment leads to the services."""
    return GlueIcebergTables(files_in_s3(), f"s3://{aws.new_bucket()}/iceberg")


@cache
def s3_tables(aws: Aws) -> IcebergTables:
    """Iceberg tables in an S3 Tables bucket; the environment leads to the services."""
    files = files_in_s3()
    properties = s3_tables_properties(files.clients, aws.new_table_bucket(), aws.iceberg_url)
    return IcebergTables("s3tables", properties, files=files)


def glue_hive(aws: Aws) -> GlueHiveTables:
    """Hive-style tables in a Glue database and a bucket without any."""
    aws.glue.backend.databases.pop(f"{TABLE.partition('.')[0]}_hive", None)
    return GlueHiveTables(files_in_s3(), f"s3://{aws.new_bucket()}/hive", patience=60.0)


def emptied(tables: IcebergTables) -> IcebergTables:
    """The tables after those of an earlier test have been removed."""
    for table in tables.tables():
        if table.startswith(TABLE):
            tables.drop(table)
    return tables


MAKERS: Mapping[str, Callable[[Path], TableCatalog]] = {"iceberg": iceberg, "hive": hive}

ON_AWS: Mapping[str, Callable[[Aws], TableCatalog]] = {
    "glue": lambda aws: emptied(glue(aws)),
    "glue_hive": glue_hive,
    "s3_tables": lambda aws: emptied(s3_tables(aws)),
}

everywhere = pytest.mark.parametrize("catalog", [*sorted(MAKERS), *sorted(ON_AWS)], indirect=True)
"""Lets a test run on the catalogs of AWS as well; each load there costs half a second."""

and_glue_hive = pytest.mark.parametrize("catalog", [*sorted(MAKERS), "glue_hive"], indirect=True)
"""Lets a test run on the Hive-style tables of AWS as well; Iceberg's commit is the same code there as here."""


def encode(
    folder: Path | str,
    key: PeriodKey = MARCH,
    rows: Sequence[int] = (2,),
    *,
    version: str = "v1",
    fields: Sequence[Field] = FIELDS,
    ids: bool = True,
    **cells: Any,
) -> Encoded:
    """Write one file for each number of ``rows``, into a folder here or in S3; every row costs 1.5 and has ``cells``."""
    as_double = Field("line_item_unblended_cost", DOUBLE, 1) in fields
    constants: dict[str, Any] = {
        "line_item_unblended_cost": 1.5 if as_double else Decimal("1.5"),
        "export_name": key.export,
        "billing_period": key.period,
        "delivery_version": version,
        **cells,
    }
    schema = arrow_schema(fields, ids=ids)
    files = []
    for count in rows:
        values = {name: [constants.get(name)] * count for name in schema.names}
        stream = BytesIO()
        pq.write_table(pa.Table.from_pydict(values, schema=schema), stream, compression="zstd")
        uri = f"{folder}/{uuid.uuid4().hex}.parquet"
        files_of(uri).write(uri, stream.getvalue())
        files.append(EncodedFile(uri=uri, rows=count, size=stream.tell()))
    return Encoded(
        identity=uuid.uuid4().hex, version=version, files=tuple(files), fields=tuple(fields)
    )


def load(
    catalog: TableCatalog,
    encoded: Encoded,
    key: PeriodKey = MARCH,
    verify: Callable[[], None] = lambda: None,
    table: str = TABLE,
) -> Any:
    return catalog.replace_period(
        table,
        key,
        encoded,
        properties={
            "billing-lake.delivery-version": encoded.version,
            "billing-lake.run-id": "run-1",
        },
        verify=verify,
    )


def count(source: Source) -> int:
    """Rows that a reader of the files finds."""
    found = 0
    for file in source.files:
        with files_of(file.uri).open(file.uri) as stream:
            found += pq.read_metadata(stream).num_rows
    return found


def versions(source: Source) -> set[str]:
    """Delivery versions that a reader of the files finds."""
    found: set[str] = set()
    for file in source.files:
        with files_of(file.uri).open(file.uri) as stream:
            found.update(pq.read_table(stream, columns=["delivery_version"])[0].to_pylist())
    return found


def data_below(folder: Path) -> set[Path]:
    """Parquet files on disk."""
    return set(folder.rglob("*.parquet"))


def data_of(tables: TableCatalog) -> set[str]:
    """Every Parquet file of the lake's tables, whether or not a table refers to it."""
    root = tables.uri(TABLE).rpartition("/")[0]
    if root.startswith("s3://"):
        return {one.uri for one in files_in_s3().list(root) if one.uri.endswith(".parquet")}
    return {str(path) for path in data_below(Path(root[: root.index("/warehouse/")], "warehouse"))}


def changed() -> None:
    """A delivery that is no longer the one in storage."""
    what = "The delivery changed"
    raise DeliveryChangedError(what)
