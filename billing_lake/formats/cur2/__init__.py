"""CUR 2.0, the table COST_AND_USAGE_REPORT of AWS Data Exports, as CSV and as Parquet."""

from __future__ import annotations

from functools import partial

from billing_lake.formats.base import Format
from billing_lake.formats.cur2 import columns, descriptions, naming
from billing_lake.formats.data_exports import layouts, manifests, tables
from billing_lake.formats.layouts import Loose
from billing_lake.formats.legacy_cur import columns as legacy
from billing_lake.formats.legacy_cur import core

_LAYOUT = partial(layouts.DataExportsLayout, table=tables.CUR2)

CUR2 = Format(
    name="cur2",
    status_folder=manifests.STATUS_FOLDER,
    layouts={"create-new": _LAYOUT, "overwrite": _LAYOUT, "loose": Loose},
    period_of_folder=layouts.period_of_folder,
    tree_of=layouts.tree_of,
    is_header=naming.is_header,
    name_of=naming.name_of,
    type_of=columns.type_of,
    is_cost=legacy.is_cost,
    describe=descriptions.describe,
    roles=columns.ROLES,
    charges=columns.CHARGES,
    tag_maps=columns.TAG_MAPS,
    nulls=("",),
    known_columns=columns.KNOWN_COLUMNS,
    required=columns.REQUIRED,
    preview=legacy.PREVIEW,
    headline_costs=legacy.HEADLINE_COSTS,
    core=core.core,
    chosen_by_sql=True,
    may_be_empty=True,
)
