"""The work of `billing-lake load`: which deliveries are new, their runs through Dagster, and the proof of all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from billing_lake.assets.export import DagsterExport, without_warnings_of
from billing_lake.commands.load_results import Complaint, LoadResult, Proved
from billing_lake.commands.own_exports import OwnExport
from billing_lake.commands.runs import LoadRun, Project, RunFault
from billing_lake.components.lake import lake_resources
from billing_lake.deployments import Lake, LocalLake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryError,
    IncompleteDeliveryError,
    NoDeliveryError,
    in_words,
    shown,
)
from billing_lake.domain.periods import is_period
from billing_lake.domain.profiles import compare
from billing_lake.jobs.load import load_job_name
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.landing.found_exports import FoundExport
from billing_lake.loads.ledger_rows import kept_crawl
from billing_lake.tables.exports import TABLE_ASSETS, held_by_all

_NO_FILES = (
    "Compare `prefix` and `report` in its settings with what `billing-lake inspect` finds there"
)
_PROOF = "equals_delivery"
_PROOFS = (_PROOF, "same_content")
"""Checks that compare a table with its delivery; others judge the bill."""
_SHOWN_DIFFERENCES = 3


@dataclass(frozen=True, kw_only=True)
class Task:
    """A delivery that is to be in the tables.

    Attributes:
        crawl: What its files add up to, where the tables hold it already; None where it is to be loaded.
    """

    export: DagsterExport
    delivery: Delivery
    crawl: Crawl | None

    @property
    def label(self) -> str:
        """Names it for people."""
        return f"{self.export.name} {self.delivery.period}"


def tasks_of(
    lake: Lake, found: FoundExport, own: OwnExport, periods: Collection[str]
) -> list[Task]:
    """Return the deliveries of an export, of the billing periods that are asked for, or of all of its own."""
    export = own.export
    is_new = isinstance(lake, LocalLake) and not (lake.home / "catalog").is_dir()
    held = {} if is_new else held_by_all(lake.tables(export))
    return [
        Task(export=export, delivery=replace(delivery, export=export.name), crawl=kept_crawl(lake, export, delivery.period, delivery.identity) if is_held else None)
        for period, delivery in sorted(found.findings.deliveries.items())
        if (not periods or period in periods) and export.has_period(period)
        for is_held in [held.get(period) == delivery.identity]
    ]  # fmt: skip


def faults_of(
    lake: Lake, found: FoundExport, own: OwnExport, periods: Collection[str]
) -> list[LoadResult]:
    """Return the deliveries of an export that cannot be loaded, with the reasons."""
    findings = found.findings
    if not periods and not (findings.deliveries or findings.waiting or findings.broken):
        folder = own.export.location.rules.folder or "/"
        what = f"No file of the export lies in {shown(lake.storage.address(folder), 400)}"
        error = NoDeliveryError(what, file=str(own.file), remedy=_NO_FILES)
        return [LoadResult(export=own.export, period=folder, fault=RunFault.of(error))]
    return [
        LoadResult(export=own.export, period=place, fault=_reason(lake, own.export, place, text, kind))
        for places, kind in (
            (findings.waiting, IncompleteDeliveryError.__name__),
            (findings.broken, DeliveryError.__name__),
        )
        for place, text in sorted(places.items())
        if not periods or place in periods
    ]  # fmt: skip


def _reason(lake: Lake, export: DagsterExport, place: str, text: str, kind: str) -> RunFault:
    """Return why a delivery cannot be loaded: in particulars where its billing period is known."""
    if not is_period(place):
        return RunFault(kind=kind, text=text, file=place)
    try:
        resolve_delivery(lake.storage, export.location, place)
    except BillingLakeError as error:
        return RunFault.of(error)
    return RunFault(kind=kind, text=text)


class Loading:
    """Runs that load deliveries.

    Args:
        home: Folder of the Dagster instance that records the runs.
    """

    def __init__(self, lake: Lake, home: Path, exports: Sequence[OwnExport]) -> None:
        self._lake = lake
        with without_warnings_of(dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
            definitions = dg.Definitions.merge(
                *(one.component.definitions for one in exports),
                dg.Definitions(resources=lake_resources(), executor=dg.in_process_executor),
            )
        self._project = Project(home, definitions)

    def do(self, task: Task) -> LoadResult:
        """Load a delivery and prove it, or prove what the tables hold of it already."""
        export, delivery, crawl = task.export, task.delivery, task.crawl
        if crawl is not None:
            try:
                tables = dict(self._prove(export, crawl))
            except BillingLakeError as error:
                return _result(task, crawl, {}, fault=RunFault.of(error))
            return _result(task, crawl, tables)
        with without_warnings_of(dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
            run = self._project.run(export, delivery)
        return _result(
            task,
            kept_crawl(self._lake, export, delivery.period, delivery.identity),
            dict(_proved(export, run)),
            complaints=tuple(dict.fromkeys(_complaints(run))),
            fault=run.fault,
            seconds=run.seconds,
        )

    def _prove(self, export: DagsterExport, crawl: Crawl) -> Iterator[tuple[str, Proved]]:
        for table in self._lake.tables(export):
            source = export.format.with_roles(table.files(crawl.delivery.period))
            profile = self._lake.reader.profile(source)
            differences = compare(crawl.profile, profile)
            complaint = (
                f"does not equal the delivery: {in_words(differences, _SHOWN_DIFFERENCES, '; ')}. Start the job "
                f"{load_job_name(export)} for {crawl.delivery.period} in Dagster, which loads the month again; if it "
                "differs again, ask what else writes to the table"
            )
            yield (
                table.output,
                Proved(
                    rows=profile.rows,
                    equal=not differences,
                    complaint=complaint if differences else "",
                ),
            )


def _proved(export: DagsterExport, run: LoadRun) -> Iterator[tuple[str, Proved]]:
    for output in export.outputs:
        asset = TABLE_ASSETS[output]
        if asset in run.tables:
            checks = [one for one in run.checks if one.asset_key.path[-1] == asset]
            proofs = [one for one in checks if one.check_name in _PROOFS]
            red = [one.description or "" for one in proofs if not one.passed and _is_red(one)]
            is_equal = not red and any(one.check_name == _PROOF for one in proofs)
            rows = int(run.tables[asset]["dagster/partition_row_count"])
            yield output, Proved(rows=rows, equal=is_equal, complaint=" ".join(red))


def _complaints(run: LoadRun) -> Iterator[Complaint]:
    """Yield what the checks found that say nothing of whether the tables equal the delivery; of each table, though it be the same."""
    for one in run.checks:
        if not one.passed and not one.blocking and one.check_name not in _PROOFS:
            text = one.description or ""
            yield Complaint(check=one.check_name, severity=one.severity.value, text=text)


def _is_red(check: dg.AssetCheckEvaluation) -> bool:
    return check.check_name == _PROOF or check.severity is dg.AssetCheckSeverity.ERROR


def _result(
    task: Task,
    crawl: Crawl | None,
    tables: dict[str, Proved],
    *,
    complaints: Sequence[Complaint] = (),
    fault: RunFault | None = None,
    seconds: float | None = None,
) -> LoadResult:
    return LoadResult(
        export=task.export,
        period=task.delivery.period,
        version=task.delivery.version,
        files=len(task.delivery.files),
        rows=None if crawl is None else crawl.profile.rows,
        totals={} if crawl is None else crawl.profile.totals,
        tables=tables,
        complaints=complaints,
        fault=fault,
        seconds=seconds,
    )
