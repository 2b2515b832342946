"""What the definitions of one export have in common: names, keys, partitions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, get_args

import dagster as dg

from billing_lake.domain.periods import next_period
from billing_lake.domain.sources import PeriodKey
from billing_lake.formats.base import Format
from billing_lake.formats.locations import ExportLocation
from billing_lake.tables.base import Crawler

TableOutput = Literal["hive", "iceberg", "s3_table"]
"""The tables that an export may be loaded into, in the order in which they are loaded."""

TABLE_OUTPUTS: tuple[TableOutput, ...] = get_args(TableOutput)

TABLE_ASSETS: dict[TableOutput, str] = {
    "hive": "hive_table",
    "iceberg": "iceberg_table",
    "s3_table": "s3_table",
}
"""Name of the asset of each output."""

ENGINE_POOL = "billing_lake_engine"
"""Pool of the steps that an engine works for: a limit on it, as Glue has one, holds for all exports of an instance."""

EXPORT_TAG = "billing_lake/export"
"""Tag of everything that belongs to an export, its runs included; the value is the export's name."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """One configured export.

    Attributes:
        location: Where it is delivered to.
        outputs: Tables that it is loaded into, in the order of `TABLE_OUTPUTS`.
        start: First billing period.
        end: Last billing period; None for an export that goes on.
        namespace: Namespace of its tables.
        owners: Owners of its assets.
        single_run_backfill: Whether a backfill of a range is one run.
        crawler: What makes the crawled table.
        fresh_hours: Hours within which its tables are to be loaded again while it goes on; 0 for no such promise.
    """

    location: ExportLocation
    outputs: tuple[TableOutput, ...] = TABLE_OUTPUTS
    start: str = "2024-01"
    end: str | None = None
    namespace: str = "billing"
    owners: tuple[str, ...] = ()
    single_run_backfill: bool = True
    crawler: Crawler = "built_in"
    fresh_hours: int = 36

    @property
    def name(self) -> str:
        """Name of the export."""
        return self.location.name

    @property
    def format(self) -> Format:
        """What the columns of its reports mean."""
        return self.location.format

    @property
    def table(self) -> str:
        """Full name of the tables that its deliveries are loaded into: the same in every catalog."""
        return f"{self.namespace}.{self.name}"

    @property
    def static_table(self) -> str:
        """Full name of the table of static files."""
        return f"{self.namespace}.{self.name}_static"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its assets, jobs, runs and sensor."""
        return {EXPORT_TAG: self.name}

    @property
    def freshness(self) -> dg.FreshnessPolicy | None:
        """How old its tables may become; None for an export that is delivered no longer.

        Dagster looks at the latest load, whichever billing period that was of.
        """
        if self.end is not None or not self.fresh_hours:
            return None
        return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=self.fresh_hours))

    @cached_property
    def partitions(self) -> dg.MonthlyPartitionsDefinition:
        """Its billing periods, the open month included: one object for all assets, so that backfills are not split."""
        if self.end is not None:
            after = next_period(self.end)
            return dg.MonthlyPartitionsDefinition(
                start_date=self.start, end_date=after, fmt="%Y-%m"
            )
        return dg.MonthlyPartitionsDefinition(start_date=self.start, fmt="%Y-%m", end_offset=1)

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of its assets."""
        return dg.AssetKey([self.name, asset])

    def table_key(self, output: TableOutput) -> dg.AssetKey:
        """Return the key of the asset that loads ``output``."""
        return self.key(TABLE_ASSETS[output])

    def giver(self, output: TableOutput) -> TableOutput | None:
        """Return the output whose files ``output`` takes over: the first one, so that a table that fails stops no other."""
        first = self.outputs[0]
        return None if output == first else first

    def way_to(self, asset: str) -> tuple[str, ...]:
        """Return the assets that one of its partitioned assets builds on, in order, that one included."""
        first = TABLE_ASSETS[self.outputs[0]]
        way = ("raw_reports", "crawler_table", first)
        return way[: way.index(asset) + 1] if asset in way else (*way, asset)

    def period_key(self, period: str) -> PeriodKey:
        """Return what a load of ``period`` replaces."""
        return PeriodKey(self.name, period)

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
            with knowingly(dg.BetaWarning):
                made: dg.AssetsDefinition = dg.asset(**common, **settings)(function)
            return made

        return decorate


@contextmanager
def knowingly(*categories: type[Warning]) -> Iterator[None]:
    """Keep Dagster from warning of an unfinished interface that is used on purpose; the tests watch it instead."""
    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("ignore", category)
        yield
