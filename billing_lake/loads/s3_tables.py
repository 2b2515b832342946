"""Create and delete an S3 table; only an operator does that, never a load."""

from __future__ import annotations

from billing_lake.deployments.base import Lake
from billing_lake.domain.errors import (
    ConfigurationError,
    ConfirmationError,
    TableError,
    in_words,
    shown,
)
from billing_lake.domain.schemas import Column, Field, lake_columns, plan
from billing_lake.formats.base import Format
from billing_lake.formats.registry import DEFAULT_FORMAT
from billing_lake.tables.base import KeptHistory

KEPT = KeptHistory(days=30, loads=3)
"""The history that an S3 table keeps unless told otherwise: as much as maintenance leaves to the others."""

_SHOWN_TABLES = 5


def defined_schema(format_: Format = DEFAULT_FORMAT) -> tuple[Field, ...]:
    """Return the schema that an S3 table is made with: every column of the format's dictionary, then those the lake adds."""
    columns = (Column(name, type_) for name, type_ in format_.known_columns.items())
    return DEFAULT_FORMAT.described(plan(None, lake_columns(columns)).fields)


def create_table(
    lake: Lake, table: str, format_: Format = DEFAULT_FORMAT, kept: KeptHistory = KEPT
) -> str:
    """Make an empty S3 table with the defined schema of a format, and its namespace; return what was done, in words.

    Where it exists with that schema, only its settings are given again.

    Args:
        lake: The lake.
        table: Full name of the table.
        format_: Whose columns it gets.
        kept: The history that its storage keeps, where the storage maintains it.

    Raises:
        ConfigurationError: The name has no namespace.
        TableError: The table exists with other types.
    """
    if "." not in table:
        what = f"{shown(table)!r} has no namespace"
        raise ConfigurationError(what, remedy=f"Write billing.{shown(table)}")
    done = _create(lake, table, format_)
    lake.keep_history(table, kept)
    if not lake.s3_tables.is_managed:
        return done
    return (
        f"{done}; AWS keeps its snapshots for {kept.days:g} days, the last {kept.loads} however old"
    )


def _create(lake: Lake, table: str, format_: Format) -> str:
    fields = defined_schema(format_)
    if lake.s3_tables.create(table, fields):
        return f"Made {table} with {len(fields)} columns"
    have = {field.name: field.type for field in lake.s3_tables.fields(table) or ()}
    other = [
        (field.name, field.type, have.get(field.name, "no such column"))
        for field in fields
        if have.get(field.name) != field.type
    ]
    if other:
        texts = (f"{name} is {found}, not {want}" for name, want, found in other)
        what = f"{table} exists with another schema: {in_words(texts, _SHOWN_TABLES, '; ')}"
        raise TableError(what, remedy="Choose another name, or delete the table first")
    more = (
        f" and {len(have) - len(fields)} columns of its deliveries"
        if len(have) > len(fields)
        else ""
    )
    return f"{table} exists already with the defined schema{more}; nothing was done"


def delete_table(lake: Lake, table: str, confirm: str) -> str:
    """Remove an S3 table with its catalog entry and its data; return what was done, in words.

    Raises:
        ConfirmationError: ``confirm`` is not the table's name.
        TableError: There is no such table.
    """
    if confirm != table:
        what = f"Deleting {shown(table)} was not confirmed: `confirm` is {shown(confirm)!r}"
        raise ConfirmationError(what)
    if lake.s3_tables.fields(table) is None:
        known = ", ".join(lake.s3_tables.tables()) or "none"
        remedy = f"Choose one that exists: {known}"
        raise TableError(f"There is no S3 table {shown(table)}", remedy=remedy)
    lake.s3_tables.drop(table)
    return f"Deleted {table}: its catalog entry and its data"
