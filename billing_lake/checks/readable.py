"""Checks whether the provider's files can be read.

A delivery that cannot be read never becomes a run, so no check that runs with loads tells of it: the export's sensor judges the
folder whenever it looks. The check can be run by itself, too.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.delivery import DELIVERY_ASSET as ASSET
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.periods import named_failures
from billing_lake.checks.check_texts import MOST_ROWS, first_names
from billing_lake.checks.evaluations import Verdict, evaluation, last_evaluation
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Findings, fingerprint_of_texts
from billing_lake.domain.errors import shown
from billing_lake.domain.periods import is_period
from billing_lake.landing.deliveries import find_deliveries

READABLE = "readable"

UNREADABLE = "unreadable"
"""Metadata of the check: the months that cannot be read, or files where no month can be told."""

_MOST_PLACES = 1_000
"""Months, or files, that are remembered and named."""

_REASON_CHARACTERS = 600


def build_readable(export: DagsterExport) -> dg.AssetChecksDefinition:
    """Build the check for ``export``."""
    spec = dg.AssetCheckSpec(
        READABLE,
        asset=export.key(ASSET),
        description=(
            "Every delivery in the export's folder can be read. One that cannot, or whose files do not come, is not loaded, and the "
            "tables keep the one before. The export's sensor judges it, too, whenever it looks."
        ),
    )

    @dg.multi_asset_check(name=f"{export.name}__{READABLE}", specs=[spec])
    def readable(
        context: dg.AssetCheckExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        with named_failures():
            findings = find_deliveries(billing_lake.storage, export.location)
        # Only the sensor knows for how long something has waited.
        fail = _broken(export, findings) | _last_said(context.instance, export)
        yield readable_evaluation(export, judge_deliveries(export, findings, fail))
        yield dg.Output(None, output_name=spec.get_python_identifier())

    return readable


def waiting_since(
    export: DagsterExport, findings: Findings, before: Mapping[str, datetime], now: datetime
) -> dict[str, datetime]:
    """Return since when each month has had no delivery that can be read.

    Args:
        export: The export.
        findings: What is in its folder.
        before: What this returned at the last look.
        now: The present.
    """
    places = [*_reasons(export, findings)][:_MOST_PLACES]
    return {place: min(before.get(place, now), now) for place in places}


def failing_months(
    export: DagsterExport, findings: Findings, waited: Mapping[str, datetime], now: datetime
) -> set[str]:
    """Return which months fail.

    What is broken fails when it has stayed so for the export's `quiet_seconds`, since a file that is being copied may look broken;
    what waits for its files, when it has waited for `fresh_warn_hours`.

    Args:
        export: The export.
        findings: What is in its folder.
        waited: What `waiting_since` returned.
        now: The present.
    """
    quiet = timedelta(seconds=export.location.quiet_seconds)
    longest = timedelta(hours=export.limits.fresh_warn_hours)
    broken = _broken(export, findings)
    return {
        place
        for place, moment in waited.items()
        if now - moment >= (quiet if place in broken else longest)
    }


def judge_deliveries(export: DagsterExport, findings: Findings, fail: Collection[str]) -> Verdict:
    """Judge what is in an export's folder, where ``fail`` are the months that fail if they cannot be read."""
    reasons: dict[str, list[str]] = {}
    for place, reason in _reasons(export, findings).items():
        if place in fail:
            reasons.setdefault(reason, []).append(place)
    if not reasons:
        return Verdict(passed=True, description="Every delivery in the folder can be read")
    places = sorted(place for held in reasons.values() for place in held)
    first = next(iter(reasons))
    more = f" … and {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
    rows = ((first_names(held), reason) for reason, held in reasons.items())
    head = ("unreadable", "why")
    return Verdict(
        passed=False,
        description=f"{first_names(places)} cannot be read: {shown(first, _REASON_CHARACTERS)}{more}",
        metadata={
            "deliveries": markdown.table(
                head, rows, cell_characters=_REASON_CHARACTERS, most=MOST_ROWS
            ),
            UNREADABLE: dg.MetadataValue.json([shown(one) for one in places[:_MOST_PLACES]]),
        },
    )


def readable_evaluation(export: DagsterExport, verdict: Verdict) -> dg.AssetCheckEvaluation:
    """Return what the check says."""
    return evaluation(dg.AssetCheckKey(export.key(ASSET), READABLE), None, verdict, None)


def fingerprint_of(verdict: Verdict) -> str:
    """Return what tells two verdicts that fail apart; nothing for one that passes."""
    if verdict.passed:
        return ""
    return fingerprint_of_texts((verdict.description, *map(str, verdict.metadata.values())))


def has_recovered(
    instance: dg.DagsterInstance, export: DagsterExport, unread: Collection[str]
) -> bool:
    """Say whether all that the check last complained of is over; ``unread`` are the months that cannot be read now."""
    said = _last_said(instance, export)
    return bool(said) and said.isdisjoint(unread)


def unreadable_months(said: dg.AssetCheckEvaluation) -> frozenset[str]:
    """Return what an evaluation names as unreadable; nothing for one of another check."""
    value = said.metadata.get(UNREADABLE)
    listed = value.value if isinstance(value, dg.JsonMetadataValue) else None
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()


def _reasons(export: DagsterExport, findings: Findings) -> dict[str, str]:
    """Return why deliveries cannot be read that are to be loaded, by month, or by file where no month can be told."""
    found = {**findings.waiting, **findings.broken}
    return {
        place: reason
        for place, reason in sorted(found.items())
        if not is_period(place) or export.has_period(place)
    }


def _broken(export: DagsterExport, findings: Findings) -> frozenset[str]:
    """Return what does not get better by waiting.

    A folder that is not there, or has nothing that the layout knows, may: the first delivery of an export takes a day.
    """
    return frozenset(findings.broken) - {export.location.rules.folder or "/"}


def _last_said(instance: dg.DagsterInstance, export: DagsterExport) -> frozenset[str]:
    """Return what was unreadable when the check was judged last."""
    key = dg.AssetCheckKey(export.key(ASSET), READABLE)
    said = last_evaluation(instance, key)
    return frozenset() if said is None else unreadable_months(said)
