"""Says where Data Exports puts its files.

Rows lie in `<prefix>/<export>/data/BILLING_PERIOD=2025-03/`, manifests in `<prefix>/<export>/metadata/BILLING_PERIOD=2025-03/`. The
manifest that lies directly there names the current delivery, whether that rewrites the same keys (`overwrite`) or gets a folder of
its own, `<time>-<execution id>` (`create-new`), so both layouts are read alike. FOCUS exports write the partition in lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from billing_lake.domain.errors import shown
from billing_lake.domain.periods import is_period
from billing_lake.formats.data_exports.manifests import parse_manifest
from billing_lake.formats.data_exports.tables import CARBON, NO_BILL, RECOMMENDATIONS
from billing_lake.formats.keys import MANIFEST_SUFFIX, is_manifest, plain_key
from billing_lake.formats.layouts import ReportFolder
from billing_lake.formats.manifests import Manifest
from billing_lake.formats.report_files import Kind

_DATA, _METADATA = "data", "metadata"
_PARTITION = re.compile("billing_period=(.*)", re.IGNORECASE)
_SPELLINGS = ("BILLING_PERIOD", "billing_period")
_OTHER_TABLES = (
    (re.compile(r"date=\d{4}-\d{2}-\d{2}", re.IGNORECASE), RECOMMENDATIONS),
    (re.compile(r"usage_period=\d{4}-\d{2}", re.IGNORECASE), CARBON),
)
"""Partition folders of tables that hold no bill."""


@dataclass(frozen=True)
class DataExportsLayout(ReportFolder):
    """A `ManifestLayout`: both layouts of Data Exports.

    Attributes:
        table: Name of the table that it is an export of; see `tables`.
    """

    table: str

    def period_folders(self, period: str) -> tuple[str, ...]:
        """See `ManifestLayout.period_folders`."""
        return tuple(
            f"{part}/{name}={period}/" for name in _SPELLINGS for part in (_DATA, _METADATA)
        )

    def period_of_key(self, key: str) -> str | None:
        """See `ManifestLayout.period_of_key`."""
        part, partition, *below = self._below(key)
        return period_of_folder(partition) if part in (_DATA, _METADATA) and below else None

    def manifest_key(self, period: str) -> str:
        """See `ManifestLayout.manifest_key`."""
        return f"{self.folder}{_METADATA}/{_SPELLINGS[0]}={period}/{self.report}{MANIFEST_SUFFIX}"

    def commits(self, key: str) -> bool:
        """See `ManifestLayout.commits`."""
        part, _, *below = self._below(key)
        return part == _METADATA and len(below) == 1 and is_manifest(key)

    def parse(self, data: bytes, key: str) -> Manifest:
        """See `ManifestLayout.parse`."""
        return parse_manifest(data, key, self.period_of_key(key) or "", self.table)

    def _below(self, key: str) -> list[str]:
        """Return the folders and the name of ``key`` below the export's folder, at least two parts."""
        path = plain_key(key)
        below = path[len(self.folder) :].split("/") if path.startswith(self.folder) else []
        return [*below, "", ""] if len(below) < 2 else below  # noqa: PLR2004 -- a part and a partition


def period_of_folder(folder: str) -> str | None:
    """Return the billing period of a partition's folder, whatever the case of its name; None where it is none."""
    match = _PARTITION.fullmatch(folder)
    return match[1] if match is not None and is_period(match[1]) else None


def tree_of(key: str) -> Kind | None:
    """Return the settings that read the tree that the manifest at ``key`` belongs to; None where it is none of Data Exports."""
    folders = plain_key(key).split("/")[:-1]
    if _METADATA not in folders:
        return None
    place = folders.index(_METADATA)
    for partition, table in _OTHER_TABLES:
        if any(partition.fullmatch(folder) for folder in folders[place:]):
            return Kind(f"AWS Data Exports ({table})", NO_BILL)
    if not any(period_of_folder(folder) for folder in folders[place : place + 2]):
        return None
    prefix, report = "/".join(folders[: max(place - 1, 0)]), folders[place - 1] if place else ""
    return Kind(
        "AWS Data Exports",
        f"Set `format: cur2` (or `focus`, as the export's table is), `layout: create-new` (or `overwrite`, as in the export's settings), `prefix: {shown(prefix)!r}` and "
        f"`report: {shown(report)!r}`",
        export=(prefix, report) if report else None,
    )
