"""Proves one billing period of a table, and makes the verdicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.metadata import without_none
from billing_lake.checks.evaluations import Verdict
from billing_lake.checks.run_readings import Reading, RunReader
from billing_lake.checks.same_content import (
    DESCRIPTION,
    SAME_CONTENT,
    compare_content,
    not_compared,
)
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import DeliveryChangedError, counted, in_words, number
from billing_lake.domain.profiles import Profile, compare
from billing_lake.domain.quality import Quality
from billing_lake.domain.sources import PeriodKey, Source

EQUALS_DELIVERY = "equals_delivery"
ONE_VERSION = "one_delivery_version"
USAGE_DATES = "usage_dates_in_period"
UNIQUE_ITEMS = "unique_line_items"

PROOFS = {
    EQUALS_DELIVERY: (
        "Rows, the total of every cost in each currency, the sum of every other number and the number of filled cells of every "
        "column, read back from the table, equal those of the raw files exactly."
    ),
    SAME_CONTENT: DESCRIPTION,
    ONE_VERSION: "All rows of the billing period name one delivery, the one that was loaded, and their own export and period.",
    USAGE_DATES: (
        "Usage starts within the billing period. Fees and Savings Plans are legitimately billed for other months, so "
        "this warns, and lists the days."
    ),
    UNIQUE_ITEMS: "Line item id and time interval are unique within the delivery; this warns, with a count.",
}

_SHOWN_DIFFERENCES = 5
_MEGABYTE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The delivery that a period of a table should hold.

    Attributes:
        version: Version of the delivery.
        profile: What its raw files add up to.
        crawl: The delivery; None where it is not known here any more.
        note: What else a reader of a verdict should know.
        identity: Identity of the delivery.
    """

    version: str
    profile: Profile
    crawl: Crawl | None
    note: str = ""
    identity: str | None = None


class PeriodProofs:
    """The proofs of one period of one table.

    Args:
        reader: Reads the table, and raw files.
        key: The export and the period.
        expected: What it should hold.
        source: The table's files.
        most: Bytes of a delivery beyond which no cells are compared; None where they always are.
        verify: Raises where the files of a delivery are no longer those that were loaded.
    """

    def __init__(
        self,
        reader: RunReader,
        key: PeriodKey,
        expected: Expected,
        source: Source,
        most: int | None,
        verify: Callable[[Delivery], None],
    ) -> None:
        self.reader = reader
        self.most = most
        self.verify = verify
        self.key = key
        self.period = key.period
        self.expected = expected
        self.source = source

    @cached_property
    def _quality(self) -> Reading[Quality]:
        return self.reader.quality(self.source, self.period)

    def judge(self, name: str) -> Verdict:
        """Return the verdict of the check ``name``."""
        judges: dict[str, Callable[[], Verdict]] = {
            EQUALS_DELIVERY: self._equals_delivery,
            SAME_CONTENT: self._same_content,
            ONE_VERSION: self._one_version,
            USAGE_DATES: self._usage_dates,
            UNIQUE_ITEMS: self._unique_items,
        }
        return judges[name]()

    def _equals_delivery(self) -> Verdict:
        reading = self.reader.profile(self.source)
        found, expected = reading.figures, self.expected.profile
        differences = compare(expected, found)
        totals = sum(map(len, expected.totals.values()))
        sums, filled = len(expected.sums), len(expected.filled)
        metadata = {
            "rows_expected": expected.rows,
            "rows_found": found.rows,
            "figures_compared": 1 + totals + sums + filled,
            "delivery_version": self.expected.version,
        }
        if not differences:
            text = (
                f"{expected.rows:,} rows, {totals} totals of costs, {sums} sums of other numbers and the filled cells of "
                f"{filled} columns equal those of the raw files"
            )
            return self._verdict(text, metadata, reading, passed=True)
        texts = (f"{one}, difference {number(one.difference, '+')}" for one in differences)
        text = (
            f"the table does not equal the delivery. {in_words(texts, _SHOWN_DIFFERENCES, '; ')}. Load the period again; if this "
            "stays, compare the files in the metadata of the table's last materialisation with the table"
        )
        table = markdown.table(
            ("figure", "expected", "found", "difference"),
            ((one.figure, one.expected, one.found, one.difference) for one in differences),
        )
        return self._verdict(text, {**metadata, "differences": table}, reading, passed=False)

    def _same_content(self) -> Verdict:
        crawl = self.expected.crawl
        if crawl is None:
            text = "The files of the delivery that the table holds are not known here any more, so no cell was compared"
            return not_compared(self.period, text)
        size = crawl.delivery.size
        if self.most is not None and size > self.most:
            text = (
                f"No cell was compared: the delivery has {size // _MEGABYTE_BYTES:,} MB, more than `same_content_up_to_mb`. Run "
                f"{SAME_CONTENT} by itself to compare them"
            )
            return replace(not_compared(self.period, text), is_omitted=True)
        verdict = compare_content(self.reader, self.period, crawl, self.source)
        if verdict.is_red and not crawl.content:
            # What lies in an object store was not compared with what was loaded while it was read.
            try:
                self.verify(crawl.delivery)
            except DeliveryChangedError as error:
                text = f"The raw files are not those that were loaded, so nothing was compared. {error}"
                return not_compared(self.period, text)
        return verdict

    def _one_version(self) -> Verdict:
        versions = self._quality.figures.versions
        expected = self.expected.version
        metadata = {
            "delivery_version": expected,
            "versions": markdown.table(("delivery version", "rows"), versions.items()),
        }
        strays = self._quality.figures.keys - {self.key}
        if strays:
            named = in_words(
                sorted(f"{one.export} {one.period}" for one in strays), _SHOWN_DIFFERENCES
            )
            text = f"rows of {self.key.export} {self.period} name another export or period: {named}. Load the period again"
            return self._verdict(text, metadata, self._quality, passed=False)
        if set(versions) <= {expected}:
            text = f"All rows are of delivery {expected}"
            return self._verdict(text, metadata, self._quality, passed=True)
        found = ", ".join(f"{version} ({rows:,} rows)" for version, rows in versions.items())
        text = f"the table holds {found}, the delivery that was loaded is {expected}. Load the period again"
        return self._verdict(text, metadata, self._quality, passed=False)

    def _usage_dates(self) -> Verdict:
        outside = self._quality.figures.outside
        rows = sum(outside.values())
        if not rows:
            text = "All usage starts within the billing period"
            facts = {"rows_outside": 0}
            return self._verdict(text, facts, self._quality, passed=True, warns=True)
        days = counted(len(outside), "day")
        text = f"{counted(rows, 'row')} on {days} outside the billing period"
        metadata = {"rows_outside": rows, "days": markdown.table(("day", "rows"), outside.items())}
        return self._verdict(text, metadata, self._quality, passed=False, warns=True)

    def _unique_items(self) -> Verdict:
        count = self._quality.figures.duplicates
        text = (
            f"{counted(count, 'row repeats', 'rows repeat')} the line item id and time interval of another row"
            if count
            else "Line item id and time interval are unique"
        )
        facts = {"duplicates": count}
        return self._verdict(text, facts, self._quality, passed=not count, warns=True)

    def _verdict(
        self,
        text: str,
        metadata: Mapping[str, object],
        reading: Reading[Any],
        *,
        passed: bool,
        warns: bool = False,
    ) -> Verdict:
        severity, shared = dg.AssetCheckSeverity, self.reader.shared(reading)
        return Verdict(
            passed=passed,
            description=f"{self.period}: {text}{self.expected.note if passed else ''}",
            metadata=without_none(**metadata, shared_reading=shared or None),
            severity=severity.WARN if warns else severity.ERROR,
        )
