"""Describes a sample delivery: what it shall look like, and what was made.

Kept free of Polars, NumPy and PyArrow: the command line and the component read a `SampleSpec` without paying for
the generator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, get_args

from billing_lake.domain.deliveries import FIRST_FORMAT, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from pathlib import Path

SAMPLE_FORMATS = (FIRST_FORMAT, "cur2", "focus")
"""Formats that samples are written in."""

CONTAINERS = ("csv.gz", "csv.zip", "csv", "snappy.parquet")
"""How the names of the report files of samples end, and so how they are packed."""

_PERIOD = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """One sample export: where its deliveries go and how large they are.

    Attributes:
        format: What the report files are written as: one of `FORMATS`.
        container: What they are written in and how they are packed: one of `CONTAINERS`.
        layout: How report files are laid out below the root folder.
        prefix: Key prefix below the root folder; may be empty.
        report: The report's name.
        seed: Everything that is drawn is drawn from this number.
        rows: Rows per month.
        chunks: Report files per delivery.
        currency: The currency of every row.
        payer: The account that pays; the sample's own unless given.
        columns: Number of columns; None for the natural set, more pads it with tag columns.
    """

    format: str = FIRST_FORMAT
    container: str = CONTAINERS[0]
    layout: Layout = "overwrite"
    prefix: str = "billing"
    report: str = "cost-and-usage"
    seed: int = 7
    rows: int = 2_000
    chunks: int = 3
    currency: str = "USD"
    payer: str = ""
    columns: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be written, before anything is."""
        if self.format not in SAMPLE_FORMATS:
            msg = f"format is {self.format!r}, but must be one of {', '.join(SAMPLE_FORMATS)}"
            raise ValueError(msg)
        if self.container not in CONTAINERS:
            msg = f"container is {self.container!r}, but must be one of {', '.join(CONTAINERS)}"
            raise ValueError(msg)
        if self.layout == "athena" and (self.format, self.container) != (
            FIRST_FORMAT,
            CONTAINERS[-1],
        ):
            msg = f"layout is athena, which only {FIRST_FORMAT} in {CONTAINERS[-1]} has"
            raise ValueError(msg)
        if self.layout not in get_args(Layout):
            msg = f"layout is {self.layout!r}, but must be one of {', '.join(get_args(Layout))}"
            raise ValueError(msg)
        for name, least in (("seed", 0), ("rows", 0), ("chunks", 1)):
            value = getattr(self, name)
            if value < least:
                msg = f"{name} is {value}, but must be at least {least}"
                raise ValueError(msg)
        if not self.report:
            msg = "report is empty, but files are named after it"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class SampleDelivery:
    """One delivery as written.

    Attributes:
        period: The billing period, `YYYY-MM`.
        version: The delivery's assembly id (made up, but unused by readers, for loose files).
        files: The report files that make up the delivery, in order.
        manifest: The manifest that committed it, at the period level; None for loose files.
        rows: Rows in all files together.
        totals: Currency to normalised money column to exact sum, added up while the rows were made. Columns without
            a single filled cell are left out.
    """

    period: str
    version: str
    files: tuple[Path, ...]
    manifest: Path | None
    rows: int
    totals: Mapping[str, Mapping[str, Decimal]]


@dataclass(frozen=True, kw_only=True)
class SampleMonth:
    """A billing period as a half-open interval of UTC time."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """Hours in the month."""
        return (self.end - self.start).days * 24


def month_of(period: str) -> SampleMonth:
    """The month that `YYYY-MM` names.

    Raises:
        ValueError: if `period` is no such month.
    """
    match = _PERIOD.fullmatch(period)
    if match is None or int(match["year"]) == 0:
        msg = f"billing period is {period!r}, but must be a month as YYYY-MM"
        raise ValueError(msg)
    year, month = int(match["year"]), int(match["month"])
    return SampleMonth(
        start=datetime(year, month, 1, tzinfo=timezone.utc),
        end=datetime(year + month // 12, month % 12 + 1, 1, tzinfo=timezone.utc),
    )
