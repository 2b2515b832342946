"""Keeps Dagster from importing all packages of components that are installed, only to know what a type is called.

The code server describes the tree of components for the UI. A type may have a shorter name than that of its module where a package offers it, so
Dagster imports all that any package offers: with dagster-aws all of boto3, whatever the deployment. What is in the tree was imported to get there.
"""

import sys

from dagster.components.core import package_entry
from dagster_shared.serdes.objects import EnvRegistryKey


def name_types_by_loaded_packages() -> None:
    """Have Dagster look for the names of types in the packages that this process has imported anyway."""
    vars(package_entry)["discover_entry_point_package_objects"] = _in_loaded_packages


def _in_loaded_packages() -> dict[EnvRegistryKey, object]:
    return {
        EnvRegistryKey(name=name, namespace=entry.value): found
        for entry in package_entry.get_plugin_entry_points()
        if entry.module in sys.modules
        for name, found in package_entry.get_package_objects_in_module(sys.modules[entry.module])
    }
