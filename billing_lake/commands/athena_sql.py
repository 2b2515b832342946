"""SQL over the tables of a lake on AWS, by Athena: the same words as on the laptop, sent to the workgroup.

`billing.cost_and_usage` is the Iceberg table in the Glue Data Catalog, `hive.billing.cost_and_usage` the Hive table beside
it, `s3tables.billing.cost_and_usage` the one in the S3 Tables bucket, which Athena sees as a catalog of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from billing_lake.commands.athena_dialect import HINT, Name, translate
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown
from billing_lake.resources.athena_queries import (
    USD_PER_TB,
    AthenaQueries,
    Execution,
    Progress,
    size,
)
from billing_lake.sql.tables import CATALOGS, LakeTable, Result, choose, table_name

if TYPE_CHECKING:
    from typing_extensions import Self

    from billing_lake.tables.base import TableCatalog

GLUE_CATALOG = "AwsDataCatalog"
HIVE_SUFFIX = "_hive"

_SQL_TYPES = {
    "boolean": "BOOLEAN",
    "date": "DATE",
    "double": "DOUBLE",
    "float": "REAL",
    "int": "INTEGER",
    "long": "BIGINT",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
}


class Catalogs(Protocol):
    """The three catalogs of a lake."""

    @property
    def iceberg(self) -> TableCatalog:
        """The Iceberg tables."""

    @property
    def s3_tables(self) -> TableCatalog:
        """The S3 Tables."""

    @property
    def hive(self) -> TableCatalog:
        """The Hive-style tables."""


class AthenaSql:
    """Queries of the tables of one lake on AWS; a context manager.

    Args:
        lake: Knows the tables and their columns.
        queries: Runs queries.
        table_bucket: Name of the S3 Tables bucket, where there is one.
        progress: Is told how a query gets on.
        done: Is told of each query that has run.
    """

    def __init__(
        self,
        lake: Catalogs,
        queries: AthenaQueries,
        *,
        table_bucket: str | None = None,
        progress: Progress = lambda _: None,
        done: Progress = lambda _: None,
    ) -> None:
        self._lake = lake
        self._queries = queries
        self._table_bucket = table_bucket
        self._progress = progress
        self._done = done
        self.broken: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held: a query that runs is stopped by whoever waits for it."""

    @cached_property
    def tables(self) -> list[LakeTable]:
        """The tables that can be asked; looked up when they are asked for, which takes a while."""
        found = []
        for catalog in CATALOGS:
            for table in self._listed(catalog):
                try:
                    found.append(self._table(catalog, table))
                except BillingLakeError as error:
                    self.broken[table_name(catalog, table)] = str(error)
        return found

    def table(self, name: str | None = None) -> LakeTable:
        """Return the table ``name``, or the lake's only one for an export where no name is given.

        Raises:
            TableError: There is no such table, or there are several.
        """
        return self._table(*choose(self._names, name, lambda: HINT, "Load a billing period first"))

    def ask(self, sql: str) -> Result:
        """Run one SELECT.

        Raises:
            QueryError: It is not allowed, has no equal in Athena, or fails.
        """
        translated = translate(sql, self._columns, self._locate)
        answer = self._queries.run(translated.sql, self._progress)
        self._done(told(answer.execution))
        if not translated.describes:
            return Result(answer.columns, answer.types, answer.batches)
        rows: list[tuple[str, ...]] = list(zip(answer.columns, answer.types, strict=True))
        return Result(("column_name", "column_type"), ("VARCHAR", "VARCHAR"), iter([rows]))

    def periods(self, table: LakeTable) -> tuple[str, ...]:
        """Return the billing periods of the table's export; the catalog knows them without a query."""
        export = table.table.rpartition(".")[2].removesuffix("_static")
        return self._catalog(table.catalog).periods(table.table, export)

    def count(self, table: LakeTable) -> None:  # noqa: ARG002
        """Say nothing: to count is a query that costs money."""
        return

    def _catalog(self, catalog: str) -> TableCatalog:
        if catalog == "s3tables":
            if self._table_bucket is None:
                remedy = "Set it to arn:aws:s3tables:<region>:<account>:bucket/<name>"
                raise ConfigurationError("BILLING_LAKE_TABLE_BUCKET_ARN is not set", remedy=remedy)
            return self._lake.s3_tables
        return self._lake.hive if catalog == "hive" else self._lake.iceberg

    def _names(self, catalog: str) -> tuple[str, ...]:
        if catalog == "s3tables" and self._table_bucket is None:
            return ()
        return self._catalog(catalog).tables()

    def _listed(self, catalog: str) -> Iterator[str]:
        try:
            yield from self._names(catalog)
        except Exception as error:  # noqa: BLE001 -- each catalog has errors of its own, and the others are still worth a list
            self.broken[f"{catalog}.*"] = shown(error, 400)

    def _table(self, catalog: str, table: str) -> LakeTable:
        fields = self._catalog(catalog).fields(table) or ()
        return LakeTable(
            catalog=catalog, table=table, columns=tuple(field.name for field in fields)
        )

    def _columns(self, name: Name) -> Mapping[str, str] | None:
        """Return the columns of a table and their types; None where the lake has no such table."""
        if not re.fullmatch(r"\w+", name.namespace) or not re.fullmatch(r"\w+", name.table):
            return None
        fields = self._catalog(name.catalog).fields(f"{name.namespace}.{name.table}")
        if fields is None:
            return None
        return {field.name: _sql_type(field.type) for field in fields}

    def _locate(self, name: Name) -> tuple[str, str]:
        if name.catalog == "s3tables":
            return f"s3tablescatalog/{self._table_bucket}", name.namespace
        if name.catalog == "hive":
            return GLUE_CATALOG, f"{name.namespace}{HIVE_SUFFIX}"
        return GLUE_CATALOG, name.namespace


def told(execution: Execution) -> str:
    """Say what a query read, what that costs, and by what it is found."""
    if not execution.scanned:
        return f"Athena scanned nothing (query {execution.id})"
    return (
        f"Athena scanned {size(execution.scanned)}, about {execution.usd:.2g} USD "
        f"at {USD_PER_TB} USD per TB, its list price in most regions (query {execution.id})"
    )


def _sql_type(iceberg: str) -> str:
    return iceberg.upper() if iceberg.startswith("decimal") else _SQL_TYPES.get(iceberg, "VARCHAR")
