"""The text of a `defs.yaml`: the same, whoever writes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILE = "defs.yaml"
"""Name of the file, in a folder of the export's own."""

DEFS_SETTING = "BILLING_LAKE_DEFS"
"""Environment variable with a folder of exports outside of the package; they then stand in place of the package's own."""

COMPONENT = "billing_lake.components.BillingExport"
"""Type of the component that reads it."""


def export_yaml(settings: Mapping[str, Any]) -> str:
    """Return the `defs.yaml` of an export with ``settings``."""
    import yaml

    value = {"type": COMPONENT, "attributes": dict(settings)}
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
