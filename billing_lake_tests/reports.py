"""Report files and manifests of exact content, whatever a real report would never hold."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from isal import igzip

from billing_lake.sample.renderers.files import GZIP_LEVEL, csv_line
from billing_lake.sample.renderers.legacy_cur import manifest_values
from billing_lake.sample.spec import month_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_MINIMAL: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "line_item_id": (
            "identity/LineItemId",
            "w72jmrdnjbabcdabcdabcdabcdabcdabcdabcdabc3nz4igdxoq",
        ),
        "time_interval": ("identity/TimeInterval", "2025-03-01T00:00:00Z/2025-03-01T01:00:00Z"),
        "period_start": ("bill/BillingPeriodStartDate", "2025-03-01T00:00:00.000Z"),
        "period_end": ("bill/BillingPeriodEndDate", "2025-04-01T00:00:00.000Z"),
        "payer": ("bill/PayerAccountId", "004512345678"),
        "account": ("lineItem/UsageAccountId", "000123456789"),
        "type": ("lineItem/LineItemType", "Usage"),
        "start": ("lineItem/UsageStartDate", "2025-03-01T00:00:00.000Z"),
        "end": ("lineItem/UsageEndDate", "2025-03-01T01:00:00.000Z"),
        "product": ("lineItem/ProductCode", "AmazonS3"),
        "currency": ("lineItem/CurrencyCode", "USD"),
        "amount": ("lineItem/UsageAmount", "1.0"),
        "cost": ("lineItem/UnblendedCost", "0.25"),
    }
)

MINIMAL_HEADER: tuple[str, ...] = tuple(column for column, _ in _MINIMAL.values())
"""The raw headers that every legacy report has and a loader needs; the order of `minimal_row`."""


def minimal_row(**overrides: str) -> tuple[str, ...]:
    """Make a valid row under `MINIMAL_HEADER`, in 2025-03, with some cells replaced.

    Args:
        overrides: Cells by short name: `line_item_id`, `time_interval`, `period_start`, `period_end`, `payer`,
            `account`, `type`, `start`, `end`, `product`, `currency`, `amount`, `cost`.

    Raises:
        ValueError: if there is no cell of that name.
    """
    unknown = sorted(overrides.keys() - _MINIMAL.keys())
    if unknown:
        msg = f"a minimal row has no cell {', '.join(unknown)}; it has {', '.join(_MINIMAL)}"
        raise ValueError(msg)
    return tuple(overrides.get(name, value) for name, (_, value) in _MINIMAL.items())


def write_report(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    encoding: str = "utf-8",
    line_end: str = "\n",
    bom: bool = False,
) -> Path:
    """Write one `csv.gz` from an explicit header and rows; ragged rows are written as they are."""
    lines = "".join(f"{csv_line(cells)}{line_end}" for cells in (header, *rows))
    return write_bytes(path, b"\xef\xbb\xbf" * bom + lines.encode(encoding))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` gzipped, the same content always as the same bytes; for what `write_report` cannot spell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(igzip.compress(content, GZIP_LEVEL, mtime=0))
    return path


def write_manifest(
    path: Path,
    *,
    period: str,
    report_keys: Sequence[str],
    columns: Sequence[str] = MINIMAL_HEADER,
    **fields: Any,
) -> Path:
    """Write a legacy manifest; `fields` are further fields, or other values for those it has, by their JSON names."""
    month = month_of(period)
    content = manifest_values(
        month, "20250403T040211Z", "cost-and-usage", "sample-bucket", columns, report_keys
    )
    path.write_text(json.dumps({**content, **fields}), encoding="utf-8")
    return path
