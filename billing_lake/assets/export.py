"""An export as Dagster knows it: keys, partitions, and what its assets have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from billing_lake.domain.bill import Limits
from billing_lake.domain.periods import next_period
from billing_lake.tables import exports
from billing_lake.tables.exports import TABLE_ASSETS, TableOutput

SAME_CONTENT_UP_TO_MB = 64
"""Gzipped megabytes, of some 350,000 rows of 100 columns; to compare three tables then takes some 3 seconds on 2 cores."""

ENGINE_POOL = "billing_lake_engine"
"""Pool of the steps that an engine works for: a limit on it, as Glue has one, holds for all exports of an instance."""

EXPORT_TAG = "billing_lake/export"
"""Tag of everything that belongs to an export, its runs included; the value is the export's name."""


@dataclass(frozen=True, kw_only=True)
class DagsterExport(exports.Export):
    """One configured export, with what its definitions need to know.

    Attributes:
        owners: Owners of its assets, jobs, schedule and sensor.
        single_run_backfill: Whether a backfill of a range is one run.
        fresh_hours: Hours within which its tables are to be loaded again while it goes on; 0 for no such promise.
        same_content_up_to_mb: Megabytes of a delivery up to which each load also compares every cell.
        run_tags: Further tags of the runs of its jobs, such as the size of the task that a run has on ECS.
        limits: From where on the checks of its bill fail.
    """

    owners: tuple[str, ...] = ()
    single_run_backfill: bool = True
    fresh_hours: int = 36
    same_content_up_to_mb: int = SAME_CONTENT_UP_TO_MB
    run_tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    limits: Limits = field(default_factory=Limits)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its assets, jobs, runs and sensor."""
        return {EXPORT_TAG: self.name}

    @property
    def job_tags(self) -> dict[str, str]:
        """Tags of its jobs, which their runs take over."""
        return {**self.run_tags, **self.tags}

    @property
    def owned(self) -> dict[str, Any]:
        """The owners as jobs, schedules and sensors take them: Dagster warns of an empty list, too."""
        return {"owners": list(self.owners)} if self.owners else {}

    @property
    def freshness(self) -> dg.FreshnessPolicy | None:
        """Return how old its tables may become; None for an export that is delivered no longer.

        Dagster looks at the latest load, whichever billing period that was of.
        """
        if self.end is not None or not self.fresh_hours:
            return None
        return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=self.fresh_hours))

    @cached_property
    def partitions(self) -> dg.MonthlyPartitionsDefinition:
        """Its billing periods, the open month included: one object for all assets, so that backfills are not split."""
        return dg.MonthlyPartitionsDefinition(
            start_date=self.start,
            end_date=None if self.end is None else next_period(self.end),
            fmt="%Y-%m",
            end_offset=1,
        )

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of its assets."""
        return dg.AssetKey(self.path(asset))

    def table_key(self, output: TableOutput) -> dg.AssetKey:
        """Return the key of the asset that loads ``output``."""
        return self.key(TABLE_ASSETS[output])

    def steps_up_to(self, asset: str) -> tuple[str, ...]:
        """Return the assets that one of its partitioned assets builds on, in order, that one included."""
        first = TABLE_ASSETS[self.outputs[0]]
        way = ("raw_reports", "crawler_table", first)
        return way[: way.index(asset) + 1] if asset in way else (*way, asset)

    def asset(
        self, name: str, *, kinds: set[str], **settings: Any
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Decorate the function of one of its partitioned assets with what these have in common."""
        policy = dg.BackfillPolicy
        common: dict[str, Any] = {
            "key": self.key(name),
            "partitions_def": self.partitions,
            "backfill_policy": policy.single_run()
            if self.single_run_backfill
            else policy.multi_run(),
            "group_name": self.name,
            "kinds": kinds,
            "tags": self.tags,
            "owners": list(self.owners) or None,
            # What an asset hands on lies in the lake's store of values, written by its step: no IO manager is needed.
            "dagster_type": dg.Nothing,
        }

        def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
            with without_warnings_of(dg.BetaWarning):
                made: dg.AssetsDefinition = dg.asset(**common, **settings)(function)
            return made

        return decorate


@contextmanager
def without_warnings_of(*categories: type[Warning]) -> Iterator[None]:
    """Keep Dagster from warning of an unfinished interface that is used on purpose; the tests watch it instead."""
    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("ignore", category)
        yield
