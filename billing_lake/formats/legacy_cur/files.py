"""The files of legacy CUR: reports, and what the provider puts beside them."""

from __future__ import annotations

import re

from billing_lake.formats.containers import packing_of

_STATUS_FOLDER = "cost_and_usage_data_status"
_SIDE_FILE = re.compile(
    r"crawler-cfn\.yml|aws-programmatic-access-test-object"
    r"|.*-(?:create-table\.sql|RedshiftCommands\.sql|RedshiftManifest\.json|QuickSightManifest\.json)",
    re.DOTALL,
)


def is_side_file(key: str) -> bool:
    """Say whether ``key`` is an artefact that the provider puts beside the report."""
    *folders, name = key.split("/")
    return _STATUS_FOLDER in folders or _SIDE_FILE.fullmatch(name) is not None


def is_report_file(key: str) -> bool:
    """Say whether ``key`` is named as a report file is."""
    return packing_of(key) is not None and not is_side_file(key)
