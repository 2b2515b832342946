"""SQL over the tables of a local lake, by DuckDB.

Every table is a view under its own name, in a database named after its catalog: `billing.cost_and_usage` is the Iceberg
table, `hive.billing.cost_and_usage` and `s3tables.billing.cost_and_usage` hold the same rows. A view is made from what the
catalog says at that moment, so a query sees whole billing periods, before or after a load.

A query may come from anywhere. It reads the lake's tables and nothing else: it must be one SELECT, it may not call table
functions that reach beyond its arguments, and DuckDB is shut off from every file outside the warehouse.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from billing_lake.domain.errors import QueryError
from billing_lake.domain.schemas import Field
from billing_lake.files.local import LocalFiles
from billing_lake.formats.core_columns import CORE_COLUMNS
from billing_lake.sql.all_costs import ViewPart, view_name, view_sql
from billing_lake.sql.duckdb_types import duckdb_type
from billing_lake.sql.interruptions import done_beside
from billing_lake.sql.tables import (
    CATALOGS,
    DEFAULT_CATALOG,
    Dialect,
    LakeTable,
    QueryResult,
    choose_table,
    did_you_mean,
    dotted_name,
    name_parts,
    quoted,
)
from billing_lake.tables.exports import Catalogs
from billing_lake.tables.iceberg_columns import fields_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from billing_lake.tables.hive import HiveTables

_TABLE_FUNCTIONS = frozenset(
    "duckdb_columns duckdb_tables duckdb_views generate_series json_each range unnest".split()
)
"""Table functions that a query may call. Others read files, run text as SQL, or write logs."""

_BATCH_ROWS = 1_000

_NO_TABLE = re.compile(r"Table with name (\S+) does not exist!")
_SUGGESTION = re.compile(r'\nDid you mean "[^"]*"\?')


class LocalTables(Catalogs, Protocol):
    """A lake on this machine, as far as queries need it."""

    @property
    def home(self) -> Path:
        """The folder of the lake."""

    @property
    def hive(self) -> HiveTables:
        """The Hive-style tables."""


class LakeSql:
    """A connection to the tables of ``lake`` as they are now; a context manager.

    Attributes:
        tables: The tables that can be asked.
        broken: Tables that cannot, with the reason.
    """

    dialect: Dialect = "duckdb"

    def __init__(self, lake: LocalTables) -> None:
        self.tables: list[LakeTable] = []
        self.broken: dict[str, str] = {}
        self._all_costs = lake.home / "values" / "all_costs.json"
        self._connection = _connect()
        try:
            self._make_views(lake)
            self._make_all_costs()
            _lock(self._connection, lake.home / "warehouse")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def table(self, name: str | None = None) -> LakeTable:
        """Return the table ``name``, or the lake's only one for an export where no name is given.

        Raises:
            TableError: There is no such table, or there are several.
        """
        catalog, chosen = choose_table(self._names, name, self.hint, "Run `billing-lake demo`")
        return next(t for t in self.tables if (t.catalog, t.table) == (catalog, chosen))

    def define_all_costs(self, counted: Sequence[ViewPart]) -> str:
        """See `TableSql.define_all_costs`; what counts is kept in the lake's folder, and each connection makes the view of it."""
        name = view_name(counted)
        for part in counted:
            self.table(f"{part.catalog}.{part.table}")
        self._all_costs.parent.mkdir(parents=True, exist_ok=True)
        value = {"format": 1, "counted": [asdict(part) for part in counted]}
        LocalFiles().write(str(self._all_costs), json.dumps(value, indent=1).encode())
        self._make_all_costs()
        if name in self.broken:
            raise QueryError(f"The view of all costs cannot be made: {self.broken[name]}")
        return self.all_costs(counted)

    def all_costs(self, counted: Sequence[ViewPart]) -> str:
        """See `TableSql.all_costs`."""
        return dotted_name(DEFAULT_CATALOG, *name_parts(view_name(counted)))

    def count(self, table: LakeTable) -> int:
        """Return the number of the table's rows."""
        return int(next(self.ask(f"SELECT count(*) FROM {table.identifier}").rows())[0])  # noqa: S608

    def periods(self, table: LakeTable) -> tuple[str, ...]:
        """Return the billing periods that the table holds rows of, in order."""
        sql = f"SELECT DISTINCT billing_period FROM {table.identifier} ORDER BY ALL"  # noqa: S608
        return tuple(row[0] for row in self.ask(sql).rows())

    def ask(self, sql: str) -> QueryResult:
        """Run one SELECT.

        Raises:
            QueryError: DuckDB refuses it, or it is not allowed here.
        """
        cursor = done_beside(lambda: self._executed(sql), self._connection.interrupt)
        described = cursor.description or []
        return QueryResult(
            tuple(column[0] for column in described),
            tuple(str(column[1]) for column in described),
            self._fetch(cursor),
        )

    def _executed(self, sql: str) -> duckdb.DuckDBPyConnection:
        self._check(sql)
        with self._errors():
            return self._connection.execute(sql)

    def hint(self) -> str:
        """Say which tables there are."""
        names = ", ".join(table.name for table in self.tables) or "none"
        return f'Tables: {names}. Their columns: billing-lake query "DESCRIBE <table>"'

    def _names(self, catalog: str) -> tuple[str, ...]:
        return tuple(table.table for table in self.tables if table.catalog == catalog)

    def _fetch(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
        while True:
            batch = done_beside(lambda: self._fetched(cursor), self._connection.interrupt)
            if not batch:
                return
            yield batch

    def _fetched(self, cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        with self._errors():
            return cursor.fetchmany(_BATCH_ROWS)

    def _check(self, sql: str) -> None:
        """Refuse what is not one SELECT; DuckDB's own parser says what it is."""
        with self._errors(), closing(self._connection.cursor()) as cursor:
            row = cursor.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql]).fetchone()
        tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
        if tree["error"] and tree.get("error_type") == "parser":
            # Parsed again, because only this way the error points at the place of the mistake.
            with self._errors():
                self._connection.extract_statements(sql)
        if tree["error"] or len(tree["statements"]) != 1:
            raise self._no_select(sql)
        forbidden = sorted(_table_functions(tree) - _TABLE_FUNCTIONS)
        if forbidden:
            what = f"`query` reads the lake's tables only; it does not call {', '.join(forbidden)}"
            raise QueryError(what, remedy=self.hint())

    def _no_select(self, sql: str) -> QueryError:
        with self._errors():
            kinds = [statement.type.name for statement in self._connection.extract_statements(sql)]
        what = "`query` takes one SELECT statement and only reads"
        if not kinds:
            remedy = f"Write one. {self.hint()}"
        elif "PIVOT" in sql.upper() and kinds == ["CREATE", "SELECT"]:
            # DuckDB looks for the values first, with a statement of its own.
            remedy = "PIVOT works where its values are listed with IN"
        elif len(kinds) > 1:
            remedy = f"These are {len(kinds)} statements: ask them one at a time"
        else:
            remedy = f"This is {kinds[0]}; loads and jobs change tables, never a query"
        return QueryError(what, remedy=remedy)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn DuckDB's errors inside the block into a `QueryError`."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            what = (
                "The query needs more than half of this machine's memory, which is what it may take"
            )
            remedy = "Ask for fewer rows or columns, or group them before they are joined or sorted"
            raise QueryError(what, remedy=remedy) from error
        except duckdb.Error as error:
            raise QueryError(self._suggest(str(error).strip()), remedy=self.hint()) from error

    def _suggest(self, message: str) -> str:
        """Return DuckDB's message, where it misses a table with a suggestion from the lake in place of DuckDB's own."""
        found = _NO_TABLE.search(message)
        if found is None:
            return message
        meant = did_you_mean(found[1], [table.name for table in self.tables]).removeprefix("; d")
        return _SUGGESTION.sub(f"\nD{meant}" if meant else "", message)

    def _make_views(self, lake: LocalTables) -> None:
        for catalog in CATALOGS:
            self._connection.execute(f"ATTACH ':memory:' AS {quoted(catalog)}")
        self._connection.execute(f"USE {quoted(DEFAULT_CATALOG)}")
        for catalog, tables in ((DEFAULT_CATALOG, lake.iceberg), ("s3tables", lake.s3_tables)):
            for table in tables.tables():
                opened = tables.open(table)
                empty, location = opened.current_snapshot() is None, opened.metadata_location
                source = None if empty else f"iceberg_scan({text_literal(location)})"
                self._make_view(catalog, table, fields_of(opened), source, location)
        for table in lake.hive.tables():
            source, location = _hive(lake.hive, table), lake.hive.uri(table)
            self._make_view("hive", table, lake.hive.fields(table), source, location)

    def _make_all_costs(self) -> None:
        """Make the view of all exports that count, where somebody said which: of the tables that are there now."""
        try:
            counted = [
                ViewPart(**one) for one in json.loads(self._all_costs.read_text())["counted"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return
        known = {(table.catalog, table.table): table for table in self.tables}
        there = [
            (part, known[part.catalog, part.table])
            for part in counted
            if (part.catalog, part.table) in known
        ]
        if not there:
            return
        name = view_name(counted)
        view = LakeTable(
            catalog=DEFAULT_CATALOG,
            table=name,
            columns=("export_name", "billing_period", *CORE_COLUMNS),
            identifier=dotted_name(DEFAULT_CATALOG, *name_parts(name)),
        )
        self.tables = [one for one in self.tables if one.identifier != view.identifier]
        try:
            schema = dotted_name(DEFAULT_CATALOG, name_parts(name)[0])
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            select = view_sql(there, self.dialect)
            self._connection.execute(f"CREATE OR REPLACE VIEW {view.identifier} AS {select}")
        except duckdb.Error as error:
            self.broken[name] = str(error)
        else:
            self.broken.pop(name, None)
            self.tables.append(view)

    def _make_view(
        self,
        catalog: str,
        table: str,
        fields: Sequence[Field] | None,
        source: str | None,
        location: str,
    ) -> None:
        names = tuple(field.name for field in fields or ())
        namespace, name = name_parts(table)
        view = LakeTable(
            catalog=catalog,
            table=table,
            columns=names,
            identifier=dotted_name(catalog, namespace, name),
            location=location,
        )
        try:
            have = self._columns(source) if source else frozenset()
            body = _select(fields or (), have, source)
            self._connection.execute(
                f"CREATE SCHEMA IF NOT EXISTS {dotted_name(catalog, namespace)}"
            )
            self._connection.execute(f"CREATE VIEW {view.identifier} AS {body}")
        except duckdb.Error as error:
            self.broken[view.name] = str(error)
        else:
            self.tables.append(view)

    def _columns(self, source: str) -> frozenset[str]:
        sql = f"DESCRIBE SELECT * FROM {source}"  # noqa: S608 -- made by `_make_views`
        described = self._connection.execute(sql).fetchall()
        return frozenset(row[0] for row in described)


def text_literal(text: str) -> str:
    """Return ``text`` as a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # A name in SQL must never mean a variable of this program.
            "python_enable_replacements": False,
            "memory_limit": f"{_half_of_memory()}KiB",
            # What does not fit is an error, not a folder of temporary files that grows in the working directory.
            "temp_directory": "",
        }
    )
    # The extensions come as packages, built for this very DuckDB; iceberg needs avro.
    for name in ("avro", "iceberg"):
        folder = Path(str(files(f"duckdb_extension_{name}"))) / "extensions"
        connection.load_extension(
            str(folder / f"v{duckdb.__version__}" / f"{name}.duckdb_extension")
        )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _half_of_memory() -> int:
    """Return half of this machine's memory in KiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 11


def _lock(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    connection.execute(f"SET allowed_directories = [{text_literal(str(warehouse))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _hive(catalog: HiveTables, table: str) -> str | None:
    """Return what SQL reads a Hive-style table from: the files that count now."""
    paths = catalog.paths(table)
    if not paths:
        return None
    listed = ", ".join(text_literal(path) for path in paths)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _select(fields: Sequence[Field], have: frozenset[str], source: str | None) -> str:
    """Select the table's columns, typed; NULL for those that no file has."""
    columns = ", ".join(f"{_cell(field, have)} AS {quoted(field.name)}" for field in fields)
    return f"SELECT {columns} {f'FROM {source}' if source else 'WHERE false'}"


def _cell(field: Field, have: frozenset[str]) -> str:
    cell = quoted(field.name) if field.name in have else "NULL"
    type_ = duckdb_type(field.type)
    return cell if type_ is None else f"CAST({cell} AS {type_})"


def _table_functions(tree: Any) -> set[str]:
    """Return the names of all table functions in a serialised statement."""
    if isinstance(tree, list):
        return set().union(*map(_table_functions, tree))
    if not isinstance(tree, dict):
        return set()
    found = _table_functions(list(tree.values()))
    if tree.get("type") == "TABLE_FUNCTION":
        found.add(str(tree["function"].get("function_name")))
    return found
