"""Runs what was sent to Athena, over the tables that the catalogs know: read as Trino's SQL, run by DuckDB.

Where a query uses what Trino lacks and DuckDB has (a result column's name in GROUP BY or beside others, GROUP BY ALL, QUALIFY),
it fails here as well. Tables are read as readers on AWS read them: Iceberg from the metadata that Glue or S3 Tables names,
Hive-style ones from the folders of their partitions.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError
from sqlglot.optimizer.qualify import qualify

from billing_lake_tests.servers.athena import AthenaError, Query, Result

if TYPE_CHECKING:
    from billing_lake_tests.servers.account import Account

_GLUE = "AwsDataCatalog"
_S3_TABLES = "s3tablescatalog/"
_TYPES = {
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double",
    "FLOAT": "real",
    "INTEGER": "integer",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "VARCHAR": "varchar",
}


class AthenaEngine:
    """Answers queries over the tables of an account; each table is read once, as it is when it is first asked for."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._tables: dict[tuple[str, str, str], pa.Table] = {}
        self._views: dict[tuple[str, str], exp.Query] = {}

    def __call__(self, query: Query) -> Result:
        """Run a query.

        Raises:
            AthenaError: Athena would refuse it.
        """
        try:
            (tree,) = sqlglot.parse(query.sql, dialect="athena")
        except (ParseError, ValueError) as error:
            raise AthenaError(f"line 1:1: mismatched input: {error}") from error
        if isinstance(tree, exp.Create) and tree.kind == "VIEW":
            return self._create_view(tree)
        if not isinstance(tree, exp.Query):
            raise AthenaError("line 1:1: mismatched input. Expecting: 'SELECT'")
        return self._ask(tree)

    def _create_view(self, tree: exp.Create) -> Result:
        """Keep a view, whose tables are there and whose columns have types that Hive has too."""
        made = self._ask(tree.expression.copy().limit(0))
        for name, kind in zip(made.columns, made.types, strict=True):
            if kind.endswith("with time zone"):
                raise AthenaError(f"Invalid column type for column {name}: Unsupported Hive type")
        self._views[tree.this.db, tree.this.name] = tree.expression
        return Result(columns=[], types=[], rows=[])

    def _ask(self, tree: exp.Query) -> Result:
        for table in list(tree.find_all(exp.Table)):
            view = self._views.get((table.db, table.name))
            if view is not None:
                table.replace(view.copy().subquery(table.alias or table.name))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            schema = self._open_tables(tree, connection)
            _check(tree, schema)
            try:
                cursor = connection.execute(tree.sql("duckdb"))
                described, rows = cursor.description or [], cursor.fetchall()
            except duckdb.Error as error:
                raise AthenaError(f"GENERIC_USER_ERROR: {error}") from error
        kinds = [str(column[1]) for column in described]
        return Result(
            columns=[column[0] for column in described],
            types=[_type(kind) for kind in kinds],
            rows=[list(map(_text, row, kinds)) for row in rows],
        )

    def _open_tables(
        self, tree: exp.Expr, connection: duckdb.DuckDBPyConnection
    ) -> Mapping[str, Any]:
        """Give DuckDB the tables under the names that the query has for them; return their columns."""
        schema: dict[str, Any] = {}
        for number, table in enumerate(list(tree.find_all(exp.Table))):
            if not table.db:
                continue
            where = (table.catalog or _GLUE, table.db, table.name)
            if where not in self._tables:
                self._tables[where] = self._read(*where)
            data = self._tables[where]
            name = f"table_{number}"
            connection.register(name, data)
            described = connection.execute(f"DESCRIBE {name}").fetchall()
            schema[name] = {row[0]: row[1] for row in described}
            alias = exp.TableAlias(this=exp.to_identifier(table.alias or table.name, quoted=True))
            table.replace(exp.Table(this=exp.to_identifier(name), alias=alias))
        return schema

    def _read(self, catalog: str, database: str, table: str) -> pa.Table:
        missing = f"TABLE_NOT_FOUND: Table '{catalog.lower()}.{database}.{table}' does not exist"
        if catalog.startswith(_S3_TABLES):
            bucket = catalog.removeprefix(_S3_TABLES)
            return self._iceberg(self._s3_tables(bucket), database, table, missing)
        if catalog.lower() != _GLUE.lower():
            raise AthenaError(f"CATALOG_NOT_FOUND: Catalog '{catalog}' does not exist")
        glue = self._aws.client("glue")
        try:
            entry = glue.get_table(DatabaseName=database, Name=table)["Table"]
        except glue.exceptions.EntityNotFoundException as error:
            raise AthenaError(missing) from error
        if entry.get("Parameters", {}).get("table_type", "").upper() == "ICEBERG":
            return self._iceberg(self._glue(), database, table, missing)
        return self._hive(entry)

    def _iceberg(
        self, properties: Mapping[str, str], database: str, table: str, missing: str
    ) -> pa.Table:
        files = {
            "s3.endpoint": self._aws.s3_url,
            "s3.access-key-id": self._aws.key,
            "s3.secret-access-key": self._aws.secret,
            "s3.region": self._aws.region,
        }
        try:
            found = load_catalog("athena", **files, **properties).load_table((database, table))
        except (NoSuchTableError, NoSuchNamespaceError) as error:
            raise AthenaError(missing) from error
        return found.scan().to_arrow()

    def _glue(self) -> Mapping[str, str]:
        return {
            "type": "glue",
            "glue.endpoint": self._aws.glue_url,
            "glue.region": self._aws.region,
            "glue.access-key-id": self._aws.key,
            "glue.secret-access-key": self._aws.secret,
        }

    def _s3_tables(self, bucket: str) -> Mapping[str, str]:
        return {
            "type": "rest",
            "uri": self._aws.iceberg_url,
            "warehouse": f"arn:aws:s3tables:{self._aws.region}:{self._aws.account}:bucket/{bucket}",
            "rest.sigv4-enabled": "true",
            "rest.signing-name": "s3tables",
            "rest.signing-region": self._aws.region,
            "client.access-key-id": self._aws.key,
            "client.secret-access-key": self._aws.secret,
        }

    def _hive(self, entry: Mapping[str, Any]) -> pa.Table:
        columns = {one["Name"]: one["Type"] for one in entry["StorageDescriptor"]["Columns"]}
        keys = [one["Name"] for one in entry.get("PartitionKeys", [])]
        schema = pa.schema(
            [(name, _arrow(kind)) for name, kind in columns.items()]
            + [(name, pa.string()) for name in keys]
        )
        found = (
            self._aws.client("glue")
            .get_paginator("get_partitions")
            .paginate(DatabaseName=entry["DatabaseName"], TableName=entry["Name"])
        )
        tables = [schema.empty_table()]
        for page in found:
            for partition in page["Partitions"]:
                values = dict(zip(keys, partition["Values"], strict=True))
                read = self._files(partition["StorageDescriptor"]["Location"])
                tables += [_hive_rows(data, schema, values) for data in read]
        return pa.concat_tables(tables)

    def _files(self, location: str) -> Iterator[pa.Table]:
        s3, where = self._aws.client("s3"), urlsplit(location)
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=where.netloc, Prefix=where.path.strip("/") + "/"
        )
        for page in pages:
            for one in page.get("Contents", []):
                # Hidden to Hive, and so to Athena.
                if not one["Key"].rpartition("/")[2].startswith(("_", ".")):
                    body = s3.get_object(Bucket=where.netloc, Key=one["Key"])["Body"].read()
                    yield pq.read_table(io.BytesIO(body))


def _hive_rows(data: pa.Table, schema: pa.Schema, partition: Mapping[str, str]) -> pa.Table:
    arrays = []
    for column in schema:
        if column.name in partition:
            array = pa.array([partition[column.name]] * data.num_rows, column.type)
        elif column.name in data.column_names:
            array = data[column.name].cast(column.type)
        else:
            array = pa.nulls(data.num_rows, column.type)
        arrays.append(array)
    return pa.table(arrays, schema=schema)


def _check(tree: exp.Query, schema: Mapping[str, Any]) -> None:
    """Refuse names and clauses that only DuckDB has."""
    if tree.find(exp.Qualify) or any(group.args.get("all") for group in tree.find_all(exp.Group)):
        raise AthenaError("line 1:1: mismatched input")
    try:
        # A name that only a result column has is none here, except in ORDER BY.
        qualify(tree.copy(), dialect="trino", schema=dict(schema), expand_alias_refs=False)
    except OptimizeError as error:
        raise AthenaError(f"COLUMN_NOT_FOUND: line 1:1: {error}") from error


def _type(kind: str) -> str:
    if kind.startswith("DECIMAL"):
        return kind.lower()
    return "array" if kind.endswith("[]") else _TYPES.get(kind, kind.lower())


def _text(value: Any, kind: str) -> str | None:
    """Return a value as Athena writes it."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        zoned = f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"
        return zoned if kind != "TIMESTAMP" else zoned.removesuffix(" UTC")[:-3]
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _arrow(hive: str) -> pa.DataType:
    if hive.startswith("decimal"):
        precision, scale = hive.removeprefix("decimal(").rstrip(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    return {
        "bigint": pa.int64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "double": pa.float64(),
        "float": pa.float32(),
        "int": pa.int32(),
        "string": pa.string(),
        # No time zone: what Hive calls a timestamp is a wall clock.
        "timestamp": pa.timestamp("us"),
    }[hive]
