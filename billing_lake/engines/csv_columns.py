"""A block of a CSV report as typed Arrow columns, and what its rows add up to: the work of `csv_pass`.

pyarrow parses and Arrow's columns are written as they are; Polars' would be made anew. Numbers are read as text first: see `csv_numbers`.
Whatever a block holds beyond the usual is not judged here: see `UnexplainedError`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from billing_lake.domain.map_texts import BadMapError
from billing_lake.domain.periods import period_of_text
from billing_lake.domain.profiles import Profile, add_counts, currency_name
from billing_lake.domain.shared_columns import origins
from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.domain.text_values import fits
from billing_lake.domain.types import STRING, TIMESTAMP, Decimal, Map
from billing_lake.engines.blocks import LONGEST_ROW_BYTES
from billing_lake.engines.csv_numbers import adds_up_safely, read_numbers
from billing_lake.engines.one_pass import UnexplainedError
from billing_lake.engines.polars_maps import distinct_maps, with_dictionaries
from billing_lake.engines.polars_parsing import cell_names, moment
from billing_lake.engines.polars_profile import usage_moment
from billing_lake.engines.polars_sums import Sums

if TYPE_CHECKING:
    import pyarrow as pa

    from billing_lake.domain.shared_columns import Origin
    from billing_lake.domain.sources import EncodeTarget, Source, SourceFile
    from billing_lake.domain.types import Type
    from billing_lake.engines.blocks import Block

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MANY_TEXTS = 100_000
"""Texts of moments after which those that are known are forgotten: a column of a bill has some hundred."""


def is_for_one_pass(source: Source, target: EncodeTarget) -> bool:
    """Say whether the report files of ``source`` are of a kind that `Rows` reads."""
    types = {column.name: column.type for column in source.columns}
    fields = {field.name: field.type for field in target.fields}
    return (
        source.container == "csv"
        and (set(source.nulls) == {""} or QUOTED_EMPTY in source.nulls)
        and all(fields.get(name) == type_ and _is_read(type_) for name, type_ in types.items())
        and all(len(file.columns) > 1 for file in source.files)
    )


def _is_read(type_: object) -> bool:
    return type_ in (STRING, TIMESTAMP, Map(STRING, STRING)) or isinstance(type_, Decimal)


class ParsedCells:
    """Texts of moments and maps that were parsed already, for all files and threads of a pass."""

    def __init__(self) -> None:
        self._moments: dict[str, int | None] = {"": None}
        self._nulls: dict[pa.DataType, pa.Array] = {}

    def moments(self, texts: list[str]) -> list[int | None]:
        """Return ``texts`` as microseconds since 1970 in UTC; an empty one is NULL.

        Raises:
            UnexplainedError: One is no moment.
        """
        import polars as pl

        known = self._moments
        new = [one for one in texts if one not in known]
        if not new:
            return [known[one] for one in texts]
        if not all(fits(one, TIMESTAMP) for one in new):
            raise UnexplainedError
        found = pl.Series("text", new, pl.String()).to_frame().select(moment(pl.col("text")))
        grown = {**known, **dict(zip(new, found.to_series().to_physical(), strict=True))}
        self._moments = {"": None} if len(grown) > _MANY_TEXTS else grown
        return [grown[one] for one in texts]

    def nulls(self, length: int, type_: pa.DataType) -> pa.Array:
        """Return a column without a value, whose memory is that of other such columns."""
        import pyarrow as pa

        found = self._nulls.get(type_)
        if found is None or len(found) < length:
            found = self._nulls[type_] = pa.nulls(length, type_)
        return found.slice(0, length)


class Rows:
    """The rows of one file; several threads read blocks of it.

    Args:
        file: The file.
        source: What it is a part of.
        known: Texts that were parsed already.
    """

    def __init__(self, file: SourceFile, source: Source, known: ParsedCells) -> None:
        self._known = known
        self.file = file
        self._names = cell_names(file.columns)
        self._cells = origins(file.columns)
        self._types = {
            column.name: column.type for column in source.columns if column.name in self._cells
        }
        self._roles = source.roles
        self._counts_of = {
            source.roles.currency,
            source.roles.usage_start,
            source.roles.period_start,
        }
        self._costs = source.costs
        self._options = _reading(self._names, source.nulls)

    def read(self, blocks: list[Block]) -> tuple[pa.Table, Profile]:
        """Return the columns of the rows of ``blocks`` that count, and what they add up to; the list is empty afterwards.

        Raises:
            UnexplainedError: Something in it is for the careful way to judge; `pyarrow.ArrowException` and
                `polars.exceptions.PolarsError` say the same.
        """
        import pyarrow as pa

        texts = self._counted(self._texts(self._parsed(blocks)))
        columns: dict[str, pa.Array | pa.ChunkedArray] = {}
        lost: dict[str, int] = {}
        counts: dict[str, Mapping[str | None, int]] = {}
        for name in list(texts):
            cells, type_ = texts.pop(name), self._types[name]
            is_typed_once = type_ == TIMESTAMP or isinstance(type_, Map)
            distinct = (
                cells.combine_chunks().dictionary_encode()
                if is_typed_once or name in self._counts_of
                else None
            )
            if name in self._counts_of:
                counts[name] = _counts(distinct)
            is_empty = cells.null_count == len(cells)
            if is_empty and (isinstance(type_, Decimal) or type_ == TIMESTAMP):
                columns[name] = self._known.nulls(len(cells), _arrow_type(type_))
            elif isinstance(type_, Decimal):
                columns[name], lost[name] = read_numbers(cells.combine_chunks(), type_)
            elif type_ == TIMESTAMP:
                columns[name] = self._moments(distinct)
            elif isinstance(type_, Map):
                columns |= self._maps(name, distinct)
            else:
                columns[name] = cells
        rows = pa.table(columns)
        return rows, self._profile(rows, counts, lost)

    def _parsed(self, blocks: list[Block]) -> pa.Table:
        """Return every cell of ``blocks`` as text."""
        from pyarrow import csv

        stream = _Stream(blocks)
        table = csv.read_csv(stream, *self._options)
        rows = [len(cells) for cells in table.column(0).chunks]
        if stream.separators != [count * (len(self._names) - 1) for count in rows]:
            raise UnexplainedError
        return table

    def _texts(self, cells: pa.Table) -> dict[str, pa.ChunkedArray]:
        """Return the text of each column: of several cells where they share it."""
        return {
            name: cells[f"cell {origin.cells[0]}"]
            if len(origin.cells) == 1
            else _shared_text(origin, cells)
            for name, origin in self._cells.items()
        }

    def _counted(self, texts: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
        """Return the rows that count: of a file of several months, those of one."""
        import pyarrow.compute as pc

        if (only := self.file.only) is None:
            return texts
        begins = pc.starts_with(texts[only.column], pattern=f"{only.period}-")
        return {name: cells.filter(begins) for name, cells in texts.items()}

    def _moments(self, cells: pa.DictionaryArray) -> pa.Array:
        import pyarrow as pa

        values = self._known.moments(cells.dictionary.to_pylist())
        typed = pa.array(values, pa.int64()).view(_arrow_type(TIMESTAMP))
        return typed.take(cells.indices)

    def _maps(self, name: str, cells: pa.DictionaryArray) -> dict[str, pa.Array]:
        """Return the maps of a column, and the columns that their keys are made."""
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            maps = distinct_maps(cells.dictionary)
        except BadMapError as error:
            raise UnexplainedError from error
        found = {name: with_dictionaries(maps).take(cells.indices)}
        for one in self.file.lifted:
            if one.map == name:
                values = pc.map_lookup(maps, pa.scalar(one.key, pa.string()), "first")
                found[one.column] = values.take(cells.indices)
        return found

    def _profile(
        self,
        rows: pa.Table,
        counts: Mapping[str, Mapping[str | None, int]],
        lost: Mapping[str, int],
    ) -> Profile:
        if not rows.num_rows:
            return Profile()
        currencies = counts.get(self._roles.currency or "", {None: rows.num_rows})
        usage = [usage_moment(one) for one in counts.get(self._roles.usage_start or "", ()) if one]
        periods: dict[str, int] = {}
        for cell, count in counts.get(self._roles.period_start or "", {}).items():
            add_counts(periods, {period_of_text(cell) or cell: count} if cell else {})
        return Profile(
            rows=rows.num_rows,
            **self._sums(rows, currencies),
            filled={
                name: rows.num_rows - cells.null_count
                for name, cells in zip(rows.column_names, rows.columns, strict=True)
            },
            first_usage=min(usage, default=None),
            last_usage=max(usage, default=None),
            periods=periods,
            rounded={name: count for name, count in lost.items() if count},
        )

    def _sums(self, rows: pa.Table, currencies: Mapping[str | None, int]) -> dict[str, Any]:
        """Return ``totals`` and ``sums`` of a `Profile`."""
        import polars as pl
        import pyarrow.compute as pc

        numbers = [name for name, type_ in self._types.items() if isinstance(type_, Decimal)]
        kinds = {currency_name(currency) for currency in currencies}
        if len(kinds) > 1 or not all(
            adds_up_safely(part) for name in numbers for part in rows[name].chunks
        ):
            name = self._roles.currency if self._roles.currency in rows.column_names else None
            frame = pl.DataFrame(
                [_as_series(one, rows[one]) for one in (*numbers, *([name] if name else []))]
            )
            cells = {one: pl.col(one) for one in numbers}
            adding = Sums(cells, self._costs, name)
            return adding.of(frame.lazy(), currencies, engine="in-memory")
        added = {name: pc.sum(rows[name], min_count=0).as_py() for name in numbers}
        costs = {name: total for name, total in added.items() if name in self._costs}
        return {
            "totals": {kinds.pop(): costs},
            "sums": {name: total for name, total in added.items() if name not in costs},
        }


class _Stream(io.RawIOBase):
    """Blocks as a stream of which each read takes one, and forgets it.

    A reader of pyarrow costs as much as a tenth of a block, so one reads them all; it parses what a read gives it by itself, and makes
    a chunk of each column of it.

    Args:
        blocks: Is empty when all are read.

    Attributes:
        separators: Those of each block that was read.
    """

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        self.separators: list[int] = []
        self._blocks = blocks
        blocks.reverse()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, _: int = -1, /) -> bytes:
        """Return the bytes of the next block, however many are asked for; nothing behind the last one.

        Raises:
            UnexplainedError: Something in it is for the careful way to judge; `pyarrow.ArrowInvalid` says the same.
        """
        if not self._blocks:
            return b""
        block = self._blocks.pop()
        data = block.data
        if block.is_broken or data.startswith(_BYTE_ORDER_MARK):
            raise UnexplainedError
        if block.returns and data.count(b"\r") != data.count(b"\r\n"):
            # To pyarrow it ends a row, to the others it is part of a cell.
            raise UnexplainedError
        _require_utf8(data)
        self.separators.append(block.separators)
        # pyarrow takes an empty cell at the very end for one in quotes if the cell before it has quotes.
        return data if data.endswith(b"\n") else data + b"\n"


def _reading(names: list[str], nulls: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Return how pyarrow reads blocks.

    Its parser takes line feeds in quotes for what they are. They need not be announced, because a block ends where a row does; announced,
    they would be looked for beforehand.
    """
    import pyarrow as pa
    from pyarrow import csv

    return (
        csv.ReadOptions(column_names=names, use_threads=False, block_size=2 * LONGEST_ROW_BYTES),
        csv.ParseOptions(newlines_in_values=False, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            check_utf8=False,
            null_values=[one for one in nulls if one != QUOTED_EMPTY],
            strings_can_be_null=True,
            quoted_strings_can_be_null=QUOTED_EMPTY in nulls,
        ),
    )


def _require_utf8(data: bytes) -> None:
    """Look at all of ``data`` at once, which costs a twentieth of looking at each cell.

    Raises:
        pyarrow.ArrowInvalid: It is no UTF-8.
    """
    import pyarrow as pa

    ends = pa.array([0, len(data)], pa.int32()).buffers()[1]
    pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(data)]).cast(pa.string())


def _arrow_type(type_: Type) -> pa.DataType:
    import pyarrow as pa

    if isinstance(type_, Decimal):
        return pa.decimal128(type_.precision, type_.scale)
    return pa.timestamp("us", "UTC")


def _shared_text(origin: Origin, cells: pa.Table) -> pa.ChunkedArray:
    """Return the text of the column that ``origin`` makes of several cells, as `polars_parsing.text` does.

    Raises:
        UnexplainedError: Cells that must agree do not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    shared = [cells[f"cell {position}"] for position in origin.cells]
    full = [_filled(one) for one in shared]
    first = pc.coalesce(*full, *shared)
    if origin.further is not None:
        own = _filled(cells[f"cell {origin.further}"])
        return pc.if_else(pc.not_equal(own, first), own, pa.scalar(None, pa.string()))
    if origin.agree and any(pc.any(pc.not_equal(one, first)).as_py() for one in full):
        raise UnexplainedError
    return first


def _filled(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ``cells`` with NULL for an empty text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    empty = pc.equal(cells, "")
    if not pc.any(empty).as_py():
        return cells
    return pc.if_else(empty, pa.scalar(None, pa.string()), cells)


def _counts(cells: pa.DictionaryArray) -> dict[str | None, int]:
    """Return how often each text occurs, and NULL under None."""
    import numpy as np

    indices = cells.indices.drop_null().to_numpy()
    each = np.bincount(indices, minlength=len(cells.dictionary))
    texts = cells.dictionary.to_pylist()
    found = {one: int(n) for one, n in zip(texts, each, strict=True) if n}
    return {**found, **({None: cells.null_count} if cells.null_count else {})}


def _as_series(name: str, cells: pa.Array | pa.ChunkedArray) -> Any:
    import polars as pl

    return pl.Series(name, cells)
