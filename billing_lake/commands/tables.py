"""What SQL over the lake is, wherever it runs: tables by name, one query, rows some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from billing_lake.domain.errors import TableError

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_CATALOG = "iceberg"
CATALOGS = (DEFAULT_CATALOG, "s3tables", "hive")


@dataclass(frozen=True, kw_only=True)
class LakeTable:
    """A table that SQL can name.

    Attributes:
        catalog: The database that it is in, one of `CATALOGS`.
        table: Its name in the lake's catalog.
        columns: Names of its columns.
        location: What readers of files are given: an Iceberg table's present metadata file, a Hive table's folder.
    """

    catalog: str
    table: str
    columns: tuple[str, ...]
    location: str | None = None

    @property
    def name(self) -> str:
        """How people write it: the Iceberg tables without their catalog."""
        return table_name(self.catalog, self.table)

    @property
    def identifier(self) -> str:
        """How SQL writes it."""
        return ".".join(quoted(part) for part in (self.catalog, *parts(self.table)))


@dataclass(frozen=True)
class Result:
    """What a query found.

    Attributes:
        columns: Names of the columns.
        types: Names of their types, in capitals.
        batches: The rows, some at a time.
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
    def tables(self) -> list[LakeTable]:
        """The tables that can be asked."""

    @property
    def broken(self) -> Mapping[str, str]:
        """Tables that cannot, with the reason, as far as they have been looked at."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def table(self, name: str | None = None) -> LakeTable:
        """Return the table ``name``, or the lake's only one for an export where no name is given.

        Raises:
            TableError: There is no such table, or there are several.
        """

    def ask(self, sql: str) -> Result:
        """Run one SELECT.

        Raises:
            QueryError: It is not allowed, or fails.
        """

    def count(self, table: LakeTable) -> int | None:
        """Return the number of the table's rows; None where it takes more than a look to know."""


def table_name(catalog: str, table: str) -> str:
    """Return how people write a table."""
    return table if catalog == DEFAULT_CATALOG else f"{catalog}.{table}"


def parts(table: str) -> tuple[str, str]:
    """Return a table's namespace and its name."""
    namespace, _, name = table.rpartition(".")
    return namespace or "main", name


def quoted(identifier: str) -> str:
    """Return ``identifier`` as SQL quotes it."""
    return '"' + identifier.replace('"', '""') + '"'


def choose(
    names: Callable[[str], tuple[str, ...]], name: str | None, hint: Callable[[], str], empty: str
) -> tuple[str, str]:
    """Return catalog and name of the table that is meant.

    Args:
        names: Gives the names of a catalog's tables.
        name: What was asked for; the lake's only table for an export where it is None.
        hint: Says which tables there are.
        empty: What to do where there are none.

    Raises:
        TableError: There is no such table, or there are several.
    """
    if name is not None:
        for catalog in CATALOGS:
            for table in names(catalog):
                if name in (table_name(catalog, table), f"{catalog}.{table}"):
                    return catalog, table
        raise TableError(f"There is no table {name}", remedy=hint())
    for catalog in CATALOGS:
        found = [table for table in names(catalog) if not table.endswith("_static")]
        if len(found) == 1:
            return catalog, found[0]
        if found:
            raise TableError("The lake has tables of several exports", remedy=hint())
    raise TableError("The lake has no tables yet", remedy=empty)
