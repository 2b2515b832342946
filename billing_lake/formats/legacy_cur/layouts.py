"""Where legacy CUR puts its files.

It keeps one folder per billing period, `<prefix>/<report>/20250301-20250401/`. The manifest that lies directly in it names the
current delivery, whether that rewrites the same keys (`overwrite`) or gets a folder of its own (`create-new`), so both layouts
are read alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from billing_lake.domain.errors import shown
from billing_lake.domain.periods import next_period
from billing_lake.formats.base import Kind
from billing_lake.formats.keys import MANIFEST_SUFFIX, plain
from billing_lake.formats.legacy_cur.files import SET_GZIP
from billing_lake.formats.legacy_cur.manifests import parse_manifest
from billing_lake.formats.manifests import Manifest

_YEAR_AND_MONTH = "([12][0-9]{3})(0[1-9]|1[0-2])"
_FOLDER = re.compile(f"{_YEAR_AND_MONTH}01-{_YEAR_AND_MONTH}01")
_ATHENA_FOLDERS = re.compile(r"(?:^|/)year=\d{4}/month=\d{1,2}/")


@dataclass(frozen=True)
class LegacyLayout:
    """A `ManifestLayout`: both of legacy CUR's layouts with manifests.

    Attributes:
        prefix: Folder of the bucket that the report is written to, as it is set at the provider.
        report: Name of the report.
    """

    prefix: str
    report: str

    @property
    def folder(self) -> str:
        """See `ManifestLayout.folder`."""
        return f"{plain(f'{self.prefix}/{self.report}')}/"

    @property
    def folders(self) -> tuple[str, ...]:
        """See `ManifestLayout.folders`.

        Legacy CUR writes `<prefix>/<report>/`, whatever the prefix is: `/cur/` without one, `a//cur/` for `a/`.
        """
        return tuple(dict.fromkeys((self.folder, f"{self.prefix}/{self.report}/")))

    @property
    def hidden(self) -> bool:
        """See `ManifestLayout.hidden`."""
        return self.report.startswith(".")

    def period_folders(self, period: str) -> tuple[str, ...]:
        """See `ManifestLayout.period_folders`."""
        return (f"{folder_of(period)}/",)

    def period_of_key(self, key: str) -> str | None:
        """See `ManifestLayout.period_of_key`."""
        path = plain(key)
        if not path.startswith(self.folder):
            return None
        folder, slash, _ = path[len(self.folder) :].partition("/")
        return period_of_folder(folder) if slash else None

    def manifest_key(self, period: str) -> str:
        """See `ManifestLayout.manifest_key`."""
        return f"{self.folder}{folder_of(period)}/{self.report}{MANIFEST_SUFFIX}"

    def commits(self, key: str) -> bool:
        """See `ManifestLayout.commits`."""
        period = self.period_of_key(key)
        return period is not None and plain(key) == self.manifest_key(period)

    def parse(self, data: bytes, key: str) -> Manifest:
        """See `ManifestLayout.parse`."""
        return parse_manifest(data, key)


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
    if _ATHENA_FOLDERS.search(key):
        return Kind("a legacy CUR in Parquet for Athena", SET_GZIP)
    return None
