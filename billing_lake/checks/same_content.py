"""The check `same_content`: every cell of a table against the raw files, by hashes that do not depend on the order of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.checks.evaluations import Verdict
from billing_lake.checks.run_readings import RunReader
from billing_lake.domain.column_names import LAKE_COLUMNS, SOURCE_FILE
from billing_lake.domain.content import Content, other_columns
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import DeliveryChangedError, ReportFileError, counted, in_words
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Reader

SAME_CONTENT = "same_content"

DESCRIPTION = (
    "Every cell of every column, and every row as a whole, is what stands in the raw files, compared by hashes of the values, in "
    "whatever order. It names columns that hold something else, and those that have changed places. Loads of deliveries beyond the "
    "export's `same_content_up_to_mb` leave it out: run it by itself for those."
)

_NAMED_COLUMNS = 5
_KEPT_DELIVERIES = 256
"""Raw contents that are remembered in a process, some 10 kB each: the tables of a run are compared with the same one."""


def compare_content(reader: RunReader, period: str, crawl: Crawl, table: Source) -> Verdict:
    """Compare the files of a table's billing period with the raw files of ``crawl``.

    Raises:
        TableError: A table's file cannot be read.
    """
    columns = tuple(
        one for one in table.columns if one.name == SOURCE_FILE or one.name not in LAKE_COLUMNS
    )
    try:
        expected = _raw_content(_Raw(crawl.delivery.identity, crawl.pinned, columns, reader.reader))
    except (DeliveryChangedError, ReportFileError) as error:
        text = f"The raw files cannot be read any more as they were loaded, so nothing was compared. {error}"
        return not_compared(period, text)
    reading = reader.content(table, columns)
    lacking = [one.name for one in crawl.source.columns if table.type_of(one.name) is None]
    verdict = _verdict(period, expected, reading.figures, lacking)
    shared = reader.shared(reading)
    if not shared:
        return verdict
    return replace(verdict, metadata={**verdict.metadata, "shared_reading": shared})


def not_compared(period: str, text: str) -> Verdict:
    """Return the verdict that says why nothing was compared."""
    return Verdict(
        passed=False, description=f"{period}: {text}", severity=dg.AssetCheckSeverity.WARN
    )


@dataclass(frozen=True)
class _Raw:
    """The raw files of a delivery, and the columns of a table that is compared with them."""

    identity: str
    source: Source
    columns: tuple[Column, ...]
    reader: Reader = field(compare=False)


@lru_cache(maxsize=_KEPT_DELIVERIES)
def _raw_content(raw: _Raw) -> Content:
    return raw.reader.content(raw.source, raw.columns)


def _verdict(period: str, expected: Content, found: Content, lacking: Sequence[str]) -> Verdict:
    metadata: dict[str, object] = {
        "rows_expected": expected.rows,
        "rows_found": found.rows,
        "columns_compared": len(expected.columns),
    }
    rows = [
        *((name, "is not in the table") for name in lacking),
        *(
            (name, "holds other cells" if other is None else f"holds the cells of {other}")
            for name, other in other_columns(expected, found)
        ),
    ]
    if not rows and (expected.rows, expected.whole) == (found.rows, found.whole):
        text = f"Every cell of {counted(expected.rows, 'row')} and {counted(len(expected.columns), 'column')} is that of the raw files"
        return Verdict(passed=True, description=f"{period}: {text}", metadata=metadata)
    if expected.rows != found.rows:
        text = f"there are {found.rows:,} rows instead of {expected.rows:,}"
    elif rows:
        text = f"{len(rows)} of {counted(len(expected.columns), 'column')} {'differs' if len(rows) == 1 else 'differ'}"
    else:
        text = "every column holds the right cells, but some have changed places between rows"
    if rows:
        metadata["differences"] = markdown.table(("column", "what is there"), rows)
        text = (
            f"{text}: {in_words((f'{name} {what}' for name, what in rows), _NAMED_COLUMNS, '; ')}"
        )
    return Verdict(
        passed=False,
        description=(
            f"{period}: the table does not hold what was delivered: {text}. Load the period again; if this stays, ask what else "
            "writes to the table"
        ),
        metadata=metadata,
    )
