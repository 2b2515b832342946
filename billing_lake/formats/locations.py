"""Describes where an export delivers to: its format, its layout and the folders of a bucket; and what a manifest may say of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from billing_lake.domain.deliveries import Layout
from billing_lake.domain.errors import (
    ConfigurationError,
    ForeignKeyInManifestError,
    PeriodMismatchError,
    shown,
)
from billing_lake.formats.base import Format
from billing_lake.formats.keys import is_safe_key, plain_key
from billing_lake.formats.layouts import KeyRules, Loose, ManifestLayout
from billing_lake.formats.manifests import Manifest
from billing_lake.formats.registry import DEFAULT_FORMAT


@dataclass(frozen=True)
class ExportLocation:
    """States where an export delivers to.

    Attributes:
        name: Name of the export.
        layout: Its key layout.
        prefix: Folder of the bucket that it writes to; may be empty. Slashes at its ends mean nothing where the keys have
            none, see `ManifestLayout.folders`.
        report: Name of the report, a folder below the prefix; loose files have none.
        buckets: Buckets that the provider writes or wrote to, as manifests state them: no other one is accepted. Empty for any,
            since the folder may be a copy, and a report that moved has two.
        quiet_seconds: For how long nothing must have been written where nothing else says that a delivery is finished.
        format: What the columns of its reports mean.

    Raises:
        ConfigurationError: Prefix or report is no path below the bucket, a layout lacks its report name, or the format has no
            such layout.
    """

    name: str
    layout: Layout
    prefix: str
    report: str = ""
    buckets: tuple[str, ...] = ()
    quiet_seconds: int = 0
    format: Format = DEFAULT_FORMAT

    def __post_init__(self) -> None:
        for label, path in (("prefix", plain_key(self.prefix)), ("report", self.report)):
            if path and not is_safe_key(path):
                what = f"The {label} of export {shown(self.name)} is no path below the bucket: {shown(path)!r}"
                raise ConfigurationError(what, remedy="Name folders only, divided by slashes")
        if "/" in self.report:
            what = f"The report name of export {shown(self.name)} holds a slash: {shown(self.report)!r}"
            raise ConfigurationError(what, remedy="Give the folders before the report as `prefix`")
        if self.layout not in self.format.layouts:
            what = f"Export {shown(self.name)} has the layout {self.layout}, which {self.format.name} does not have"
            raise ConfigurationError(
                what, remedy=f"Choose one of: {', '.join(self.format.layouts)}"
            )
        if not isinstance(self.rules, Loose) and not self.report:
            what = f"Export {shown(self.name)} has the layout {self.layout} and no report name"
            raise ConfigurationError(
                what, remedy="Set `report` to the name of the report in the provider's console"
            )

    @cached_property
    def rules(self) -> KeyRules:
        """Return where its files lie."""
        return self.format.layouts[self.layout](self.prefix, self.report)


def check_manifest(
    manifest: Manifest, rules: ManifestLayout, *, period: str, buckets: Sequence[str], key: str
) -> None:
    """Refuse a manifest that does not agree with the place where it lies.

    Args:
        manifest: The manifest.
        rules: Where the export's files lie.
        period: Billing period of the folder that it lies in.
        buckets: Buckets that it may speak of; empty for any.
        key: Its key, for errors.

    Raises:
        PeriodMismatchError: It speaks of another billing period, or lists a file in the folder of another one.
        ForeignKeyInManifestError: It lists a file outside the export, or speaks of another bucket.
    """
    if manifest.period != period:
        what = f"The manifest speaks of {manifest.period} and lies in the folder of {period}"
        raise PeriodMismatchError(what, file=key)
    if buckets and manifest.bucket not in buckets:
        known = ", ".join(repr(shown(bucket)) for bucket in buckets)
        what = f"The manifest speaks of the bucket {shown(manifest.bucket)!r}, and `bucket` of this export says {known}"
        raise ForeignKeyInManifestError(what, file=key, remedy=_other_bucket(manifest.bucket))
    for listed in manifest.keys:
        if not is_safe_key(listed) or not listed.startswith(rules.folder):
            what = "The manifest lists a file outside the export's folder"
            raise ForeignKeyInManifestError(what, file=key, value=listed)
        if rules.period_of_key(listed) != period:
            what = f"The manifest lists a file outside the folder of {period}"
            raise PeriodMismatchError(what, file=key, value=listed)


def as_copied(
    manifest: Manifest, rules: ManifestLayout, present: Collection[str], key: str
) -> Manifest:
    """Return ``manifest`` with its files' keys as they are here, where this is a copy of a folder of the bucket.

    A manifest lists keys of the bucket that it was written to. In a copy, all of them lack the same folders at their beginning, or
    have others before them, so they are found from their end.

    Args:
        manifest: The manifest.
        rules: Where the export's files lie here.
        present: Keys of the files that are here.
        key: Its key, for errors.

    Raises:
        ForeignKeyInManifestError: There are several ways to find the files.
    """
    if all(listed.startswith(rules.folder) for listed in manifest.keys):
        return manifest
    found = [places for one in manifest.keys if (places := _places(one, rules.folder, present))]
    common = set.intersection(*found) if found else set()
    if len(common) > 1:
        ways = " or ".join(shown(repr(folders)) for folders in sorted(common))
        what = f"Files of this copy of a bucket can be found in several ways: without {ways} before them"
        raise ForeignKeyInManifestError(what, file=key, remedy="Copy one export to a folder")
    if not common:
        return manifest
    (before,) = common
    here = tuple(
        f"{rules.folder}{one.removeprefix(before)}" if one.startswith(before) else one
        for one in manifest.keys
    )
    return replace(manifest, keys=here)


def _places(listed: str, folder: str, present: Collection[str]) -> set[str]:
    """Return the folders of the key ``listed`` that may be ``folder`` elsewhere: the rest of the key is a file in ``folder``."""
    parts = listed.split("/")
    return {
        before
        for position in range(len(parts))
        if folder + "/".join(parts[position:]) in present
        for before in ["".join(f"{part}/" for part in parts[:position])]
    }


def _other_bucket(bucket: str) -> str:
    named = shown(bucket)
    return (
        f"If the report moved, list both in the export's defs.yaml, `bucket: [{named}, <the other>]`; to accept any, leave the "
        "setting out; else find out who wrote this manifest"
    )
