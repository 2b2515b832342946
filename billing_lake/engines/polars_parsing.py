"""Cells of report files as Polars expressions: text, decimals and moments, as `cells` defines them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.periods import MOMENT, UTC_END
from billing_lake.domain.shared_columns import origins
from billing_lake.domain.types import STRING, TIMESTAMP, Decimal, Map
from billing_lake.engines.polars_maps import maps
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.schemas import Column, Field
    from billing_lake.domain.sources import MapEntryColumn, SourceFile


_WITHOUT_ZONE = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)
_USUAL = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f+00:00",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d",
)
"""Spellings in which whole columns are written, likeliest first, as chrono patterns."""


_SAMPLE_ROWS = 1_000
"""Rows by which the spelling of a column's moments is guessed."""


def cell_names(columns: Sequence[str]) -> list[str]:
    """Return a name for each cell of a row, by position: headers are untrusted and may repeat."""
    return [f"cell {position}" for position in range(len(columns))]


def text(name: str, columns: tuple[str, ...]) -> pl.Expr:
    """Return the text of the column ``name``; see `Origin`. The query raises where cells that must agree do not."""
    import polars as pl

    origin = origins(columns)[name]
    cells = [pl.col(f"cell {position}") for position in origin.cells]
    if len(cells) == 1:
        return cells[0]
    first = pl.coalesce([*map(filled, cells), *cells])
    if origin.further is not None:
        own = filled(pl.col(f"cell {origin.further}"))
        return pl.when(own != first).then(own)
    if origin.agree:
        differ = pl.any_horizontal([filled(cell) != first for cell in cells])
        return pl.coalesce(_refused(pl.when(differ).then(first)), first)
    return first


def typed(column: Column | Field, file: SourceFile, known: Mapping[str, str] | None) -> pl.Expr:
    """Return the value of ``column`` in its type; NULL where ``file`` lacks it.

    Args:
        column: A column of a table.
        file: The file whose rows are read.
        known: Patterns of columns of moments; see `spellings`. With None every spelling is read, and a number may be an empty text
            in quotes, which is legal and rare and costs a fifth more; otherwise those make the query raise.
    """
    import polars as pl

    columns = file.columns
    if (lifted := file.lifted_as(column.name)) is not None:
        return value_of(lifted, columns).alias(column.name)
    if column.name not in origins(columns):
        return pl.lit(None, polars_type(column.type)).alias(column.name)
    cell = text(column.name, columns)
    if column.type == STRING:
        return cell.alias(column.name)
    cell = filled(cell) if known is None else cell
    if column.type == TIMESTAMP:
        return moment(cell, (known or {}).get(column.name)).alias(column.name)
    if isinstance(column.type, Map):
        return maps(cell).alias(column.name)
    value = decimal(cell, column.type) if isinstance(column.type, Decimal) else cell
    return value.alias(column.name)


def rows_to_read(rows: pl.LazyFrame, file: SourceFile) -> pl.LazyFrame:
    """Return those of ``rows``, the cells of ``file`` as text, that are read: of a file of several months, those of one."""
    if file.only is None:
        return rows
    return rows.filter(text(file.only.column, file.columns).str.starts_with(f"{file.only.period}-"))


def value_of(lifted: MapEntryColumn, columns: tuple[str, ...]) -> pl.Expr:
    """Return the value of a map's key; NULL where a row's map lacks it."""
    import polars as pl

    return maps(text(lifted.map, columns)).map.get(pl.lit(lifted.key))


def filled(cell: pl.Expr) -> pl.Expr:
    """Return ``cell`` with NULL for a quoted empty text, which only text columns tell from NULL."""
    import polars as pl

    return pl.when(cell != "").then(cell)


def decimal(cell: pl.Expr, type_: Decimal, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a number of the decimal type ``type_``.

    Where one is none, the query raises, or yields NULL unless ``strict``.
    """
    import polars as pl

    return cell.cast(pl.Decimal(type_.precision, type_.scale), strict=strict)


def moment(cell: pl.Expr, pattern: str | None = None, *, strict: bool = True) -> pl.Expr:
    """Return ``cell`` as a moment in UTC; where one is none, the query raises, or yields NULL unless ``strict``.

    With ``pattern`` it is the only spelling that is read, and quickly; without it every spelling is.
    """
    import polars as pl

    if pattern is not None:
        return _parsed(cell, pattern, strict=strict)
    known = pl.when(cell.str.contains(rf"\A(?:{MOMENT})\z")).then(cell.str.replace(UTC_END, ""))
    found = pl.coalesce([_parsed(known, each, strict=False) for each in _WITHOUT_ZONE])
    if not strict:
        return found
    left = pl.when(found.is_null()).then(cell)
    return pl.coalesce(found, _parsed(_refused(left), _WITHOUT_ZONE[0], strict=False))


def spelling_of(cells: pl.Series) -> str | None:
    """Return the pattern that all of ``cells`` fit, or None where there is none or nothing to go by."""
    import polars as pl

    if cells.null_count() == len(cells):
        return None
    for pattern in _USUAL:
        found = cells.to_frame().select(_parsed(pl.first(), pattern, strict=False)).to_series()
        if found.null_count() == cells.null_count():
            return pattern
    return None


def spellings(
    rows: pl.LazyFrame, columns: tuple[str, ...], wanted: Iterable[Column | Field]
) -> dict[str, str]:
    """Return the pattern of each column of moments that its first cells in ``rows``, cells as text, all fit."""
    present = origins(columns)
    names = [one.name for one in wanted if one.type == TIMESTAMP and one.name in present]
    cells = (
        rows.head(_SAMPLE_ROWS).select(text(name, columns).alias(name) for name in names).collect()
    )
    return {column.name: pattern for column in cells if (pattern := spelling_of(column))}


def _refused(cell: pl.Expr) -> pl.Expr:
    """Return text that is NULL wherever ``cell`` is; elsewhere the query raises."""
    import polars as pl

    return pl.concat_str(pl.lit("no number: "), cell).cast(pl.Int8).cast(pl.String)


def _parsed(cell: pl.Expr, pattern: str, *, strict: bool) -> pl.Expr:
    return cell.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=strict)
