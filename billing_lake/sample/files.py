"""Report files and manifests as they lie in storage, for the generator and for tests that need one exact file.

Every file appears whole: it is written under a hidden name and renamed.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, cast

from isal import igzip, igzip_threaded

from billing_lake.sample.columns import manifest_columns
from billing_lake.sample.csv_text import record
from billing_lake.sample.spec import month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Note = Callable[[Path], None]

_LEVEL = 1


def nothing(_: Path) -> None:
    """Note nothing."""


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
    """A valid row under `MINIMAL_HEADER`, in 2025-03, with some cells replaced.

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
    """Write one `csv.gz` from an explicit header and rows; ragged rows are written as they are.

    Args:
        path: The file; its folder is made.
        header: Raw column names.
        rows: Cells, quoted only where CSV demands it.
        encoding: How text becomes bytes.
        line_end: What ends a line.
        bom: Whether a UTF-8 byte order mark comes first.

    Returns:
        `path`.
    """
    lines = "".join(f"{record(cells)}{line_end}" for cells in (header, *rows))
    return write_bytes(path, b"\xef\xbb\xbf" * bom + lines.encode(encoding))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` gzipped, the same content always as the same bytes; for what `write_report` cannot spell.

    Returns:
        `path`.
    """
    with appearing(path) as hidden:
        hidden.write_bytes(igzip.compress(content, _LEVEL, mtime=0))
    return path


def write_manifest(
    path: Path,
    *,
    period: str,
    report_keys: Sequence[str],
    columns: Sequence[str] = MINIMAL_HEADER,
    bucket: str = "sample-bucket",
    assembly_id: str = "20250403T040211Z",
    report: str = "cost-and-usage",
    account: str = "004512345678",
    note: Note = nothing,
    **fields: Any,
) -> Path:
    """Write a legacy manifest.

    Args:
        path: The file; its folder is made.
        period: The billing period, `YYYY-MM`.
        report_keys: Keys of the report files.
        columns: Raw column names.
        bucket: The bucket the files are in.
        assembly_id: The delivery's version.
        report: The report's name.
        account: The account that owns the report.
        note: Is given the complete file, before it takes its name.
        fields: Further fields, or other values for those above, under their JSON names.

    Returns:
        `path`.
    """
    month = month_of(period)
    content = {
        "assemblyId": assembly_id,
        "account": account,
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
        "reportKeys": list(report_keys),
        "additionalArtifactKeys": [],
        **fields,
    }
    with appearing(path, note) as hidden:
        hidden.write_text(
            json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8", newline="\n"
        )
    return path


@contextmanager
def report_writer(path: Path, note: Note = nothing) -> Iterator[IO[bytes]]:
    """A stream into a `csv.gz` that appears under its name when it is complete; it is compressed in another thread."""
    with appearing(path, note) as hidden:
        stream = igzip_threaded.open(hidden, "wb", compresslevel=_LEVEL, threads=1)  # type: ignore[no-untyped-call]
        with stream:
            yield cast("IO[bytes]", stream)


@contextmanager
def appearing(path: Path, note: Note = nothing) -> Iterator[Path]:
    """A hidden file beside `path` that takes its name at the end, or goes away when something fails; `note` sees it before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.partial")
    try:
        yield hidden
        note(hidden)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
