"""FOCUS, the FinOps Open Cost and Usage Specification, 1.0 to 1.3, by any provider: as AWS Data Exports delivers it, or as loose files."""

from __future__ import annotations

from functools import partial

from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.formats.base import Format
from billing_lake.formats.data_exports import layouts, manifests, tables
from billing_lake.formats.focus import columns, descriptions, naming, versions
from billing_lake.formats.layouts import Loose

_LAYOUT = partial(layouts.DataExportsLayout, table=tables.FOCUS)

FOCUS = Format(
    name="focus",
    status_folder=manifests.STATUS_FOLDER,
    layouts={"create-new": _LAYOUT, "overwrite": _LAYOUT, "loose": Loose},
    period_of_folder=layouts.period_of_folder,
    tree_of=layouts.tree_of,
    is_header=naming.is_header,
    name_of=naming.name_of,
    type_of=columns.type_of,
    is_cost=columns.is_cost,
    describe=descriptions.describe,
    roles=columns.ROLES,
    charges=columns.CHARGES,
    tag_maps=columns.TAG_MAPS,
    nulls=("", QUOTED_EMPTY, "NULL"),
    known_columns=columns.KNOWN_COLUMNS,
    required=columns.REQUIRED,
    preview=columns.PREVIEW,
    headline_costs=columns.HEADLINE_COSTS,
    core=columns.core,
    version_of=versions.version_of,
    chosen_by_sql=True,
    nested_as_text=columns.nested_as_text,
    may_be_empty=True,
    mixes_periods=True,
)
