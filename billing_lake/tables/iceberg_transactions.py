"""A transaction of pyiceberg that works its metadata out once for each change, and not each time that it is asked.

pyiceberg copies all metadata of the table, with every snapshot that is kept, some 20 times in a commit. Imported where it is used:
pyiceberg is slow to load.
"""

from __future__ import annotations

from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableUpdate, update_table_metadata


class LakeTransaction(Transaction):
    """A transaction on ``table``; what it returns as metadata is not to be changed."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._known: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata as it will be after the changes that have been staged."""
        before, updates = self._table.metadata, self._updates
        if self._known is None or self._known[0] is not before or self._known[1] is not updates:
            self._known = before, updates, update_table_metadata(before, updates)
        return self._known[2]
