"""The checks of a table: it is read back as a user would read it, and must equal the delivery to the last digit.

In a run that loaded the period, what is proved is the commit of that load, whatever other loads have done since. Elsewhere it is
what the table holds now, against the delivery that the table says it holds.

All checks of a table are one step, so that its files are read once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import Export, knowingly
from billing_lake.assets.metadata import from_figures, present
from billing_lake.checks.evaluations import Checks, Event, Made, Verdict
from billing_lake.checks.same_content import (
    DESCRIPTION,
    SAME_CONTENT,
    compare_content,
    not_compared,
)
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    SnapshotGoneError,
    number,
)
from billing_lake.domain.profiles import Profile, compare
from billing_lake.domain.quality import Quality
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Reader
from billing_lake.landing.deliveries import verify_unchanged
from billing_lake.loads.exports import TABLE_ASSETS, TableOutput, catalog_of
from billing_lake.tables.base import Commit

EQUALS_DELIVERY = "equals_delivery"
ONE_VERSION = "one_delivery_version"
USAGE_DATES = "usage_dates_in_period"
UNIQUE_ITEMS = "unique_line_items"
_MEGABYTE = 1 << 20

_DESCRIPTIONS = {
    EQUALS_DELIVERY: (
        "Rows, the total of every cost in each currency, the sum of every other number and the number of filled cells of every "
        "column, read back from the table, equal those of the raw files exactly."
    ),
    SAME_CONTENT: DESCRIPTION,
    ONE_VERSION: "All rows of the billing period come from one delivery, and it is the one that was loaded.",
    USAGE_DATES: (
        "Usage starts within the billing period. Fees and Savings Plans are legitimately billed for other months, so "
        "this warns, and lists the days."
    ),
    UNIQUE_ITEMS: "Line item id and time interval are unique within the delivery; this warns, with a count.",
}

_SHOWN = 5

_LOOKS = 3


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
        period_proofs = _TableProofs(billing_lake, output, table, export, path, context.run.run_id)

        @cache
        def held() -> tuple[str, ...]:
            catalog = catalog_of(billing_lake, output)
            return catalog.periods(table, export.name) if catalog.fields(table) else ()

        checks = Checks(
            export=export,
            asset=asset,
            specs=specs,
            judge=period_proofs.judge,
            known_periods=lambda: billing_lake.values.periods(path),
            is_empty=lambda period: period not in held(),
        )
        yield from checks.evaluate(context)

    return table_proofs


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """What a period of a table should hold.

    Attributes:
        version: Version of the delivery.
        profile: What its raw files add up to.
        crawl: The delivery; None where it is not known here any more.
        note: What else a reader of a verdict should know.
    """

    version: str
    profile: Profile
    crawl: Crawl | None
    note: str = ""


class _TableProofs:
    """The proofs of one table.

    Args:
        lake: The lake.
        output: Which table.
        table: Its name.
        export: The export.
        crawls: Key of the asset whose values are the crawled deliveries.
        run_id: The run.
    """

    def __init__(
        self,
        lake: Lake,
        output: TableOutput,
        table: str,
        export: Export,
        crawls: Sequence[str],
        run_id: str,
    ) -> None:
        self._lake = lake
        self._catalog = catalog_of(lake, output)
        self._table = table
        self._export = export
        self._crawls = crawls
        self._run_id = run_id
        self._held: Mapping[str, str] | None = None

    def judge(self, period: str, names: Sequence[str], made: Made) -> Mapping[str, Verdict]:
        """Judge one period."""
        if made is not None and made.run_id == self._run_id and made.partition_key == period:
            return self._of_commit(period, names, made)
        return self._of_now(period, names, made)

    def _of_commit(
        self, period: str, names: Sequence[str], made: dg.EventLogRecord
    ) -> Mapping[str, Verdict]:
        """Judge what this run loaded; where its files are gone already, say that it was not proved."""
        expected, commit = self._loaded(period, made), _commit(self._table, _facts(made))
        key = self._export.period_key(period)
        try:
            source = self._catalog.files(self._table, key, commit)
            try:
                verdicts = self._verdicts(period, names, source, expected, in_load=True)
            except BillingLakeError:
                self._catalog.files(self._table, key, commit)
                raise
            if _is_red(verdicts):
                # Were its files taken away while they were read?
                self._catalog.files(self._table, key, commit)
        except SnapshotGoneError as gone:
            text = (
                f"Delivery {expected.version}, which this run loaded, was not proved: other loads have replaced it twice "
                f"since, and prove what they brought. {gone.what}"
            )
            return _unproved(period, names, text)
        return verdicts

    def _of_now(self, period: str, names: Sequence[str], made: Made) -> Mapping[str, Verdict]:
        """Judge what the table holds; where it is being replaced under the proof, once more."""
        key = self._export.period_key(period)
        for _ in range(_LOOKS):
            says = self._says(period)
            expected = self._known(period, says, made)
            if expected is None:
                text = (
                    "What the delivery that the table holds adds up to is not known here any more, so nothing was proved. "
                    "Load the period again"
                )
                return _unproved(period, names, text)
            source = self._catalog.files(self._table, key)
            error: BillingLakeError | None = None
            verdicts: Mapping[str, Verdict] = {}
            try:
                verdicts = self._verdicts(period, names, source, expected, in_load=False)
            except BillingLakeError as raised:
                error = raised
            if error is None and not _is_red(verdicts):
                return verdicts
            self._held = None
            if self._says(period) == says and self._catalog.files(self._table, key) == source:
                if error is not None:
                    raise error
                return verdicts
        text = "The period was replaced again and again while it was read, so nothing was proved. Run the checks again"
        return _unproved(period, names, text)

    def _verdicts(
        self,
        period: str,
        names: Sequence[str],
        source: Source,
        expected: _Expected,
        *,
        in_load: bool,
    ) -> Mapping[str, Verdict]:
        table = self._export.format.meaning(source)
        most = self._export.same_content_up_to_mb * _MEGABYTE if in_load else None
        proofs = _Proofs(self._lake.reader, period, expected, table, most, self._verify)
        return {name: proofs.judge(name) for name in names}

    def _verify(self, delivery: Delivery) -> None:
        if self._table == self._export.table:
            verify_unchanged(self._lake.storage, self._export.location, delivery)

    def _says(self, period: str) -> str | None:
        """Return the identity of the delivery that the table says it holds."""
        if self._held is None:
            self._held = self._catalog.held(self._table, self._export.name)
        return self._held.get(period)

    def _known(self, period: str, says: str | None, made: Made) -> _Expected | None:
        """Return what the delivery with the identity ``says`` adds up to, from whatever knows it."""
        if says is None:
            # Loaded before tables said what they hold, or not at all.
            return _crawled(self._lake.values.get(self._crawls, period, Crawl))
        crawl = self._crawl(period)
        if crawl is not None and crawl.delivery.identity == says:
            return _crawled(crawl)
        if made is None or _facts(made).get("delivery_identity") != says:
            return None
        note = (
            ""
            if crawl is None
            else f". Delivery {crawl.delivery.version} was crawled since and is not loaded"
        )
        return replace(self._loaded(period, made), note=note)

    def _loaded(self, period: str, made: dg.EventLogRecord) -> _Expected:
        facts = _facts(made)
        crawl = self._crawl(period)
        known = crawl is not None and crawl.delivery.identity == facts.get("delivery_identity")
        return _Expected(
            version=str(facts["delivery_version"]),
            profile=from_figures(facts["raw_figures"]),
            crawl=crawl if known else None,
        )

    def _crawl(self, period: str) -> Crawl | None:
        """Return the delivery of the period that was crawled last."""
        kept = self._lake.values.find(self._crawls, period)
        return kept.value if kept is not None and isinstance(kept.value, Crawl) else None


def _crawled(crawl: Crawl) -> _Expected:
    return _Expected(version=crawl.delivery.version, profile=crawl.profile, crawl=crawl)


def _commit(table: str, facts: Mapping[str, Any]) -> Commit:
    """Return the commit that a materialization tells of."""
    snapshot_id = facts.get("snapshot_id")
    return Commit(
        table=table,
        rows=int(facts["dagster/partition_row_count"]),
        files=int(facts["files"]),
        size=int(facts["bytes"]),
        replaced_rows=int(facts["replaced_rows"]),
        replaced_version=facts.get("replaced_delivery_version"),
        snapshot_id=None if snapshot_id is None else int(snapshot_id),
        generation=facts.get("generation"),
    )


def _facts(made: dg.EventLogRecord) -> dict[str, Any]:
    told = made.asset_materialization
    return {} if told is None else {name: value.value for name, value in told.metadata.items()}


def _is_red(verdicts: Mapping[str, Verdict]) -> bool:
    return any(
        not one.passed and one.severity == dg.AssetCheckSeverity.ERROR for one in verdicts.values()
    )


def _unproved(period: str, names: Sequence[str], text: str) -> Mapping[str, Verdict]:
    """Return what is neither good nor bad."""
    verdict = Verdict(
        passed=False, description=f"{period}: {text}", severity=dg.AssetCheckSeverity.WARN
    )
    return dict.fromkeys(names, verdict)


class _Proofs:
    """The proofs of one period of one table.

    Args:
        reader: Reads tables and raw files.
        period: The period.
        expected: What it should hold.
        source: The table's files.
        most: Bytes of a delivery beyond which no cells are compared; None where they always are.
        verify: Raises where the files of a delivery are no longer those that were loaded.
    """

    def __init__(
        self,
        reader: Reader,
        period: str,
        expected: _Expected,
        source: Source,
        most: int | None,
        verify: Callable[[Delivery], None],
    ) -> None:
        self.reader = reader
        self.most = most
        self.verify = verify
        self.period = period
        self.expected = expected
        self.source = source

    @cached_property
    def quality(self) -> Quality:
        return self.reader.quality(self.source, self.period)

    def judge(self, name: str) -> Verdict:
        judges: dict[str, Callable[[], Verdict]] = {
            EQUALS_DELIVERY: self.equals_delivery,
            SAME_CONTENT: self.same_content,
            ONE_VERSION: self.one_version,
            USAGE_DATES: self.usage_dates,
            UNIQUE_ITEMS: self.unique_items,
        }
        return judges[name]()

    def equals_delivery(self) -> Verdict:
        found = self.reader.profile(self.source)
        expected = self.expected.profile
        differences = compare(expected, found)
        totals = sum(map(len, expected.totals.values()))
        sums, filled = len(expected.sums or ()), len(expected.filled or ())
        metadata = {
            "rows_expected": expected.rows,
            "rows_found": found.rows,
            "figures_compared": 1 + totals + sums + filled,
            "delivery_version": self.expected.version,
        }
        if not differences and not expected.is_whole:
            text = (
                f"{expected.rows:,} rows and {totals} totals of costs equal those of the raw files. The other columns were not "
                "compared: an earlier release read this delivery. Load the period again to have them compared"
            )
            return self._verdict(EQUALS_DELIVERY, text, metadata)
        if not differences:
            text = (
                f"{expected.rows:,} rows, {totals} totals of costs, {sums} sums of other numbers and the filled cells of "
                f"{filled} columns equal those of the raw files"
            )
            return self._verdict(EQUALS_DELIVERY, text, metadata)
        table = markdown.table(
            ("figure", "expected", "found", "difference"),
            ((one.figure, one.expected, one.found, one.difference) for one in differences),
        )
        first = "; ".join(
            f"{one.figure}: expected {number(one.expected)}, found {number(one.found)}, "
            f"difference {number(one.difference, '+')}"
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

    def same_content(self) -> Verdict:
        crawl = self.expected.crawl
        if crawl is None:
            text = "The files of the delivery that the table holds are not known here any more, so no cell was compared"
            return not_compared(self.period, text)
        size = crawl.delivery.size
        if self.most is not None and size > self.most:
            text = (
                f"No cell was compared: the delivery has {size // _MEGABYTE:,} MB, more than `same_content_up_to_mb`. Run "
                f"{SAME_CONTENT} by itself to compare them"
            )
            return replace(not_compared(self.period, text), is_left_out=True)
        verdict = compare_content(self.reader, self.period, crawl, self.source)
        if _is_red({SAME_CONTENT: verdict}) and not crawl.content:
            # What lies in an object store was not compared with what was loaded while it was read.
            try:
                self.verify(crawl.delivery)
            except DeliveryChangedError as error:
                text = f"The raw files are not those that were loaded, so nothing was compared. {error}"
                return not_compared(self.period, text)
        return verdict

    def one_version(self) -> Verdict:
        versions = self.quality.versions
        expected = self.expected.version
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
                f"{self.period}: the table holds {listed}, the delivery that was loaded is {expected}. Load the period "
                "again"
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

    def _verdict(self, name: str, text: str, metadata: Mapping[str, object]) -> Verdict:
        warns = name in (USAGE_DATES, UNIQUE_ITEMS)
        return Verdict(
            passed=True,
            description=f"{self.period}: {text}{self.expected.note}",
            metadata=present(**metadata),
            severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        )
