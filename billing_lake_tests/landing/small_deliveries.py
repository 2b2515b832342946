"""Small deliveries in a folder, for tests of the storage."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from billing_lake.domain.periods import next_period
from billing_lake.formats.legacy_cur.layouts import folder_of

HEADER = (
    "identity/LineItemId",
    "bill/BillingPeriodStartDate",
    "lineItem/UsageStartDate",
    "lineItem/CurrencyCode",
    "lineItem/UnblendedCost",
)


def row(period: str = "2025-03", line_item: str = "i") -> tuple[str, ...]:
    return (line_item, f"{period}-01T00:00:00Z", f"{period}-02T00:00:00Z", "USD", "1.5")


def csv_gz(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def deliver(
    root: Path,
    period: str = "2025-03",
    *,
    version: str = "v1",
    chunks: int = 2,
    assembly_folder: bool = True,
    **changes: Any,
) -> list[Path]:
    """Write a delivery of the report `billing/cur` and return its report files, the manifest last."""
    folder = root / "billing/cur" / folder_of(period)
    data = folder / version if assembly_folder else folder
    files = [data / f"cur-{n:05d}.csv.gz" for n in range(1, chunks + 1)]
    for file in files:
        put(file, csv_gz([row(period)]))
    start, end = (month.replace("-", "") for month in (period, next_period(period)))
    manifest = {
        "assemblyId": version,
        "bucket": root.name,
        "billingPeriod": {"start": f"{start}01T000000.000Z", "end": f"{end}01T000000.000Z"},
        "reportKeys": [str(file.relative_to(root)) for file in files],
        "columns": [
            dict(zip(("category", "name"), cell.split("/"), strict=True)) for cell in HEADER
        ],
        **changes,
    }
    return [*files, put(folder / "cur-Manifest.json", json.dumps(manifest).encode())]
