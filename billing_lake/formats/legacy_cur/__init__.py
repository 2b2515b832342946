"""The legacy Cost and Usage Report of AWS, as CSV and as Parquet."""

from __future__ import annotations

from billing_lake.formats.base import Format
from billing_lake.formats.layouts import Loose
from billing_lake.formats.legacy_cur import columns, core, descriptions, layouts, manifests, naming

LEGACY_CUR = Format(
    name="legacy_cur",
    status_folder=manifests.STATUS_FOLDER,
    layouts={
        "create-new": layouts.LegacyLayout,
        "overwrite": layouts.LegacyLayout,
        "athena": layouts.AthenaLayout,
        "loose": Loose,
    },
    period_of_folder=layouts.period_of_folder,
    tree_of=layouts.tree_of,
    is_header=naming.is_header,
    name_of=naming.name_of,
    type_of=columns.type_of,
    is_cost=columns.is_cost,
    describe=descriptions.describe,
    roles=columns.ROLES,
    charges=columns.CHARGES,
    is_tag=columns.is_tag,
    nulls=("",),
    known_columns=columns.KNOWN_COLUMNS,
    required=columns.REQUIRED,
    preview=columns.PREVIEW,
    headline_costs=columns.HEADLINE_COSTS,
    core=core.core,
)
