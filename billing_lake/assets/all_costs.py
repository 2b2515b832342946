"""The asset `all_costs`: one view over the tables of every export that counts, with the core columns of a bill."""

from collections.abc import Iterator, Sequence
from typing import cast

import dagster as dg

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.periods import named_failures
from billing_lake.deployments import Lake
from billing_lake.loads.all_costs import counted_parts
from billing_lake.sql.tables import ALL_COSTS

ALL_COSTS_KEY = dg.AssetKey([ALL_COSTS])


def build_all_costs(exports: Sequence[DagsterExport]) -> dg.AssetsDefinition:
    """Build the asset over those of ``exports`` that count."""
    counted = [one for one in exports if one.counts]
    left_out = sorted(one.name for one in exports if not one.counts)

    @dg.asset(
        key=ALL_COSTS_KEY,
        deps=[one.table_key(one.ledger_output) for one in counted],
        group_name=ALL_COSTS,
        kinds={"view"},
        dagster_type=cast("dg.DagsterType", dg.Nothing),
        output_required=False,
        owners=sorted({owner for one in exports for owner in one.owners}) or None,
        # Months that were never delivered are missing for ever.
        automation_condition=dg.AutomationCondition.eager().without(
            ~dg.AutomationCondition.any_deps_missing()
        ),
        description=(
            "One row for each line item of every export that counts, of whatever format: the core columns of a bill under FOCUS "
            "names in lower case. A view; it always shows what the tables hold, and is made anew to take up exports and columns."
        ),
    )
    def all_costs(
        context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.Output[None]]:
        with named_failures():
            parts = counted_parts(billing_lake, counted)
            if not parts:
                context.log.warning("Skipped: no export that counts has been loaded yet")
                return
            with billing_lake.sql() as sql:
                view = sql.define_all_costs(parts)
        context.add_output_metadata(
            {
                "dagster/table_name": view.replace('"', ""),
                "exports": ", ".join(part.export for part in parts),
                **({"exports_left_out": ", ".join(left_out)} if left_out else {}),
            }
        )
        yield dg.Output(None)

    return all_costs
