"""The legacy Cost and Usage Report: gzipped CSV files, a manifest beside them, and AWS's folders."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from io import BytesIO
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from billing_lake.domain.types import STRING
from billing_lake.formats.legacy_cur.columns import type_of
from billing_lake.formats.legacy_cur.naming import athena_name, name_of
from billing_lake.sample.canonical import MONEY_SCALE
from billing_lake.sample.catalogue import PAYER
from billing_lake.sample.renderers.containers import report_writer
from billing_lake.sample.renderers.files import appear_when_complete, csv_line
from billing_lake.sample.renderers.legacy_columns import (
    canonical_name,
    header_cells,
    manifest_columns,
    padding_tags,
)
from billing_lake.sample.text import ids_text, numbers_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from billing_lake.domain.types import Type
    from billing_lake.sample.canonical import Attributes, RowBlock
    from billing_lake.sample.random_values import Ints
    from billing_lake.sample.renderers.files import Note
    from billing_lake.sample.spec import SampleMonth, SampleSpec

_PACKED: Mapping[str, dict[str, Any]] = {
    "csv.gz": {"compression": "GZIP"},
    "csv.zip": {"compression": "ZIP"},
    "csv": {"compression": None},
    "snappy.parquet": {"compression": "Parquet", "contentType": "Parquet"},
}
"""What the manifest says of each container."""

_EXTRA_SHARE = 0.6
_PADDING_SHARE = 0.08


class LegacyCur:
    """Renders one delivery as a legacy Cost and Usage Report.

    Args:
        root: The folder that stands for the bucket.
        month: The billing period.
        spec: The export.
        delivered: When the delivery was made; its assembly id says so.
        restatement: 0 for the month's first delivery; a restatement has one report file fewer.
        extra_tags: Further tag columns, as `user:Project`.
    """

    def __init__(
        self,
        root: Path,
        month: SampleMonth,
        spec: SampleSpec,
        delivered: datetime,
        restatement: int,
        extra_tags: Sequence[str],
    ) -> None:
        extra = [tag.removeprefix("resourceTags/") for tag in extra_tags]
        widening = padding_tags(spec.columns)
        self.tags = {
            **dict.fromkeys(extra, _EXTRA_SHARE),
            **dict.fromkeys(widening, _PADDING_SHARE),
        }
        self._root, self._month, self._spec = root, month, spec
        self._delivered = delivered
        self._columns = self._select((*extra, *widening))
        self._identify()
        self._times = _times(month)
        self._stale: tuple[Path, ...] = ()
        self._surplus: tuple[Path, ...] = ()
        self._last: tuple[Sequence[Attributes], Collection[str], pl.DataFrame] | None = None
        self._place(max(1, spec.chunks - (restatement > 0)))

    def _identify(self) -> None:
        """Give the delivery its id."""
        self.version = f"{self._delivered:%Y%m%dT%H%M%SZ}"

    def _select(self, tags: Iterable[str]) -> dict[str, str]:
        """Name the columns of the report, and the canonical one that each shows; ``tags`` are further ones."""
        return {column: canonical_name(column) for column in header_cells(tags)}

    def _place(self, chunks: int) -> None:
        """Choose the paths of the report files and, in the order in which they are written, of the manifests."""
        spec, month = self._spec, self._month
        base = self._root / spec.prefix
        numbers = [f"{number:05d}.{spec.container}" for number in range(1, chunks + 1)]
        if spec.layout == "loose":
            stem = f"{spec.report}-report-{month.start:%Y-%m}"
            self.files = [base / f"{stem}-{number}" for number in numbers]
            self._manifests: list[Path] = []
            # Nothing says which loose files belong together, so a restatement must not leave an old one among the new.
            before = base.glob(f"{stem}-[0-9][0-9][0-9][0-9][0-9].{spec.container}")
            self._stale = tuple(sorted(set(before) - set(self.files)))
        else:
            self._place_export(numbers)

    def _place_export(self, numbers: list[str]) -> None:
        """Choose the paths of an export with manifests, whose files end with ``numbers``."""
        spec, month = self._spec, self._month
        base = self._root / spec.prefix
        folder = base / spec.report / f"{month.start:%Y%m%d}-{month.end:%Y%m%d}"
        if spec.layout == "athena":
            folder = (
                base
                / spec.report
                / spec.report
                / f"year={month.start.year}/month={month.start.month}"
            )
        own = folder / self.version if spec.layout == "create-new" else folder
        self.files = [own / f"{spec.report}-{number}" for number in numbers]
        self._manifests = [
            place / f"{spec.report}-Manifest.json" for place in dict.fromkeys((own, folder))
        ]

    @contextmanager
    def report(self, path: Path, note: Note) -> Iterator[Callable[[pl.DataFrame], None]]:
        """Open one report file for rendered rows; it appears under its name when all of them were added."""
        writer = report_writer(path, self._spec.container, self._columns, self._parquet_field, note)
        with writer as write:

            def add(pieces: pl.DataFrame) -> None:
                target = BytesIO()
                pieces.write_csv(target, include_header=False, quote_style="never")
                write(target.getbuffer())

            yield add

    def _parquet_field(self, column: str) -> tuple[str, Type]:
        """Return the name that a column has in Parquet, and its type in the lake."""
        name = name_of(column)
        return name, STRING if name.endswith("_rate") else type_of(name)

    def commit(self, note: Note) -> Path | None:
        """Take stale loose files away and write the manifests; return the one of the period."""
        for path in self._stale:
            path.unlink()
        self._put_surplus(note)
        content = self._manifest(self._root.resolve().name, self.files)
        for path in self._manifests:
            with appear_when_complete(path, note) as hidden:
                text = json.dumps(content, indent=2, ensure_ascii=False)
                hidden.write_text(text, encoding="utf-8", newline="\n")
        return self._manifests[-1] if self._manifests else None

    def _put_surplus(self, note: Note) -> None:
        """Do what the provider does with report files of the delivery before that this one has no more: legacy CUR leaves them."""

    def _manifest(self, bucket: str, files: Iterable[Path]) -> dict[str, Any]:
        """Say what the delivery consists of."""
        keys = [file.relative_to(self._root).as_posix() for file in files]
        content = manifest_values(
            self._month, self.version, self._spec.report, bucket, list(self._columns), keys
        )
        return {**content, **_PACKED[self._spec.container]}

    def totals(self, sums: Mapping[str, int]) -> dict[str, Decimal]:
        """Name sums of canonical money as the normalised columns are named."""
        return {
            athena_name(column): Decimal(f"{sums[name]}E-{MONEY_SCALE}")
            for column, name in self._columns.items()
            if name in sums
        }

    def render(self, block: RowBlock) -> pl.DataFrame:
        """Spell rows as pieces of CSV lines, which are joined by commas."""
        block = block.compact()
        hourly = self._hourly(block)
        pieces = self._pieces(block.attributes, hourly.keys())[block.meter]
        return pl.DataFrame(
            [
                hourly[name].alias(column) if name in hourly else pieces[column]
                for column, name in self._columns.items()
                if name in hourly or column in pieces.columns
            ]
        )

    def _hourly(self, block: RowBlock) -> dict[str, pl.Series]:
        """Spell the cells that change from hour to hour, by their canonical names."""
        return {
            "id": ids_text(block.serial, block.id_key),
            "quantity": numbers_text(block.quantity, block.scale),
            "normalized_quantity": numbers_where(
                block.quantity * block.factor, block.scale, block.factor > 0
            ),
            **{
                name: numbers_where(amounts.values, MONEY_SCALE, amounts.filled)
                for name, amounts in block.money.items()
            },
            **self._times[block.hour].to_dict(),
        }

    def _cells(self, attributes: Attributes) -> Attributes:
        """Spell the cells of a meter that do not change from hour to hour, by their canonical names."""
        return {
            "period_start": f"{self._month.start:%Y-%m-%dT%H:%M:%S.000Z}",
            "period_end": f"{self._month.end:%Y-%m-%dT%H:%M:%S.000Z}",
            **attributes,
        }

    def _pieces(self, attributes: Sequence[Attributes], hourly: Collection[str]) -> pl.DataFrame:
        """Render the cells that do not change from hour to hour: once per meter, neighbouring columns in one piece."""
        if self._last is None or self._last[0] is not attributes or self._last[1] != hourly:
            rows = [self._cells(meter) for meter in attributes]
            pieces = {}
            for changes, run in groupby(self._columns.items(), lambda one: one[1] in hourly):
                columns, names = zip(*run, strict=True)
                if not changes:
                    pieces[columns[0]] = [
                        csv_line([cells.get(name, "") for name in names]) for cells in rows
                    ]
            self._last = attributes, frozenset(hourly), pl.DataFrame(pieces)
        return self._last[2]


def numbers_where(values: Ints, scale: Ints | int, has: NDArray[np.bool_]) -> pl.Series:
    """Spell numbers where there is a value; only those are worked on."""
    if has.all():
        return numbers_text(values, scale)
    where = np.flatnonzero(has)
    texts = numbers_text(values[where], scale if isinstance(scale, int) else scale[where])
    place = np.cumsum(has) - 1
    return texts.gather(pl.Series(place).set(pl.Series(~has), None))


@lru_cache(maxsize=4)
def _times(month: SampleMonth) -> pl.DataFrame:
    """Spell every hour of the month and, last, the whole of it."""
    marks = [month.start + timedelta(hours=hour) for hour in range(month.hours + 1)]
    spans = [*pairwise(marks), (month.start, month.end)]
    return pl.DataFrame(
        {
            "interval": [
                f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}" for start, end in spans
            ],
            "start": [f"{start:%Y-%m-%dT%H:%M:%S.000Z}" for start, _ in spans],
            "end": [f"{end:%Y-%m-%dT%H:%M:%S.000Z}" for _, end in spans],
        }
    )


def manifest_values(
    month: SampleMonth,
    version: str,
    report: str,
    bucket: str,
    columns: Sequence[str],
    keys: Sequence[str],
) -> dict[str, Any]:
    """Say what a delivery consists of, in the fields of a legacy manifest."""
    return {
        "assemblyId": version,
        "account": PAYER,
        "columns": manifest_columns(columns),
        "charset": "UTF-8",
        "compression": "GZIP",
        "contentType": "text/csv",
        "reportId": "5d2f0a3c9b7e4f6188aa0c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f7",
        "reportName": report,
        "billingPeriod": {
            "start": f"{month.start:%Y%m%dT%H%M%S.000Z}",
            "end": f"{month.end:%Y%m%dT%H%M%S.000Z}",
        },
        "bucket": bucket,
        "reportKeys": list(keys),
        "additionalArtifactKeys": [],
    }
