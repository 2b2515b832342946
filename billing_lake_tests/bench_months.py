"""What months cost beside the reading of their rows, and what a look of the sensor does: parts of `make bench`.

Loads run as they do behind the UI: in one process, with Dagster's history on disk. What the process imports before it begins is not
counted.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg

from billing_lake.components import BillingExport
from billing_lake.deployments import LocalLake
from billing_lake.deployments.base import LAKE_RESOURCE
from billing_lake.domain.periods import next_period
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.types import DECIMAL
from billing_lake.landing.s3 import S3Storage
from billing_lake.resources.run_history import close_run_history, keep_run_history_open
from billing_lake.sample import SampleSpec, write_delivery
from billing_lake.tables.iceberg_replacements import HELD
from billing_lake_tests.bench_inspect import bucket_of
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.lakes import SampleLake

FIRST = "2015-01"
_HISTORY = """
telemetry: {enabled: false}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
"""


def measure_backfill(folder: Path, rows: int, months: int) -> dict[str, Any]:
    """Return what it takes to load so many months of so many rows each in one run, all tables and all checks."""
    home, period, last = folder / "lake", FIRST, FIRST
    for _ in range(months):
        spec = SampleSpec(
            layout="create-new", prefix="billing", report="daily", rows=rows, chunks=1
        )
        write_delivery(home / "landing", period, spec)
        last, period = period, next_period(period)
    _import_what_loads_need()
    logging.disable(logging.CRITICAL)
    with _history(folder / "dagster") as instance:
        lake = SampleLake(home, {"start": FIRST}, instance)
        started, before = time.monotonic(), time.process_time()
        result = lake.load_range(FIRST, last) if months > 1 else lake.load(FIRST)
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - before
    bad = [one.check_name for one in result.get_asset_check_evaluations() if not one.passed]
    if not result.success or bad:
        raise AssertionError(bad)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def measure_ticks(folder: Path, exports: int, months: int) -> dict[str, Any]:
    """Return what the sensors of several exports take for two looks at a bucket: when all is new, and when the tables hold all of it."""
    _import_what_loads_need()
    logging.disable(logging.CRITICAL)
    with bucket_of(exports, months) as (clients, bucket), _history(folder / "dagster") as instance:
        lake = LocalLake(folder / "lake")
        vars(lake)["storage"] = S3Storage(clients, bucket)
        sensors = [_Sensor(component_of(number), lake, instance) for number in range(exports)]
        looks, asking = [], [True]
        for _ in range(2):
            with recorded(clients.client("s3")) as requests:
                started = time.monotonic()
                asking = [one.look() for one in sensors]
                seconds = time.monotonic() - started
            looks.append({"seconds": seconds, "requests": Counter(requests)})
            for one in sensors:
                one.hold()
        if any(asking) or any(len(one.observed) != months for one in sensors):
            raise AssertionError([len(one.observed) for one in sensors])
    return {"first": looks[0], "next": looks[1]}


def component_of(number: int) -> BillingExport:
    """Return the settings of one of the exports of `bucket_of`."""
    settings: dict[str, Any] = (
        {"layout": "create-new", "prefix": "legacy"}
        if number % 2
        else {"layout": "overwrite", "prefix": "exports", "format": "cur2"}
    )
    name = f"export{number}"
    return BillingExport(
        name=name, report=name, start=FIRST, outputs=["iceberg", "s3_table"], **settings
    )


class _Sensor:
    """The sensor of one export."""

    def __init__(
        self, component: BillingExport, lake: LocalLake, instance: dg.DagsterInstance
    ) -> None:
        self._export = component.export
        self._lake = lake
        self._instance = instance
        resources = dg.Definitions(resources={LAKE_RESOURCE: lake})
        definitions = dg.Definitions.merge(component.definitions, resources)
        self._sensor = definitions.resolve_sensor_def(f"{component.name}_new_reports")
        self._cursor: str | None = None

    def look(self) -> bool:
        """Let it look; return whether it asks for runs."""
        context = dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursor,
            resources={LAKE_RESOURCE: self._lake},
            sensor_name=self._sensor.name,
        )
        result = self._sensor(context)
        if not isinstance(result, dg.SensorResult):
            raise TypeError(result)
        self._cursor = result.cursor
        return bool(result.run_requests)

    @property
    def observed(self) -> dict[str, str]:
        """The identities of the deliveries that it has seen, by billing period."""
        found: dict[str, str] = json.loads(self._cursor or "{}")["observed"]
        return found

    def hold(self) -> None:
        """Have the tables say that they hold what it has seen, as after loads."""
        export = self._export
        held = {
            f"{HELD}{export.name}.{period}": f"{identity} token"
            for period, identity in self.observed.items()
        }
        fields = plan(None, lake_columns([Column("cost", DECIMAL)])).fields
        for tables in (self._lake.iceberg, self._lake.s3_tables):
            tables.create(export.table, fields)
            with tables.open(export.table).transaction() as transaction:
                transaction.set_properties(held)


def _import_what_loads_need() -> None:
    for name in (
        "polars",
        "pyarrow.csv",
        "pyarrow.parquet",
        "pyiceberg.catalog.sql",
        "pyiceberg.io.pyarrow",
    ):
        import_module(name)


@contextmanager
def _history(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Give a Dagster instance on disk, whose files stay open as in the process that loads."""
    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text(_HISTORY)
    os.environ["DAGSTER_HOME"] = str(folder)
    keep_run_history_open()
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        close_run_history()
