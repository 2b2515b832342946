"""The interface of SQL over a lake, wherever it runs: tables by name, one query, rows in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, Protocol

from billing_lake.domain.errors import TableError, shown
from billing_lake.tables.base import BEFORE

if TYPE_CHECKING:
    from typing_extensions import Self

    from billing_lake.sql.all_costs import ViewPart

DEFAULT_CATALOG = "iceberg"
CATALOGS = (DEFAULT_CATALOG, "s3tables", "hive")

LAKE_TABLES = ("deliveries", "restatements")
"""Names of the tables that the lake keeps about its loads, in each namespace; no export can have one of them."""

ALL_COSTS = "all_costs"
"""Name of the view of all exports; no export can have it."""

Dialect = Literal["duckdb", "athena"]
"""The dialects of SQL, by sqlglot's names for them."""


@dataclass(frozen=True, kw_only=True)
class LakeTable:
    """A table that SQL can name.

    Attributes:
        catalog: The database that it is in, one of `CATALOGS`.
        table: Its name in the lake's catalog.
        columns: Names of its columns.
        identifier: How SQL writes it: `"iceberg"."billing"."cost_and_usage"`.
        location: What readers of files are given: an Iceberg table's present metadata file, a Hive table's folder.
    """

    catalog: str
    table: str
    columns: tuple[str, ...]
    identifier: str
    location: str | None = None

    @property
    def name(self) -> str:
        """Return how people write it: the Iceberg tables without their catalog."""
        return table_name(self.catalog, self.table)

    @property
    def is_view(self) -> bool:
        """Whether it is the view of all exports."""
        return name_parts(self.table)[1] == ALL_COSTS


@dataclass(frozen=True)
class QueryResult:
    """The result of a query.

    Attributes:
        columns: Names of the columns.
        types: Names of their types, in capitals.
        batches: The rows, in batches.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    batches: Iterator[list[tuple[Any, ...]]]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Go through the rows."""
        for batch in self.batches:
            yield from batch


class TableSql(Protocol):
    """SQL over the tables of one lake; a context manager."""

    @property
    def dialect(self) -> Dialect:
        """The dialect that it takes."""

    @property
    def tables(self) -> list[LakeTable]:
        """The tables that can be asked."""

    @property
    def broken(self) -> Mapping[str, str]:
        """Tables that cannot, with the reason, as far as they have been looked at."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def periods(self, table: LakeTable) -> tuple[str, ...]:
        """Return the billing periods that the table holds rows of, in order."""

    def table(self, name: str | None = None) -> LakeTable:
        """Return the table ``name``, or the lake's only one for an export where no name is given.

        Raises:
            TableError: There is no such table, or there are several.
        """

    def ask(self, sql: str) -> QueryResult:
        """Run one statement that only reads, as it is.

        Raises:
            QueryError: It is not allowed, or fails.
        """

    def define_all_costs(self, counted: Sequence[ViewPart]) -> str:
        """Make the view of all costs anew, of the exports ``counted`` and the columns that their tables have now.

        Returns:
            How SQL writes the view.

        Raises:
            QueryError: No export counts, or the view cannot be made.
            TableError: A table of one is not there.
        """

    def all_costs(self, counted: Sequence[ViewPart]) -> str:
        """Return how SQL writes the view of all costs, which `define_all_costs` has made of the exports ``counted`` or of others.

        Raises:
            QueryError: No export counts.
        """

    def count(self, table: LakeTable) -> int | None:
        """Return the number of the table's rows; None where it takes more than a look to know."""


def table_name(catalog: str, table: str) -> str:
    """Return how people write a table."""
    return table if catalog == DEFAULT_CATALOG else f"{catalog}.{table}"


def name_parts(table: str) -> tuple[str, str]:
    """Return a table's namespace and its name."""
    namespace, _, name = table.rpartition(".")
    return namespace or "main", name


def quoted(identifier: str) -> str:
    """Return ``identifier`` as SQL quotes it."""
    return '"' + identifier.replace('"', '""') + '"'


def dotted_name(*names: str) -> str:
    """Return a name of several parts as SQL writes it: `"hive"."billing"."cost_and_usage"`."""
    return ".".join(map(quoted, names))


def choose_table(
    names: Callable[[str], tuple[str, ...]], name: str | None, hint: Callable[[], str], empty: str
) -> tuple[str, str]:
    """Return catalog and name of the table that is meant.

    Args:
        names: Gives the names of a catalog's tables.
        name: The table, with or without its namespace; the lake's only table for an export where it is None.
        hint: Returns a remedy that lists the tables.
        empty: What to do where there are none.

    Raises:
        TableError: There is no such table, or there are several.
    """
    if name is not None:
        return _named(names, name, hint)
    for catalog in CATALOGS:
        found = [table for table in names(catalog) if is_of_export(table)]
        if len(found) == 1:
            return catalog, found[0]
        if found:
            what = f"The lake has tables of several exports: {', '.join(found)}"
            raise TableError(
                what, remedy=f"Choose one, for example --table {name_parts(found[0])[1]}"
            )
    raise TableError("The lake has no tables yet", remedy=empty)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question for the name among ``names`` that somebody may have meant; empty where none is like it."""
    whole = {one.casefold(): one for one in names}
    # A name is often written without its namespace, or with another one.
    last = {one.rpartition(".")[2].casefold(): one for one in whole.values()}
    for written, known in ((name, whole), (name.rpartition(".")[2], last)):
        found = get_close_matches(written.casefold(), known, n=1)
        if found:
            return f"; did you mean {known[found[0]]}?"
    return ""


def _named(
    names: Callable[[str], tuple[str, ...]], name: str, hint: Callable[[], str]
) -> tuple[str, str]:
    every = [(catalog, table) for catalog in CATALOGS for table in names(catalog)]
    for spelled in (_in_full, _without_namespace):
        found = [pair for pair in every if name in spelled(*pair)]
        # One table stands in several catalogs, the first of which is meant; two namespaces are two tables.
        if len({table for _, table in found}) > 1:
            listed = ", ".join(dict.fromkeys(table for _, table in found))
            what = f"There are several tables {shown(name)}: {listed}"
            raise TableError(what, remedy="Write its namespace, too")
        if found:
            return found[0]
    meant = did_you_mean(name, (table_name(*pair) for pair in every))
    raise TableError(f"There is no table {shown(name)}{meant}", remedy=hint())


def _in_full(catalog: str, table: str) -> tuple[str, str]:
    return table_name(catalog, table), f"{catalog}.{table}"


def _without_namespace(catalog: str, table: str) -> tuple[str, str]:
    name = name_parts(table)[1]
    return table_name(catalog, name), f"{catalog}.{name}"


def is_of_export(table: str) -> bool:
    """Say whether a table is an export's own: no static files, nothing that a rebuild works on or left, and no story of loads."""
    kept = name_parts(table)[1] in (*LAKE_TABLES, ALL_COSTS)
    return not kept and not table.endswith("_static") and BEFORE not in table
