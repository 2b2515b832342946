"""Rebuild the tables of an export: the way out where a table cannot follow a change of type.

Every delivery that is still in storage is encoded anew, beside the tables, and proved. Only when all of it is there and equal
do the tables take it over, each in one commit that exchanges the columns and the rows together: at every moment a reader finds
the old table or the new one under its name, and a rebuild that is killed leaves files and nothing else. The rows as they were
stay, as a tag of the Iceberg tables and a second Hive table, until an operator removes them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    DeliveryError,
    FieldIdMismatchError,
    LoadError,
    NoDeliveryError,
    SchemaChangeError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, columns_of, lake_columns, plan
from billing_lake.domain.sources import Encoded, Source, SourceFile
from billing_lake.engines.base import Engine, Log
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.loads.crawl import crawl_delivery
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.load import commit_properties, encode_delivery
from billing_lake.loads.prove import prove
from billing_lake.tables.base import Commit
from billing_lake.tables.exports import Export, Table

_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """The result of a rebuild.

    Attributes:
        periods: Rows of each billing period.
        old: Where the rows from before are, by the asset of the table; empty for tables that had none.
    """

    periods: Mapping[str, int]
    old: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rebuilder:
    """Builds the tables of an export anew.

    Attributes:
        run_id: Id of the run.
        engine: What totals and encodes.
        log: Takes lines about progress.
        stamp: Ends the names of what stays from before, for example `20250304_101500`.
        work: Name of the folder of what is encoded, below the lake's `staging`; it is removed at the end.
        crawled: What was crawled so far, by the identity of the delivery.
        encoded: What was encoded and proved so far, by the identity and content of the delivery and the fields.
    """

    lake: Lake
    export: Export
    run_id: str
    engine: Engine
    log: Log
    stamp: str = field(default_factory=lambda: f"{datetime.now(timezone.utc):%Y%m%d_%H%M%S}")
    work: str = field(default_factory=lambda: uuid.uuid4().hex)
    crawled: dict[str, Crawl] = field(default_factory=dict)
    encoded: dict[tuple[str, tuple[Field, ...]], Encoded] = field(default_factory=dict)

    def run(self, leave_behind: Sequence[str] = ()) -> Rebuilt:
        """Encode, prove, and let the tables take it over.

        What is delivered meanwhile is encoded, too: a table takes over nothing that is not the delivery in storage.

        Raises:
            BillingLakeError: Each table is as it was, unless the message says that it was rebuilt.
        """
        self.lake.require(self.export.outputs, self.export.crawler)
        done: dict[str, Commit] = {}
        tables = self.lake.tables(self.export)
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    crawls = self._crawls(self._deliveries(leave_behind))
                    wanted = _columns(crawls)
                    for table in tables:
                        done[table.asset] = self._rebuild(table, crawls, wanted)
                        self.log(f"rebuild: {table.asset} is rebuilt")
                except (DeliveryChangedError, FieldIdMismatchError) as error:
                    if attempt == _ATTEMPTS:
                        raise
                    self.log(f"rebuild: looking again, because {error.what}")
                else:
                    Ledger(lake=self.lake, export=self.export, log=self.log).record()
                    return Rebuilt(
                        periods={p: crawl.profile.rows for p, crawl in crawls.items()},
                        old={
                            one.asset: one.catalog.name_before(one.name, self.stamp)
                            for one in tables
                            if done[one.asset].replaced_rows
                        },
                    )
        except BillingLakeError as error:
            if not done:
                raise
            what = f"Of the tables only {', '.join(done)} could be rebuilt, the others are as they were: {error}"
            raise LoadError(what, remedy="Remove the cause, then run the job again") from error
        finally:
            self.lake.files.remove_folder(self._folder)
        raise AssertionError  # pragma: no cover

    @property
    def _folder(self) -> str:
        return f"{self.lake.staging}/{self.work}"

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
        return {p: d for p, d in sorted(findings.deliveries.items()) if self.export.has_period(p)}

    def _held(self) -> set[str]:
        return {one for table in self.lake.tables(self.export) for one in table.periods()}

    def _crawls(self, deliveries: Mapping[str, Delivery]) -> dict[str, Crawl]:
        errors: dict[str, BillingLakeError] = {}
        for position, (period, delivery) in enumerate(deliveries.items(), start=1):
            if delivery.identity in self.crawled:
                continue
            self.log(f"rebuild: {period} is read ({position} of {len(deliveries)})")
            try:
                self.crawled[delivery.identity] = crawl_delivery(
                    self.lake, self.engine, delivery, self.export.format
                )
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
        self, table: Table, crawls: Mapping[str, Crawl], wanted: Sequence[Column]
    ) -> Commit:
        fields = self._fields(table, wanted)
        deliveries = {period: crawl.delivery for period, crawl in crawls.items()}
        return table.catalog.rebuild(
            table.name,
            table.export,
            {period: self._encode(crawl, fields) for period, crawl in crawls.items()},
            properties={p: commit_properties(d, self.run_id) for p, d in deliveries.items()},
            verify=lambda: self._verify(deliveries),
            before=self.stamp,
            log=self.log,
        )

    def _fields(self, table: Table, wanted: Sequence[Column]) -> tuple[Field, ...]:
        """Return the fields that files for a table carry; where it finds columns by name, with the ids of another table."""
        if table.fields() is None:
            fields = self.export.format.described(plan(None, wanted).fields)
            table.catalog.create(table.name, fields)
        fields = table.catalog.plan_rebuild(table.name, wanted).fields
        if not table.catalog.finds_by_name:
            return fields
        others = (one for one in self.lake.tables(self.export) if not one.catalog.finds_by_name)
        other = next(others, None)
        shared = fields if other is None else self._fields(other, wanted)
        same = {(one.name, one.type) for one in fields} == {(one.name, one.type) for one in shared}
        return shared if same else fields

    def _encode(self, crawl: Crawl, fields: tuple[Field, ...]) -> Encoded:
        key = (f"{crawl.delivery.identity} {crawl.content}", fields)
        if key not in self.encoded:
            period = crawl.delivery.period
            self.log(f"rebuild: {period} is encoded")
            folder = f"{self._folder}/{period}-{len(self.encoded)}"
            try:
                encoded = encode_delivery(self.engine, crawl, fields, folder)
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
            columns=columns_of(encoded.fields),
        )
        prove(self.lake, self.export, crawl, source)

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


def _columns(crawls: Mapping[str, Crawl]) -> list[Column]:
    """Return the columns of all deliveries together.

    Raises:
        SchemaChangeError: Two of them have a column with types that no promotion joins.
    """
    fields: tuple[Field, ...] | None = None
    for period, crawl in crawls.items():
        planned = plan(fields, lake_columns(crawl.source.columns))
        if planned.diff.incompatible:
            first = planned.diff.incompatible[0]
            what = f"The delivery of {period} has the column as {first.delivery}, an earlier one as {first.table}"
            raise SchemaChangeError(what, column=first.name)
        fields = planned.fields
    return list(columns_of(fields or ()))
