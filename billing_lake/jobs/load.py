"""The job `<export>_load`: one billing period of one export, from the delivery to proven tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from billing_lake.assets.export import DagsterExport

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def load_job_name(export: DagsterExport) -> str:
    """Return the job's name."""
    return f"{export.name}_load"


def build_load_job(export: DagsterExport) -> UnresolvedAssetJobDefinition:
    """Build the job for ``export``; it runs the assets' checks as well."""
    keys = [
        export.key("raw_reports"),
        export.key("crawler_table"),
        *(export.table_key(output) for output in export.outputs),
    ]
    return dg.define_asset_job(
        load_job_name(export),
        selection=dg.AssetSelection.assets(*keys),
        # A process for each step costs more than most steps do; what runs side by side are billing periods.
        executor_def=dg.in_process_executor,
        tags=export.job_tags,
        **export.owned,
        description=f"Load one billing period of {export.name} into its tables, and prove them.",
    )
