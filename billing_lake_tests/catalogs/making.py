"""Small deliveries as Parquet files, and what a reader finds in a table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from billing_lake.catalogs.base import TableCatalog
from billing_lake.catalogs.hive import HiveTables
from billing_lake.catalogs.iceberg import IcebergTables
from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey, Source

TABLE = "billing.cur"
MARCH = PeriodKey("cur", "2025-03")
APRIL = PeriodKey("cur", "2025-04")
OTHER_MARCH = PeriodKey("other", "2025-03")

COLUMNS = (
    Column("line_item_unblended_cost", "decimal(38, 18)"),
    Column("line_item_usage_start_date", "timestamptz"),
    Column("export_name", "string"),
    Column("billing_period", "string"),
    Column("delivery_version", "string"),
    Column("source_file", "string"),
)
FIELDS = plan(None, COLUMNS).fields

_ARROW = {
    "string": pa.large_string(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "decimal(38, 18)": pa.decimal128(38, 18),
    "decimal(20, 18)": pa.decimal128(20, 18),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


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


MAKERS: Mapping[str, Callable[[Path], TableCatalog]] = {"iceberg": iceberg, "hive": hive}


def encode(
    folder: Path,
    key: PeriodKey = MARCH,
    rows: Sequence[int] = (2,),
    *,
    version: str = "v1",
    fields: Sequence[Field] = FIELDS,
    ids: bool = True,
) -> Encoded:
    """Write one file for each number of ``rows``; every row costs 1.5."""
    folder.mkdir(parents=True, exist_ok=True)
    constants: dict[str, Any] = {
        "line_item_unblended_cost": Decimal("1.5"),
        "export_name": key.export,
        "billing_period": key.period,
        "delivery_version": version,
    }
    schema = pa.schema(
        pa.field(
            f.name,
            _ARROW[f.type],
            metadata={"PARQUET:field_id": str(f.field_id)} if ids else None,
        )
        for f in fields
    )
    files = []
    for count in rows:
        path = folder / f"{uuid.uuid4().hex}.parquet"
        values = {name: [constants.get(name)] * count for name in schema.names}
        pq.write_table(pa.Table.from_pydict(values, schema=schema), path, compression="zstd")
        files.append(EncodedFile(uri=str(path), rows=count, size=path.stat().st_size))
    return Encoded(
        identity=uuid.uuid4().hex, version=version, files=tuple(files), fields=tuple(fields)
    )


def load(
    catalog: TableCatalog,
    encoded: Encoded,
    key: PeriodKey = MARCH,
    verify: Callable[[], None] = lambda: None,
) -> Any:
    return catalog.replace_period(
        TABLE,
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
    return sum(pq.read_metadata(file.uri).num_rows for file in source.files)


def versions(source: Source) -> set[str]:
    """Delivery versions that a reader of the files finds."""
    return {
        version
        for file in source.files
        for version in pq.read_table(file.uri, columns=["delivery_version"])[0].to_pylist()
    }


def data_below(folder: Path) -> set[Path]:
    """Parquet files on disk."""
    return set(folder.rglob("*.parquet"))


def changed() -> None:
    """A delivery that is no longer the one in storage."""
    what = "The delivery changed"
    raise DeliveryChangedError(what)
