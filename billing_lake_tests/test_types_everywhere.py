"""Every type of the lake passes through every engine, catalog and file format and comes back as it was."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal as Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from billing_lake.domain.errors import SchemaChangeError
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import (
    BOOLEAN,
    DATE,
    DECIMAL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    STRING,
    TIMESTAMP,
    Decimal,
    Foreign,
    Map,
    Primitive,
    Type,
)
from billing_lake.engines.polars_types import polars_type
from billing_lake.files.parquet_types import arrow_schema, parquet_fields
from billing_lake.spark_job.sql import spark_type
from billing_lake.sql.duckdb_types import duckdb_type
from billing_lake.tables.glue_schemas import (
    fields_from_parameters,
    fields_to_parameters,
    hive_type,
)
from billing_lake.tables.iceberg_types import iceberg_type
from billing_lake_tests.tables.making import encode, iceberg, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CELLS: dict[Type, Any] = {
    STRING: "an é",
    TIMESTAMP: datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=timezone.utc),
    DATE: date(2025, 3, 1),
    INT: -(2**31),
    LONG: 2**63 - 1,
    FLOAT: 0.5,
    DOUBLE: 0.1,
    BOOLEAN: True,
    DECIMAL: Number("12345678901234567890.123456789012345678"),
    Decimal(9, 2): Number("-1234567.89"),
    Map(STRING, STRING): {"a": "1", "b": None},
    Map(STRING, DOUBLE): {"a": 0.1},
    Map(LONG, DECIMAL): {7: Number("0.000000000000000001")},
    Map(STRING, Map(STRING, LONG)): {"a": {"b": 1}, "c": {}},
}
NAMES = {f"c{n}": type_ for n, type_ in enumerate(CELLS)}
FIELDS = plan(None, lake_columns(Column(name, type_) for name, type_ in NAMES.items())).fields
KEY = PeriodKey("cur", "2025-03")
EXPECTED = {name: CELLS[type_] for name, type_ in NAMES.items()}


def test_the_cells_of_these_tests_are_of_every_type() -> None:
    assert set(Primitive) <= set(CELLS)
    assert {Decimal, Map} <= {type(one) for one in CELLS}


def plain(value: Any) -> Any:
    """Return a cell as every library has it: maps are lists of pairs in some, and times are local ones in Spark."""
    if isinstance(value, list) and all(isinstance(one, tuple) for one in value):
        value = dict(value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value


def cells_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in row.items() if name in NAMES}


def report(folder: Path) -> str:
    """Write a Parquet file with one row."""
    (file,) = encode(folder, KEY, (1,), fields=FIELDS, **EXPECTED).files
    return file.uri


def test_parquet_carries_every_type_and_every_id(tmp_path: Path) -> None:
    path = report(tmp_path)
    assert parquet_fields(pq.read_schema(path)) == [(f.name, f.type, f.ids) for f in FIELDS]
    assert cells_of(pq.read_table(path).to_pylist()[0]) == EXPECTED
    bare = parquet_fields(arrow_schema(FIELDS, ids=False))
    assert [(name, type_) for name, type_, _ in bare] == [(f.name, f.type) for f in FIELDS]
    assert {one for *_, ids in bare for one in ids} == {None}


def test_polars_reads_and_writes_every_type_and_every_id(tmp_path: Path) -> None:
    rows = pl.scan_parquet(report(tmp_path))
    schema = rows.collect_schema()
    assert {name: schema[name] for name in NAMES} == {
        name: polars_type(type_) for name, type_ in NAMES.items()
    }
    again = tmp_path / "again.parquet"
    empty = pl.LazyFrame(schema={f.name: polars_type(f.type) for f in FIELDS})
    pl.concat([rows, empty]).sink_parquet(again, arrow_schema=arrow_schema(FIELDS))
    assert parquet_fields(pq.read_schema(again)) == [(f.name, f.type, f.ids) for f in FIELDS]
    assert cells_of(pq.read_table(again).to_pylist()[0]) == EXPECTED


def test_iceberg_keeps_every_type_and_every_id(tmp_path: Path) -> None:
    catalog = iceberg(tmp_path)
    catalog.create("billing.types", FIELDS)
    assert catalog.fields("billing.types") == FIELDS
    encoded = encode(tmp_path / "staging", KEY, (1,), fields=FIELDS, **EXPECTED)
    load(catalog, encoded, KEY, table="billing.types")
    (row,) = catalog.open("billing.types").scan().to_arrow().to_pylist()
    assert cells_of(row) == EXPECTED
    columns = catalog.files("billing.types", KEY).columns
    assert {one.name: one.type for one in columns if one.name in NAMES} == NAMES


def test_spark_reads_every_type_and_takes_hives_names_for_the_same(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = spark.read.parquet(report(tmp_path))
    types = {name: spark_type(type_) for name, type_ in NAMES.items()}
    assert {f.name: f.dataType.simpleString() for f in rows.schema if f.name in NAMES} == types
    assert cells_of(rows.collect()[0].asDict()) == EXPECTED
    nulls = (f"CAST(NULL AS {hive_type(name, type_)}) AS {name}" for name, type_ in NAMES.items())
    as_hive = spark.sql(f"SELECT {', '.join(nulls)}").schema
    assert {f.name: f.dataType.simpleString() for f in as_hive} == types


def test_glue_keeps_every_type_and_every_id() -> None:
    assert fields_from_parameters(fields_to_parameters(FIELDS)) == FIELDS


def test_duckdb_reads_every_type(tmp_path: Path) -> None:
    casts = (f"CAST({name} AS {duckdb_type(type_)}) AS {name}" for name, type_ in NAMES.items())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            f"SELECT {', '.join(casts)} FROM read_parquet(?)", [report(tmp_path)]
        )
        described = {column[0]: str(column[1]) for column in found.description or ()}
        row = found.fetchone() or ()
    assert described == {name: duckdb_type(type_) for name, type_ in NAMES.items()}
    assert cells_of(dict(zip(described, row, strict=True))) == EXPECTED


@pytest.mark.parametrize("type_", [Foreign("list<string>"), Map(STRING, Foreign("uuid"))])
def test_no_adapter_writes_a_type_that_the_lake_does_not_know(type_: Type) -> None:
    fields = plan(None, [Column("theirs", type_)]).fields
    for adapter in (
        lambda: polars_type(type_),
        lambda: arrow_schema(fields),
        lambda: iceberg_type(type_, fields[0].nested_ids),
        lambda: spark_type(type_),
        lambda: hive_type("theirs", type_),
    ):
        with pytest.raises(SchemaChangeError, match=r"list<string>|uuid"):
            adapter()
    assert duckdb_type(type_) is None
