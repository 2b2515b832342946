"""Key layouts: where an export puts its files, and what a key says about the file behind it.

Legacy CUR keeps one folder per billing period, `<prefix>/<report>/20250301-20250401/`. The manifest that lies directly in
it names the current delivery, whether that rewrites the same keys (`overwrite`) or gets a folder of its own (`create-new`),
so both layouts are read alike. `loose` files have no manifest: every report file below the prefix counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from billing_lake.domain.deliveries import Layout, StoredObject
from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.domain.periods import folder_of, period_of_folder

REPORT_SUFFIX = ".csv.gz"
"""How the name of a report file ends."""

READ_FORMATS = "gzipped CSV (.csv.gz)"
"""The formats of report files that are read, in words."""

_MANIFEST_SUFFIX = "-Manifest.json"
_STATUS_FOLDER = "cost_and_usage_data_status"
_SIDE_FILE = re.compile(
    r"crawler-cfn\.yml|aws-programmatic-access-test-object"
    r"|.*-(?:create-table\.sql|RedshiftCommands\.sql|RedshiftManifest\.json|QuickSightManifest\.json)",
    re.DOTALL,
)


@dataclass(frozen=True)
class ExportLocation:
    """Where an export delivers to.

    Attributes:
        name: Name of the export.
        layout: Its key layout.
        prefix: Folder of the bucket that it writes to, slashes at the ends ignored; may be empty.
        report: Name of the report, a folder below the prefix; loose files have none.
        bucket: Bucket that the provider writes to, as manifests state it; empty for the storage's own. A folder that is a
            copy of a bucket has another name.
        quiet_seconds: For how long nothing must have been written where nothing else says that a delivery is finished.

    Raises:
        ConfigurationError: Prefix or report is no path below the bucket, or a layout lacks its report name.
    """

    name: str
    layout: Layout
    prefix: str
    report: str = ""
    bucket: str = ""
    quiet_seconds: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        for label, path in (("prefix", self.prefix), ("report", self.report)):
            if path and not is_safe_key(path):
                what = f"The {label} of export {shown(self.name)} is no path below the bucket: {shown(path)!r}"
                raise ConfigurationError(
                    what, remedy="Name folders only, divided by single slashes"
                )
        if "/" in self.report:
            what = f"The report name of export {shown(self.name)} holds a slash: {shown(self.report)!r}"
            raise ConfigurationError(what, remedy="Give the folders before the report as `prefix`")
        if self.layout != "loose" and not self.report:
            what = f"Export {shown(self.name)} has the layout {self.layout} and no report name"
            raise ConfigurationError(
                what, remedy="Set `report` to the name of the report in the provider's console"
            )

    @property
    def folder(self) -> str:
        """Folder that every file of the export lies below, with a slash at its end; empty for the whole bucket."""
        parts = (self.prefix, "" if self.layout == "loose" else self.report)
        return "".join(f"{part}/" for part in parts if part)

    def period_folder(self, period: str) -> str:
        """Return the folder of a billing period, with a slash at its end (layouts with a manifest)."""
        return f"{self.folder}{folder_of(period)}/"

    def manifest_key(self, period: str) -> str:
        """Return the key of the manifest that commits the deliveries of a billing period."""
        return f"{self.period_folder(period)}{self.report}{_MANIFEST_SUFFIX}"

    def period_of_key(self, key: str) -> str | None:
        """Return the billing period whose folder ``key`` lies in, or None (layouts with a manifest)."""
        if not key.startswith(self.folder):
            return None
        folder, slash, _ = key[len(self.folder) :].partition("/")
        return period_of_folder(folder) if slash else None


def is_safe_key(key: str) -> bool:
    """Say whether ``key`` is a plain path below a bucket: printable, no empty, `.` or `..` part, no backslash."""
    return key.isprintable() and "\\" not in key and not {"", ".", ".."} & set(key.split("/"))


def is_manifest(key: str) -> bool:
    """Say whether ``key`` is named as the manifest of a delivery is."""
    return key.endswith(_MANIFEST_SUFFIX)


def is_side_file(key: str) -> bool:
    """Say whether ``key`` is an artefact that the provider puts beside the report."""
    *folders, name = key.split("/")
    return _STATUS_FOLDER in folders or _SIDE_FILE.fullmatch(name) is not None


def is_report_file(key: str) -> bool:
    """Say whether ``key`` is named as a report file is."""
    return key.lower().endswith(REPORT_SUFFIX) and not is_side_file(key)


def by_period(
    export: ExportLocation, files: Iterable[StoredObject]
) -> dict[str, list[StoredObject]]:
    """Group files by the billing period whose folder they lie in; what lies in none is left out."""
    periods: dict[str, list[StoredObject]] = {}
    for file in files:
        period = export.period_of_key(file.key)
        if period is not None:
            periods.setdefault(period, []).append(file)
    return periods
