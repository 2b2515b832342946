"""From a query that failed to the row that made it fail: the file is read again, slowly, by the rules of the domain.

Bytes come through Hadoop and are unpacked in Python, so that this works wherever Spark reads, in bounded memory, and tells a
damaged gzip from a damaged row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.domain.errors import (
    BadValueError,
    ReportFileError,
    UnclosedQuoteError,
    UnreadableFileError,
)
from billing_lake.domain.gzip_padding import require_no_padding
from billing_lake.domain.packing import naming_damage, unpacked_stream
from billing_lake.domain.records import are_whole, row_end
from billing_lake.domain.text_values import find_fault, unexplained
from billing_lake.spark_job.hadoop import same_path
from billing_lake.spark_job.java import causes_of, error_text
from billing_lake.spark_job.sql import parse_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from billing_lake.domain.sources import Source
    from billing_lake.spark_job.hadoop import Hadoop
    from billing_lake.spark_job.inputs import Input

_BLOCK_BYTES = 8 << 20
_LONGEST_ROW_BYTES = 128 << 20


@dataclass(frozen=True)
class CellPlace:
    """States where a query of this program stopped at a cell.

    Attributes:
        column: The column.
        input: The file; None where it cannot be told.
        value: The cell.
    """

    column: str
    input: Input | None
    value: str


def place_of_error(error: BaseException, inputs: Iterable[Input]) -> CellPlace | None:
    """Return where a query of this program stopped at a cell; None where something else failed."""
    for cause in reversed(causes_of(error)):
        found = parse_fault(cause.message)
        if found is not None:
            column, path, value = found
            every = list(inputs)
            known = {one.path: one for one in every}
            only = every[0] if len(every) == 1 else None
            return CellPlace(column, known.get(same_path(path), only), value)
    return None


def report_fault(
    error: BaseException, suspects: Sequence[Input], source: Source, hadoop: Hadoop
) -> ReportFileError:
    """Return the fault in the first of ``suspects`` that has one: report files of which one made Spark fail with ``error``."""
    for one in suspects:
        try:
            raise_first_fault(one, source, hadoop)
        except ReportFileError as fault:
            return fault
    place = place_of_error(error, suspects)
    if place is not None:
        return bad_value_error(place, source)
    return unexplained(", ".join(one.file.name for one in suspects[:3]), error_text(error))


def bad_value_error(place: CellPlace, source: Source) -> BadValueError:
    """Return the error for the cell at ``place``, whose line cannot be told."""
    what = f"The value is no {source.type_of(place.column) or 'cell'}"
    file = None if place.input is None else place.input.file.name
    return BadValueError(what, file=file, column=place.column, value=place.value)


def raise_first_fault(
    file: Input, source: Source, hadoop: Hadoop, *, only_hidden: bool = False
) -> None:
    """Raise the first fault of a report file of ``source``; return where there is none.

    Args:
        file: The file.
        source: The source that it is of.
        hadoop: Opens it.
        only_hidden: Whether faults that make Spark fail may be passed over.

    Raises:
        ReportFileError: The fault, by its own class.
    """
    name = file.file.name
    types = {column.name: column.type for column in source.columns}
    line = 1
    header = True
    try:
        with (
            hadoop.open(file.file.uri) as raw,
            unpacked_stream(raw, source.compression, name) as text,
        ):
            for block in _blocks(text, name):
                rows = block
                if header:
                    end = row_end(block) or len(block)
                    rows, header = block[end:], False
                    line += block.count(b"\n", 0, end)
                if not (only_hidden and are_whole(rows)):
                    find_fault(rows, line, file.file.columns, types, name, source.nulls)
                line += rows.count(b"\n")
        if source.compression == "gzip":
            with hadoop.open(file.file.uri) as raw, naming_damage("gzip", name):
                require_no_padding(raw, name)
    except OSError as error:
        what = f"The file cannot be read: {error.strerror or error}"
        raise UnreadableFileError(what, file=name) from error


def _blocks(text: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the text in blocks of whole rows; the last one may end within a quote."""
    held = b""
    while data := text.read(_BLOCK_BYTES):
        held += data
        end = _last_row_end(held)
        if end:
            yield held[:end]
            held = held[end:]
        elif len(held) > _LONGEST_ROW_BYTES:
            what = f"A quote opens and does not close within {len(held):,} bytes"
            raise UnclosedQuoteError(what, file=name)
    if held:
        yield held


def _last_row_end(data: bytes) -> int:
    end = len(data)
    quoted = data.count(b'"') % 2 == 1
    while cut := data.rfind(b"\n", 0, end) + 1:
        quoted ^= data.count(b'"', cut, end) % 2 == 1
        if not quoted:
            return cut
        end = cut - 1
    return 0
