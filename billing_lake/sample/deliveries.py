"""One delivery in storage: which keys it has in each layout, in which order they appear, and what is left behind.

Data files come first and the manifest last, as AWS does it: whoever sees a manifest finds the files it lists.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING
from zlib import crc32

import polars as pl

from billing_lake.sample import columns, lines, meters
from billing_lake.sample.catalogue import PAYER
from billing_lake.sample.commitments import MONEY_SCALE, Ledger
from billing_lake.sample.csv_text import record
from billing_lake.sample.files import report_writer, write_manifest
from billing_lake.sample.monthly_charges import closing_rows, with_ids
from billing_lake.sample.spec import SampleDelivery, month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from billing_lake.sample.files import Note
    from billing_lake.sample.spec import Month, SampleSpec

_EXTRA_SHARE = 0.6
_PADDING_SHARE = 0.08
_CLOSING_SHARE = 4
"""Closing rows are at most one row in so many, and commitments need all of them."""


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """Where a delivery goes: its report files, its manifests in the order they are written, files it takes away."""

    files: tuple[Path, ...]
    manifests: tuple[Path, ...]
    stale: tuple[Path, ...] = ()


def write(
    root: Path,
    period: str,
    spec: SampleSpec,
    *,
    restatement: int,
    extra_tags: Sequence[str],
    progress: Callable[[int], None] | None,
    note: Note,
) -> SampleDelivery:
    """Write one delivery; see `billing_lake.sample.write_delivery`."""
    if restatement < 0:
        msg = f"restatement is {restatement}, but must be at least 0"
        raise ValueError(msg)
    month = month_of(period)
    extra = tuple(map(columns.tag_column, extra_tags))
    padding = columns.padding(spec.columns)
    header = columns.header((*extra, *padding))
    version = _version(month, spec.seed, restatement)
    root.mkdir(parents=True, exist_ok=True)
    keys = _keys(root, period, month, spec, version, max(1, spec.chunks - (restatement > 0)))
    sums: Counter[str] = Counter()
    tags = {**dict.fromkeys(extra, _EXTRA_SHARE), **dict.fromkeys(padding, _PADDING_SHARE)}
    frames = _frames(spec, month, header, tags, restatement, sums)
    _write_files(keys.files, header, spec.rows, frames, progress, note)
    for path in keys.stale:
        path.unlink()
    for path in keys.manifests:
        write_manifest(
            path,
            period=period,
            report_keys=[file.relative_to(root).as_posix() for file in keys.files],
            columns=header,
            bucket=root.resolve().name,
            assembly_id=version,
            report=spec.report,
            account=PAYER,
            note=note,
        )
    return SampleDelivery(
        period=period,
        version=version,
        files=keys.files,
        manifest=keys.manifests[-1] if keys.manifests else None,
        rows=spec.rows,
        totals={spec.currency: _totals(sums)} if sums else {},
    )


def _totals(sums: Mapping[str, int]) -> dict[str, Decimal]:
    return {
        name: Decimal(f"{sums[column]}E-{MONEY_SCALE}")
        for column, name in columns.MONEY.items()
        if column in sums
    }


def _frames(
    spec: SampleSpec,
    month: Month,
    header: Sequence[str],
    tags: Mapping[str, float],
    restatement: int,
    sums: Counter[str],
) -> Iterator[pl.DataFrame]:
    """The delivery's rows as frames of CSV pieces; adds their money to `sums` on the way."""
    ledger = Ledger()
    delivery = _delivery_cells(spec, month, restatement)
    wanted = len(closing_rows(ledger, month, spec.rows, delivery))
    complete = spec.rows >= wanted * _CLOSING_SHARE
    closing = wanted if complete else spec.rows // _CLOSING_SHARE
    hourly = spec.rows - closing
    key = (spec.seed, month.start.year * 12 + month.start.month)
    ids = crc32(f"{key} {restatement}".encode())
    if hourly:
        hourly_meters = meters.build(
            spec.seed, header, delivery, tags, correction=_correction(restatement)
        )
        for block in lines.blocks(
            hourly_meters, key, month, hourly, ledger if complete else None, ids
        ):
            sums.update(block.sums)
            yield block.frame
    if closing:
        ends = closing_rows(ledger, month, spec.rows, delivery)[:closing]
        for row in ends:
            sums.update(row.money)
        cells = with_ids(ends, hourly, ids)
        yield pl.DataFrame({"row": [record(row.get(name, "") for name in header) for row in cells]})


def _delivery_cells(spec: SampleSpec, month: Month, restatement: int) -> dict[str, str]:
    return {
        "bill/InvoiceId": f"{1_800_000_000 + month.start.year * 12 + month.start.month}"
        if restatement
        else "",
        "bill/InvoicingEntity": "Amazon Web Services EMEA SARL",
        "bill/BillingEntity": "AWS",
        "bill/BillType": "Anniversary",
        "bill/PayerAccountId": PAYER,
        "bill/BillingPeriodStartDate": f"{month.start:%Y-%m-%dT%H:%M:%S.000Z}",
        "bill/BillingPeriodEndDate": f"{month.end:%Y-%m-%dT%H:%M:%S.000Z}",
        "lineItem/CurrencyCode": spec.currency,
        "lineItem/LegalEntity": "Amazon Web Services EMEA SARL",
        "pricing/currency": spec.currency,
    }


def _correction(restatement: int) -> int:
    """Percent of its list price at which the corrected service is billed: another one in each of 20 restatements."""
    return 100 - 4 * ((restatement - 1) % 20 + 1) if restatement else 100


def _version(month: Month, seed: int, restatement: int) -> str:
    """An assembly id: first while the month is open, then ever later after its end."""
    moment = month.end + timedelta(
        days=2 + restatement if restatement else -3, seconds=14_531 + seed * 61 % 3_600
    )
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _keys(
    root: Path, period: str, month: Month, spec: SampleSpec, version: str, chunks: int
) -> _Keys:
    base = root / spec.prefix
    numbers = [f"{number:05d}.csv.gz" for number in range(1, chunks + 1)]
    manifest = f"{spec.report}-Manifest.json"
    folder = base / spec.report / month.folder
    if spec.layout == "create-new":
        assembly = folder / version
        return _Keys(
            files=tuple(assembly / f"{spec.report}-{number}" for number in numbers),
            manifests=(assembly / manifest, folder / manifest),
        )
    if spec.layout == "overwrite":
        return _Keys(
            files=tuple(folder / f"{spec.report}-{number}" for number in numbers),
            manifests=(folder / manifest,),
        )
    stem = f"{spec.report}-report-{period}"
    files = tuple(base / f"{stem}-{number}" for number in numbers)
    # Nothing says which loose files belong together, so a restatement must not leave an old one among the new.
    return _Keys(
        files=files,
        manifests=(),
        stale=tuple(
            sorted(set(base.glob(f"{stem}-[0-9][0-9][0-9][0-9][0-9].csv.gz")) - set(files))
        ),
    )


def _write_files(
    paths: Sequence[Path],
    header: Sequence[str],
    rows: int,
    frames: Iterable[pl.DataFrame],
    progress: Callable[[int], None] | None,
    note: Note,
) -> None:
    edges = [number * rows // len(paths) for number in range(len(paths) + 1)]
    waiting = iter(frames)
    for path, first, last in zip(paths, edges, edges[1:], strict=False):
        with report_writer(path, note) as stream:
            stream.write(f"{record(header)}\n".encode())
            missing = last - first
            while missing:
                frame = next(waiting)
                piece, rest = frame.head(missing), frame.slice(missing)
                waiting = chain((rest,), waiting) if rest.height else waiting
                stream.write(_csv(piece))
                missing -= piece.height
                if progress is not None:
                    progress(piece.height)


def _csv(pieces: pl.DataFrame) -> memoryview:
    target = BytesIO()
    pieces.write_csv(target, include_header=False, quote_style="never")
    return target.getbuffer()
