"""The changes of a lake that are killed and disturbed: what each does, and what every reader must find afterwards."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import BillingLakeError, ConfigurationError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import PeriodKey
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.maintenance import maintain
from billing_lake.sample import SampleDelivery, SampleSpec
from billing_lake.tables.base import VERSION_PROPERTY, CleanUp, KeptHistory
from billing_lake.tables.exports import TABLE_OUTPUTS
from billing_lake.tables.iceberg_compaction import FEWEST_FILES
from billing_lake.tables.relocation import relocate
from billing_lake_tests.assets.test_load import figures
from billing_lake_tests.jobs.test_rebuild import JOB, make_old_tables
from billing_lake_tests.lakes import EXPORT, SPEC, TABLE, SampleLake
from billing_lake_tests.tables.making import count, encode

PERIOD = "2025-03"
PERIODS = ("2025-01", "2025-02")
KEYS = tuple(PeriodKey(EXPORT, period) for period in PERIODS)
TAG = "closed-2025-01"
NOW = timedelta(seconds=-2)
"""An age that every file has."""

ALL = CleanUp(older_than=NOW, kept=KeptHistory(days=0, loads=1))

_TURNS_OF_A_LAKE = 40
"""Loads after which a lake is begun anew: what is tried is a load, not a long history."""

NO_STEP = "the run failed, and no step of it"
"""What is said where Dagster could not keep a run's own files."""

Action = Callable[[Path, dict[str, Any]], Callable[[], list[str]]]
"""Prepares a change of the lake in a folder; what it returns makes it, and says what failed."""


def job(name: str, **arguments: Any) -> Action:
    """Return the change that a job of Dagster makes."""

    def prepared(home: Path, settings: dict[str, Any]) -> Callable[[], list[str]]:
        found = SampleLake(home, settings).definitions.resolve_job_def(name)

        def act() -> list[str]:
            with dg.DagsterInstance.ephemeral() as instance:
                return failures(
                    found.execute_in_process(instance=instance, raise_on_error=False, **arguments)
                )

        return act

    return prepared


def call(act: Callable[[SampleLake], object]) -> Action:
    """Return the change that a function makes."""

    def prepared(home: Path, settings: dict[str, Any]) -> Callable[[], list[str]]:
        lake = SampleLake(home, settings)

        def acted() -> list[str]:
            try:
                act(lake)
            except BillingLakeError as error:
                return [f"{type(error).__name__}: {error}"]
            return []

        return acted

    return prepared


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return the messages of the steps of a run that failed."""
    failed = [event.step_failure_data for event in result.get_step_failure_events()]
    said = [
        (one.user_failure_data and one.user_failure_data.description) or str(one.error)
        for one in failed
    ]
    return said if said or result.success else [NO_STEP]


ACTIONS: Mapping[str, Action] = {
    "load": job(f"{EXPORT}_load", partition_key=PERIOD),
    "rebuild": job(JOB),
    "maintenance": call(lambda lake: maintain(lake.lake, lake.component.export, ALL, quiet)),
    "relocation": call(lambda lake: relocate(lake.home, quiet)),
}


def quiet(_: str) -> None:
    """Listen to nothing."""


@dataclass
class Change(ABC):
    """A change of a lake, and what is right after it.

    Attributes:
        folder: Folder for the lake and for copies of it.
        instance: The Dagster instance.
        settings: Settings of the export.
        looks: How often a table was read.
        states: The states in which the tables were found.
    """

    folder: Path
    instance: dg.DagsterInstance
    settings: dict[str, Any] = field(default_factory=dict)
    looks: int = 0
    states: set[object] = field(default_factory=set)

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in `ACTIONS`."""

    @property
    def lake(self) -> SampleLake:
        return SampleLake(self.folder / "lake", self.settings, self.instance)

    @abstractmethod
    def make(self) -> None:
        """Make the lake as it is before the first change."""

    def begin(self) -> None:
        """Make the lake, and keep a copy."""
        self.make()
        shutil.copytree(self.lake.home, self.folder / "template", symlinks=True)

    def restore(self) -> None:
        """Make the lake what it was before the first change."""
        shutil.rmtree(self.lake.home, ignore_errors=True)
        shutil.copytree(self.folder / "template", self.lake.home, symlinks=True)

    def again(self) -> None:
        """Let there be something to change."""
        self.restore()

    @abstractmethod
    def look(self) -> list[str]:
        """Read all tables after a change that may have been broken off; return what is wrong."""

    @abstractmethod
    def end(self) -> list[str]:
        """Read all tables after a change that was not; return what is wrong."""

    def profile(self, output: str, period: str) -> Profile:
        """Look at a table."""
        self.looks += 1
        return self.lake.profile(output, period)


class Load(Change):
    """A delivery that restates a month is loaded into all tables."""

    name = "load"
    turn = 0
    delivered: SampleDelivery
    held: Mapping[str, Profile]
    beside: Mapping[str, Profile]

    @property
    def other(self) -> SampleLake | None:
        """Another export that is loaded into the same tables, where the settings say so."""
        more = {"name": "other", "prefix": "other"}
        shared = "table" in self.settings
        return replace(self.lake, settings={**self.settings, **more}) if shared else None

    def of_the_other(self) -> dict[str, Profile]:
        other = self.other
        self.looks += 0 if other is None else len(TABLE_OUTPUTS)
        return {} if other is None else {one: other.profile(one, PERIOD) for one in TABLE_OUTPUTS}

    def make(self) -> None:
        if self.other is not None:
            spec = replace(self.spec, prefix="other", payer="000987654321")
            self.other.deliver(PERIOD, spec=spec)
            assert self.other.load(PERIOD).success
        self.beside = self.of_the_other()
        # The second load also makes the table of restatements.
        for _ in range(2):
            self.deliver()
            assert self.lake.load(PERIOD).success

    @property
    def spec(self) -> SampleSpec:
        return replace(SPEC, format=self.settings.get("format", SPEC.format))

    def deliver(self) -> None:
        self.delivered = self.lake.deliver(PERIOD, spec=self.spec, restatement=self.turn)
        self.turn += 1

    def again(self) -> None:
        if self.turn % _TURNS_OF_A_LAKE == 0:
            self.restore()
        self.deliver()
        self.held = {output: self.profile(output, PERIOD) for output in TABLE_OUTPUTS}

    def look(self) -> list[str]:
        found = {output: self.profile(output, PERIOD) for output in TABLE_OUTPUTS}
        new = {name for name, one in found.items() if figures(one) == figures(self.delivered)}
        self.states.add(frozenset(new))
        wrong = [
            f"{name} holds neither the month before nor the new one"
            for name, one in found.items()
            if name not in new and one != self.held[name]
        ]
        return (
            wrong if self.of_the_other() == self.beside else [*wrong, "the other payer's changed"]
        )

    def end(self) -> list[str]:
        wrong = [
            f"{output} is not the delivery"
            for output in TABLE_OUTPUTS
            if figures(self.profile(output, PERIOD)) != figures(self.delivered)
        ]
        lake, export = self.lake.lake, self.lake.component.export
        identity = lake.iceberg.held(self.lake.table, EXPORT)[PERIOD]
        told = Ledger(lake=lake, export=export, log=quiet).deliveries(PERIOD)
        identities = [row.delivery_identity for row in told]
        if identities[-1:] != [identity] or len(set(identities)) != len(identities):
            wrong.append("the ledger does not end with the delivery, or has one twice")
        last = lake.iceberg.open(self.lake.table).current_snapshot()
        assert last is not None
        assert last.summary is not None
        if last.summary[VERSION_PROPERTY] != told[-1].delivery_version:
            wrong.append("the last snapshot is not that of the delivery")
        return wrong


class Rebuild(Change):
    """All deliveries of an export are encoded anew, and each table exchanges its columns with its rows."""

    name = "rebuild"
    rows: list[int]

    def make(self) -> None:
        self.rows = [self.lake.deliver(period).rows for period in PERIODS]
        make_old_tables(self.lake, *KEYS)

    def found(self) -> dict[str, list[int]]:
        """Rows of both periods in each table, for who asks the catalog, and for who reads the Hive table's folder."""
        lake = self.lake.lake
        rows: dict[str, list[int]] = {
            output: [count(lake.catalog(output).files(TABLE, key)) for key in KEYS]
            for output in TABLE_OUTPUTS
        }
        read = pl.scan_parquet(lake.hive.uri(TABLE)).select("billing_period").collect()
        in_folder = [read.filter(pl.col("billing_period") == period).height for period in PERIODS]
        self.looks += len(rows) + 1
        return {**rows, "folder": in_folder}

    def look(self) -> list[str]:
        found = self.found()
        self.states.add(tuple(name for name, rows in found.items() if rows == self.rows))
        return [
            f"{name} has {rows} rows"
            for name, rows in found.items()
            if rows not in ([2, 2], self.rows)
        ]

    def end(self) -> list[str]:
        return [
            f"{name} has {rows} rows, not {self.rows}"
            for name, rows in self.found().items()
            if rows != self.rows
        ]


class Maintenance(Change):
    """History that nobody asked to keep goes, and so do the files that only it needed."""

    name = "maintenance"
    held: Mapping[tuple[str, str], Profile]
    tagged: int

    def make(self) -> None:
        for period in PERIODS:
            for restatement in range(3):
                self.lake.deliver(period, restatement=restatement)
                assert self.lake.load(period).success
                if (period, restatement) == (PERIODS[0], 1):
                    table = self.lake.lake.iceberg.open(TABLE)
                    now = table.current_snapshot()
                    assert now is not None
                    table.manage_snapshots().create_tag(now.snapshot_id, TAG).commit()
        tables = self.lake.lake.iceberg
        fields = tables.fields(TABLE)
        assert fields is not None
        # A period of many small files, as Spark would write it.
        many = encode(self.folder / "many", KEYS[1], (3,) * FEWEST_FILES, fields=fields)
        tables.replace_period(TABLE, KEYS[1], many, properties={}, verify=lambda: None)
        left = f"{self.lake.lake.iceberg.uri(TABLE)}/data/{EXPORT}/left.parquet"
        self.lake.lake.files.write(left, b"half")
        self.held, self.tagged = self.found(), self.rows_of_the_tag()

    def found(self) -> dict[tuple[str, str], Profile]:
        return {
            (one, period): self.profile(one, period) for one in TABLE_OUTPUTS for period in PERIODS
        }

    def rows_of_the_tag(self) -> int:
        table = self.lake.lake.iceberg.open(TABLE)
        named = table.snapshot_by_name(TAG)
        assert named is not None
        self.looks += 1
        return int(table.scan(snapshot_id=named.snapshot_id).to_arrow().num_rows)

    def look(self) -> list[str]:
        wrong = [f"{name} changed" for name, one in self.found().items() if one != self.held[name]]
        if self.rows_of_the_tag() != self.tagged:
            wrong.append("the tag names other rows")
        return wrong

    def end(self) -> list[str]:
        dry = replace(ALL, dry_run=True)
        left = maintain(self.lake.lake, self.lake.component.export, dry, quiet)
        clean = not left.removed and not left.compacted
        return self.look() + ([] if clean else [f"something is left: {left}"])


class Relocation(Change):
    """A copy of a lake becomes a lake of its own."""

    name = "relocation"
    held: Mapping[tuple[str, str], Profile]

    @property
    def copied(self) -> SampleLake:
        return replace(self.lake, home=self.folder / "copied")

    def make(self) -> None:
        for period, restatement in ((PERIODS[0], 0), (PERIODS[1], 0), (PERIODS[1], 1)):
            self.lake.deliver(period, restatement=restatement)
            assert self.lake.load(period).success
        self.held = self.found(self.lake)

    def found(self, lake: SampleLake) -> dict[tuple[str, str], Profile]:
        self.looks += len(TABLE_OUTPUTS) * len(PERIODS)
        return {
            (one, period): lake.profile(one, period) for one in TABLE_OUTPUTS for period in PERIODS
        }

    def again(self) -> None:
        shutil.rmtree(self.copied.home, ignore_errors=True)
        shutil.copytree(self.lake.home, self.copied.home, symlinks=True)

    def look(self) -> list[str]:
        wrong = ["the original changed"] if self.found(self.lake) != self.held else []
        try:
            _ = LocalLake(self.copied.home).iceberg
        except ConfigurationError:
            self.states.add("refused")
            self.looks += 1
            return wrong
        self.states.add("opened")
        return wrong + self.end()

    def end(self) -> list[str]:
        wrong = ["the copy holds other rows"] if self.found(self.copied) != self.held else []
        here, there = (
            [one.snapshot_id for one in lake.lake.iceberg.open(TABLE).snapshots()]
            for lake in (self.copied, self.lake)
        )
        return wrong if here == there else [*wrong, "the copy has another history"]
