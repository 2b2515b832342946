"""What commits and queries cost after years of deliveries: `make bench ARGS=--years`.

A thousand deliveries of 24 months are committed to one table, with the clock of the process set to when each would arrive, once with
maintenance every week and once without. What counts is the ratio of the last ones to the first ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import PeriodKey
from billing_lake.loads.s3_tables import KEPT, defined_schema
from billing_lake.tables import iceberg as module
from billing_lake.tables.base import CleanUp
from billing_lake.tables.iceberg import IcebergTables
from billing_lake.tables.iceberg_compaction import compact
from billing_lake.tables.iceberg_replacements import of_period
from billing_lake_tests.tables.making import TABLE, encode, iceberg, load

DAYS = 730
LIMIT = 1.5
"""Times of the first commits and plans, at most, with maintenance."""

_WARM_UP = 20
_WINDOW = 40


@dataclass
class Curve:
    """CPU seconds of each commit, and of each plan of a query of one month."""

    commits: list[float] = field(default_factory=list)
    plans: list[float] = field(default_factory=list)

    def ratio(self, seconds: list[float]) -> float:
        """Return what the last ones cost, as a multiple of the first ones."""
        first = statistics.median(seconds[_WARM_UP : _WARM_UP + _WINDOW])
        return statistics.median(seconds[-_WINDOW:]) / first


def measure(folder: Path, deliveries: int, *, maintained: bool) -> Curve:
    """Commit the deliveries, and time each commit and each plan."""
    tables, curve = iceberg(folder), Curve()
    fields = defined_schema()
    tables.create(TABLE, fields)
    began, cleaned = datetime.now(timezone.utc), 0.0
    for number in range(deliveries):
        day = number * DAYS / deliveries
        with _clock(day):
            # Every fourth delivery restates the month before.
            key = _period(began + timedelta(days=day - (30 if number % 4 == 3 else 0)))
            _commit(tables, folder, key, fields, number, curve)
            if maintained and day - cleaned >= 7:
                cleaned = day
                list(compact(tables.open(TABLE), lambda old, new: None, dry_run=False))
                tables.remove_orphans(TABLE, CleanUp(kept=KEPT))
    return curve


def _commit(
    tables: IcebergTables,
    folder: Path,
    key: PeriodKey,
    fields: tuple[Field, ...],
    number: int,
    curve: Curve,
) -> None:
    encoded = encode(folder / "staging", key, (5,), version=f"v{number}", fields=fields)
    started = time.process_time()
    load(tables, encoded, key)
    committed = time.process_time()
    list(tables.open(TABLE).scan(row_filter=of_period(key)).plan_files())
    curve.commits.append(committed - started)
    curve.plans.append(time.process_time() - committed)
    for file in encoded.files:
        Path(file.uri).unlink()


def _period(moment: datetime) -> PeriodKey:
    return PeriodKey("cur", f"{moment:%Y-%m}")


@contextmanager
def _clock(days: float) -> Iterator[None]:
    """Set the clock that pyiceberg and the clean-up of tables read."""
    real, shift = time.time, days * 24 * 60 * 60

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls.fromtimestamp(real() + shift, tz)

    time.time = lambda: real() + shift
    vars(module)["datetime"] = Later
    try:
        yield
    finally:
        time.time = real
        vars(module)["datetime"] = datetime


def report(folder: Path, deliveries: int) -> Iterator[tuple[str, float, bool]]:
    """Yield what was measured in words, the ratio, and whether it has a limit."""
    for maintained in (True, False):
        curve = measure(folder / f"maintained-{maintained}", deliveries, maintained=maintained)
        how = "with maintenance" if maintained else "without maintenance"
        for what, seconds in (("a commit", curve.commits), ("a query's planning", curve.plans)):
            points = [seconds[at : at + _WINDOW] for at in range(0, deliveries, deliveries // 10)]
            shown = " ".join(f"{1000 * statistics.median(point):.0f}" for point in points)
            print(f"  {what}, {how}: {shown} ms of CPU", flush=True)
            yield f"{what} after {deliveries:,} deliveries, {how}", curve.ratio(seconds), maintained
