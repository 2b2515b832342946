"""The legacy Cost and Usage Report of AWS, as gzipped CSV."""

from __future__ import annotations

from billing_lake.formats.base import Format
from billing_lake.formats.layouts import Loose
from billing_lake.formats.legacy_cur import columns, descriptions, files, layouts, naming

LEGACY_CUR = Format(
    name="legacy_cur",
    reads=files.READS,
    report_files={files.REPORT_SUFFIX: ("csv", "gzip")},
    unread_files=files.KINDS,
    is_side_file=files.is_side_file,
    layouts={
        "create-new": layouts.LegacyLayout,
        "overwrite": layouts.LegacyLayout,
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
    nulls=("",),
    known_columns=columns.KNOWN_COLUMNS,
    required=columns.REQUIRED,
    preview=columns.PREVIEW,
    headline_costs=columns.HEADLINE_COSTS,
)
