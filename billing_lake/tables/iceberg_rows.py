"""Rows of small Iceberg tables that the lake keeps about its loads: read as Python values, written as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import TableError
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.tables.base import EXPORT, PERIOD
from billing_lake.tables.commit_retries import retry_while_overtaken
from billing_lake.tables.data_files import naming_read_errors, naming_write_errors
from billing_lake.tables.iceberg_columns import fields_of
from billing_lake.tables.iceberg_replacements import equal_to

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from billing_lake.tables.iceberg import IcebergTables

_PATIENCE_SECONDS = 60.0


def ensure_columns(
    catalog: IcebergTables, table: str, columns: Mapping[str, tuple[Column, str]]
) -> Table:
    """Return a table of the lake that has at least ``columns``; it is made, or given those that it lacks."""
    wanted = [column for column, _ in columns.values()]
    try:
        opened = catalog.open(table)
    except TableError:
        fields = plan(None, wanted).fields
        catalog.create(table, [replace(one, description=columns[one.name][1]) for one in fields])
        opened = catalog.open(table)
    have = fields_of(opened)
    if {one.name for one in wanted} <= {one.name for one in have}:
        return opened
    catalog.evolve(table, plan(have, wanted))
    return catalog.open(table)


def read_rows(
    catalog: IcebergTables, table: str, export: str = "", period: str = ""
) -> list[dict[str, Any]]:
    """Return rows of a table, in no order; none where there is no such table.

    Args:
        catalog: The catalog of the table.
        table: Its name.
        export: Whose rows; those of all exports unless given.
        period: Of which billing period; of all unless given.
    """
    try:
        opened = catalog.open(table)
    except TableError:
        return []
    return rows_of(opened, {EXPORT: export, PERIOD: period})


def rows_of(table: Table, equal: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows whose columns have the values of ``equal``; an empty value stands for all."""
    from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression

    wanted: BooleanExpression = AlwaysTrue()
    for name, value in equal.items():
        wanted = And(wanted, equal_to(name, value)) if value else wanted
    with naming_read_errors(table.location()):
        rows: list[dict[str, Any]] = table.scan(row_filter=wanted).to_arrow().to_pylist()
    return rows


def parquet_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[bytes, tuple[Field, ...]]:
    """Return rows as a Parquet file for a table, and the fields that it carries."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    data = pa.Table.from_pylist(list(rows), schema=schema_to_pyarrow(table.schema()))
    target = BytesIO()
    pq.write_table(data, target, compression="zstd")
    return target.getvalue(), fields_of(table)


def columns_before(table: Table, snapshot_id: int) -> frozenset[str] | None:
    """Return the names of the columns that a table had before a snapshot; None where that is not known."""
    snapshot = table.snapshot_by_id(snapshot_id)
    parent = None if snapshot is None else snapshot.parent_snapshot_id
    before = None if parent is None else table.snapshot_by_id(parent)
    if before is None or before.schema_id is None:
        return None
    return frozenset(one.name for one in table.schemas()[before.schema_id].fields)


def tag_snapshot(table: Table, name: str, snapshot_id: int) -> bool:
    """Give a snapshot a tag, unless the table has one of that name; return whether it did.

    A tag keeps its snapshot, and with it the snapshot's files, from every expiry.
    """
    from pyiceberg.exceptions import CommitFailedException

    def add() -> bool:
        table.refresh()
        if name in table.metadata.refs or table.snapshot_by_id(snapshot_id) is None:
            return False
        table.manage_snapshots().create_tag(snapshot_id, name).commit()
        return True

    conflict = f"Other writers kept changing table {'.'.join(table.name())}"
    with naming_write_errors(table.location()):
        return retry_while_overtaken(conflict, _PATIENCE_SECONDS, CommitFailedException)(add)


def joined_names(text: Iterable[str]) -> str:
    """Return names of columns as one text; none of them holds a blank."""
    return " ".join(sorted(text))
