"""Whatever happens to deliveries, runs, cursor and tables: in the end each month is the one in the folder."""

from __future__ import annotations

import csv
import gzip
import os
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from billing_lake.assets.export import DagsterExport
from billing_lake.components import BillingExport
from billing_lake.deployments import Lake, LocalLake
from billing_lake.domain.deliveries import Delivery, Layout
from billing_lake.domain.errors import (
    IncompleteDeliveryError,
    NoDeliveryError,
    NoFolderError,
    TableError,
)
from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import Encoded, EncodedFile, PeriodKey
from billing_lake.domain.types import STRING
from billing_lake.landing.deliveries import resolve_delivery, verify_unchanged
from billing_lake.sensors.new_reports import (
    MOST_ATTEMPTS,
    SeenDelivery,
    look_at_export,
)
from billing_lake.sensors.runs import run_tags
from billing_lake.tables.base import TableCatalog
from billing_lake.tables.exports import held_by_all
from billing_lake_tests.lakes import SampleLake
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row

PERIODS = ("2025-02", "2025-03")
CONTENTS = "ABC"
LAYOUTS: tuple[Layout, ...] = ("create-new", "overwrite", "loose")
HISTORIES, MANY_HISTORIES = 90, 500
MINUTE = timedelta(minutes=1)
ID, COST = "identity_line_item_id", "line_item_unblended_cost"
FIELDS = tuple(
    Field(name, STRING, number)
    for number, name in enumerate(
        (ID, COST, "export_name", "billing_period", "delivery_version", "source_file"), start=1
    )
)

Rows = list[tuple[str, float]]


@dataclass
class Folder:
    """A landing folder into which three contents of each month can be put, and put back: the very same files each time."""

    root: Path
    kept: Path
    layout: Layout
    dice: random.Random
    now: dict[str, str] = field(default_factory=dict)
    half: set[str] = field(default_factory=set)

    def put(self, period: str, *, half: bool = False) -> None:
        """Put another content than the present one there, or only its first file where keys are written again."""
        content = self.dice.choice([c for c in CONTENTS if c != self.now.get(period)])
        files = self._files(period, content)
        if half:
            files = files[:1]
            self.half.add(period)
        else:
            self._clear(period)
            self.half.discard(period)
        for relative, file in files:
            target = self.root / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            os.link(file, target)
        self.now[period] = content

    def rows(self, delivery: Delivery) -> Rows:
        """Return the rows of a delivery as its files state them."""
        lines: list[dict[str, str]] = []
        for file in delivery.files:
            with gzip.open(file.uri, "rt") as text:
                lines += csv.DictReader(text)
        cells = ((line["identity/LineItemId"], line["lineItem/UnblendedCost"]) for line in lines)
        return sorted((name, float(cost)) for name, cost in cells)

    def _files(self, period: str, content: str) -> list[tuple[Path, Path]]:
        home = self.kept / period / content / "landing"
        if not home.exists():
            if self.layout == "loose":
                made = [put(home / f"billing/{period}/{n}.csv.gz", b"") for n in (1, 2)]
            else:
                made = deliver(
                    home,
                    period,
                    version=content,
                    chunks=2,
                    assembly_folder=self.layout == "create-new",
                    bucket="landing",
                )
            for number, file in enumerate(made):
                if file.suffix == ".gz":
                    line = (f"{period}-{content}-{number}", *row(period)[1:-1], f"{number + 1}.5")
                    file.write_bytes(csv_gz([line]))
                # The manifest is the last; a content that comes back has its old times.
                os.utime(file, (1_000_000 + number, 1_000_000 + number))
        files = sorted(file for file in home.rglob("*") if file.is_file())
        return [(file.relative_to(home), file) for file in files]

    def _clear(self, period: str) -> None:
        for content in CONTENTS:
            for relative, _ in self._files(period, content) if self.half or self.now else []:
                (self.root / relative).unlink(missing_ok=True)


@dataclass
class History:
    """An export, its sensor, and a daemon that starts what the sensor asks for; the time is its own.

    Tables, folder, sensor and the record of runs are real. A run alone is a stand-in, which encodes with less effort.
    """

    lake: Lake
    export: DagsterExport
    instance: dg.DagsterInstance
    folder: Folder
    dice: random.Random
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    cursor: dict[str, SeenDelivery] = field(default_factory=dict)
    waiting: list[dg.DagsterRun] = field(default_factory=list)
    asked: dict[str, list[str]] = field(default_factory=dict)

    # What happens

    def tick(self) -> None:
        tick = look_at_export(
            self.export, self.lake, self.instance, self.cursor, limit=5, now=self.now
        )
        for delivery in tick.requests:
            assert self.table(delivery.period) != self.folder.rows(delivery), "it is loaded already"
            assert not any(delivery.period in self._periods(run) for run in self.waiting)
            self.asked.setdefault(delivery.period, []).append(delivery.identity)
            tags = {**run_tags(self.export, delivery), PARTITION_NAME_TAG: delivery.period}
            self.waiting.append(self.record(dg.DagsterRunStatus.STARTED, tags))
        self.cursor = tick.looks

    def finish_a_run(self, *, well: bool = False) -> None:
        if not self.waiting:
            return
        run = self.waiting.pop(self.dice.randrange(len(self.waiting)))
        outcome = "done"
        if not well and all(self.may_fail(period) for period in self._periods(run)):
            outcome = self.dice.choice(("done", "done", "never started", "died", "died late"))
        comes_to_commit = outcome in ("done", "died late")
        loaded = [self.load(period) for period in self._periods(run) if comes_to_commit]
        self.end(run, well=outcome == "done" and all(loaded))

    def load_by_hand(self) -> None:
        period = self.dice.choice(PERIODS)
        done = self.load(period)
        ended = dg.DagsterRunStatus.SUCCESS if done else dg.DagsterRunStatus.FAILURE
        self.record(ended, {PARTITION_NAME_TAG: period})

    def start_a_backfill(self) -> None:
        tags = {
            ASSET_PARTITION_RANGE_START_TAG: PERIODS[0],
            ASSET_PARTITION_RANGE_END_TAG: PERIODS[-1],
        }
        self.waiting.append(self.record(dg.DagsterRunStatus.STARTED, tags))

    def restart_the_daemon(self) -> None:
        if all(self.may_fail(period) for run in self.waiting for period in self._periods(run)):
            for run in self.waiting:
                self.end(run, well=False)
            self.waiting.clear()

    def delete_the_runs(self) -> None:
        self.instance.wipe()
        self.waiting.clear()
        self.asked.clear()

    def lose_the_cursor(self) -> None:
        self.cursor = {}

    def drop_a_table(self) -> None:
        catalog = self.dice.choice([*self.catalogs()])
        if catalog.fields(self.export.table) and all(map(self.may_fail, PERIODS)):
            catalog.drop(self.export.table)

    def let_time_pass(self) -> None:
        self.now += self.dice.randint(1, 60) * MINUTE

    def deliver(self) -> None:
        self.folder.put(self.dice.choice(PERIODS))

    def begin_to_deliver(self) -> None:
        period = self.dice.choice(PERIODS)
        if self.folder.layout != "create-new" and period in self.folder.now:
            self.folder.put(period, half=True)

    def live(self, steps: int) -> None:
        events: Sequence[Callable[[], None]] = (
            *[self.tick] * 6,
            *[self.finish_a_run] * 4,
            *[self.deliver] * 4,
            *[self.let_time_pass] * 4,
            self.begin_to_deliver,
            self.load_by_hand,
            self.start_a_backfill,
            self.restart_the_daemon,
            self.delete_the_runs,
            self.lose_the_cursor,
            self.drop_a_table,
        )
        for _ in range(steps):
            self.dice.choice(events)()

    def settle(self) -> None:
        """Finish what is half delivered, then let nothing go wrong any more until nothing happens."""
        for period in sorted(self.folder.half):
            self.folder.put(period)
        for _ in range(20):
            self.tick()
            while self.waiting:
                self.finish_a_run(well=True)
            if not self.cursor and not self.wrong():
                return
            self.now += 30 * MINUTE
        raise AssertionError(self.wrong())

    # What is found

    def wrong(self) -> dict[str, tuple[Rows, Rows]]:
        """Return table and folder of each month where they differ."""
        found = {}
        for period in sorted(self.folder.now):
            delivery = resolve_delivery(self.lake.storage, self.export.location, period)
            here, there = self.table(period), self.folder.rows(delivery)
            if here != there:
                found[period] = (here, there)
        return found

    def catalogs(self) -> Iterator[TableCatalog]:
        return (self.lake.catalog(output) for output in self.export.outputs)

    def table(self, period: str) -> Rows:
        """Return the rows that a reader of the table finds."""
        found: list[Rows] = []
        for catalog in self.catalogs():
            try:
                files = catalog.files(self.export.table, PeriodKey(self.export.name, period)).files
            except TableError:
                files = ()
            read = [pq.ParquetFile(file.uri).read(columns=[ID, COST]) for file in files]
            rows = [(one[ID], float(one[COST])) for table in read for one in table.to_pylist()]
            found.append(sorted(rows))
        return found[0] if all(one == found[0] for one in found) else []

    # How it is done

    def load(self, period: str) -> bool:
        """Load a month as a run does; False where it fails."""
        try:
            delivery = resolve_delivery(self.lake.storage, self.export.location, period)
        except (NoDeliveryError, NoFolderError, IncompleteDeliveryError):
            return False
        hive, table, key = self.lake.hive, self.export.table, PeriodKey(self.export.name, period)
        hive.create(table, FIELDS)
        rows = [
            {
                ID: line,
                COST: str(cost),
                "export_name": self.export.name,
                "billing_period": period,
                "delivery_version": delivery.version,
                "source_file": "",
            }
            for line, cost in self.folder.rows(delivery)
        ]
        schema = pa.schema(
            pa.field(f.name, pa.string(), metadata={"PARQUET:field_id": str(f.field_id)})
            for f in FIELDS
        )
        path = Path(hive.new_location(table, key) or "") / f"{uuid.uuid4().hex}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        file = EncodedFile(uri=str(path), rows=len(rows), size=path.stat().st_size)
        hive.replace_period(
            table,
            key,
            Encoded(
                identity=delivery.identity, version=delivery.version, files=(file,), fields=FIELDS
            ),
            properties={},
            verify=lambda: verify_unchanged(self.lake.storage, self.export.location, delivery),
        )
        return True

    def may_fail(self, period: str) -> bool:
        """Say whether another failure would leave the sensor a run to ask for: it gives up after some."""
        asked = self.asked.get(period, [])
        same = len(asked) - next(
            (n for n, one in enumerate(reversed(asked)) if one != asked[-1]), 0
        )
        return min(same, len(asked)) < MOST_ATTEMPTS - 2

    def record(self, status: dg.DagsterRunStatus, tags: dict[str, str]) -> dg.DagsterRun:
        run = dg.DagsterRun(
            job_name=f"{self.export.name}_load",
            run_id=str(uuid.uuid4()),
            status=status,
            tags=tags,
        )
        return self.instance.add_run(run)

    def end(self, run: dg.DagsterRun, *, well: bool) -> None:
        event = dg.DagsterEventType.RUN_SUCCESS if well else dg.DagsterEventType.RUN_FAILURE
        self.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=event.value, job_name=run.job_name), run.run_id
        )

    def _periods(self, run: dg.DagsterRun) -> list[str]:
        period = run.tags.get(PARTITION_NAME_TAG)
        return [p for p in PERIODS if p in self.folder.now] if period is None else [period]


@dataclass
class WholeHistory(History):
    """A history whose loads are the real job, into all tables.

    Attributes:
        made: What runs it.
    """

    made: SampleLake = field(kw_only=True)

    def load(self, period: str) -> bool:
        return self.made.load(period).success


def settings(layout: Layout) -> dict[str, Any]:
    report = "" if layout == "loose" else "cur"
    return {"name": "cur", "layout": layout, "prefix": "billing", "report": report}


def test_random_histories_end_with_tables_that_equal_the_folder(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    histories = MANY_HISTORIES if request.config.getoption("every_variant") else HISTORIES
    loaded = 0
    exports = {
        layout: BillingExport(**settings(layout), outputs=["hive"], start="2025-01").export
        for layout in LAYOUTS
    }
    with dg.DagsterInstance.ephemeral() as instance:
        for seed in range(histories):
            dice = random.Random(seed)
            layout = LAYOUTS[seed % len(LAYOUTS)]
            home = tmp_path / str(seed)
            folder = Folder(home / "landing", home / "kept", layout, dice)
            history = History(LocalLake(home), exports[layout], instance, folder, dice)
            try:
                history.live(14)
                history.settle()
            except Exception as error:
                error.args = (f"seed {seed}", *error.args)
                raise
            loaded += len(folder.now)
            assert history.wrong() == {}, seed
            assert held_by_all(history.lake.tables(exports[layout])).keys() >= folder.now.keys(), (
                seed
            )
            instance.wipe()
    assert loaded > histories, "most histories have both months"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_histories_of_the_real_job_end_with_all_tables_equal_to_the_folder(
    make_lake: Callable[..., SampleLake], tmp_path: Path, layout: Layout
) -> None:
    made = make_lake(**settings(layout))
    dice = random.Random(layout)
    folder = Folder(made.landing, tmp_path / "kept", layout, dice)
    history = WholeHistory(made.lake, made.component.export, made.instance, folder, dice, made=made)
    history.deliver()
    history.live(14)
    history.settle()
    assert folder.now
    assert history.wrong() == {}
    assert held_by_all(made.lake.tables(made.component.export)).keys() >= folder.now.keys()
