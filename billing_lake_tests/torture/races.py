"""Loads, maintenance and readers of one lake at once, each in a process of its own, while deliveries arrive."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from billing_lake.domain.sources import PeriodKey
from billing_lake.loads.maintenance import maintain
from billing_lake.tables.base import CleanUp, KeptHistory
from billing_lake.tables.exports import TABLE_OUTPUTS
from billing_lake_tests.assets.test_load import figures
from billing_lake_tests.lakes import EXPORT, SPEC, TABLE, SampleLake
from billing_lake_tests.torture.changes import PERIODS, failures, quiet
from billing_lake_tests.torture.disturbed import Figures

_OVERTAKEN = ("DeliveryChangedError: ", "CommitConflictError: ", "UnsettledDeliveryError: ")
"""What a load may say that another one overtook."""

_SECONDS_OF_A_DAY = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class Race:
    """A race, which ends after some time, or some loads.

    Attributes:
        home: Folder of the lake.
        seconds: How long.
        loads: Loads that each loading process makes at most.
        grace_seconds: Time for which loads and readers need files that nothing current refers to: a day or more in earnest.
    """

    home: Path
    seconds: float
    loads: int = 1_000_000
    grace_seconds: float = 60.0

    @property
    def end(self) -> Path:
        return self.home / "end"

    @property
    def made(self) -> Path:
        """What was delivered so far: a line for each delivery, written before it arrives."""
        return self.home / "delivered.jsonl"

    def known(self) -> dict[str, list[Any]]:
        """Return the figures of each period's deliveries, in order."""
        known: dict[str, list[Any]] = {period: [] for period in PERIODS}
        for line in self.made.read_text().splitlines():
            period, said = json.loads(line)
            known[period].append(said)
        return known

    def run(self) -> Figures:
        """Run it, and return what was done and found."""
        # Nothing of the lake is touched in this process before all others are forked: locks of threads would be forked, too.
        found, modules = _forked(self.begin, self.home).told()
        for module in modules:
            with suppress(Exception):
                importlib.import_module(module)
        loaders = [_forked(self.load, self.home) for _ in range(2)]
        parts = (self.maintain, self.read, self.keep_delivering)
        others = [_forked(part, self.home) for part in parts]
        began = time.monotonic()
        while time.monotonic() - began < self.seconds and not all(one.ended() for one in loaders):
            time.sleep(0.1)
        self.end.touch()
        for one in (*loaders, *others):
            found.add(one.told()[0])
        known, lake = self.known(), SampleLake(self.home)
        for period in PERIODS:
            assert lake.load(period).success
            for output in TABLE_OUTPUTS:
                found.looks += 1
                if _figures(lake, output, period) != known[period][-1]:
                    found.wrong.append(f"{output} {period} is not the last delivery after a race")
        return found

    def begin(self, lake: SampleLake, _: Figures) -> None:
        """Deliver and load each period once."""
        for period in PERIODS:
            self.deliver(lake, period, 0)
            assert lake.load(period).success

    def deliver(self, lake: SampleLake, period: str, restatement: int) -> None:
        elsewhere = replace(lake, home=self.home / "elsewhere")
        # The samples' restatements repeat after some time; rows of another seed never do.
        spec = replace(SPEC, seed=restatement)
        made = elsewhere.deliver(period, spec=spec, restatement=restatement)
        with self.made.open("a") as stream:
            stream.write(json.dumps([period, _written(made)]) + "\n")
        lake.deliver(period, spec=spec, restatement=restatement)

    def keep_delivering(self, lake: SampleLake, _: Figures) -> None:
        """Restate one month after the other."""
        turn = 0
        while not self.end.exists():
            turn += 1
            self.deliver(lake, random.choice(PERIODS), turn)
            time.sleep(0.3)

    def load(self, lake: SampleLake, found: Figures) -> None:
        job = lake.definitions.resolve_job_def(f"{EXPORT}_load")
        with dg.DagsterInstance.ephemeral() as instance:
            for _ in range(self.loads):
                if self.end.exists():
                    return
                result = job.execute_in_process(
                    instance=instance, raise_on_error=False, partition_key=random.choice(PERIODS)
                )
                found.races += 1
                found.wrong += [
                    f"a load: {one}" for one in failures(result) if not one.startswith(_OVERTAKEN)
                ]

    def maintain(self, lake: SampleLake, found: Figures) -> None:
        grace = self.grace_seconds
        kept = KeptHistory(days=grace / _SECONDS_OF_A_DAY, loads=1)
        what = CleanUp(older_than=timedelta(seconds=grace), kept=kept)
        while not self.end.exists():
            maintain(lake.lake, lake.component.export, what, quiet)
            found.races += 1

    def read(self, lake: SampleLake, found: Figures) -> None:
        seen: dict[tuple[str, str], int] = {}
        while not self.end.exists():
            for output in TABLE_OUTPUTS:
                for period in PERIODS:
                    found.looks += 1
                    problem = self._look(lake, output, period, seen)
                    found.wrong += [f"{output} {period}: {problem}"] if problem else []

    def _look(
        self, lake: SampleLake, output: Any, period: str, seen: dict[tuple[str, str], int]
    ) -> str:
        catalog = lake.lake.catalog(output)
        before = catalog.held(TABLE, EXPORT)[period]
        try:
            held = _figures(lake, output, period)
        except Exception as error:  # noqa: BLE001 -- judged here
            # A Hive table keeps the load before for readers, and not the one before that.
            overtaken = output == "hive" and catalog.held(TABLE, EXPORT)[period] != before
            return "" if overtaken else repr(error)
        deliveries = self.known()[period]
        places = [place for place, one in enumerate(deliveries) if one == held]
        if not places:
            return "this was never delivered"
        last = seen.get((output, period), -1)
        seen[output, period] = max(last, places[-1])
        return "" if places[-1] >= last else "an older delivery came back"


@dataclass
class _Forked:
    """A part of a race in a process of its own."""

    child: int
    stream: int
    is_over: bool = False

    def ended(self) -> bool:
        self.is_over = self.is_over or os.waitpid(self.child, os.WNOHANG)[0] != 0
        return self.is_over

    def told(self) -> tuple[Figures, list[str]]:
        """Wait for its end; return what it found, and the modules that it imported."""
        with os.fdopen(self.stream) as stream:
            found, modules = json.load(stream)
        if not self.is_over:
            os.waitpid(self.child, 0)
        return Figures(**found), modules


def _forked(part: Callable[[SampleLake, Figures], None], home: Path) -> _Forked:
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return _Forked(child, read)
    found, before = Figures(), set(sys.modules)
    try:
        random.seed()
        part(SampleLake(home), found)
    except BaseException:  # noqa: BLE001 -- told to the parent
        found.wrong.append(traceback.format_exc())
    with os.fdopen(write, "w") as stream:
        json.dump([vars(found), sorted(set(sys.modules) - before)], stream)
    os._exit(0)


def _figures(lake: SampleLake, output: str, period: str) -> Any:
    key = PeriodKey(EXPORT, period)
    source = lake.lake.catalog(output).files(TABLE, key)  # type: ignore[arg-type]
    return _written(lake.lake.reader.profile(lake.component.export.format.with_roles(source)))


def _written(found: Any) -> Any:
    """Return figures as they come out of JSON."""
    return json.loads(json.dumps(figures(found), default=lambda one: str(one.normalize())))


def main() -> None:
    """Run a race as a process of its own, because it forks; print what was found."""
    home, seconds, loads, grace = Path(sys.argv[1]), *map(float, sys.argv[2:])
    race = Race(home=home, seconds=seconds, loads=int(loads), grace_seconds=grace)
    print(json.dumps(vars(race.run())))


if __name__ == "__main__":
    main()
