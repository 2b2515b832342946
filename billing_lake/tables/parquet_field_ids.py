"""Parquet footers against table fields: the last look before files become part of a table.

Iceberg finds a column by its id alone. A file whose ids mean other columns than the table's would be read without an
error and be wrong, so nothing is committed before names, types and ids have been compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from billing_lake.domain.errors import FieldIdMismatchError, LoadError
from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import Encoded, EncodedFile
from billing_lake.files.local import LocalFiles

if TYPE_CHECKING:
    import pyarrow as pa

_OPEN_HERE = LocalFiles().open
_FIELD_ID = b"PARQUET:field_id"
_AGAIN = "Load the period again: the delivery is encoded anew"


def check_fields(
    table: str, have: Sequence[Field], encoded: Sequence[Field], *, by_name: bool = False
) -> None:
    """Check that the table has every field that the files carry, with its type and id.

    Args:
        table: Name of the table.
        have: Its fields now.
        encoded: The files' fields. One that they lack is no error; it is NULL.
        by_name: Whether readers of the table find columns by name, so that ids do not matter.

    Raises:
        FieldIdMismatchError: It does not.
    """
    known = {field.name: field for field in have}
    for field in encoded:
        found = known.get(field.name)
        if found is None or found.type != field.type or not (by_name or found == field):
            has = "no such column" if found is None else f"it as {_described(found)}"
            what = f"The files carry a column as {_described(field)}; table {table} has {has}"
            raise FieldIdMismatchError(what, column=field.name)


def check_footers(encoded: Encoded, open_file: Callable[[str], BinaryIO] = _OPEN_HERE) -> None:
    """Check that every file is what ``encoded`` says: its fields, and its rows.

    Args:
        encoded: The files.
        open_file: Opens a file by URI; this machine's, unless given.

    Raises:
        FieldIdMismatchError: A file carries other fields.
        LoadError: A file is gone, damaged, or has another number of rows.
    """
    for file in encoded.files:
        _check_footer(file, encoded.fields, open_file)


def _check_footer(
    file: EncodedFile, fields: Sequence[Field], open_file: Callable[[str], BinaryIO]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(file.uri) as opened:
            footer = pq.read_metadata(opened)
    except FileNotFoundError as error:
        what = "An encoded file is gone"
        raise LoadError(what, remedy=_AGAIN, file=file.uri) from error
    except pa.ArrowInvalid as error:
        what = "An encoded file is no Parquet"
        raise LoadError(what, remedy=_AGAIN, file=file.uri) from error
    if footer.num_rows != file.rows:
        what = f"An encoded file has {footer.num_rows:,} rows, not {file.rows:,}"
        raise LoadError(what, remedy=_AGAIN, file=file.uri)
    carried = [_carried(column) for column in footer.schema.to_arrow_schema()]
    # Spark writes no ids into files with maps; such a file is read by the table's name mapping, so by name.
    by_name = all(field_id is None for _, _, field_id in carried)
    expected = {(f.name, f.type, None if by_name else f.field_id) for f in fields}
    for name, type_, field_id in sorted(expected.symmetric_difference(carried), key=str):
        what = f"An encoded file does not carry the fields that it should: {type_}, field id {field_id}"
        raise FieldIdMismatchError(what, file=file.uri, column=name)


def _described(field: Field) -> str:
    return f"{field.type} with field id {field.field_id}"


def _carried(column: pa.Field) -> tuple[str, str, int | None]:
    field_id = (column.metadata or {}).get(_FIELD_ID)
    return column.name, _iceberg_type(column.type), None if field_id is None else int(field_id)


def _iceberg_type(type_: pa.DataType) -> str:
    """Return the Iceberg type of an Arrow type, or Arrow's own name for one that the lake does not write."""
    import pyarrow.types as t

    if t.is_string(type_) or t.is_large_string(type_) or t.is_string_view(type_):
        return "string"
    if t.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    return {
        "timestamp[us, tz=UTC]": "timestamptz",
        "timestamp[us]": "timestamp",
        "int32": "int",
        "int64": "long",
        "float": "float",
        "double": "double",
        "bool": "boolean",
        "date32[day]": "date",
    }.get(str(type_), str(type_))
