"""Checks whether the open month is still delivered.

A check that runs with loads cannot tell that none comes any more, so the export's sensor judges it, too, whenever it looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg

from billing_lake.assets.export import DagsterExport
from billing_lake.checks.evaluations import Verdict, evaluation, latest_materializations
from billing_lake.deployments import Lake
from billing_lake.domain.bill import Limits
from billing_lake.domain.column_names import BILLING_PERIOD
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.periods import bounds, period_of
from billing_lake.loads.ledger import Ledger
from billing_lake.loads.ledger_rows import delivered_at

FRESHNESS = "freshness"


def judge_age(
    limits: Limits, period: str, delivered: datetime | None, now: datetime, *, loaded: bool = True
) -> Verdict:
    """Judge the age of a month's delivery.

    Args:
        limits: From where on it is too old.
        period: The month.
        delivered: When it was delivered, or has been waited for since.
        now: The present.
        loaded: Whether there is a delivery.
    """
    start, end = bounds(period)
    if not start <= now < end:
        return Verdict(passed=True, description=f"{period}: this is not the open month")
    warn = dg.AssetCheckSeverity.WARN
    if delivered is None:
        text = f"{period}: when the month was delivered is not known"
        return Verdict(passed=False, description=text, severity=warn)
    hours = (now - delivered) / timedelta(hours=1)
    text = (
        f"{period}: the open month was delivered {hours:.0f} hours ago"
        if loaded
        else f"{period}: nothing of the open month has been loaded, and {hours:.0f} hours have passed"
    )
    if hours <= limits.fresh_warn_hours:
        return Verdict(passed=True, description=text, severity=warn)
    severity = dg.AssetCheckSeverity.ERROR if hours > limits.fresh_error_hours else warn
    return Verdict(
        passed=False, description=text, metadata={"hours": round(hours, 1)}, severity=severity
    )


def judge_open_month(
    lake: Lake,
    export: DagsterExport,
    found: Mapping[str, Delivery],
    held: Mapping[str, str],
    now: datetime,
) -> Verdict | None:
    """Judge the open month by what is in the folder and what the tables hold.

    Args:
        lake: The lake.
        export: The export.
        found: The deliveries in its folder, by billing period.
        held: Identity of the delivery that all tables hold, by billing period.
        now: The present.

    Returns:
        The verdict; None where there is nothing to expect: the export has ended, or neither the open month nor the one before
        was ever delivered, as in an archive.
    """
    period = period_of(now)
    start = bounds(period)[0]
    if not export.has_period(period):
        return None
    if not {period, period_of(start - timedelta(days=1))} & found.keys():
        return None
    identity, delivery = held.get(period), found.get(period)
    loaded = identity is not None
    if delivery is not None and identity in {None, delivery.identity}:
        since = delivered_at(delivery)
    elif identity is None:
        since = start
    else:
        # A later delivery waits, or cannot be loaded.
        rows = Ledger(lake=lake, export=export, log=lambda _: None).deliveries(period)
        since = next((one.at for one in rows if one.delivery_identity == identity), None)
    return None if since is None else judge_age(export.limits, period, since, now, loaded=loaded)


def freshness_evaluation(
    export: DagsterExport, instance: dg.DagsterInstance, period: str, verdict: Verdict
) -> dg.AssetCheckEvaluation:
    """Return what the check says outside of a run."""
    key = export.table_key(export.ledger_output)
    made = next(iter(latest_materializations(instance, key, period, 1)), None)
    # Outside of runs, Dagster stores one evaluation of a partition and no second one: this belongs to none, and names it.
    named = replace(verdict, metadata={**verdict.metadata, BILLING_PERIOD: period})
    return evaluation(dg.AssetCheckKey(key, FRESHNESS), None, named, made)
