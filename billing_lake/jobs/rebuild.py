"""The job `<export>_rebuild_iceberg_table`: the way out where a table cannot follow a change of type.

Every delivery that is still in storage is encoded anew, beside the tables, and proved. Only when all of it is there and equal
do the tables take it over, each in one commit that exchanges the columns and the rows together: at every moment a reader finds
the old table or the new one under its name, and a rebuild that is killed leaves files and nothing else. The rows as they were
stay, as a tag of the Iceberg tables and a second Hive table, until an operator removes them.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.crawler_table import crawl_delivery
from billing_lake.assets.export import ENGINE_POOL, TABLE_ASSETS, Export, TableOutput
from billing_lake.assets.loading import catalog_of, commit_properties, encode
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    DeliveryError,
    FieldIdMismatchError,
    LoadError,
    NoDeliveryError,
    ProofError,
    SchemaChangeError,
    TableError,
)
from billing_lake.domain.profiles import compare
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.schemas import Field as TableField
from billing_lake.domain.sources import Encoded, Source, SourceFile
from billing_lake.engines.base import Engine, Log
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.tables.base import BEFORE, Commit

_SHOWN = 5
_ATTEMPTS = 5


class Rebuild(dg.Config):
    """Run config of `rebuild_iceberg_table`."""

    leave_behind: list[str] = Field(
        default=[],
        description=(
            "Billing periods that the tables hold now and storage has no delivery of any more. The rebuilt tables will not have "
            "them; they stay with the rows from before. A period that is missing and not named here stops the rebuild."
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        periods: Rows of each billing period.
        old: Where the rows from before are, by output; empty for tables that had none.
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
        stamp: Ends the names of what stays from before.
        staging: Folder of what is encoded; it is removed at the end.
        crawled: What was crawled so far, by the identity of the delivery.
        encoded: What was encoded and proved so far, by the identity and content of the delivery and the fields.
    """

    lake: Lake
    export: Export
    run_id: str
    engine: Engine
    log: Log
    stamp: str
    staging: str
    crawled: dict[str, Crawl] = field(default_factory=dict)
    encoded: dict[tuple[str, tuple[TableField, ...]], Encoded] = field(default_factory=dict)

    def run(self, leave_behind: Sequence[str] = ()) -> Rebuilt:
        """Encode, prove, and let the tables take it over.

        What is delivered meanwhile is encoded, too: a table takes over nothing that is not the delivery in storage.

        Raises:
            BillingLakeError: Each table is as it was, unless the message says that it was rebuilt.
        """
        done: dict[TableOutput, Commit] = {}
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    crawls = self._crawls(self._deliveries(leave_behind))
                    wanted = _columns(crawls)
                    for output in self.export.outputs:
                        done[output] = self._rebuild(output, crawls, wanted)
                        self.log(f"rebuild: {TABLE_ASSETS[output]} is rebuilt")
                except (DeliveryChangedError, FieldIdMismatchError) as error:
                    if attempt == _ATTEMPTS:
                        raise
                    self.log(f"rebuild: looking again, because {error.what}")
                else:
                    return Rebuilt(
                        periods={p: crawl.profile.rows for p, crawl in crawls.items()},
                        old={o: self._old(o) for o, commit in done.items() if commit.replaced_rows},
                    )
        except BillingLakeError as error:
            if not done:
                raise
            listed = ", ".join(TABLE_ASSETS[output] for output in done)
            what = f"Of the tables only {listed} could be rebuilt, the others are as they were: {error}"
            raise LoadError(what, remedy="Remove the cause, then run the job again") from error
        finally:
            self.lake.files.remove_folder(self.staging)
        raise AssertionError  # pragma: no cover

    def _deliveries(self, leave_behind: Sequence[str]) -> dict[str, Delivery]:
        findings = find_deliveries(self.lake.storage, self.export.location)
        if findings.notes:
            raise DeliveryError(
                f"Not every delivery can be used. {'; '.join(findings.notes)}",
                remedy="Repair or remove what is broken, wait for what is incomplete, then run the job again",
            )
        deliveries = self._loadable(findings)
        if not deliveries:
            raise NoDeliveryError(f"Export {self.export.name} has no delivery to rebuild from")
        lost = self._held() - deliveries.keys() - set(leave_behind)
        if lost:
            raise TableError(
                f"The tables hold billing periods without a delivery in storage: {', '.join(sorted(lost))}",
                remedy="Put their deliveries back, or name these periods in `leave_behind`: the rows from before keep them",
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

    def _crawls(self, deliveries: Mapping[str, Delivery]) -> dict[str, Crawl]:
        errors: dict[str, BillingLakeError] = {}
        for number, (period, delivery) in enumerate(deliveries.items(), start=1):
            if delivery.identity in self.crawled:
                continue
            self.log(f"rebuild: {period} is read ({number} of {len(deliveries)})")
            try:
                self.crawled[delivery.identity] = crawl_delivery(self.lake, self.engine, delivery)
            except BillingLakeError as error:
                errors[period] = error
        if errors:
            listed = "; ".join(f"{period}: {error}" for period, error in errors.items())
            what = f"{len(errors)} of {len(deliveries)} billing periods cannot be loaded. {listed}"
            raise LoadError(
                what, remedy="Remove the cause, then run the job again: it starts anew"
            ) from next(iter(errors.values()))
        return {period: self.crawled[one.identity] for period, one in deliveries.items()}

    def _rebuild(
        self, output: TableOutput, crawls: Mapping[str, Crawl], wanted: Sequence[Column]
    ) -> Commit:
        fields = self._fields(output, wanted)
        deliveries = {period: crawl.delivery for period, crawl in crawls.items()}
        return catalog_of(self.lake, output).rebuild(
            self.export.table,
            self.export.name,
            {period: self._encode(crawl, fields) for period, crawl in crawls.items()},
            properties={p: commit_properties(d, self.run_id) for p, d in deliveries.items()},
            verify=lambda: self._verify(deliveries),
            before=self.stamp,
            log=self.log,
        )

    def _fields(self, output: TableOutput, wanted: Sequence[Column]) -> tuple[TableField, ...]:
        """Return the fields that files for a table carry; those of a Hive-style table may have the ids of an Iceberg table."""
        catalog, table = catalog_of(self.lake, output), self.export.table
        if catalog.fields(table) is None:
            catalog.create(table, plan(None, wanted).fields)
        fields = catalog.plan_rebuild(table, wanted).fields
        others = [one for one in self.export.outputs if one != "hive"]
        if output != "hive" or not others:
            return fields
        shared = self._fields(others[0], wanted)
        same = {(one.name, one.type) for one in fields} == {(one.name, one.type) for one in shared}
        return shared if same else fields

    def _encode(self, crawl: Crawl, fields: tuple[TableField, ...]) -> Encoded:
        key = (f"{crawl.delivery.identity} {crawl.content}", fields)
        if key not in self.encoded:
            period = crawl.delivery.period
            self.log(f"rebuild: {period} is encoded")
            folder = f"{self.staging}/{period}-{len(self.encoded)}"
            try:
                encoded = encode(self.engine, crawl, fields, folder)
            except DeliveryChangedError:
                # A file that was written over may be found by the same identity again.
                self.crawled.pop(crawl.delivery.identity)
                raise
            self._prove(crawl, encoded)
            self.encoded[key] = encoded
        return self.encoded[key]

    def _prove(self, crawl: Crawl, encoded: Encoded) -> None:
        source = Source(
            container="parquet",
            files=tuple(SourceFile(uri=one.uri, name=one.uri) for one in encoded.files if one.rows),
            columns=tuple(Column(one.name, one.type) for one in encoded.fields),
        )
        differences = compare(
            crawl.profile, self.lake.reader.profile(self.export.format.meaning(source))
        )
        if differences:
            listed = "; ".join(
                f"{one.figure}: expected {markdown.number(one.expected)}, found {markdown.number(one.found)}"
                for one in differences[:_SHOWN]
            )
            what = (
                f"What was encoded does not equal the delivery of {crawl.delivery.period}: {listed}"
            )
            raise ProofError(what)

    def _verify(self, deliveries: Mapping[str, Delivery]) -> None:
        """Refuse to go on where storage has other deliveries than the given ones.

        Raises:
            DeliveryChangedError: It has.
        """
        now = self._loadable(find_deliveries(self.lake.storage, self.export.location))
        have = {period: delivery.identity for period, delivery in deliveries.items()}
        changed = sorted(
            period
            for period in {*now, *have}
            if period not in now or now[period].identity != have.get(period)
        )
        if changed:
            raise DeliveryChangedError(f"{', '.join(changed)} was delivered meanwhile")

    def _old(self, output: TableOutput) -> str:
        if output == "hive":
            return f"table {self.export.table}{BEFORE}{self.stamp}"
        return f"tag before_rebuild_{self.stamp} of {self.export.table}"


def _columns(crawls: Mapping[str, Crawl]) -> list[Column]:
    """Return the columns of all deliveries together.

    Raises:
        SchemaChangeError: Two of them have a column with types that no promotion joins.
    """
    fields: tuple[TableField, ...] | None = None
    for period, crawl in crawls.items():
        planned = plan(fields, lake_columns(crawl.source.columns))
        if planned.diff.incompatible:
            first = planned.diff.incompatible[0]
            what = f"The delivery of {period} has the column as {first.delivery}, an earlier one as {first.table}"
            raise SchemaChangeError(what, column=first.name)
        fields = planned.fields
    return [Column(one.name, one.type) for one in fields or ()]


def build_rebuild_job(export: Export) -> dg.JobDefinition:
    """Build the job for ``export``."""

    @dg.op(
        name=f"{export.name}_rebuild",
        pool=ENGINE_POOL,
        description="Encode all deliveries anew, prove them, then let each table take them over in one commit.",
    )
    def rebuild(
        context: dg.OpExecutionContext, config: Rebuild, billing_lake: dg.ResourceParam[Lake]
    ) -> None:
        log = progress(context)
        with named_failures():
            billing_lake.require(export.outputs, export.crawler)
            rebuilder = Rebuilder(
                lake=billing_lake,
                export=export,
                run_id=context.run.run_id,
                engine=billing_lake.engine(log, context),
                log=log,
                stamp=datetime.now(timezone.utc).strftime("%Y%m%d_%H%M%S"),
                staging=f"{billing_lake.staging}/{uuid.uuid4().hex}",
            )
            done = rebuilder.run(config.leave_behind)
        context.add_output_metadata(
            {
                "table": export.table,
                "rows_before": dg.MetadataValue.md(
                    markdown.table(
                        ("table", "its rows from before are in"),
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
        executor_def=dg.in_process_executor,
        tags=export.tags,
        description=(
            f"Encode all deliveries of {export.name} that are in storage anew, prove every billing period, then exchange columns "
            "and rows of each table in one commit. Readers never miss the table; the rows from before stay under a name of "
            "their own. For changes that no table can follow."
        ),
    )
    def rebuild_iceberg_table() -> None:
        rebuild()

    return rebuild_iceberg_table
