"""What `billing-lake load` warns of beside the complaints of a month's checks: it concerns several exports, or their settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from billing_lake.assets.export import DagsterExport
from billing_lake.commands.load_results import LoadResult
from billing_lake.deployments import Lake, LocalLake
from billing_lake.domain.errors import counted, shown
from billing_lake.loads.all_costs import counted_parts, counted_twice


@dataclass(frozen=True, kw_only=True)
class LoadWarning:
    """A warning of a load; it changes nothing of what was loaded.

    Attributes:
        text: What is the matter, and what to do.
        exports: Names of the exports that it concerns.
        periods: The billing periods; all of them where there are none.
    """

    text: str
    exports: tuple[str, ...]
    periods: tuple[str, ...] = ()

    def concerns(self, result: LoadResult) -> bool:
        """Say whether it concerns the delivery that ``result`` tells of."""
        return result.export.name in self.exports and (
            not self.periods or result.period in self.periods
        )


def with_warnings(
    results: Iterable[LoadResult], warnings: Sequence[LoadWarning]
) -> list[LoadResult]:
    """Return ``results``, each with the warnings that concern it."""
    return [
        replace(one, warnings=tuple(each.text for each in warnings if each.concerns(one)))
        for one in results
    ]


def define_all_costs(lake: Lake, exports: Iterable[DagsterExport]) -> list[LoadWarning]:
    """Say which exports count in the view of all costs, and return what it counts twice.

    On AWS the asset `all_costs` does, because the view is in a catalog there and a query has its price.

    Raises:
        BillingLakeError: A table cannot be read.
    """
    if not isinstance(lake, LocalLake):
        return []
    parts = counted_parts(lake, exports)
    if not parts:
        return []
    with lake.sql() as tables:
        view = tables.define_all_costs(parts)
        return _twice(counted_twice(tables, view)) if parts[1:] else []


def _twice(rows: Sequence[tuple[str, str, str, str]]) -> list[LoadWarning]:
    """Return a warning for each payer and pair of exports."""
    months: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for payer, period, first, last in rows:
        months[payer, first, last].append(period)
    return [
        LoadWarning(
            text=f"all_costs counts {_months(periods)} of payer {shown(payer)} twice ({first}, {last}): set `counts: false` in the "
            "defs.yaml of one, unless each delivers a part of the bill",
            exports=(first, last),
            periods=tuple(periods),
        )
        for (payer, first, last), periods in sorted(months.items())
    ]


def _months(periods: Sequence[str]) -> str:
    if not periods[1:]:
        return periods[0]
    return f"{counted(len(periods), 'month')}, {min(periods)} to {max(periods)},"
