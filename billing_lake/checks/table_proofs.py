"""The checks of a table: it is read back as a user would read it, and must equal the delivery to the last digit.

All checks of a table are one step, so that its files are read once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import TABLE_ASSETS, Export, TableOutput, knowingly
from billing_lake.assets.loading import catalog_of
from billing_lake.assets.metadata import present
from billing_lake.checks.evaluations import Checks, Event, Verdict
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.profiles import compare
from billing_lake.domain.quality import Quality
from billing_lake.domain.sources import Source

EQUALS_DELIVERY = "equals_delivery"
ONE_VERSION = "one_delivery_version"
USAGE_DATES = "usage_dates_in_period"
UNIQUE_ITEMS = "unique_line_items"

_DESCRIPTIONS = {
    EQUALS_DELIVERY: (
        "Row count and every cost total of every currency, read back from the table, equal those of the raw files exactly."
    ),
    ONE_VERSION: "All rows of the billing period come from one delivery, and it is the crawled one.",
    USAGE_DATES: (
        "Usage starts within the billing period. Fees and Savings Plans are legitimately billed for other months, so "
        "this warns, and lists the days."
    ),
    UNIQUE_ITEMS: "Line item id and time interval are unique within the delivery; this warns, with a count.",
}

_SHOWN = 5


def build_table_proofs(export: Export, output: TableOutput) -> dg.AssetChecksDefinition:
    """Build the checks of the table of ``output``."""
    return _build(
        export,
        output,
        asset=TABLE_ASSETS[output],
        table=export.table,
        expected="crawler_table",
        partitions=export.partitions,
    )


def build_static_proofs(export: Export) -> dg.AssetChecksDefinition:
    """Build the checks of the table of static files."""
    return _build(
        export,
        "iceberg",
        asset="iceberg_static",
        table=export.static_table,
        expected="iceberg_static",
        partitions=None,
    )


def _build(
    export: Export,
    output: TableOutput,
    *,
    asset: str,
    table: str,
    expected: str,
    partitions: dg.PartitionsDefinition | None,
) -> dg.AssetChecksDefinition:
    with knowingly(dg.PreviewWarning):
        specs = [
            dg.AssetCheckSpec(
                name, asset=export.key(asset), description=text, partitions_def=partitions
            )
            for name, text in _DESCRIPTIONS.items()
        ]

    @dg.multi_asset_check(name=f"{export.name}__{asset}_proofs", specs=specs, can_subset=True)
    def table_proofs(
        context: dg.AssetCheckExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[Event]:
        path = export.key(expected).path

        def judge(period: str, names: Sequence[str]) -> Mapping[str, Verdict]:
            crawl = billing_lake.values.get(path, period, Crawl)
            source = catalog_of(billing_lake, output).files(table, export.period_key(period))
            proofs = _Proofs(billing_lake, crawl, source)
            return {name: proofs.judge(name) for name in names}

        @cache
        def held() -> tuple[str, ...]:
            catalog = catalog_of(billing_lake, output)
            return catalog.periods(table, export.name) if catalog.fields(table) else ()

        checks = Checks(
            export=export,
            asset=asset,
            specs=specs,
            judge=judge,
            known_periods=lambda: billing_lake.values.periods(path),
            is_empty=lambda period: period not in held(),
        )
        yield from checks.evaluate(context)

    return table_proofs


class _Proofs:
    """The proofs of one period of one table."""

    def __init__(self, lake: Lake, crawl: Crawl, source: Source) -> None:
        self.reader = lake.reader
        self.crawl = crawl
        self.source = source

    @cached_property
    def quality(self) -> Quality:
        return self.reader.quality(self.source, self.crawl.delivery.period)

    def judge(self, name: str) -> Verdict:
        judges: dict[str, Callable[[], Verdict]] = {
            EQUALS_DELIVERY: self.equals_delivery,
            ONE_VERSION: self.one_version,
            USAGE_DATES: self.usage_dates,
            UNIQUE_ITEMS: self.unique_items,
        }
        return judges[name]()

    def equals_delivery(self) -> Verdict:
        found = self.reader.profile(self.source)
        expected = self.crawl.profile
        differences = compare(expected, found)
        figures = 1 + sum(len(columns) for columns in expected.totals.values())
        metadata = {
            "rows_expected": expected.rows,
            "rows_found": found.rows,
            "figures_compared": figures,
            "delivery_version": self.crawl.delivery.version,
        }
        if not differences:
            text = f"{expected.rows:,} rows and {figures - 1} totals are equal to the raw files'"
            return self._verdict(EQUALS_DELIVERY, text, metadata)
        table = markdown.table(
            ("figure", "expected", "found", "difference"),
            ((one.figure, one.expected, one.found, one.difference) for one in differences),
        )
        first = "; ".join(
            f"{one.figure}: expected {markdown.number(one.expected)}, found {markdown.number(one.found)}, "
            f"difference {markdown.number(one.difference, '+')}"
            for one in differences[:_SHOWN]
        )
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        return Verdict(
            passed=False,
            description=(
                f"{self.period}: the table does not equal the delivery. {first}{more}. Load the period again; if this "
                "stays, compare the files in the metadata of the table's last materialisation with the table"
            ),
            metadata={**metadata, "differences": dg.MetadataValue.md(table)},
        )

    def one_version(self) -> Verdict:
        versions = self.quality.versions
        expected = self.crawl.delivery.version
        metadata = {
            "delivery_version": expected,
            "versions": dg.MetadataValue.md(
                markdown.table(("delivery version", "rows"), versions.items())
            ),
        }
        if set(versions) <= {expected}:
            return self._verdict(ONE_VERSION, f"All rows are of delivery {expected}", metadata)
        listed = ", ".join(f"{version} ({rows:,} rows)" for version, rows in versions.items())
        return Verdict(
            passed=False,
            description=(
                f"{self.period}: the table holds {listed}, the delivery that was crawled last is {expected}. Load the "
                "period again"
            ),
            metadata=metadata,
        )

    def usage_dates(self) -> Verdict:
        outside = self.quality.outside
        rows = sum(outside.values())
        days = dg.MetadataValue.md(markdown.table(("day", "rows"), outside.items()))
        if not rows:
            text = "All usage starts within the billing period"
            return self._verdict(USAGE_DATES, text, {"rows_outside": 0})
        return Verdict(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{self.period}: {rows:,} rows on {len(outside)} days outside the billing period",
            metadata={"rows_outside": rows, "days": days},
        )

    def unique_items(self) -> Verdict:
        count = self.quality.duplicates
        if not count:
            text = "Line item id and time interval are unique"
            return self._verdict(UNIQUE_ITEMS, text, {"duplicates": 0})
        return Verdict(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{self.period}: {count:,} rows repeat the line item id and time interval of another row",
            metadata={"duplicates": count},
        )

    @property
    def period(self) -> str:
        return self.crawl.delivery.period

    def _verdict(self, name: str, text: str, metadata: Mapping[str, object]) -> Verdict:
        warns = name in (USAGE_DATES, UNIQUE_ITEMS)
        return Verdict(
            passed=True,
            description=f"{self.period}: {text}",
            metadata=present(**metadata),
            severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        )
