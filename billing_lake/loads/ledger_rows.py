"""Rows of the ledger: what tables, deliveries and kept values say of a delivery that the tables hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from billing_lake.deployments.base import Lake
from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.ledger import Amount, LedgerRow
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.tables.base import RUN_PROPERTY, VERSION_PROPERTY, Commit
from billing_lake.tables.exports import TABLE_ASSETS, Export, Table
from billing_lake.tables.iceberg_columns import fields_of
from billing_lake.tables.iceberg_replacements import last_replacement, recorded_about
from billing_lake.tables.iceberg_rows import columns_before, joined_names

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

DELIVERED_PROPERTY = "billing-lake.delivered-at"
FILES_PROPERTY = "billing-lake.report-files"
BYTES_PROPERTY = "billing-lake.report-bytes"
"""Properties of a load about its delivery, from which a row of the ledger can be made when nothing else knows them any more."""


def kept_crawl(lake: Lake, export: Export, period: str, identity: str) -> Crawl | None:
    """Return the crawl of a delivery, where it is the one of its billing period that was crawled last."""
    crawl = lake.values.latest(export.path("crawler_table"), period, Crawl)
    return crawl if crawl is not None and crawl.delivery.identity == identity else None


@dataclass(frozen=True, kw_only=True)
class LedgerRows:
    """Makes rows of the ledger for one export.

    Attributes:
        run_id: Id of the run whose load is recorded.
    """

    lake: Lake
    export: Export
    run_id: str

    @property
    def table(self) -> Table:
        """The table whose rows are compared and counted."""
        return self.lake.table(self.export, self.export.ledger_output)

    def groups(self, source: Source) -> Mapping[Any, Amount]:
        """Total the cost of a table's files by account, service, charge type and currency."""
        roles = self.export.format.roles
        keys = (roles.account, roles.service, roles.charge_type, roles.currency)
        return self.lake.reader.groups(source, keys, self._cost)

    def make(
        self, period: str, identity: str, crawl: Crawl | None, commit: Commit | None
    ) -> LedgerRow:
        """Return the row of a delivery that the tables hold, without the state of its month."""
        found = self._found(period, identity)
        if (
            commit is not None
            and commit.generation is not None
            and self.export.ledger_output == "hive"
        ):
            found.snapshots[self.table.asset] = commit.generation
        profile = self._profile(period) if crawl is None else crawl.profile
        delivery = None if crawl is None else crawl.delivery
        invoice = self.export.format.roles.invoice
        filled = None if invoice is None else profile.filled.get(invoice, 0)
        described = found.recorded if delivery is None else delivery_properties(delivery)
        at = described.get(DELIVERED_PROPERTY)
        added, missing = self._columns(found, crawl)
        return LedgerRow(
            export_name=self.export.name,
            billing_period=period,
            delivery_version=found.recorded.get(VERSION_PROPERTY, "")
            if delivery is None
            else delivery.version,
            delivery_identity=identity,
            format=self.export.format.name,
            month_state="OPEN",
            delivered_at=None if at is None else datetime.fromisoformat(at),
            loaded_at=found.at,
            run_id=found.recorded.get(RUN_PROPERTY, "" if commit is None else self.run_id),
            snapshots=found.snapshots,
            report_files=_count(described.get(FILES_PROPERTY)),
            report_bytes=_count(described.get(BYTES_PROPERTY)),
            line_items=profile.rows,
            invoiced_items=filled,
            invoice_issuers=self._issuers(period),
            costs={
                currency: columns[self._cost]
                for currency, columns in profile.totals.items()
                if self._cost in columns
            },
            totals=json.dumps(profile.to_json()["totals"]),
            columns_added=added,
            columns_missing=missing,
        )

    def _found(self, period: str, identity: str) -> _Found:
        """Look up in the tables what they record about the load of a period."""
        key = PeriodKey(self.export.name, period)
        found = _Found(at=datetime.now(timezone.utc), recorded={}, snapshots={}, opened=None)
        for output in self.export.outputs:
            if output == "hive":
                continue
            opened = self.lake.iceberg_catalog(output).open(self.export.table)
            snapshot = last_replacement(opened, key, identity)
            if snapshot is None:
                continue
            found.snapshots[TABLE_ASSETS[output]] = str(snapshot.snapshot_id)
            if output == self.export.ledger_output:
                found.at = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, timezone.utc)
                found.recorded = recorded_about(snapshot, key) or {}
                found.opened = opened
        if self.export.ledger_output == "hive":
            encoded = self.lake.values.latest(self.export.path(self.table.asset), period, Encoded)
            if encoded is not None and encoded.files:
                found.snapshots[self.table.asset] = encoded.files[0].uri.rpartition("/")[0]
        return found

    def _columns(self, found: _Found, crawl: Crawl | None) -> tuple[str | None, str | None]:
        """Return the columns that the delivery added to the table, and those of the table that it lacks."""
        if crawl is None:
            return None, None
        delivered = {one.name for one in crawl.source.columns}
        opened, before = found.opened, None
        fields = self.table.fields() or () if opened is None else fields_of(opened)
        have = {one.name for one in fields} - LAKE_COLUMNS.keys()
        if opened is not None:
            before = columns_before(opened, int(found.snapshots[self.table.asset]))
        added = None if before is None else joined_names(delivered - before)
        return added, joined_names(have - delivered)

    def _issuers(self, period: str) -> dict[str, int]:
        meaning = self.export.format.with_roles(self.table.files(period))
        found = self.lake.reader.groups(meaning, (meaning.roles.issuer,))
        return {key[0]: one.items for key, one in found.items() if key[0] is not None}

    def _profile(self, period: str) -> Profile:
        """Total what the table holds: its costs, currencies, invoices and usage, and no other column."""
        meaning = self.export.format.with_roles(self.table.files(period))
        roles = meaning.roles
        wanted = {*meaning.costs, roles.currency, roles.invoice, roles.usage_start, *LAKE_COLUMNS}
        columns = tuple(one for one in meaning.columns if one.name in wanted)
        return self.lake.reader.profile(replace(meaning, columns=columns))

    @property
    def _cost(self) -> str:
        """The cost of the invoice."""
        return next(iter(self.export.format.headline_costs))


@dataclass
class _Found:
    """Holds what the tables record about the load of a period.

    Attributes:
        at: When it was committed.
        recorded: Properties of the commit.
        snapshots: As in `LedgerRow`.
        opened: The Iceberg table that is compared; None for a Hive table.
    """

    at: datetime
    recorded: Mapping[str, str]
    snapshots: dict[str, str]
    opened: IcebergTable | None


def delivery_properties(delivery: Delivery) -> dict[str, str]:
    """Return what is recorded with a load about its delivery, for the ledger."""
    about = {FILES_PROPERTY: str(len(delivery.files)), BYTES_PROPERTY: str(delivery.size)}
    written = delivered_at(delivery)
    return about if written is None else {**about, DELIVERED_PROPERTY: written.isoformat()}


def delivered_at(delivery: Delivery) -> datetime | None:
    """Return when the newest file of a delivery was written; None where it has no files."""
    written = delivery.delivered_at
    return datetime.fromisoformat(written) if written else None


def _count(text: str | None) -> int | None:
    return None if text is None else int(text)
