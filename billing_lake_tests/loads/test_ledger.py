"""Each delivery that was loaded has its row in the ledger, whatever was killed; what changed is exact; closed months stay readable."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from billing_lake.deployments import LocalLake
from billing_lake.domain.ledger import LedgerRow
from billing_lake.formats.legacy_cur.costs import UNBLENDED
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.loads import Export, Loader, crawl
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.load import Loaded
from billing_lake.loads.months import net_changes, read_restatements
from billing_lake.sample import SampleDelivery, write_delivery
from billing_lake.tables.exports import TableOutput
from billing_lake.tables.iceberg_rows import read_rows
from billing_lake_tests.lakes import SPEC

MARCH = "2025-03"
ICEBERG: tuple[TableOutput, ...] = ("iceberg",)


@dataclass
class Loads:
    """Loads of one export, without Dagster."""

    home: Path
    outputs: tuple[TableOutput, ...] = ICEBERG
    name: str = "costs"
    lines: list[str] = field(default_factory=list)

    @property
    def lake(self) -> LocalLake:
        return LocalLake(self.home)

    @property
    def export(self) -> Export:
        place = ExportLocation(self.name, "create-new", prefix="billing", report="daily")
        return Export(location=place, outputs=self.outputs)

    @property
    def ledger(self) -> Ledger:
        return Ledger(lake=self.lake, export=self.export, log=self.lines.append)

    def deliver(self, restatement: int = 0, period: str = MARCH, **more: Any) -> SampleDelivery:
        return write_delivery(self.home / "landing", period, SPEC, restatement=restatement, **more)

    def load(self, period: str = MARCH) -> Loaded:
        lake, export = self.lake, self.export
        engine = lake.engine(self.lines.append)
        found = crawl(lake, export, engine, resolve_delivery(lake.storage, export.location, period))
        loader = Loader(
            lake=lake, export=export, run_id="run", engine=engine, log=self.lines.append
        )
        loaded: Loaded | None = None
        for table in lake.tables(export):
            loaded = loader.load(table, found, None if loaded is None else loaded.encoded)
        assert loaded is not None
        return loaded

    def rows(self) -> list[LedgerRow]:
        return self.ledger.deliveries()

    def states(self) -> list[tuple[str, str]]:
        return [(one.delivery_version, one.month_state) for one in self.rows()]

    def restated(self) -> list[dict[str, Any]]:
        return read_rows(self.lake.iceberg, "billing.restatements")


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path / "lake")


def costs(delivery: SampleDelivery) -> Mapping[str, Decimal]:
    return {currency: columns[UNBLENDED] for currency, columns in delivery.totals.items()}


@pytest.mark.parametrize("outputs", [("hive", "iceberg", "s3_table"), ICEBERG, ("hive",)])
def test_every_delivery_has_a_row_and_what_changed_adds_up(
    tmp_path: Path, outputs: tuple[TableOutput, ...]
) -> None:
    loads = Loads(tmp_path / "lake", outputs)
    delivered = []
    for restatement in range(3):
        delivered.append(loads.deliver(restatement))
        loads.load()
    rows = loads.rows()
    assert [one.delivery_version for one in rows] == [one.version for one in delivered]
    assert [one.month_state for one in rows] == ["SETTLING", "CLOSED", "RESTATED"]
    for one, delivery in zip(rows, delivered, strict=True):
        assert one.costs == costs(delivery)
        totals = json.loads(one.totals)["USD"]
        assert {name: Decimal(text) for name, text in totals.items() if Decimal(text)} == {
            name: total for name, total in delivery.totals["USD"].items() if total
        }
        assert (one.line_items, one.report_files) == (delivery.rows, len(delivery.files))
        assert one.report_bytes == sum(file.stat().st_size for file in delivery.files)
        assert (one.run_id, one.format) == ("run", "legacy_cur")
        assert set(one.snapshots) == (
            {"hive_table"}
            if outputs == ("hive",)
            else {
                {"iceberg": "iceberg_table", "s3_table": "s3_table"}[o]
                for o in outputs
                if o != "hive"
            }
        )
    for before, after in pairwise(rows):
        moved = [
            one["cost_change"]
            for one in loads.restated()
            if one["after_identity"] == after.delivery_identity
        ]
        assert moved
        assert sum(moved) == after.costs["USD"] - before.costs["USD"]


def test_a_delivery_that_is_loaded_again_keeps_its_one_row_and_one_that_comes_back_is_the_last(
    loads: Loads,
) -> None:
    first = loads.deliver()
    loads.load()
    assert loads.load().recorded == {}
    second = loads.deliver(1)
    loads.load()
    assert loads.states() == [(first.version, "SETTLING"), (second.version, "CLOSED")]


def test_deliveries_that_come_back_again_and_again_are_restatements_each_time(
    loads: Loads, tmp_path: Path
) -> None:
    delivered, landing = [], loads.home / "landing"
    for restatement in range(2):
        delivered.append(loads.deliver(restatement))
        loads.load()
        landing.rename(tmp_path / str(restatement))
    for restatement in (0, 1, 0, 1):
        (tmp_path / str(restatement)).rename(landing)
        loads.load()
        landing.rename(tmp_path / str(restatement))
        assert loads.rows()[-1].delivery_version == delivered[restatement].version
        assert len(loads.rows()) == 2
    first, second = (costs(one)["USD"] for one in delivered)
    moved: dict[Any, Decimal] = {}
    for row in loads.restated():
        at = row["loaded_at"]
        moved[at] = moved.get(at, Decimal()) + row["cost_change"]
    there, back = second - first, first - second
    assert [moved[at] for at in sorted(moved)] == [there, back, there, back, there]
    between = net_changes(read_restatements(loads.lake, MARCH))
    assert sum(one["cost_change"] for one in between) == there


def test_the_ledger_says_which_columns_a_delivery_brought_and_which_it_lacks(loads: Loads) -> None:
    for tags in ((), ("user:Project",), ()):
        loads.deliver(len(loads.rows()), extra_tags=tags)
        loads.load()
    assert [one.columns_added for one in loads.rows()] == [None, "resource_tags_user_project", ""]
    assert [one.columns_missing for one in loads.rows()] == ["", "", "resource_tags_user_project"]


KILLED = """
import os, signal, sys
from pathlib import Path
from billing_lake.loads.ledger import Ledger
from billing_lake_tests.loads.test_ledger import Loads

def die(*arguments, **more):
    if not more:  # the row of the ledger, not those of what changed
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments, **more)

write, Ledger._write = Ledger._write, die
Loads(Path(sys.argv[1]), tuple(sys.argv[2].split(","))).load()
"""


@pytest.mark.parametrize("outputs", ["iceberg", "hive"])
def test_a_load_that_is_killed_before_its_row_is_recorded_by_the_next_load_of_any_month(
    tmp_path: Path, outputs: TableOutput
) -> None:
    loads = Loads(tmp_path / "lake", (outputs,))
    before = loads.deliver()
    loads.load()
    killed = loads.deliver(1)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(loads.home), outputs],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    table = loads.lake.table(loads.export, outputs)
    held = loads.lake.reader.profile(loads.export.format.with_roles(table.files(MARCH)))
    assert held.totals["USD"][UNBLENDED] == costs(killed)["USD"], "the load was committed"
    assert [one.delivery_version for one in loads.rows()] == [before.version]

    loads.deliver(period="2025-04")
    loads.load("2025-04")
    row = next(one for one in loads.rows() if one.month_state == "CLOSED")
    assert (row.billing_period, row.costs, row.line_items) == (MARCH, costs(killed), killed.rows)
    if outputs == "iceberg":
        assert (row.delivery_version, row.run_id) == (killed.version, "run")
        assert row.report_bytes == sum(file.stat().st_size for file in killed.files)
        assert len({json.dumps(one, default=str) for one in loads.restated()}) == len(
            loads.restated()
        )
        assert sum(one["cost_change"] for one in loads.restated()) == (
            costs(killed)["USD"] - costs(before)["USD"]
        )


def test_a_newer_delivery_of_the_month_does_not_cover_one_that_was_killed_before_its_row(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    versions = [loads.deliver().version]
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_write", die)
        with pytest.raises(KeyboardInterrupt):
            loads.load()
    assert loads.rows() == []
    versions.append(loads.deliver(1).version)
    loads.load()
    assert [one.delivery_version for one in loads.rows()] == versions
    assert loads.restated()


def test_months_that_are_loaded_at_once_all_get_their_row(loads: Loads) -> None:
    months = [f"2025-{number:02d}" for number in range(1, 7)]
    delivered = {month: loads.deliver(period=month).version for month in months}
    with ThreadPoolExecutor(len(months)) as pool:
        list(pool.map(loads.load, months))
    assert {one.billing_period: one.delivery_version for one in loads.rows()} == delivered
    assert len(loads.rows()) == len(months)


def test_a_closed_month_can_be_read_by_its_tag_whatever_is_restated_later(loads: Loads) -> None:
    loads.deliver()
    loads.load()
    closed = loads.deliver(1)
    loads.load()
    for restatement in (2, 3):
        loads.deliver(restatement)
        loads.load()
    table = loads.lake.iceberg.open("billing.costs")
    snapshot = table.snapshot_by_name("closed-2025-03")
    assert snapshot is not None
    read = table.scan(snapshot_id=snapshot.snapshot_id, selected_fields=(UNBLENDED,)).to_arrow()
    assert sum(read[UNBLENDED].to_pylist()) == costs(closed)["USD"]
    now = table.scan(selected_fields=(UNBLENDED,)).to_arrow()
    assert sum(now[UNBLENDED].to_pylist()) != costs(closed)["USD"]


def test_the_tag_names_the_export_where_a_table_has_rows_of_several(tmp_path: Path) -> None:
    loads, other = Loads(tmp_path / "lake"), Loads(tmp_path / "lake", name="other")
    loads.deliver(1, "2025-02")
    loads.load("2025-02")
    lake, export = other.lake, other.export
    engine = lake.engine(other.lines.append)
    found = crawl(lake, export, engine, resolve_delivery(lake.storage, export.location, "2025-02"))
    shared = lake.table(export, "iceberg", "billing.costs")
    Loader(lake=lake, export=export, run_id="run", engine=engine).load(shared, found)
    loads.deliver(1)
    loads.load()
    refs = set(lake.iceberg.open("billing.costs").metadata.refs)
    assert refs == {"main", "closed-2025-02", "closed-costs-2025-03"}
    assert loads.states()[-1][1] == "CLOSED"
    assert [one.export_name for one in other.rows()] == []
