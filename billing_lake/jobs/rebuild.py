"""The job `<export>_rebuild_iceberg_table`: the way out where a table cannot follow a change of type.

The tables are built anew, beside the old ones, from every delivery that is still in storage, and proved period by period.
Only when all of it is there and equal do the names change hands; what was delivered in that moment is loaded again. The
old tables stay until an operator removes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.crawler_table import crawl_delivery
from billing_lake.assets.export import TABLE_ASSETS, Export, TableOutput
from billing_lake.assets.loading import Loader, catalog_of
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryError,
    LoadError,
    NoDeliveryError,
    ProofError,
    TableError,
)
from billing_lake.domain.profiles import compare
from billing_lake.domain.sources import Encoded
from billing_lake.engines.base import Engine, Log
from billing_lake.storage.deliveries import find_deliveries, verify_unchanged

REBUILT = "__rebuilt_"
"""What a new table's name has behind the export's table until the switch."""

BEFORE = "__before_"
"""What an old table's name has there after it."""

_SHOWN = 5


class Rebuild(dg.Config):
    """Run config of `rebuild_iceberg_table`."""

    leave_behind: list[str] = Field(
        default=[],
        description=(
            "Billing periods that the tables hold now and storage has no delivery of any more. The new tables will not have "
            "them; the old tables keep them. A period that is missing and not named here stops the rebuild."
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        periods: Rows of each billing period.
        old: Where the old tables are now, by output; empty for those that did not exist.
    """

    periods: Mapping[str, int]
    old: Mapping[TableOutput, str]


@dataclass(frozen=True, kw_only=True)
class Rebuilder:
    """Builds the tables of an export anew.

    Attributes:
        lake: The lake.
        export: The export.
        run_id: Id of the run.
        engine: What totals and encodes.
        log: Takes lines about progress.
        stamp: Ends the names of new and old tables.
    """

    lake: Lake
    export: Export
    run_id: str
    engine: Engine
    log: Log
    stamp: str

    @property
    def new_table(self) -> str:
        """Name of the new tables until the switch."""
        return f"{self.export.table}{REBUILT}{self.stamp}"

    @property
    def old_table(self) -> str:
        """Name of the old tables after the switch."""
        return f"{self.export.table}{BEFORE}{self.stamp}"

    def run(self, leave_behind: Sequence[str] = ()) -> Rebuilt:
        """Build, prove and switch.

        Raises:
            BillingLakeError: The tables are as they were; what was built says its name in the message.
        """
        deliveries = self._deliveries(leave_behind)
        rows, errors = {}, {}
        for number, (period, delivery) in enumerate(deliveries.items(), start=1):
            self.log(f"rebuild: {period} ({number} of {len(deliveries)})")
            try:
                rows[period] = self._build(delivery, self.new_table)
            except BillingLakeError as error:
                errors[period] = error
        if errors:
            listed = "; ".join(f"{period}: {error}" for period, error in errors.items())
            what = f"{len(errors)} of {len(deliveries)} billing periods failed, so nothing was switched. {listed}"
            raise LoadError(what, remedy=self._remains()) from next(iter(errors.values()))
        try:
            for delivery in deliveries.values():
                verify_unchanged(self.lake.storage, self.export.location, delivery)
            old = self._switch()
        except BillingLakeError as error:
            raise LoadError(f"Nothing was switched: {error}", remedy=self._remains()) from error
        return Rebuilt(periods=rows | self._catch_up(deliveries), old=old)

    def _deliveries(self, leave_behind: Sequence[str]) -> dict[str, Delivery]:
        location = self.export.location
        findings = find_deliveries(self.lake.storage, location)
        unusable = {**findings.waiting, **findings.broken}
        if unusable:
            listed = "; ".join(f"{place}: {reason}" for place, reason in unusable.items())
            raise DeliveryError(
                f"Not every delivery can be used, so nothing was rebuilt. {listed}",
                remedy="Repair or remove what is broken, wait for what is incomplete, then run the job again",
            )
        deliveries = self._loadable(findings)
        if not deliveries:
            raise NoDeliveryError(f"Export {self.export.name} has no delivery to rebuild from")
        lost = self._held() - deliveries.keys() - set(leave_behind)
        if lost:
            raise TableError(
                f"The tables hold billing periods without a delivery in storage: {', '.join(sorted(lost))}",
                remedy="Put their deliveries back, or name these periods in `leave_behind`: the old tables keep them",
            )
        return deliveries

    def _loadable(self, findings: Findings) -> dict[str, Delivery]:
        partitions = set(self.export.partitions.get_partition_keys())
        return {p: d for p, d in sorted(findings.deliveries.items()) if p in partitions}

    def _held(self) -> set[str]:
        held: set[str] = set()
        for output in self.export.outputs:
            catalog = catalog_of(self.lake, output)
            if catalog.fields(self.export.table) is not None:
                held |= {*catalog.periods(self.export.table, self.export.name)}
        return held

    def _build(self, delivery: Delivery, table: str) -> int:
        loader = Loader(
            lake=self.lake,
            location=self.export.location,
            table=table,
            outputs=self.export.outputs,
            run_id=self.run_id,
            engine=self.engine,
            log=self.log,
        )
        crawl = crawl_delivery(self.lake, self.engine, delivery)
        files: Encoded | None = None
        for output in self.export.outputs:
            loaded = loader.load(output, crawl, files)
            files = files or loaded.encoded
            self._prove(output, crawl, table)
        return crawl.profile.rows

    def _prove(self, output: TableOutput, crawl: Crawl, table: str) -> None:
        period = crawl.delivery.period
        catalog = catalog_of(self.lake, output)
        source = catalog.files(table, self.export.period_key(period))
        differences = compare(crawl.profile, self.lake.reader.profile(source))
        if differences:
            listed = "; ".join(
                f"{one.figure}: expected {markdown.number(one.expected)}, found {markdown.number(one.found)}"
                for one in differences[:_SHOWN]
            )
            what = (
                f"{TABLE_ASSETS[output]} {table} does not equal the delivery of {period}: {listed}"
            )
            raise ProofError(what)

    def _switch(self) -> dict[TableOutput, str]:
        """Give the new tables the old ones' names; a table that fails gets its old one back."""
        old: dict[TableOutput, str] = {}
        for output in self.export.outputs:
            catalog = catalog_of(self.lake, output)
            existed = catalog.fields(self.export.table) is not None
            if existed:
                catalog.rename(self.export.table, self.old_table)
                old[output] = self.old_table
            try:
                catalog.rename(self.new_table, self.export.table)
            except BaseException:
                if existed:
                    catalog.rename(self.old_table, self.export.table)
                raise
            self.log(f"rebuild: {TABLE_ASSETS[output]} is the new table now")
        return old

    def _catch_up(self, built: Mapping[str, Delivery]) -> dict[str, int]:
        """Load what arrived while the names changed hands: its own load may have gone into the old tables."""
        known = {delivery.identity for delivery in built.values()}
        rows = {}
        try:
            findings = find_deliveries(self.lake.storage, self.export.location)
            for period, delivery in self._loadable(findings).items():
                if delivery.identity not in known:
                    self.log(f"rebuild: {period} was delivered meanwhile and is loaded again")
                    rows[period] = self._build(delivery, self.export.table)
        except BillingLakeError as error:
            what = f"The tables were switched, but what was delivered meanwhile could not be loaded: {error}"
            remedy = f"Load the latest deliveries again; the old tables are {self.old_table}"
            raise LoadError(what, remedy=remedy) from error
        return rows

    def _remains(self) -> str:
        kept = ", ".join(
            TABLE_ASSETS[output]
            for output in self.export.outputs
            if catalog_of(self.lake, output).fields(self.new_table) is not None
        )
        what = f"What was built so far is {self.new_table} ({kept}); " if kept else ""
        return f"{what}run the job again when the cause is removed, it starts anew"


def build_rebuild_job(export: Export) -> dg.JobDefinition:
    """Build the job for ``export``."""

    @dg.op(
        name=f"{export.name}_rebuild",
        description="Build the tables anew beside the old ones, prove them, then let the names change hands.",
    )
    def rebuild(
        context: dg.OpExecutionContext, config: Rebuild, lake: dg.ResourceParam[Lake]
    ) -> None:
        log = progress(context)
        with named_failures():
            lake.require(export.outputs, export.crawler)
            rebuilder = Rebuilder(
                lake=lake,
                export=export,
                run_id=context.run.run_id,
                engine=lake.engine(log, context),
                log=log,
                stamp=datetime.now(timezone.utc).strftime("%Y%m%d_%H%M%S"),
            )
            done = rebuilder.run(config.leave_behind)
        context.add_output_metadata(
            {
                "table": export.table,
                "old_tables": dg.MetadataValue.md(
                    markdown.table(
                        ("catalog", "old table"),
                        ((TABLE_ASSETS[output], name) for output, name in done.old.items()),
                    )
                ),
                "rows": dg.MetadataValue.md(
                    markdown.table(("billing period", "rows"), done.periods.items())
                ),
            }
        )

    @dg.job(
        name=f"{export.name}_rebuild_iceberg_table",
        description=(
            f"Build the tables of {export.name} anew from all deliveries in storage, beside the old ones, prove every billing "
            "period, then switch. The old tables stay under another name. For changes that no table can follow."
        ),
    )
    def rebuild_iceberg_table() -> None:
        rebuild()

    return rebuild_iceberg_table
