"""Says where legacy CUR puts its files.

It keeps one folder per billing period, `<prefix>/<report>/20250301-20250401/`. The manifest that lies directly in it names the
current delivery, whether that rewrites the same keys (`overwrite`) or gets a folder of its own (`create-new`), so both layouts
are read alike. With the integration for Athena it is `<prefix>/<report>/<report>/year=2025/month=3/`, and the same keys each time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from billing_lake.domain.errors import shown
from billing_lake.domain.periods import next_period
from billing_lake.formats.keys import MANIFEST_SUFFIX, plain_key
from billing_lake.formats.layouts import ReportFolder
from billing_lake.formats.legacy_cur.manifests import parse_manifest
from billing_lake.formats.manifests import Manifest
from billing_lake.formats.report_files import Kind

_YEAR_AND_MONTH = "([12][0-9]{3})(0[1-9]|1[0-2])"
_FOLDER = re.compile(f"{_YEAR_AND_MONTH}01-{_YEAR_AND_MONTH}01")
_ATHENA_FOLDERS = re.compile(r"year=([12][0-9]{3})/month=(0?[1-9]|1[0-2])/")


@dataclass(frozen=True)
class LegacyLayout(ReportFolder):
    """A `ManifestLayout`: both of legacy CUR's layouts with manifests."""

    def period_folders(self, period: str) -> tuple[str, ...]:
        """See `ManifestLayout.period_folders`."""
        return (f"{folder_of(period)}/",)

    def period_of_key(self, key: str) -> str | None:
        """See `ManifestLayout.period_of_key`."""
        path = plain_key(key)
        if not path.startswith(self.folder):
            return None
        folder, slash, _ = path[len(self.folder) :].partition("/")
        return period_of_folder(folder) if slash else None

    def manifest_key(self, period: str) -> str:
        """See `ManifestLayout.manifest_key`."""
        return f"{self.folder}{self.period_folders(period)[0]}{self.report}{MANIFEST_SUFFIX}"

    def commits(self, key: str) -> bool:
        """See `ManifestLayout.commits`."""
        period = self.period_of_key(key)
        return period is not None and plain_key(key) in {
            f"{self.folder}{folder}{self.report}{MANIFEST_SUFFIX}"
            for folder in self.period_folders(period)
        }

    def parse(self, data: bytes, key: str) -> Manifest:
        """See `ManifestLayout.parse`."""
        return parse_manifest(data, key)


@dataclass(frozen=True)
class AthenaLayout(LegacyLayout):
    """A `ManifestLayout`: that of a report with the integration for Athena, in Parquet."""

    @property
    def written(self) -> str:
        """See `ReportFolder.written`: AWS writes the report's name twice."""
        return f"{super().written}{self.report}/"

    def period_folders(self, period: str) -> tuple[str, ...]:
        """See `ManifestLayout.period_folders`; AWS writes `month=3`, tools that copy write `month=03` too."""
        year, month = period.split("-")
        return tuple(dict.fromkeys(f"year={year}/month={one}/" for one in (str(int(month)), month)))

    def period_of_key(self, key: str) -> str | None:
        """See `ManifestLayout.period_of_key`."""
        path = plain_key(key)
        if not path.startswith(self.folder):
            return None
        found = _ATHENA_FOLDERS.match(path, len(self.folder))
        return None if found is None else f"{found[1]}-{int(found[2]):02d}"


def folder_of(period: str) -> str:
    """Return the folder of the billing period ``period``: `20250301-20250401`."""
    return "-".join(f"{month.replace('-', '')}01" for month in (period, next_period(period)))


def period_of_folder(folder: str) -> str | None:
    """Return the billing period of a folder, or None where its name is not one month's range."""
    match = _FOLDER.fullmatch(folder)
    if match is None:
        return None
    start, end = f"{match[1]}-{match[2]}", f"{match[3]}-{match[4]}"
    return start if end == next_period(start) else None


def tree_of(key: str) -> Kind | None:
    """Return the settings that read the tree that the manifest at ``key`` belongs to; None where it is no legacy CUR's."""
    *folders, name = key.split("/")
    for position, folder in enumerate(folders):
        report = folders[position - 1] if position else ""
        if period_of_folder(folder) is not None and name == f"{report}{MANIFEST_SUFFIX}":
            prefix = "/".join(folders[: position - 1])
            return Kind(
                "a legacy CUR",
                f"Set `layout: create-new` (or `overwrite`, as in the report's settings), `prefix: {shown(prefix)!r}` and "
                f"`report: {shown(report)!r}`",
                export=(prefix, report),
            )
    return _athena_tree(folders)


def _athena_tree(folders: list[str]) -> Kind | None:
    if not _ATHENA_FOLDERS.fullmatch("/".join([*folders[-2:], ""])):
        return None
    *above, report = folders[:-2] or [""]
    prefix = "/".join(above[:-1])
    return Kind(
        "a legacy CUR in Parquet for Athena",
        f"Set `layout: athena`, `prefix: {shown(prefix)!r}` and `report: {shown(report)!r}`",
    )
