"""Parquet report files: their columns by name, turned into the types that the lake gives them.

A provider's Parquet has types of its own, and they change from month to month: money is a double here and text there. What
can become the lake's type without a guess does, every cell of it or none; anything else is a fault with a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.aws.errors import credentials_error
from billing_lake.domain.errors import BadValueError, ReportFileError, UnreadableFileError
from billing_lake.domain.types import DOUBLE, FLOAT, INT, LONG, STRING, TIMESTAMP, Decimal, Type
from billing_lake.engines.polars_access import error_text
from billing_lake.engines.polars_parsing import decimal, filled, moment
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.sources import SourceFile
    from billing_lake.engines.polars_access import Access


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

    def column(self, name: str, type_: Type, *, strict: bool = True) -> pl.Expr:
        """Return the column ``name`` as the type ``type_`` of the lake; NULL where the file lacks it.

        Where a cell does not fit, the query raises, or yields NULL unless ``strict``.

        Raises:
            BadValueError: No cell of the file's type can become one.
        """
        import polars as pl

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

    def text(self, name: str) -> pl.Expr | None:
        """Return numbers as the text that `column` reads them from; None where they are no text and no floating-point ones."""
        import polars as pl

        found = self.types.get(name, pl.Null())
        if found == pl.String():
            return filled(pl.col(name))
        return pl.col(name).cast(pl.String) if found.is_float() else None

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
            lost = self.column(name, types[name], strict=False).is_null() & cell.is_not_null()
            with _readable(self.file):
                wrong = self.rows.filter(lost).select(name).head(1).collect(engine="streaming")
            if wrong.height:
                what = f"The value is no {types[name]}"
                value = str(wrong.item())
                raise BadValueError(what, file=self.file.name, column=name, value=value)


def open_reports(files: Sequence[SourceFile], access: Access) -> list[ParquetReport]:
    """Read the footers of Parquet report files.

    Raises:
        ReportFileError: A file is missing or no Parquet.
    """
    reports = []
    for file in files:
        with _readable(file):
            rows = access.scan_parquet(file.uri)
            reports.append(ParquetReport(file, rows, dict(rows.collect_schema())))
    return reports


@contextmanager
def _readable(file: SourceFile) -> Iterator[None]:
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
    import polars as pl

    wanted = polars_type(type_)
    if type_ == TIMESTAMP:
        if found == pl.String():
            return moment(filled(cell), strict=strict)
        # One without a zone is UTC, as everything in a billing export.
        return cell.cast(wanted, strict=strict) if found in (pl.Date, pl.Datetime) else None
    if isinstance(type_, Decimal):
        if found == pl.String():
            return decimal(filled(cell), type_, strict=strict)
        # A double stands for the number that its shortest text says; casting it would bring its binary tail along.
        text = cell.cast(pl.String) if found.is_float() else None
        if text is not None:
            return decimal(text, type_, strict=strict)
        return decimal(cell, type_, strict=strict) if found.is_numeric() else None
    fits: dict[Type, bool] = {
        STRING: found.is_integer() or found in (pl.Boolean, pl.Date, pl.Categorical, pl.Enum),
        INT: found.is_integer(),
        LONG: found.is_integer(),
        FLOAT: found.is_float(),
        DOUBLE: found.is_float(),
    }
    return cell.cast(wanted, strict=strict) if fits.get(type_, False) else None
