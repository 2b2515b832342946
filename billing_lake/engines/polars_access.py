"""Lets Polars get at files, here and in S3, and puts its refusals into the words of the lake.

Polars reads `s3://` by itself, gzipped CSV too, streamed and without a copy on disk; it only has to be told which S3. What
it writes goes through `Files.create`, for the reason given there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.engines.blocks import zip_as_gzip
from billing_lake.engines.polars_parsing import filled, rows_to_read
from billing_lake.files.base import Files
from billing_lake.files.local import LocalFiles

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.packing import Compression
    from billing_lake.domain.sources import SourceFile

_ANSWER = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
_S3 = "object-store error: "


@dataclass(frozen=True)
class Access:
    """Files for this process and for Polars.

    Attributes:
        files: Files by URI.
        options: Polars' `storage_options` for the same S3; None where there is none.
    """

    files: Files = field(default_factory=LocalFiles)
    options: Mapping[str, str] | None = None

    def scan_csv(
        self,
        file: SourceFile,
        names: Sequence[str],
        nulls: Collection[str],
        compression: Compression,
    ) -> pl.LazyFrame:
        """Scan the rows of a CSV file that are read, all cells as text, by the names given; the texts ``nulls`` are NULL.

        Polars reads no ZIP: one is held in memory, packed as it is, while it is scanned.

        Raises:
            ReportFileError: A ZIP cannot be read, or is none of one CSV file.
        """
        import polars as pl

        zipped = compression == "zip"
        rows = pl.scan_csv(
            zip_as_gzip(self.files, file.uri, file.name) if zipped else file.uri,
            has_header=False,
            skip_rows=1,
            schema=dict.fromkeys(names, pl.String()),
            null_values=other_nulls(nulls),
            glob=False,
            storage_options=self._options,
        )
        return rows_to_read(without_quoted_empty(rows, nulls), file)

    def scan_parquet(self, uris: str | list[str], **settings: Any) -> pl.LazyFrame:
        """Scan Parquet files; names and folders say nothing about their content."""
        import polars as pl

        return pl.scan_parquet(
            uris,
            hive_partitioning=False,
            glob=False,
            storage_options=self._options,
            **settings,
        )

    @property
    def _options(self) -> dict[str, Any] | None:
        return None if self.options is None else dict(self.options)


def other_nulls(nulls: Collection[str]) -> list[str] | None:
    """Return the texts that mean NULL beside an empty cell, which Polars takes for NULL anyway; None where there are none."""
    return [text for text in nulls if text not in ("", QUOTED_EMPTY)] or None


def without_quoted_empty(rows: pl.LazyFrame, nulls: Collection[str]) -> pl.LazyFrame:
    """Return ``rows`` of text with NULL for empty text, where ``nulls`` say so: Polars tells the two apart by quotes."""
    import polars as pl

    return rows.with_columns(filled(pl.all())) if QUOTED_EMPTY in nulls else rows


def is_s3_error(error: Exception) -> bool:
    """Say whether Polars failed because S3 did not give what it asked for."""
    return str(error).startswith(_S3)


def error_text(error: Exception) -> str:
    """Return what Polars says in one line, S3's own words included."""
    text = str(error).removeprefix(_S3)
    line = text.splitlines()[0] if text else "no reason"
    answer = _ANSWER.search(text)
    if answer is None:
        return line
    return f"{line.partition(': <?xml')[0]}: {answer[1]}: {answer[2]}"
