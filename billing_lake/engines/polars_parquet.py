"""Parquet report files: their columns by name, turned into the types that the lake gives them.

A provider's Parquet has types of its own, and they change from month to month: money is a double here and text there. What
can become the lake's type without a guess does, every cell of it or none; anything else is a fault with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from billing_lake.aws.errors import credentials_error
from billing_lake.domain.errors import BadValueError, ReportFileError, UnreadableFileError
from billing_lake.domain.periods import bounds
from billing_lake.domain.text_values import fits
from billing_lake.domain.types import (
    DECIMAL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    STRING,
    TIMESTAMP,
    Decimal,
    Map,
    Type,
)
from billing_lake.engines.parquet_keys import refuse_repeated_keys
from billing_lake.engines.polars_access import error_text
from billing_lake.engines.polars_doubles import decimal_of
from billing_lake.engines.polars_maps import maps
from billing_lake.engines.polars_nested import json_text
from billing_lake.engines.polars_parsing import decimal, filled, moment
from billing_lake.engines.polars_rounding import long_doubles
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.schemas import Column, Field
    from billing_lake.domain.sources import SourceFile
    from billing_lake.engines.polars_access import Access

_TEXTS = Map(STRING, STRING)


@dataclass(frozen=True)
class ParquetReport:
    """One Parquet report file: its rows, and the types that its footer states.

    Attributes:
        file: The file.
        rows: Its rows.
        types: Polars type of each of its columns.
    """

    file: SourceFile
    rows: pl.LazyFrame
    types: Mapping[str, pl.DataType]

    @property
    def names(self) -> set[str]:
        """Names of the columns that it has values for."""
        return {*self.types, *(one.column for one in self.file.lifted)}

    def keyed(self, columns: Iterable[Column | Field]) -> dict[int, str]:
        """Return those of ``columns`` that have maps in them, or become maps, by their place in the file."""
        wanted = {one.name: one.type for one in columns}
        return {
            place: name
            for place, (name, found) in enumerate(self.types.items())
            if name in wanted
            and (has_maps(found) or (isinstance(wanted[name], Map) and _has_keys(found)))
        }

    def column(self, name: str, type_: Type, *, strict: bool = True) -> pl.Expr:
        """Return the column ``name`` as the type ``type_`` of the lake; NULL where the file lacks it.

        Where a cell does not fit, the query raises, or yields NULL unless ``strict``.

        Raises:
            BadValueError: No cell of the file's type can become one.
        """
        import polars as pl

        lifted = self.file.lifted_as(name)
        if lifted is not None:
            entries = self.column(lifted.map, _TEXTS, strict=strict)
            return entries.map.get(pl.lit(lifted.key)).alias(name)
        found = self.types.get(name, pl.Null())
        wanted = polars_type(type_)
        cell = pl.col(name) if name in self.types else pl.lit(None)
        if found == wanted:
            return cell.alias(name)
        if found == pl.Null():
            return cell.cast(wanted).alias(name)
        value = _converted(cell, found, type_, strict=strict)
        if value is None:
            what = f"A column of the type {found} cannot become {type_}"
            raise BadValueError(what, file=self.file.name, column=name)
        return value.alias(name)

    def to_round(self, name: str) -> pl.Expr | None:
        """Return those numbers, as the text that `column` reads them from, that may have more decimals than a table keeps.

        None where all have few: they are no text and no floating-point ones.
        """
        import polars as pl

        found, cell = self.types.get(name, pl.Null()), pl.col(name)
        if found == pl.String():
            return filled(cell)
        return long_doubles(cell) if found.is_float() else None

    def check(self, types: Mapping[str, Type]) -> None:
        """Look at every cell of the columns ``types``.

        Raises:
            ReportFileError: The first that is none of its column's type, or that the file is damaged.
        """
        import polars as pl

        for name in types:
            if name not in self.types:
                continue
            cell = filled(pl.col(name)) if self.types[name] == pl.String() else pl.col(name)
            if self.types[name] == pl.String() and isinstance(types[name], Map):
                lost = ~cell.map_elements(partial(fits, type_=types[name]), pl.Boolean)
            else:
                lost = self.column(name, types[name], strict=False).is_null() & cell.is_not_null()
            with readable(self.file):
                wrong = self.rows.filter(lost).select(name).head(1).collect(engine="streaming")
            if wrong.height:
                what = f"The value is no {types[name]}"
                value = str(wrong.item())
                raise BadValueError(what, file=self.file.name, column=name, value=value)


def open_reports(
    files: Sequence[SourceFile], access: Access, columns: Sequence[Column | Field] = ()
) -> list[ParquetReport]:
    """Read the footers of Parquet report files.

    Args:
        files: The files.
        access: Reads them.
        columns: Those of which the keys of maps are looked at.

    Raises:
        ReportFileError: A file is missing or no Parquet.
        BadValueError: A map has a key twice.
    """
    reports = []
    for file in files:
        with readable(file):
            rows = access.scan_parquet(file.uri)
            types = dict(rows.collect_schema())
        names = file.renamed([*types])
        rows = rows.rename(names) if file.columns else rows
        report = ParquetReport(file, rows, {names[own]: types[own] for own in types})
        if keyed := report.keyed(columns):
            with readable(file):
                refuse_repeated_keys(file, keyed, access)
        reports.append(_rows_to_read(report))
    return reports


def _rows_to_read(report: ParquetReport) -> ParquetReport:
    """Return ``report`` with the rows that are read: of a file of several months, those of one."""
    import polars as pl

    only = report.file.only
    if only is None:
        return report
    start, end = map(pl.lit, bounds(only.period))
    period = report.column(only.column, TIMESTAMP)
    return replace(report, rows=report.rows.filter(period.is_between(start, end, closed="left")))


@contextmanager
def readable(file: SourceFile) -> Iterator[None]:
    """Name ``file`` in what Polars says of it.

    Raises:
        ReportFileError: It is missing, damaged, or no Parquet.
    """
    import polars as pl

    try:
        yield
    except OSError as error:
        what = f"The file cannot be read: {error_text(error)}"
        raise credentials_error(error, error_text(error)) or UnreadableFileError(
            what, file=file.name
        ) from error
    except pl.exceptions.PolarsError as error:
        what = f"The file is damaged, or no Parquet: {error_text(error)}"
        raise ReportFileError(what, file=file.name) from error


def _converted(cell: pl.Expr, found: pl.DataType, type_: Type, *, strict: bool) -> pl.Expr | None:
    """Return ``cell`` as ``type_``, or None where nothing says how."""
    wanted = polars_type(type_)
    if found == wanted:
        return cell
    if isinstance(type_, Map):
        return _map(cell, found, type_, strict=strict)
    if isinstance(type_, Decimal):
        return _number(cell, found, type_, strict=strict)
    if type_ == TIMESTAMP:
        return _moment(cell, found, strict=strict)
    if type_ == STRING:
        return _text(cell, found, strict=strict)
    integer, floating = type_ in (INT, LONG), type_ in (FLOAT, DOUBLE)
    fits = (integer and found.is_integer()) or (floating and found.is_float())
    return cell.cast(wanted, strict=strict) if fits else None


def _number(cell: pl.Expr, found: pl.DataType, type_: Decimal, *, strict: bool) -> pl.Expr | None:
    import polars as pl

    if found == pl.String():
        return decimal(filled(cell), type_, strict=strict)
    if found.is_float():
        return decimal_of(cell, type_, strict=strict)
    return decimal(cell, type_, strict=strict) if found.is_numeric() else None


def _moment(cell: pl.Expr, found: pl.DataType, *, strict: bool) -> pl.Expr | None:
    import polars as pl

    if found == pl.String():
        return moment(filled(cell), strict=strict)
    # One without a zone is UTC, as everything in a billing export.
    fits = found in (pl.Date, pl.Datetime)
    return cell.cast(polars_type(TIMESTAMP), strict=strict) if fits else None


def _text(cell: pl.Expr, found: pl.DataType, *, strict: bool) -> pl.Expr | None:
    """Return what has one spelling as text: every engine's own would be another one for fractions and moments."""
    import polars as pl

    if found.is_float() or found.is_decimal():
        number = _number(cell, found, DECIMAL, strict=strict)
        return None if number is None else _shortest(number.cast(pl.String))
    if found == pl.Datetime:
        if cast("pl.Datetime", found).time_zone:
            cell = cell.dt.convert_time_zone("UTC")
        return pl.concat_str(_shortest(cell.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")), pl.lit("Z"))
    if found.is_nested():
        return json_text(cell, found, partial(_spelled, strict=strict))
    fits = found.is_integer() or found in (pl.Boolean, pl.Date, pl.Categorical, pl.Enum)
    return cell.cast(pl.String, strict=strict) if fits else None


def _spelled(cell: pl.Expr, found: pl.DataType, *, strict: bool) -> pl.Expr | None:
    import polars as pl

    return cell if found == pl.String() else _text(cell, found, strict=strict)


def _shortest(text: pl.Expr) -> pl.Expr:
    """Return a number with a point, as text, without the zeros at its end that say nothing."""
    return text.str.strip_chars_end("0").str.strip_chars_end(".")


def has_maps(found: object) -> bool:
    """Say whether a column holds maps, alone or within something else."""
    import polars as pl

    if isinstance(found, pl.Map):
        return True
    if isinstance(found, pl.Struct):
        return any(map(has_maps, dict(found).values()))
    return isinstance(found, pl.List) and has_maps(found.inner)


def _has_keys(found: pl.DataType) -> bool:
    """Say whether a column holds maps, or lists of keys and values."""
    import polars as pl

    if isinstance(found, pl.List) and isinstance(found.inner, pl.Struct):
        return [*dict(found.inner)] == ["key", "value"]
    return isinstance(found, pl.Map)


def _map(cell: pl.Expr, found: pl.DataType, type_: Map, *, strict: bool) -> pl.Expr | None:
    """Return the entries of ``cell``, a map or what older files write for one: a list of pairs."""
    import polars as pl

    if found == pl.String():
        return maps(filled(cell))
    if not _has_keys(found):
        return None
    own = (
        {"key": found.key, "value": found.value}
        if isinstance(found, pl.Map)
        else dict(cast("pl.Struct", cast("pl.List", found).inner))
    )
    parts = []
    for part, wanted in (("key", type_.key), ("value", type_.value)):
        entry = pl.element().struct.field(part)
        value = _converted(entry, cast("pl.DataType", own[part]), wanted, strict=strict)
        if value is None:
            return None
        parts.append(value.alias(part))
    listed = cell.cast(pl.List(pl.Struct(own)))
    return listed.list.eval(pl.struct(*parts)).cast(polars_type(type_))
