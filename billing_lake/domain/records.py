"""Records of CSV text as RFC 4180 has them, and nothing looser: what one reader guesses, another guesses otherwise.

A quote opens a cell at its first character, is doubled within it, and closes it at its last one.
"""

from __future__ import annotations

import re

from billing_lake.domain.errors import ReportFileError, UnclosedQuoteError

_QUOTES = re.compile('"+')
_BARE = re.compile('[^",]*')
_MOST_QUOTES = 4_000_000
"""More of them are not looked at at once: each takes memory."""


class BadCellError(ValueError):
    """A row cannot be split into cells; the message says why.

    Attributes:
        kind: Class of the error that says so for a file.
        cell: Position of the cell, counted from 0.
    """

    def __init__(self, kind: type[ReportFileError], what: str, cell: int) -> None:
        super().__init__(what)
        self.kind = kind
        self.cell = cell


def row_end(data: bytes | bytearray, start: int = 0, stop: int | None = None) -> int:
    """Return where the row that begins at ``start`` ends, behind its line feed; 0 where it does not end before ``stop``."""
    stop = len(data) if stop is None else stop
    feed = data.find(b"\n", start, stop)
    while feed >= 0:
        opened = data.find(b'"', start, feed)
        if opened < 0:
            return feed + 1
        closed = data.find(b'"', opened + 1, stop)
        if closed < 0:
            return 0
        start = closed + 1
        if feed < start:
            feed = data.find(b"\n", start, stop)
    return 0


def are_whole(rows: bytes) -> bool:
    """Say whether ``rows``, cut at a row's end, can be split into cells and hide nothing: no blank row, no NUL, nothing but UTF-8.

    Their cells may be too many, too few or of another type. It takes a small part of the time that splitting them takes.
    """
    if rows.count(b'"') > _MOST_QUOTES:
        return False
    pieces = rows.split(b'"')
    bare = pieces[::2]
    outside = b"\n" + b'"'.join(bare)
    # A piece without characters lies between the two quotes that stand for one, or begins the rows.
    return (
        len(pieces) % 2 == 1
        and all(one.endswith((b",", b"\n")) for one in bare[:-1] if one)
        and all(one.startswith((b",", b"\n", b"\r\n")) for one in bare[1:] if one)
        and not any(hidden in outside for hidden in (b"\n\n", b"\n\r\n", b"\r,"))
        and not outside.endswith(b"\n\r")
        and b"\0" not in rows
        and _is_utf8(rows)
    )


def _is_utf8(rows: bytes) -> bool:
    try:
        rows.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_row(row: str) -> list[str]:
    """Return the cells of a row without its line end.

    Raises:
        BadCellError: A quote opens or closes in the middle of a cell, or never closes; or a bare cell ends with a carriage return
            and is not the last: readers differ in whether that is part of it.
    """
    if '"' not in row and "\r," not in row:
        return row.split(",")
    cells: list[str] = []
    start = 0
    while start <= len(row):
        if row.startswith('"', start):
            end = _closed(row, start + 1, len(cells))
            cell = row[start + 1 : end - 1].replace('""', '"')
        else:
            bare = _BARE.match(row, start)
            cell = "" if bare is None else bare[0]
            end = start + len(cell)
        if row[end : end + 1] not in ("", ","):
            what = "A quote opens or closes in the middle of a cell"
            raise BadCellError(UnclosedQuoteError, what, len(cells))
        if row.endswith("\r", start, end) and end < len(row):
            what = "A carriage return ends a cell that has no quotes"
            raise BadCellError(ReportFileError, what, len(cells))
        cells.append(cell)
        start = end + 1
    return cells


def _closed(row: str, start: int, cell: int) -> int:
    # Quotes within a cell are doubled, so an odd number in a row holds the closing one. One regular expression for the
    # whole cell would say the same and take a gigabyte for a cell full of them.
    for quotes in _QUOTES.finditer(row, start):
        if (quotes.end() - quotes.start()) % 2:
            return quotes.end()
    raise BadCellError(UnclosedQuoteError, "A quote opens and never closes", cell)
