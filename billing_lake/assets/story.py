"""The external assets `deliveries` and `restatements`: what the ledger of an export says, and what changed from delivery to delivery.

No step makes them: their rows are written with the load, by whatever loads. A run that wrote some says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import Export
from billing_lake.assets.metadata import present
from billing_lake.domain.profiles import EXACT
from billing_lake.domain.story import Change
from billing_lake.loads.story import LEDGER, RESTATEMENTS, Recorded

_SHOWN_GROUPS = 50


def build_story(export: Export) -> Sequence[dg.AssetSpec]:
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


def _spec(export: Export, name: str, deps: Sequence[dg.AssetKey], text: str) -> dg.AssetSpec:
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


def materializations(
    export: Export, recorded: Iterable[Recorded]
) -> Iterator[dg.AssetMaterialization]:
    """Return what to say of the assets for what a load recorded."""
    for one in recorded:
        yield _delivery(export, one)
        if one.changed is not None:
            yield _restatement(export, one, one.changed)


def _delivery(export: Export, recorded: Recorded) -> dg.AssetMaterialization:
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
        metadata=present(
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
            costs=dg.MetadataValue.md(
                markdown.table(("currency", "cost", "cost before", "change"), costs)
            ),
            columns_added=row.columns_added or None,
            columns_missing=row.columns_missing or None,
            snapshots=dg.MetadataValue.json(dict(row.snapshots)),
        ),
    )


def _restatement(
    export: Export, recorded: Recorded, changed: Sequence[Change]
) -> dg.AssetMaterialization:
    kinds = [one.kind for one in changed]
    row, before = recorded.row, recorded.before
    versions = "" if before is None else f" from {before.delivery_version}"
    return dg.AssetMaterialization(
        export.key(RESTATEMENTS),
        partition=row.billing_period,
        description=f"{len(changed):,} groups changed{versions} to {row.delivery_version}",
        metadata={
            "groups_new": kinds.count("new"),
            "groups_gone": kinds.count("gone"),
            "groups_changed": kinds.count("changed"),
            "delivery_version": row.delivery_version,
            "changes": changes_table(changed),
        },
    )


def changes_table(changed: Sequence[Change], rows: int = _SHOWN_GROUPS) -> dg.MarkdownMetadataValue:
    """Return the largest changes as a table."""
    table = markdown.table(
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
            for one in changed[:rows]
        ),
    )
    more = len(changed) - rows
    return dg.MetadataValue.md(f"{table}\n\n… and {more:,} smaller ones" if more > 0 else table)


def _change(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return None if now is None or before is None else EXACT.subtract(now, before)
