"""The content of report files and of a table's files: a hash for each cell, of the value that it has in the table's type.

Decimals are hashed as digits of one scale, moments as microseconds in UTC, text as it is, NULL apart from empty text. Reports are
read as the profile reads them, in blocks, several files at a time; a table's files row group by row group. So memory is bounded.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.content import Content, merge_content
from billing_lake.domain.text_values import unexplained
from billing_lake.engines.blocks import hashed_blocks
from billing_lake.engines.polars_access import error_text, other_nulls, without_quoted_empty
from billing_lake.engines.polars_parquet import open_reports
from billing_lake.engines.polars_parsing import cell_names, rows_to_read, spellings, typed

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.schemas import Column
    from billing_lake.domain.sources import Source, SourceFile
    from billing_lake.engines.blocks import Block
    from billing_lake.engines.polars_access import Access


def content_of_reports(source: Source, columns: Sequence[Column], access: Access) -> Content:
    """Hash the ``columns`` of report files, which lack some of them.

    Raises:
        ReportFileError: A file is missing or damaged, or holds a value that does not fit.
        DeliveryChangedError: A file of this machine has other bytes than its digest says.
    """
    if source.container == "parquet":
        return merge_content(_content_of_parquet(source, columns, access))
    workers = min(2 * (os.cpu_count() or 1), max(1, len(source.files)))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return merge_content(
            pool.map(lambda file: _content_of_file(file, columns, access, source), source.files)
        )


def hashed(rows: pl.LazyFrame, columns: Sequence[Column], **how: Any) -> Content:
    """Return the content of ``rows``, which have ``columns`` in their types."""
    import polars as pl

    cells = rows.select(pl.col(one.name).hash(0).alias(str(n)) for n, one in enumerate(columns))
    # The same value in another column of a row makes another row, so each column has a seed of its own here.
    places = [pl.col(str(n)).hash(zlib.crc32(one.name.encode())) for n, one in enumerate(columns)]
    whole = pl.sum_horizontal(places).hash(0).sum()
    sums = cells.select(pl.all().sum(), pl.len().alias("rows"), whole.alias("whole"))
    *each, count, row_sum = sums.collect(**how).row(0)
    names = (one.name for one in columns)
    return Content(rows=count, columns=dict(zip(names, each, strict=True)), whole=row_sum)


def _content_of_file(
    file: SourceFile, columns: Sequence[Column], access: Access, source: Source
) -> Content:
    blocks, digest = hashed_blocks(access.files, file, source.compression)
    found = merge_content(_content_of_blocks(blocks, file, columns, source.nulls))
    if file.digest:
        file.require_digest(digest())
    return found


def _content_of_blocks(
    blocks: Iterator[Block], file: SourceFile, columns: Sequence[Column], nulls: Collection[str]
) -> Iterator[Content]:
    import polars as pl

    schema = dict.fromkeys(cell_names(file.columns), pl.String())
    known: dict[str, str] | None = None
    for block in blocks:
        rows = pl.scan_csv(
            block.data, has_header=False, schema=schema, null_values=other_nulls(nulls)
        )
        rows = rows_to_read(without_quoted_empty(rows, nulls), file)
        try:
            try:
                known = spellings(rows, file.columns, columns) if known is None else known
                yield _content_of_rows(rows, file, columns, known)
            except pl.exceptions.PolarsError:
                yield _content_of_rows(rows, file, columns, None)
        except pl.exceptions.PolarsError as error:
            raise unexplained(file.name, str(error)) from error


def _content_of_rows(
    rows: pl.LazyFrame,
    file: SourceFile,
    columns: Sequence[Column],
    known: dict[str, str] | None,
) -> Content:
    import polars as pl

    cells = (
        pl.lit(file.name).alias(one.name) if one.name == SOURCE_FILE else typed(one, file, known)
        for one in columns
    )
    return hashed(rows.select(cells), columns, engine="in-memory")


def _content_of_parquet(
    source: Source, columns: Sequence[Column], access: Access
) -> Iterator[Content]:
    import polars as pl

    for report in open_reports(source.files, access):
        cells = (
            pl.lit(report.file.name).alias(one.name)
            if one.name == SOURCE_FILE
            else report.column(one.name, one.type)
            for one in columns
        )
        try:
            yield hashed(report.rows.select(cells), columns, engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unexplained(report.file.name, error_text(error)) from error
