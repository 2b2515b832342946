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

MANIFEST_SUFFIX = "-Manifest.json"
"""How the name of a manifest ends."""

_STATUS_FOLDER = "cost_and_usage_data_status"
_SIDE_FILE = re.compile(
    r"crawler-cfn\.yml|aws-programmatic-access-test-object"
    r"|.*-(?:create-table\.sql|RedshiftCommands\.sql|RedshiftManifest\.json|QuickSightManifest\.json)",
    re.DOTALL,
)
# Whatever else Unicode has may stand in a name: spaces of any width, letters of any script, joiners.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")


@dataclass(frozen=True)
class ExportLocation:
    """Where an export delivers to.

    Attributes:
        name: Name of the export.
        layout: Its key layout.
        prefix: Folder of the bucket that it writes to; may be empty. Slashes at its ends mean nothing where the keys have
            none, see `folders`.
        report: Name of the report, a folder below the prefix; loose files have none.
        buckets: Buckets that the provider writes or wrote to, as manifests state them; empty for the storage's own. A
            folder that is a copy of a bucket has another name, and a report that moved has two.
        quiet_seconds: For how long nothing must have been written where nothing else says that a delivery is finished.

    Raises:
        ConfigurationError: Prefix or report is no path below the bucket, or a layout lacks its report name.
    """

    name: str
    layout: Layout
    prefix: str
    report: str = ""
    buckets: tuple[str, ...] = ()
    quiet_seconds: int = 0

    def __post_init__(self) -> None:
        for label, path in (("prefix", plain(self.prefix)), ("report", self.report)):
            if path and not is_safe_key(path):
                what = f"The {label} of export {shown(self.name)} is no path below the bucket: {shown(path)!r}"
                raise ConfigurationError(what, remedy="Name folders only, divided by slashes")
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
        """Folder that every file of the export lies below, plain, with a slash at its end; empty for the whole bucket."""
        path = plain(self.prefix if self.layout == "loose" else f"{self.prefix}/{self.report}")
        return f"{path}/" if path else ""

    @property
    def folders(self) -> tuple[str, ...]:
        """What keys may begin with: `folder`, and what a provider makes of a prefix that is empty or ends with a slash.

        Legacy CUR writes `<prefix>/<report>/`, whatever the prefix is: `/cur/` without one, `a//cur/` for `a/`.
        """
        end = "" if self.layout == "loose" else f"/{self.report}"
        written = f"{self.prefix.rstrip('/') if self.layout == 'loose' else self.prefix}{end}/"
        return tuple(dict.fromkeys((self.folder, written))) if self.folder else ("",)

    @property
    def hidden(self) -> bool:
        """Whether the report's files have names that begin with a dot, as those of copies at work do elsewhere."""
        return self.layout != "loose" and self.report.startswith(".")

    def period_folder(self, period: str) -> str:
        """Return the folder of a billing period, with a slash at its end (layouts with a manifest)."""
        return f"{self.folder}{folder_of(period)}/"

    def manifest_key(self, period: str) -> str:
        """Return the plain key of the manifest that commits the deliveries of a billing period."""
        return f"{self.period_folder(period)}{self.report}{MANIFEST_SUFFIX}"

    def period_of_key(self, key: str) -> str | None:
        """Return the billing period whose folder ``key`` lies in, or None (layouts with a manifest)."""
        path = plain(key)
        if not path.startswith(self.folder):
            return None
        folder, slash, _ = path[len(self.folder) :].partition("/")
        return period_of_folder(folder) if slash else None


def plain(key: str) -> str:
    """Return ``key`` without its empty parts: `a/b` for `/a//b`, as a folder of a machine holds it.

    A bucket takes keys with empty parts, and reports without a prefix or with one that ends with a slash have them. All
    rules compare plain keys; a file is opened by the key that it has.
    """
    return "/".join(part for part in key.split("/") if part)


def is_safe_key(key: str) -> bool:
    """Say whether ``key`` is a plain path below a bucket: no control character, no empty, `.` or `..` part, no backslash."""
    return _UNSAFE.search(key) is None and not {"", ".", ".."} & set(key.split("/"))


def is_manifest(key: str) -> bool:
    """Say whether ``key`` is named as the manifest of a delivery is."""
    return key.endswith(MANIFEST_SUFFIX)


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
