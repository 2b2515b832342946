"""All billing periods that the rows of a loose file state, for formats whose files may hold rows of several.

Nothing but its rows says for which periods a file counts, and one that is overlooked would be short of them. So the file is read to
its end: of CSV every row is divided into cells and one of them looked at, of Parquet one column is read. It costs a small part of
a load, once for each file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from billing_lake.domain.errors import BadValueError, ReportFileError, UnclosedQuoteError, shown
from billing_lake.domain.packing import Compression, unpacked_stream
from billing_lake.domain.periods import period_of_text
from billing_lake.domain.shared_columns import origins
from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.formats.base import Format
from billing_lake.landing.headers import first_ragged_row, read_header
from billing_lake.landing.parquet_headers import moment_text, opened_parquet, read_parquet_header
from billing_lake.landing.report_headers import first_row_period, header_columns

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

_BLOCK_BYTES = 16 << 20
_UNREADABLE = "The file could hold rows of any billing period, and cannot be read to its end"


def periods_of(stream: BinaryIO, key: str, format_: Format) -> tuple[str, ...]:
    """Return the billing periods that the rows of the report file at ``key`` state, in order.

    Raises:
        ReportFileError: The first row states none, another one states something else, the file cannot be read to its end, or it
            holds rows of several periods and some that state none.
    """
    found = {first_row_period(stream, key, format_)}
    stream.seek(0)
    container, compression = format_.packing_of(key)
    texts = (
        _parquet_texts(stream, key, format_)
        if container == "parquet"
        else _csv_texts(stream, key, format_, compression)
    )
    are_silent = False
    for text in texts:
        period = None if text is None else period_of_text(text)
        if period is not None:
            found.add(period)
        elif text is not None:
            what = "A row states no billing period"
            column = format_.roles.period_start
            raise BadValueError(what, file=key, column=column, value=text)
        are_silent = are_silent or text is None
    if are_silent and len(found) > 1:
        what = f"The file holds rows of {', '.join(sorted(found))}, and rows that state no billing period"
        raise ReportFileError(what, file=key, column=format_.roles.period_start)
    return tuple(sorted(found))


def _parquet_texts(stream: BinaryIO, key: str, format_: Format) -> Iterator[str | None]:
    header = read_parquet_header(stream, key, format_)
    own = header[header_columns(header, key, format_).index(str(format_.roles.period_start))]
    stream.seek(0)
    with opened_parquet(stream, key) as parquet:
        for batch in parquet.iter_batches(columns=[own]):
            for cell in batch.column(0).unique():
                yield moment_text(cell) or None


def _csv_texts(
    stream: BinaryIO, key: str, format_: Format, compression: Compression
) -> Iterator[str | None]:
    import pyarrow.csv as pc

    header = read_header(stream, key, compression)
    stream.seek(0)
    names = [f"cell {position}" for position in range(len(header))]
    origin = origins(header_columns(header, key, format_))[str(format_.roles.period_start)]
    wanted = [names[position] for position in origin.cells]
    with (
        _naming_faults(stream, key, compression),
        unpacked_stream(stream, compression, key) as text,
    ):
        counted = _CountedQuotes(text)
        rows = pc.open_csv(
            counted,
            read_options=pc.ReadOptions(
                column_names=names, skip_rows_after_names=1, block_size=_BLOCK_BYTES
            ),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=_as_bytes(wanted),
        )
        with rows:
            for batch in rows:
                yield from _distinct(batch, format_)
    if counted.quotes % 2:
        raise UnclosedQuoteError("A quote opens and never closes", file=key)


def _as_bytes(columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc

    return pc.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.binary()), null_values=[]
    )


def _distinct(batch: pa.RecordBatch, format_: Format) -> Iterator[str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls = pa.array([one.encode() for one in format_.nulls if one != QUOTED_EMPTY])
    cells = [pc.if_else(pc.is_in(one, nulls), None, one) for one in batch.columns]
    for cell in pc.coalesce(*cells).unique().to_pylist():
        yield None if cell is None else cell.decode(errors="backslashreplace")


@contextmanager
def _naming_faults(stream: BinaryIO, key: str, compression: Compression) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        stream.seek(0)
        fault = first_ragged_row(stream, key, compression)
        raise fault or ReportFileError(f"{_UNREADABLE}: {shown(error)}", file=key) from error


class _CountedQuotes(io.RawIOBase):
    """A stream that counts the quotes that are read from it: those of whole CSV text are an even number."""

    def __init__(self, text: BinaryIO) -> None:
        super().__init__()
        self._text: Any = text
        self.quotes = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` with what comes next."""
        data = self._text.read(len(memoryview(buffer).cast("B")))
        memoryview(buffer).cast("B")[: len(data)] = data
        self.quotes += data.count(b'"')
        return len(data)
