"""The checks of a table: it is read back as a user would read it, and must equal the delivery to the last digit.

In a run that loaded the period, what is proved is the commit of that load, whatever other loads have done since. Elsewhere it is
what the table holds now, against the delivery that the table says it holds.

All checks of a table are one step, so that its files are read once; tables that hold the same bytes are proved by one reading in a run, and
by what each catalog names (`run_readings`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

import dagster as dg

from billing_lake.assets.export import DagsterExport, without_warnings_of
from billing_lake.assets.metadata import profile_of_figures
from billing_lake.checks import check_texts
from billing_lake.checks.bills import BillChecks, judged_now
from billing_lake.checks.evaluations import (
    EACH_MONTH,
    CheckEvent,
    Checks,
    Materialization,
    Verdict,
)
from billing_lake.checks.period_proofs import PROOFS, Expected, PeriodProofs
from billing_lake.checks.run_readings import RunReader
from billing_lake.deployments import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    BillingLakeError,
    SnapshotGoneError,
)
from billing_lake.domain.sources import Source
from billing_lake.landing.deliveries import verify_unchanged
from billing_lake.loads.static_files import STATIC
from billing_lake.tables.base import Commit
from billing_lake.tables.exports import TABLE_ASSETS, Table, TableOutput

_MEGABYTE_BYTES = 1 << 20
_ATTEMPTS = 3


def build_table_proofs(export: DagsterExport, output: TableOutput) -> dg.AssetChecksDefinition:
    """Build the checks of the table of ``output``."""
    return _build(
        export,
        lambda lake: lake.table(export, output),
        asset=TABLE_ASSETS[output],
        expected="crawler_table",
        partitions=export.partitions,
        # One table is enough to ask what is on the bill; the proofs say that the others are equal.
        on_bill=check_texts.CHECKS_OF_BILLS if output == export.ledger_output else {},
    )


def build_static_proofs(export: DagsterExport) -> dg.AssetChecksDefinition:
    """Build the checks of the table of static files."""
    return _build(
        export,
        lambda lake: lake.static_table(export),
        asset=STATIC,
        expected=STATIC,
        partitions=None,
    )


def _build(
    export: DagsterExport,
    table_in: Callable[[Lake], Table],
    *,
    asset: str,
    expected: str,
    partitions: dg.PartitionsDefinition | None,
    on_bill: Mapping[str, str] = MappingProxyType({}),
) -> dg.AssetChecksDefinition:
    with without_warnings_of(dg.PreviewWarning):
        specs = [
            dg.AssetCheckSpec(
                name,
                asset=export.key(asset),
                description=text if partitions is None else f"{text} {EACH_MONTH}",
                partitions_def=partitions,
            )
            for name, text in {**PROOFS, **on_bill}.items()
        ]

    @dg.multi_asset_check(name=f"{export.name}__{asset}_proofs", specs=specs, can_subset=True)
    def table_proofs(
        context: dg.AssetCheckExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[CheckEvent]:
        path = export.key(expected).path
        table = table_in(billing_lake)
        proofs = _TableProofs(billing_lake, table, export, path, context.run.run_id, asset)
        held = cache(table.periods)
        checks = Checks(
            export=export,
            asset=asset,
            specs=specs,
            judge=proofs.judge,
            known_periods=lambda: billing_lake.values.periods(path),
            is_empty=lambda period: period not in held(),
        )
        yield from checks.evaluate(context)

    return table_proofs


class _TableProofs:
    """The proofs of one table.

    Args:
        crawls: Key of the asset whose values are the crawled deliveries.
        run_id: The run.
        asset: The table's asset.
    """

    def __init__(
        self,
        lake: Lake,
        table: Table,
        export: DagsterExport,
        crawls: Sequence[str],
        run_id: str,
        asset: str,
    ) -> None:
        self._lake = lake
        self._table = table
        self._export = export
        self._crawls = crawls
        self._run_id = run_id
        self._asset = asset
        self._held: Mapping[str, str] | None = None

    def judge(
        self, period: str, names: Sequence[str], made: Materialization
    ) -> Mapping[str, Verdict]:
        """Judge one period."""
        if made is not None and made.run_id == self._run_id and made.partition_key == period:
            return self._of_commit(period, names, made)
        return self._of_now(period, names, made)

    def _of_commit(
        self, period: str, names: Sequence[str], made: dg.EventLogRecord
    ) -> Mapping[str, Verdict]:
        """Judge what this run loaded; where its files are gone already, say that it was not proved."""
        expected, commit = self._loaded(period, made), _commit(self._table.name, _facts(made))
        try:
            source = self._table.files(period, commit)
            try:
                verdicts = self._verdicts(period, names, source, expected, in_load=True)
            except BillingLakeError:
                self._table.files(period, commit)
                raise
            if any(one.is_red for one in verdicts.values()):
                # Were its files taken away while they were read?
                self._table.files(period, commit)
        except SnapshotGoneError as gone:
            text = (
                f"Delivery {expected.version}, which this run loaded, was not proved: other loads have replaced it twice "
                f"since, and prove what they brought. {gone.what}"
            )
            return _unproved(period, names, text)
        return verdicts

    def _of_now(
        self, period: str, names: Sequence[str], made: Materialization
    ) -> Mapping[str, Verdict]:
        """Judge what the table holds; where it is being replaced under the proof, once more."""
        for _ in range(_ATTEMPTS):
            says = self._held_identity(period)
            expected = self._known(period, says, made)
            if expected is None:
                text = (
                    "What the delivery that the table holds adds up to is not known here any more, so nothing was proved. "
                    "Load the period again"
                )
                return _unproved(period, names, text)
            source = self._table.files(period)
            error: BillingLakeError | None = None
            verdicts: Mapping[str, Verdict] = {}
            try:
                verdicts = self._verdicts(period, names, source, expected, in_load=False)
            except BillingLakeError as raised:
                error = raised
            if error is None and not any(one.is_red for one in verdicts.values()):
                return verdicts
            self._held = None
            if self._held_identity(period) == says and self._table.files(period) == source:
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
        expected: Expected,
        *,
        in_load: bool,
    ) -> Mapping[str, Verdict]:
        table = self._export.format.with_roles(source)
        most = self._export.same_content_up_to_mb * _MEGABYTE_BYTES if in_load else None
        lake, run_id, asset = self._lake, self._run_id, self._asset
        reader = RunReader(reader=lake.reader, files=lake.files, run_id=run_id, asset=asset)
        proofs = PeriodProofs(reader, self._table.key(period), expected, table, most, self._verify)
        delivery = None if expected.crawl is None else expected.crawl.delivery
        bill = BillChecks(
            self._lake, self._export, judged_now(period, expected.identity, delivery, table)
        )
        return {
            name: (bill if name in check_texts.CHECKS_OF_BILLS else proofs).judge(name)
            for name in names
        }

    def _verify(self, delivery: Delivery) -> None:
        if self._table.name == self._export.table:
            verify_unchanged(self._lake.storage, self._export.location, delivery)

    def _held_identity(self, period: str) -> str | None:
        """Return the identity of the delivery that the table says it holds."""
        if self._held is None:
            self._held = self._table.held()
        return self._held.get(period)

    def _known(self, period: str, says: str | None, made: Materialization) -> Expected | None:
        """Return what the delivery with the identity ``says`` adds up to, from whatever knows it."""
        if says is None:
            # It was not loaded, or somebody took the load back.
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

    def _loaded(self, period: str, made: dg.EventLogRecord) -> Expected:
        facts = _facts(made)
        crawl = self._crawl(period)
        known = crawl is not None and crawl.delivery.identity == facts.get("delivery_identity")
        return Expected(
            version=str(facts["delivery_version"]),
            profile=profile_of_figures(facts["raw_figures"]),
            crawl=crawl if known else None,
            identity=facts.get("delivery_identity"),
        )

    def _crawl(self, period: str) -> Crawl | None:
        """Return the delivery of the period that was crawled last."""
        return self._lake.values.latest(self._crawls, period, Crawl)


def _crawled(crawl: Crawl) -> Expected:
    return Expected(
        version=crawl.delivery.version,
        profile=crawl.profile,
        crawl=crawl,
        identity=crawl.delivery.identity,
    )


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
    event = made.asset_materialization
    return {} if event is None else {name: value.value for name, value in event.metadata.items()}


def _unproved(period: str, names: Sequence[str], text: str) -> Mapping[str, Verdict]:
    """Return what is neither good nor bad."""
    verdict = Verdict(
        passed=False, description=f"{period}: {text}", severity=dg.AssetCheckSeverity.WARN
    )
    return dict.fromkeys(names, verdict)
