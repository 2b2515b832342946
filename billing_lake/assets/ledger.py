"""The external assets `deliveries` and `restatements`: what the ledger of an export says, and what changed from delivery to delivery.

No step makes them: their rows are written with the load, by whatever loads. A run that wrote some says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import reduce

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.metadata import without_none
from billing_lake.domain.errors import counted
from billing_lake.domain.ledger import CostChange
from billing_lake.domain.profiles import EXACT
from billing_lake.loads.ledger import LEDGER, RESTATEMENTS, Recorded

_SHOWN_GROUPS = 50

_AT_ONCE_CHARACTERS = 1_000
"""Length from which the UI shows a text only after a click."""

_SERVICES, _BAR = 8, 12
"""Most services of a currency in the picture, and the characters of the longest bar."""


def build_ledger(export: DagsterExport) -> Sequence[dg.AssetSpec]:
    """Build the two assets for ``export``."""
    tables = [export.table_key(output) for output in export.outputs]
    return [
        _spec(
            export,
            LEDGER,
            tables,
            f"The deliveries of {export.name} that the tables held, one row each, with exact totals, snapshots and the state of "
            "the month: OPEN, SETTLING, CLOSED or RESTATED. Written with each load.",
        ),
        _spec(
            export,
            RESTATEMENTS,
            [export.key(LEDGER)],
            "What changed from each delivery of a billing period to the next, by account, service, charge type and currency. "
            "Written with each load.",
        ),
    ]


def _spec(export: DagsterExport, name: str, deps: Sequence[dg.AssetKey], text: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        export.key(name),
        deps=deps,
        description=text,
        group_name=export.name,
        kinds={"iceberg"},
        owners=list(export.owners),
        tags=export.tags,
        partitions_def=export.partitions,
    )


def ledger_materializations(
    export: DagsterExport, recorded: Iterable[Recorded]
) -> Iterator[dg.AssetMaterialization]:
    """Return what to say of the assets for what a load recorded."""
    for one in recorded:
        yield _delivery(export, one)
        if one.before is None:
            # A month that nobody restated is whole in the UI, too.
            text = f"{one.row.delivery_version} is the first delivery of {one.row.billing_period}: nothing changed"
            yield dg.AssetMaterialization(
                export.key(RESTATEMENTS), partition=one.row.billing_period, description=text
            )
        elif one.changed is not None:
            yield _restatement(export, one, one.changed)


def _delivery(export: DagsterExport, recorded: Recorded) -> dg.AssetMaterialization:
    row = recorded.row
    before = {} if recorded.before is None else recorded.before.costs
    costs = [
        (
            currency,
            row.costs.get(currency),
            before.get(currency),
            _change(row.costs.get(currency), before.get(currency)),
        )
        for currency in sorted({*row.costs, *before})
    ]
    return dg.AssetMaterialization(
        export.key(LEDGER),
        partition=row.billing_period,
        description=f"{row.billing_period} is {row.month_state} with delivery {row.delivery_version}",
        metadata=without_none(
            month_state=row.month_state,
            delivery_version=row.delivery_version,
            delivery_identity=row.delivery_identity,
            delivery_before=None if recorded.before is None else recorded.before.delivery_version,
            delivered_at=None
            if row.delivered_at is None
            else dg.MetadataValue.timestamp(row.delivered_at),
            **{"dagster/partition_row_count": row.line_items},
            rows_with_invoice=row.invoiced_items,
            files=row.report_files,
            bytes=row.report_bytes,
            costs=markdown.table(("currency", "cost", "cost before", "change"), costs),
            columns_added=row.columns_added or None,
            columns_missing=row.columns_missing or None,
            snapshots=dg.MetadataValue.json(dict(row.snapshots)),
        ),
    )


def _restatement(
    export: DagsterExport, recorded: Recorded, changed: Sequence[CostChange]
) -> dg.AssetMaterialization:
    kinds = [one.kind for one in changed]
    row, before = recorded.row, recorded.before
    versions = "" if before is None else f" from {before.delivery_version}"
    return dg.AssetMaterialization(
        export.key(RESTATEMENTS),
        partition=row.billing_period,
        description=f"{counted(len(changed), 'group')} changed{versions} to {row.delivery_version}",
        metadata={
            "services": _services(recorded, changed),
            "groups_new": kinds.count("new"),
            "groups_gone": kinds.count("gone"),
            "groups_changed": kinds.count("changed"),
            "delivery_version": row.delivery_version,
            "changes": changes_table(changed),
        },
    )


def _services(recorded: Recorded, changed: Iterable[CostChange]) -> dg.MarkdownMetadataValue:
    """Return how the costs came from those of the delivery before to what they are, by service, so short that the UI shows it."""
    moved: dict[str, dict[str, Decimal]] = {}
    for one in changed:
        _, service, _, currency = one.group
        sums = moved.setdefault(currency or "", {})
        sums[service or ""] = EXACT.add(sums.get(service or "", Decimal()), one.cost_change)
    count = _SERVICES
    while True:
        picture = _markdown_of_changes(recorded, moved, count)
        if len(picture.md_str or "") < _AT_ONCE_CHARACTERS or not count:
            return picture
        count -= 1


def _markdown_of_changes(
    recorded: Recorded, moved: Mapping[str, Mapping[str, Decimal]], count: int
) -> dg.MarkdownMetadataValue:
    rows: list[tuple[object, ...]] = []
    for currency, sums in sorted(moved.items()):
        steps = sorted((one for one in sums.items() if one[1]), key=lambda one: -abs(one[1]))
        rest = reduce(EXACT.add, (change for _, change in steps[count:]), Decimal())
        listed = steps[:count] + ([(f"{len(steps) - count:,} others", rest)] if rest else [])
        longest = max((abs(change) for _, change in listed), default=Decimal(1))
        bars = [
            (service, change, "▇" * max(1, round(_BAR * abs(change) / longest)))
            for service, change in listed
        ]
        before, now = (
            (f"delivery {one.delivery_version}", one.costs.get(currency, Decimal()), "")
            for one in (recorded.before or recorded.row, recorded.row)
        )
        rows += ((name, currency, amount, bar) for name, amount, bar in (before, *bars, now))
    return markdown.table(("", "currency", "cost", ""), rows)


def changes_table(
    changed: Sequence[CostChange], rows: int = _SHOWN_GROUPS
) -> dg.MarkdownMetadataValue:
    """Return the largest changes as a table."""
    return markdown.table(
        ("change", "currency", "account", "service", "charge type", "what", "before", "now"),
        (
            (
                one.cost_change,
                one.group[3],
                *one.group[:3],
                one.kind,
                one.cost_before,
                one.cost_after,
            )
            for one in changed
        ),
        most=rows,
        others="smaller ones",
    )


def _change(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return None if now is None or before is None else EXACT.subtract(now, before)
