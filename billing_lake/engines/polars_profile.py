"""The profile of raw report files: one streaming pass, the columns it needs, exact sums.

Blocks of whole rows are parsed and totalled as they are decompressed, several files at a time. Numbers are summed as
DECIMAL(38,18), rounded as the encoded table will be, so that both sides of a proof add up the same ones. Of text columns only
the filled cells count, and most of those columns are never made into text: see `cell_counts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import ReportFileError, shown
from billing_lake.domain.periods import moment_of, period_of_text
from billing_lake.domain.profiles import (
    Profile,
    add_counts,
    merge,
    require_totals,
)
from billing_lake.domain.shared_columns import origins
from billing_lake.domain.text_values import find_fault, fits, unexplained
from billing_lake.domain.types import TIMESTAMP, Decimal, Map
from billing_lake.engines.blocks import Block, hashed_blocks, line_at
from billing_lake.engines.cell_counts import column_counts, empty_cells, quoted_empty_cells
from billing_lake.engines.polars_access import other_nulls, without_quoted_empty
from billing_lake.engines.polars_parsing import (
    cell_names,
    decimal,
    filled,
    rows_to_read,
    text,
    value_of,
)
from billing_lake.engines.polars_rounding import rounded
from billing_lake.engines.polars_sums import Sums

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.sources import Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access
    from billing_lake.files.base import Files


def profile_reports(source: Source, access: Access, log: Log) -> Profile:
    """Profile the report files of ``source``.

    Raises:
        ReportFileError: A file is damaged, ragged, or holds a cell that does not fit.
    """
    done: list[int] = []

    def one(file: SourceFile) -> Profile:
        result = _profile_file(_Reader(file, source, access.files))
        done.append(result.rows)
        log(f"profile: {len(done)} of {len(source.files)} files, {sum(done):,} rows")
        return result

    # Twice as many as there are cores: a thread often waits for the one that holds Python's lock.
    workers = min(2 * (os.cpu_count() or 1), max(1, len(source.files)))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return require_totals(merge(pool.map(one, source.files)))


def _profile_file(reader: _Reader) -> Profile:
    file = reader.file
    blocks, digest = hashed_blocks(reader.files, file, reader.compression)
    found = merge(_profile_block(reader, block) for block in blocks)
    return found.in_file(file.name, digest())


class _Reader:
    """The columns of one file that a profile reads, and the expressions that total them."""

    def __init__(self, file: SourceFile, source: Source, files: Files) -> None:
        self.file = file
        self.roles = source.roles
        self.nulls = source.nulls
        self.compression = source.compression
        self.files = files
        self.types = {column.name: column.type for column in source.columns}
        present = origins(file.columns)
        self.numbers = {
            name: type_ for name in present if isinstance(type_ := self.types[name], Decimal)
        }
        self.costs = [name for name in self.numbers if name in source.costs]
        self.moments = [name for name in present if self.types[name] == TIMESTAMP]
        self.texts = [*self.moments, *(name for name in present if name == self.roles.currency)]
        others = {
            name: origin
            for name, origin in present.items()
            if name not in self.numbers and name not in self.texts
        }
        self.unread = {name: list(one.cells) for name, one in others.items()}
        self.maps = [
            cell
            for name, one in others.items()
            if isinstance(self.types[name], Map)
            for cell in one.cells
        ]
        self.lifted = [value_of(one, file.columns).count().alias(one.column) for one in file.lifted]
        self.further = {name for name, one in others.items() if one.further is not None}

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        import polars as pl

        return dict.fromkeys(cell_names(self.file.columns), pl.String())

    def scan(self, block: Block) -> pl.LazyFrame:
        """Return the cells of all rows of ``block`` as text."""
        import polars as pl

        nulls = other_nulls(self.nulls)
        rows = pl.scan_csv(block.data, has_header=False, schema=self.schema, null_values=nulls)
        return without_quoted_empty(rows, self.nulls)

    def read(self, block: Block) -> pl.LazyFrame:
        """Return the cells of those rows of ``block`` that count."""
        return rows_to_read(self.scan(block), self.file)

    @cached_property
    def columns(self) -> list[pl.Expr]:
        import polars as pl

        names = self.file.columns
        read = [text(name, names).alias(name) for name in (*self.numbers, *self.texts)]
        # Without a column there would be no rows.
        return read or [pl.col("cell 0")]

    @cached_property
    def sums(self) -> Sums:
        import polars as pl

        decimals = {name: decimal(pl.col(name), type_) for name, type_ in self.numbers.items()}
        return Sums(decimals, self.costs, self.roles.currency)

    @cached_property
    def losses(self) -> list[pl.Expr]:
        import polars as pl

        return [
            rounded(pl.col(name), type_.scale).alias(name) for name, type_ in self.numbers.items()
        ]


def _profile_block(reader: _Reader, block: Block) -> Profile:
    import polars as pl

    if block.is_broken:
        raise _fault(reader, block, "a row does not end")
    try:
        try:
            frame, added, lost = _totalled(reader, block, careful=False)
        except pl.exceptions.PolarsError:
            frame, added, lost = _totalled(reader, block, careful=True)
    except pl.exceptions.PolarsError as error:
        raise _fault(reader, block, str(error)) from error
    lifted = _lifted_counts(reader, block)
    moments = {name: _cells(reader, block, frame, name) for name in reader.moments}
    usage = [usage_moment(cell) for cell in moments.get(reader.roles.usage_start or "", ())]
    periods: dict[str, int] = {}
    for cell, count in moments.get(reader.roles.period_start or "", {}).items():
        add_counts(periods, {period_of_text(cell) or cell: count})
    return Profile(
        rows=frame.height,
        **added,
        filled={**_filled(reader, block, frame, moments), **lifted},
        first_usage=min(usage, default=None),
        last_usage=max(usage, default=None),
        periods=periods,
        rounded=lost,
    )


def _totalled(
    reader: _Reader, block: Block, *, careful: bool
) -> tuple[pl.DataFrame, dict[str, Any], dict[str, int]]:
    """Return the rows and columns of a block that are read, what they add up to, and the number of rounded cells.

    Unless ``careful``, a number that is an empty text in quotes makes the query fail: it is legal and rare, and to look for it
    costs every other number.
    """
    import polars as pl

    rows = reader.scan(block).select(reader.columns)
    if careful:
        rows = rows.with_columns(filled(pl.col(name)) for name in reader.numbers)
    whole = rows.collect(engine="in-memory")
    if block.separators != whole.height * (len(reader.file.columns) - 1):
        raise _fault(reader, block, "its rows differ in their number of cells")
    frame = whole
    if (only := reader.file.only) is not None:
        frame = whole.filter(pl.col(only.column).str.starts_with(f"{only.period}-"))
    currencies = _distinct(reader, frame, reader.roles.currency or "")
    added = reader.sums.of(frame.lazy(), currencies, engine="in-memory")
    return frame, added, _rounded(reader, frame)


def _filled(
    reader: _Reader, block: Block, frame: pl.DataFrame, moments: Mapping[str, Mapping[str, int]]
) -> dict[str, int]:
    """Return the number of cells of each column that the table will hold something in."""
    rows = frame.height
    read = [name for name in (*reader.numbers, *reader.texts) if name not in moments]
    counts = {name: rows - frame[name].null_count() for name in read}
    counts |= {name: sum(cells.values()) for name, cells in moments.items()}
    if not rows or not reader.unread:
        return counts
    if {*reader.nulls} - {""} or reader.file.only is not None:
        return {**counts, **_parsed_counts(reader, block, [*reader.unread])}
    width = len(reader.file.columns)
    empty = empty_cells(block, width)
    if reader.maps and (quoted := quoted_empty_cells(block, width)) is not None:
        # An empty text is a text, but no map.
        empty[:, reader.maps] |= quoted[:, reader.maps]
    each = column_counts(empty)
    twice = []
    for name, cells in reader.unread.items():
        if len(cells) == 1:
            counts[name] = rows - each[cells[0]]
            continue
        held = (~empty[:, cells]).sum(axis=1)
        counts[name] = 0 if name in reader.further else int(held.astype(bool).sum())
        twice += [name] if name in reader.further and bool((held > 1).any()) else []
    return {**counts, **_parsed_counts(reader, block, twice)}


def _lifted_counts(reader: _Reader, block: Block) -> dict[str, int]:
    """Return the number of filled cells of the columns that keys of maps become; for them alone maps are read here."""
    import polars as pl

    if not reader.lifted:
        return {}
    try:
        found = reader.read(block).select(reader.lifted).collect(engine="in-memory")
    except pl.exceptions.PolarsError as error:
        raise _fault(reader, block, str(error)) from error
    return found.row(0, named=True)


def _parsed_counts(reader: _Reader, block: Block, names: Sequence[str]) -> dict[str, int]:
    """Return the number of filled cells of text columns of which separators alone do not tell.

    They hold what a further cell of a row says where it says something else, there are other texts than the empty one that
    mean NULL, or not all rows count.
    """
    if not names:
        return {}
    found = reader.read(block).select(_held(reader, name).count().alias(name) for name in names)
    return found.collect(engine="in-memory").row(0, named=True)


def _held(reader: _Reader, name: str) -> pl.Expr:
    """Return the text of the column ``name`` where the table will hold something: an empty one is no map."""
    cell = text(name, reader.file.columns)
    return filled(cell) if isinstance(reader.types[name], Map) else cell


def _rounded(reader: _Reader, frame: pl.DataFrame) -> dict[str, int]:
    """Return the rounded cells of each column that has any."""
    if not reader.numbers:
        return {}
    # Lazily, because only then Polars works out once what an expression names twice: the doubtful cells.
    losses = frame.lazy().select(reader.losses).collect(engine="in-memory")
    counts = losses.row(0, named=True)
    return {name: count for name, count in counts.items() if count}


def _distinct(reader: _Reader, frame: pl.DataFrame, name: str) -> dict[str | None, int]:
    """Return the distinct cells of a text column with their number; a column that is absent is NULL throughout."""
    if name not in reader.texts:
        return {None: frame.height} if frame.height else {}
    return dict(frame[name].value_counts().iter_rows())


def _cells(reader: _Reader, block: Block, frame: pl.DataFrame, name: str) -> dict[str, int]:
    """Return the distinct moments of a text column, as text, with their number of rows; NULLs left out."""
    cells = {cell: count for cell, count in _distinct(reader, frame, name).items() if cell}
    wrong = next((cell for cell in cells if not fits(cell, TIMESTAMP)), None)
    if wrong is not None:
        raise _fault(reader, block, f"{shown(wrong)} is no moment")
    return cells


@lru_cache(maxsize=1 << 16)
def usage_moment(cell: str) -> str:
    """Return a report's moment in ISO 8601, UTC."""
    found = moment_of(cell)
    return "" if found is None else found.isoformat()


def _fault(reader: _Reader, block: Block, reason: str) -> ReportFileError:
    """Return the error that says which row of ``block`` is at fault; raise it where it can be found."""
    file = reader.file
    line = line_at(reader.files, file.uri, file.name, block.offset, reader.compression)
    find_fault(block.data, line, file.columns, reader.types, file.name, reader.nulls)
    return unexplained(file.name, reason)
