"""Keep an export's tables small and fast: remove old history, and what killed loads left and no table refers to.

A load removes after itself what it did not commit, unless it is killed. What stays then costs space and nothing else, so
nobody has to hurry: only what is too old to belong to a load at work is looked at. History costs time: each snapshot makes
every later commit dearer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from billing_lake.deployments.base import Lake
from billing_lake.engines.base import Log
from billing_lake.sql.tables import LAKE_TABLES
from billing_lake.tables.base import BEFORE, REBUILT, CleanUp, TableCatalog
from billing_lake.tables.exports import Export


def maintain(lake: Lake, export: Export, what: CleanUp, log: Log) -> dict[str, list[str]]:
    """Clean up an export's tables, and remove staged files that nobody works on any more.

    Args:
        lake: The lake.
        export: The export.
        what: What goes, and whether it does.
        log: Takes lines about progress.

    Returns:
        Where something was removed, or would be, by table or folder, and the URIs of what it was.
    """
    removed: dict[str, list[str]] = {}
    done = "would be removed" if what.dry_run else "removed"
    # The table of static files is in the Iceberg catalog, whatever the export is loaded into.
    tables = {table.output: table for table in (*lake.tables(export), lake.static_table(export))}
    for table in tables.values():
        if table.catalog.is_managed:
            log(f"{table.asset}: the catalog's storage cleans up by its own rules")
            continue
        for name in _names(export, table.catalog):
            found = table.catalog.remove_orphans(name, what)
            log(f"{table.asset} {name}: {len(found)} files {done}")
            if found:
                removed[f"{table.asset} {name}"] = list(found)
    if staged := _remove_staged(lake, what):
        removed[lake.staging] = staged
    log(f"{lake.staging}: {len(staged)} folders {done}")
    return removed


def _names(export: Export, catalog: TableCatalog) -> Iterator[str]:
    """Yield the export's tables in a catalog, which may hold others' too: its own, and what rebuilds left of it."""
    beside = (f"{export.table}{REBUILT}", f"{export.table}{BEFORE}")
    own = {export.table, export.static_table}
    # Those of all exports of the namespace; whoever comes first cleans them up.
    story = {f"{export.namespace}.{name}" for name in LAKE_TABLES}
    for table in catalog.tables():
        if table in own | story or table.startswith(beside):
            yield table


def _remove_staged(lake: Lake, what: CleanUp) -> list[str]:
    newest: dict[str, datetime] = {}
    for file in lake.files.list(lake.staging):
        name, slash, _ = file.uri.removeprefix(f"{lake.staging}/").partition("/")
        if slash:
            folder = f"{lake.staging}/{name}"
            newest[folder] = max(newest.get(folder, file.modified), file.modified)
    young = datetime.now(timezone.utc) - what.older_than
    old = sorted(folder for folder, modified in newest.items() if modified <= young)
    for folder in () if what.dry_run else old:
        lake.files.remove_folder(folder)
    return old
