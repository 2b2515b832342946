"""Parquet footers against table fields: the last look before files become part of a table.

Iceberg finds a column by its id alone. A file whose ids mean other columns than the table's would be read without an
error and be wrong, so nothing is committed before names, types and ids have been compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from billing_lake.domain.errors import FieldIdMismatchError, LoadError
from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import Encoded, EncodedFile
from billing_lake.files.local import LocalFiles
from billing_lake.files.parquet_types import parquet_fields

_OPEN_HERE = LocalFiles().open
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
    carried = parquet_fields(footer.schema.to_arrow_schema())
    # Spark writes no ids into files with maps; such a file is read by the table's name mapping, so by name.
    by_name = all(id_ is None for _, _, ids in carried for id_ in ids)
    expected = {
        (one.name, one.type, tuple(None if by_name else id_ for id_ in one.ids)) for one in fields
    }
    for name, type_, ids in sorted(expected.symmetric_difference(carried), key=str):
        what = (
            f"An encoded file does not carry the fields that it should: {type_}, {_ids_text(ids)}"
        )
        raise FieldIdMismatchError(what, file=file.uri, column=name)


def _described(field: Field) -> str:
    return f"{field.type} with {_ids_text(field.ids)}"


def _ids_text(ids: Sequence[int | None]) -> str:
    return f"field id {', '.join(map(str, ids))}"
