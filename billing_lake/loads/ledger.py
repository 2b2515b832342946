"""Keep the story of each month: a row for each delivery, what changed since the one before, a tag when the month is closed.

A delivery is recorded when every table of the export holds it. A table names the delivery that each month holds, in the commit
that brings it; the ledger names, in the commit of a row, the delivery that the row is about. What lacks a row is the difference of
the two, whenever a load looks: a load that was killed between its commit and its row is recorded by the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import CommitConflictError, SnapshotGoneError, StorageWriteError
from billing_lake.domain.ledger import (
    LEDGER_COLUMNS,
    RESTATEMENT_COLUMNS,
    CostChange,
    LedgerRow,
    cost_changes,
    in_load_order,
    month_state_of,
    with_delivery,
    with_state,
)
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey, Source
from billing_lake.engines.base import Log
from billing_lake.loads.ledger_rows import LedgerRows, kept_crawl
from billing_lake.sql.tables import LAKE_TABLES
from billing_lake.tables.base import RUN_PROPERTY, VERSION_PROPERTY, Commit
from billing_lake.tables.commit_retries import retry_while_overtaken
from billing_lake.tables.data_files import naming_write_errors
from billing_lake.tables.exports import TABLE_ASSETS, Export, Table, held_by_all
from billing_lake.tables.iceberg_replacements import (
    is_shared,
    replacement_mark,
)
from billing_lake.tables.iceberg_rows import (
    ensure_columns,
    parquet_of,
    read_rows,
    rows_of,
    tag_snapshot,
)

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

LEDGER, RESTATEMENTS = LAKE_TABLES

_PATIENCE_SECONDS = 120.0

_REMEDY = "Free space or repair the permissions, then load the period again: its tables are whole, its history lacks the delivery"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Holds what was recorded of one delivery.

    Attributes:
        row: Its row of the ledger.
        before: That of the delivery before it; None for the month's first.
        changed: The groups of rows that differ; None where there is no delivery before, or its rows are kept no more.
    """

    row: LedgerRow
    before: LedgerRow | None
    changed: Sequence[CostChange] | None


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Tells the deliveries of one export.

    Attributes:
        log: Takes lines about progress.
        run_id: Id of the run whose load is recorded.
    """

    lake: Lake
    export: Export
    log: Log
    run_id: str = ""

    @property
    def ledger(self) -> str:
        """Full name of the ledger: one for all exports of a namespace."""
        return f"{self.export.namespace}.{LEDGER}"

    @property
    def restatements(self) -> str:
        """Full name of the table of restatements."""
        return f"{self.export.namespace}.{RESTATEMENTS}"

    @property
    def table(self) -> Table:
        """The table whose rows are compared and counted."""
        return self._rows.table

    @property
    def _rows(self) -> LedgerRows:
        return LedgerRows(lake=self.lake, export=self.export, run_id=self.run_id)

    def compare(self, before: Source, now: Source) -> list[CostChange]:
        """Return what changed by account, service, charge type and currency between two states of the table's rows."""
        return cost_changes(self._rows.groups(before), self._rows.groups(now))

    def record(
        self, crawl: Crawl | None = None, commit: Commit | None = None
    ) -> dict[str, Recorded]:
        """Record every delivery that all tables of the export hold and the ledger does not have yet.

        Args:
            crawl: The delivery that was loaded just now, which then need not be read again.
            commit: What its load did.

        Returns:
            What was recorded, by billing period.
        """
        known = self.lake.iceberg.held(self.ledger, self.export.name)
        due = {
            period: identity
            for period, identity in self._held().items()
            if identity and known.get(period) != identity
        }
        return {period: self._record(period, due[period], crawl, commit) for period in sorted(due)}

    def deliveries(self, period: str = "") -> list[LedgerRow]:
        """Return what was recorded, in the order of billing periods and loads."""
        rows = read_rows(self.lake.iceberg, self.ledger, self.export.name, period)
        found = in_load_order(map(LedgerRow.from_row, rows))
        return sorted(found, key=lambda one: one.billing_period)

    def files(self, row: LedgerRow) -> Source:
        """Return the rows of a delivery that the table holds or held.

        Raises:
            SnapshotGoneError: They are kept no more.
        """
        asset = self.table.asset
        place = row.snapshots.get(asset)
        if place is None:
            raise SnapshotGoneError(f"It is not known which snapshot of {self.table.name} held it")
        is_hive = self.export.ledger_output == "hive"
        at = Commit(
            table=self.table.name,
            rows=row.line_items,
            files=0,
            size=0,
            replaced_rows=0,
            replaced_version=None,
            snapshot_id=None if is_hive else int(place),
            generation=place if is_hive else None,
        )
        found = self.table.files(row.billing_period, at)
        if row.line_items and not found.files:
            # A folder of a Hive table that was moved with the lake.
            raise SnapshotGoneError(f"There are no files in {place}")
        return found

    def _held(self) -> dict[str, str]:
        """Return the identity of the delivery of each period that all tables hold.

        The first output is not asked where there are others: they are loaded from its files.
        """
        others = self.export.outputs[1:] or self.export.outputs
        return held_by_all(self.lake.table(self.export, one) for one in others)

    def _record(
        self, period: str, identity: str, crawl: Crawl | None, commit: Commit | None
    ) -> Recorded:
        key = PeriodKey(self.export.name, period)
        if crawl is None or crawl.delivery.period != period or crawl.delivery.identity != identity:
            crawl, commit = kept_crawl(self.lake, self.export, period, identity), None
            self.log(
                f"{period}: the ledger lacks the delivery that the tables hold, and gets it now"
            )
        now = self._rows.make(period, identity, crawl, commit)

        def record() -> Recorded:
            ledger = ensure_columns(self.lake.iceberg, self.ledger, LEDGER_COLUMNS)
            mark = replacement_mark(ledger, key)
            rows = rows_of(ledger, {"export_name": key.export, "billing_period": period})
            known = in_load_order(map(LedgerRow.from_row, rows))
            before = next((o for o in reversed(known) if o.delivery_identity != identity), None)
            recorded = self._recorded(now, before)
            if any(o.delivery_identity == identity and o.month_state == "CLOSED" for o in known):
                # The delivery that closed the month is back.
                recorded = replace(recorded, row=with_state(recorded.row, "CLOSED"))
            written = [one.to_row() for one in with_delivery(known, recorded.row)]
            self._record_changes(recorded)
            if recorded.row.month_state == "CLOSED":
                self._close(recorded.row)
            self._write(ledger, key, written, recorded.row, mark)
            return recorded

        conflict = f"Other loads kept recording {period} of {self.export.name}"
        return retry_while_overtaken(conflict, _PATIENCE_SECONDS, CommitConflictError)(record)

    def _recorded(self, now: LedgerRow, before: LedgerRow | None) -> Recorded:
        if before is None:
            return Recorded(
                row=with_state(now, month_state_of(now, None, moved=False)),
                before=None,
                changed=None,
            )
        changed: list[CostChange] | None
        try:
            changed = self.compare(self.files(before), self.files(now))
            moved = any(one.cost_change for one in changed)
        except SnapshotGoneError as gone:
            self.log(
                f"{now.billing_period}: what changed since {before.delivery_version} cannot be said: {gone.what}"
            )
            changed, moved = None, now.costs != before.costs
        return Recorded(
            row=with_state(now, month_state_of(now, before, moved=moved)),
            before=before,
            changed=changed,
        )

    def _record_changes(self, recorded: Recorded) -> None:
        if recorded.before is None or not recorded.changed:
            return
        key = PeriodKey(self.export.name, recorded.row.billing_period)
        table = ensure_columns(self.lake.iceberg, self.restatements, RESTATEMENT_COLUMNS)
        pair = {
            "before_identity": recorded.before.delivery_identity,
            "after_identity": recorded.row.delivery_identity,
        }
        mark = replacement_mark(table, key)
        known = rows_of(table, {"export_name": key.export, "billing_period": key.period, **pair})
        # Those of an earlier time tell of another change: since then the delivery before has come back.
        if any(one["loaded_at"] > recorded.before.loaded_at for one in known):
            return
        rows = [one.to_row(recorded.before, recorded.row) for one in recorded.changed]
        self._write(table, key, rows, recorded.row, mark, keeps=True)

    def _write(
        self,
        table: IcebergTable,
        key: PeriodKey,
        rows: Sequence[Mapping[str, Any]],
        row: LedgerRow,
        mark: str | None,
        *,
        keeps: bool = False,
    ) -> None:
        """Write rows of a billing period, provided that nobody has written any since the period had ``mark``.

        Raises:
            CommitConflictError: Somebody has.
        """
        name = ".".join(table.name())
        data, fields = parquet_of(table, rows)
        folder = f"{self.lake.staging}/{uuid.uuid4().hex}"
        uri = f"{folder}/rows.parquet"

        def verify() -> None:
            if replacement_mark(self.lake.iceberg.open(name), key) != mark:
                raise CommitConflictError(f"Another load wrote to {name}")

        try:
            with naming_write_errors(folder):
                self.lake.files.make_folder(folder)
                self.lake.files.write(uri, data)
            self.lake.iceberg.replace_period(
                name,
                key,
                Encoded(
                    identity=row.delivery_identity,
                    version=row.delivery_version,
                    files=(EncodedFile(uri=uri, rows=len(rows), size=len(data)),),
                    fields=fields,
                ),
                properties={VERSION_PROPERTY: row.delivery_version, RUN_PROPERTY: row.run_id},
                verify=verify,
                keeps=keeps,
            )
        except StorageWriteError as error:
            raise StorageWriteError(error.what, file=error.file, remedy=_REMEDY) from error
        finally:
            self.lake.files.remove_folder(folder)

    def _close(self, row: LedgerRow) -> None:
        """Tag the snapshots that hold a closed month, so that the numbers that were reported can be read for ever."""
        for output in self.export.outputs:
            place = row.snapshots.get(TABLE_ASSETS[output])
            if output == "hive" or place is None:
                continue
            table = self.lake.table(self.export, output)
            opened = self.lake.iceberg_catalog(output).open(table.name)
            is_own = table.name == f"{self.export.namespace}.{row.export_name}"
            shared = not is_own or is_shared(opened, row.export_name)
            name = closed_tag(row.billing_period, row.export_name if shared else "")
            if tag_snapshot(opened, name, int(place)):
                self.log(f"{row.billing_period} is closed: {table.asset} has the tag {name}")


def closed_tag(period: str, export: str) -> str:
    """Return the name of the tag of the snapshot in which a month was closed; ``export`` is empty where the table has rows of one alone."""
    return "-".join(part for part in ("closed", export, period) if part)
