"""SQL over the tables of a lake on AWS, by Athena, in Athena's dialect.

The Iceberg tables and the Hive tables are in the Glue Data Catalog, the latter in databases of their own; the tables of the
S3 Tables bucket are in a catalog of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from billing_lake.domain.errors import BillingLakeError, QueryError, shown
from billing_lake.formats.core_columns import CORE_COLUMNS
from billing_lake.sql.all_costs import ViewPart, view_name, view_sql
from billing_lake.sql.athena_queries import USD_PER_TB, Answer, AthenaQueries, Progress, in_bytes
from billing_lake.sql.tables import (
    ALL_COSTS,
    CATALOGS,
    DEFAULT_CATALOG,
    Dialect,
    LakeTable,
    choose_table,
    dotted_name,
    is_of_export,
    name_parts,
    table_name,
)
from billing_lake.tables.glue_tables import SUFFIX

if TYPE_CHECKING:
    from typing_extensions import Self

    from billing_lake.tables.base import TableCatalog
    from billing_lake.tables.exports import Catalogs

_GLUE_CATALOG = "AwsDataCatalog"
_HINT = "`billing-lake query --deployment aws --list` lists the tables, as Athena names them"
_READING = frozenset(("DESCRIBE", "SELECT", "SHOW", "TABLE", "VALUES", "WITH"))
_WRITING = frozenset(("DELETE", "INSERT", "MERGE", "UPDATE"))


class AthenaSql:
    """Queries of the tables of one lake on AWS; a context manager.

    Args:
        lake: Knows the tables and their columns.
        queries: Runs queries.
        table_bucket: Name of the S3 Tables bucket, where there is one.
        progress: Called with a line of text while a query runs.
        done: Called with a line of text, what a query read and costs, when it has run.
    """

    dialect: Dialect = "athena"

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
        if name is not None and name_parts(name)[1] == ALL_COSTS:
            return self._view(name)
        return self._table(
            *choose_table(self._names, name, lambda: _HINT, "Load a billing period first")
        )

    def ask(self, sql: str) -> Answer:
        """Run one statement that only reads, as it is.

        Raises:
            QueryError: It is not allowed, or fails.
        """
        _require_reading(sql)
        answer = self._queries.run(sql, self._progress)
        self._done(read_and_cost(answer))
        return answer

    def define_all_costs(self, counted: Sequence[ViewPart]) -> str:
        """See `TableSql.define_all_costs`; the view is in the Glue Data Catalog."""
        tables = [(part, self.table(f"{part.catalog}.{part.table}")) for part in counted]
        # Athena takes a view's name without its catalog.
        view = ".".join(name_parts(view_name(counted)))
        self._queries.run(
            f"CREATE OR REPLACE VIEW {view} AS {view_sql(tables, self.dialect)}", self._progress
        )
        return self.all_costs(counted)

    def all_costs(self, counted: Sequence[ViewPart]) -> str:
        """See `TableSql.all_costs`."""
        return dotted_name(_GLUE_CATALOG, *name_parts(view_name(counted)))

    def periods(self, table: LakeTable) -> tuple[str, ...]:
        """Return the billing periods that the table holds rows of; the catalog knows them without a query."""
        if table.is_view:
            names = filter(is_of_export, self._names(DEFAULT_CATALOG))
            held = (self.periods(self._table(DEFAULT_CATALOG, name)) for name in names)
            return tuple(sorted({period for periods in held for period in periods}))
        return self._catalog(table.catalog).periods(table.table)

    def count(self, table: LakeTable) -> None:  # noqa: ARG002
        """Say nothing: to count is a query that costs money."""
        return

    def _catalog(self, catalog: str) -> TableCatalog:
        if catalog == "s3tables":
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
            catalog=catalog,
            table=table,
            columns=tuple(field.name for field in fields),
            identifier=self._identifier(catalog, table),
        )

    def _view(self, name: str) -> LakeTable:
        """Return the view of all exports; whether somebody has made it, Athena knows."""
        if "." not in name:
            tables = [one for catalog in CATALOGS for one in self._names(catalog)]
            name = f"{name_parts(min(filter(is_of_export, tables), default=name))[0]}.{name}"
        return LakeTable(
            catalog=DEFAULT_CATALOG,
            table=name,
            columns=("export_name", "billing_period", *CORE_COLUMNS),
            identifier=dotted_name(_GLUE_CATALOG, *name_parts(name)),
        )

    def _identifier(self, catalog: str, table: str) -> str:
        namespace, name = name_parts(table)
        if catalog == "s3tables":
            return dotted_name(f"s3tablescatalog/{self._table_bucket}", namespace, name)
        if catalog == "hive":
            namespace = f"{namespace}{SUFFIX}"
        return dotted_name(_GLUE_CATALOG, namespace, name)


def read_and_cost(answer: Answer) -> str:
    """Return a line of text with what a query read, what that costs, and its id."""
    if not answer.scanned_bytes:
        return f"Athena scanned nothing (query {answer.query})"
    return (
        f"Athena scanned {in_bytes(answer.scanned_bytes)}, about {answer.usd:.2g} USD "
        f"at {USD_PER_TB} USD per TB, its list price in most regions (query {answer.query})"
    )


def _require_reading(sql: str) -> None:
    """Refuse what is not one statement that only reads: Athena would run it as far as our rights go.

    Raises:
        QueryError: It is not.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(sql, read="trino")
    except TokenError as error:
        raise QueryError(f"Athena cannot read this: {shown(error)}") from error
    quoted = (TokenType.STRING, TokenType.IDENTIFIER)
    words = [token.text.upper() for token in tokens if token.token_type not in quoted]
    if words and words[-1] == ";":
        words.pop()
    first = next((word for word in words if word != "("), "")
    if first not in _READING or ";" in words or not _WRITING.isdisjoint(words):
        raise QueryError("`query` takes one SELECT statement and only reads", remedy=_HINT)
