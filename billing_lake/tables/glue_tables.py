"""Entries of Hive-style tables in the Glue Data Catalog: made, read, changed by version, found.

The table `billing.cur` is the Glue table `cur` of the database `billing_hive`; its sister, the Iceberg table, is `cur` of the
database `billing`. An entry belongs to this lake only if the lake made it and its files lie below the lake's root: nothing
else is ever changed or dropped, whatever its name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing_lake.domain.errors import CommitConflictError, TableError, shown
from billing_lake.domain.schemas import Field
from billing_lake.tables.base import check_name, check_table
from billing_lake.tables.glue_api import AlreadyThere, GlueApi, NotThere
from billing_lake.tables.glue_schemas import (
    data_columns,
    fields_from_parameters,
    fields_to_parameters,
    parquet_storage,
    partition_keys,
    without_fields,
)

SUFFIX = "_hive"
"""End of the names of the databases of Hive-style tables."""

BEHIND = "billing-lake.partitions-behind"
"""Parameter of a table whose columns changed and whose partitions may not all have them yet."""

_ID = "billing-lake.table-id"
_INPUT = (
    "Name",
    "Description",
    "Owner",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
    "TargetTable",
)
"""Keys of a table, as Glue returns it, that Glue accepts in an update."""


@dataclass(frozen=True)
class Entry:
    """A table as the catalog has it.

    Attributes:
        table: Its full name, `namespace.name`.
        id: Its id since it was created, 32 hexadecimal digits; a later table of its name has another one.
        folder: URI of its folder.
        raw: The table as Glue returns it.
    """

    table: str
    id: str
    folder: str
    fields: tuple[Field, ...]
    raw: Mapping[str, Any]

    @property
    def place(self) -> dict[str, str]:
        """Database and table, as the calls about partitions take them."""
        database, name = glue_names(self.table)
        return {"DatabaseName": database, "TableName": name}

    @property
    def behind(self) -> bool:
        """Say whether partitions may lack columns that the table has."""
        return BEHIND in self.raw["Parameters"]

    def evolved(self, fields: Sequence[Field]) -> dict[str, Any]:
        """Return the input for the table with other fields, marked until its partitions follow."""
        given = self._input()
        given["StorageDescriptor"] = {
            **given["StorageDescriptor"],
            "Columns": data_columns(fields),
        }
        given["Parameters"] = {
            **without_fields(given["Parameters"]),
            **fields_to_parameters(fields),
            BEHIND: "true",
        }
        return given

    def caught_up(self) -> dict[str, Any]:
        """Return the input for the table without the mark that its partitions are behind."""
        given = self._input()
        given["Parameters"] = {k: v for k, v in given["Parameters"].items() if k != BEHIND}
        return given

    def _input(self) -> dict[str, Any]:
        return {name: self.raw[name] for name in _INPUT if name in self.raw}


class GlueTables:
    """The entries below one root.

    Args:
        api: The catalog.
        root: URI of the folder that all tables lie in.
    """

    def __init__(self, api: GlueApi, root: str) -> None:
        self._api = api
        self._root = root

    def find(self, table: str) -> Entry | None:
        """Return the entry of ``table``, or None.

        Raises:
            TableError: There is such a table, and it is not this lake's.
        """
        database, name = glue_names(table)
        found = self._api.table(database, name)
        if found is None:
            return None
        entry = self._entry(found)
        if entry is None:
            location = found.get("StorageDescriptor", {}).get("Location", "nowhere")
            raise TableError(
                f"The Glue table {database}.{name} is not this lake's: it lies in {shown(location)}",
                remedy=f"Remove it, choose another table name, or another warehouse; this one is {self._root}",
            )
        return entry

    def require(self, table: str) -> Entry:
        """Return the entry of ``table``.

        Raises:
            TableError: There is none.
        """
        entry = self.find(table)
        if entry is None:
            raise TableError(f"There is no table {table}")
        return entry

    def reread(self, entry: Entry) -> Entry:
        """Return the entry as it is now.

        Raises:
            TableError: It is gone.
            CommitConflictError: Its name belongs to another table.
        """
        now = self.require(entry.table)
        if now.id != entry.id:
            what = f"Table {entry.table} was exchanged for another one meanwhile"
            raise CommitConflictError(what, remedy="Load the period again")
        return now

    def all(self) -> Iterator[Entry]:
        """Return the entries of all tables."""
        entries = map(self._entry, self._api.readable_tables(SUFFIX))
        return (entry for entry in entries if entry is not None)

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an entry; return False where there is one."""
        if self.find(table) is not None:
            return False
        return self.add(
            table,
            {
                "Name": glue_names(table)[1],
                "Description": f"Billing export in Hive layout, loaded by Billing Lake as {table}",
                "TableType": "EXTERNAL_TABLE",
                "StorageDescriptor": parquet_storage(data_columns(fields), self.folder(table)),
                "PartitionKeys": partition_keys(),
                "Parameters": {
                    "EXTERNAL": "TRUE",
                    "classification": "parquet",
                    _ID: uuid.uuid4().hex,
                    **fields_to_parameters(fields),
                },
            },
        )

    def add(self, table: str, given: Mapping[str, Any]) -> bool:
        """Create an entry from an input; return False where there is one."""
        database, _ = glue_names(table)
        self._api.ensure_database(database)
        try:
            self._api.create_table(database, given)
        except AlreadyThere:
            self.find(table)  # raises where it is not this lake's
            return False
        except NotThere as error:
            raise TableError(f"The Glue database {database} was removed meanwhile") from error
        return True

    def update(self, entry: Entry, given: Mapping[str, Any]) -> None:
        """Change an entry if it still is the one that was read.

        Raises:
            Changed: It is not.
            NotThere: It is gone.
        """
        database, _ = glue_names(entry.table)
        self._api.update_table(database, entry.raw, given)

    def remove(self, entry: Entry) -> None:
        """Remove an entry, its partitions with it."""
        self._api.delete_table(*glue_names(entry.table))

    def folder(self, table: str) -> str:
        """Return the folder of ``table``, or the one that it would get."""
        entry = self.find(table)
        return f"{self._root}/{table}" if entry is None else entry.folder

    def _entry(self, raw: Mapping[str, Any]) -> Entry | None:
        parameters = raw.get("Parameters", {})
        folder = str(raw.get("StorageDescriptor", {}).get("Location", "")).rstrip("/")
        if _ID not in parameters or not folder.startswith(f"{self._root}/"):
            return None
        table = f"{raw['DatabaseName'].removesuffix(SUFFIX)}.{raw['Name']}"
        try:
            fields = fields_from_parameters(parameters)
        except ValueError as error:
            remedy = "Restore the table's parameters from an earlier version of the Glue table"
            what = f"The list of fields in the parameters of table {table} is damaged"
            raise TableError(what, remedy=remedy) from error
        return Entry(table, parameters[_ID], folder, fields, raw)


def glue_names(table: str) -> tuple[str, str]:
    """Return database and table of ``table`` in Glue.

    Raises:
        ConfigurationError: It is no name of a table.
    """
    namespace, _, name = check_table(table).partition(".")
    return check_name(f"{namespace}{SUFFIX}", "a database of the Glue Data Catalog"), name
