"""Layouts: where an export puts its files, and what commits a delivery."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from billing_lake.formats.keys import plain_key
from billing_lake.formats.manifests import Manifest


class ManifestLayout(Hashable, Protocol):
    """A layout of which each delivery is committed by a manifest. All keys that it takes and returns are plain ones."""

    @property
    def folder(self) -> str:
        """Folder that every file of the export lies below, plain, with a slash at its end; empty for the whole bucket."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Return what keys may begin with: `folder`, and what a provider makes of a prefix that is empty or ends with a slash."""

    @property
    def hidden(self) -> bool:
        """Say whether the report's files have names that begin with a dot, as those of copies at work do elsewhere."""

    def period_folders(self, period: str) -> tuple[str, ...]:
        """Return the folders, below `folder`, that hold what belongs to a billing period; each with a slash at its end."""

    def period_of_key(self, key: str) -> str | None:
        """Return the billing period that ``key`` belongs to, or None where it belongs to none."""

    def manifest_key(self, period: str) -> str:
        """Return the key that the manifest of the period's current delivery has as a rule."""

    def commits(self, key: str) -> bool:
        """Say whether ``key`` is that of the manifest of a period's current delivery, and not a copy or side file."""

    def parse(self, data: bytes, key: str) -> Manifest:
        """Read the manifest with the bytes ``data`` at ``key``.

        Raises:
            BrokenManifestError: It is no manifest, or lists files of a kind that is not read.
        """


@dataclass(frozen=True)
class ReportFolder:
    """Says where a report or an export lies: what the manifest layouts of AWS have in common.

    Attributes:
        prefix: Folder of the bucket that it is written to, as it is set at the provider.
        report: Its name.
    """

    prefix: str
    report: str

    @property
    def written(self) -> str:
        """The folder as AWS writes it, whatever the prefix is: `/cur/` without one, `a//cur/` for `a/`."""
        return f"{self.prefix}/{self.report}/"

    @property
    def folder(self) -> str:
        """See `ManifestLayout.folder`."""
        return f"{plain_key(self.written)}/"

    @property
    def folders(self) -> tuple[str, ...]:
        """See `ManifestLayout.folders`."""
        return tuple(dict.fromkeys((self.folder, self.written)))

    @property
    def hidden(self) -> bool:
        """See `ManifestLayout.hidden`."""
        return self.report.startswith(".")


@dataclass(frozen=True)
class Loose:
    """Files without a manifest: every report file below the prefix counts, and its rows say for which billing period.

    Attributes:
        prefix: The folder.
        report: Pattern of the names of its files, where others lie beside them: `focus-*.csv.gz`. All of them where it is empty.
    """

    prefix: str
    report: str = ""

    hidden = False

    @property
    def folder(self) -> str:
        """See `ManifestLayout.folder`."""
        path = plain_key(self.prefix)
        return f"{path}/" if path else ""

    @property
    def folders(self) -> tuple[str, ...]:
        """See `ManifestLayout.folders`."""
        written = f"{self.prefix.rstrip('/')}/"
        return tuple(dict.fromkeys((self.folder, written))) if self.folder else ("",)

    def takes(self, key: str) -> bool:
        """Say whether the file at ``key`` is one of the export's, by its name."""
        # A name without a file's sign is that of a report, which says nothing of files without a manifest.
        is_pattern = "*" in self.report or "." in self.report
        return not is_pattern or fnmatchcase(key.rpartition("/")[2], self.report)


KeyRules = ManifestLayout | Loose
"""Where an export's files lie: what a format makes of a layout, a prefix and a report's name."""
