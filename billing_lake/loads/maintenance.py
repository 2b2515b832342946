"""Keep an export's tables small and fast: compact small files, remove old history, and what killed loads left.

A load removes after itself what it did not commit, unless it is killed. What stays then costs space and nothing else, so
nobody has to hurry: only what is too old to belong to a load at work is looked at. History costs time: each snapshot makes
every later commit dearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from billing_lake.deployments.base import Lake
from billing_lake.domain.content import other_columns
from billing_lake.domain.errors import TableError, counted
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Log
from billing_lake.files.base import FileInfo
from billing_lake.loads.staging import remove_left
from billing_lake.sql.tables import LAKE_TABLES
from billing_lake.tables.base import BEFORE, CleanUp, TableCatalog
from billing_lake.tables.exports import Export
from billing_lake.tables.iceberg_compaction import compact

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """Holds what maintenance did, or would do.

    Attributes:
        removed: What went, as URIs or names, by the table or folder that it was of.
        compacted: Which periods were compacted, in words, by table.
        freed_bytes: Space that comes back.
    """

    removed: Mapping[str, Sequence[str]]
    compacted: Mapping[str, Sequence[str]]
    freed_bytes: int


@dataclass
class _Space:
    """Counts the space that removed files give back: one with several names (hard links) does with the last of them."""

    freed_bytes: int = 0
    left: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, files: Sequence[FileInfo]) -> None:
        for file in files:
            if file.names is not None:
                identity, links = file.names
                self.left[identity] = self.left.get(identity, links) - 1
                if self.left[identity]:
                    continue
            self.freed_bytes += file.size


def maintain(lake: Lake, export: Export, what: CleanUp, log: Log) -> Maintained:
    """Keep an export's tables small, and remove what nobody works on or asks for any more.

    Args:
        lake: The lake.
        export: The export.
        what: What goes, and whether it does.
        log: Takes lines about progress.
    """
    space = _Space()
    what = replace(what, listed=space.add)
    removed: dict[str, Sequence[str]] = {}
    compacted: dict[str, Sequence[str]] = {}
    done = "would be removed" if what.dry_run else "removed"
    # The table of static files is in the Iceberg catalog, whatever the export is loaded into.
    tables = {table.output: table for table in (*lake.tables(export), lake.static_table(export))}
    for table in tables.values():
        if table.catalog.is_managed:
            log(f"{table.asset}: the catalog's storage cleans up by its own rules")
            continue
        for name in _names(export, table.catalog):
            place = f"{table.asset} {name}"
            # A load of a Hive table writes few files, and nothing adds to them.
            if table.output != "hive":
                opened = lake.iceberg_catalog(table.output).open(name)
                if lines := list(_compact(lake, opened, what, log)):
                    compacted[place] = lines
            found = table.catalog.remove_orphans(name, what)
            log(f"{place}: {counted(len(found), 'file')} {done}")
            if found:
                removed[place] = found
    for folder in lake.scratch:
        left = remove_left(lake, folder, what)
        log(f"{folder}: {counted(len(left), 'folder')} {done}")
        if left:
            removed[folder] = left
    removed |= {place: gone for place, gone in _remove_forgotten(lake, export, what) if gone}
    log(f"{space.freed_bytes / 1e6:,.1f} MB {'would come' if what.dry_run else 'came'} back")
    return Maintained(removed=removed, compacted=compacted, freed_bytes=space.freed_bytes)


def _compact(lake: Lake, table: IcebergTable, what: CleanUp, log: Log) -> Iterator[str]:
    """Compact a table, and prove each period: every cell is in the new files as it was in the old ones."""
    name = ".".join(table.name())

    def prove(before: Source, after: Source) -> None:
        old, new = (lake.reader.content(one, one.columns) for one in (before, after))
        if old != new:
            names = ", ".join(column for column, _ in other_columns(old, new)) or "whole rows"
            problem = f"Compaction of {name} would change {names}: nothing was changed"
            raise TableError(problem)

    for one in compact(table, prove, dry_run=what.dry_run):
        of = "manifests" if one.key is None else f"{one.key.export} {one.key.period}, files"
        line = f"{of}: {one.files} become {'fewer' if what.dry_run and not one.key else one.fewer}"
        log(f"{name}, {line}")
        yield line


def _names(export: Export, catalog: TableCatalog) -> Iterator[str]:
    """Yield the export's tables in a catalog, which may hold others' too: its own, and what rebuilds left of it."""
    own = {export.table, export.static_table}
    # Those of all exports of the namespace; whoever comes first cleans them up.
    story = {f"{export.namespace}.{name}" for name in LAKE_TABLES}
    for table in catalog.tables():
        if table in own | story or table.startswith(f"{export.table}{BEFORE}"):
            yield table


def _remove_forgotten(
    lake: Lake, export: Export, what: CleanUp
) -> Iterator[tuple[str, Sequence[str]]]:
    """Remove the crawled tables of loads that failed long ago, and what is known of report files that are gone.

    All other values are one file for each asset and billing period, which the next load writes anew.
    """
    if what.kept is None:
        return
    age = max(timedelta(days=what.kept.days), what.older_than)
    crawled = lake.crawled.older_than(export.name, age)
    for name in () if what.dry_run else crawled:
        lake.crawled.drop(name)
    yield "crawled tables", crawled
    outdated = lake.stated_periods.outdated(age)
    what.listed(outdated)
    for one in () if what.dry_run else outdated:
        lake.files.remove(one.uri)
    yield lake.stated_periods.root, [one.uri for one in outdated]
