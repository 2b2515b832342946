"""Finds the exports in a bucket or a folder, with format and layout, and what is none.

Everything comes from one listing, the manifests, and the headers of files that have none; loose files of a format that has files of
several billing periods are read to their ends, because nothing else says for which they count. Each export is looked at by the rules by
which it would be loaded, so what is shown as a delivery here is one there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from billing_lake.domain.deliveries import Findings, StoredObject
from billing_lake.domain.errors import BadHeaderError, BillingLakeError, ConfigurationError
from billing_lake.domain.periods import is_period
from billing_lake.formats.base import Format, Kind
from billing_lake.formats.keys import is_manifest, plain
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.recognition import is_report_file, kind_of_tree
from billing_lake.formats.registry import FORMATS
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.landing.errors import naming_errors
from billing_lake.landing.memory import Memory
from billing_lake.landing.report_headers import header_of

_NO_REPORT = Kind("no report file", "")
_UNNAMED = "bill"
_DATES = re.compile(r"(?<=[^/])(?:/\d+|/(?:\w+=[\d-]+|\d{8}-\d{8})(?:/(?!\w+=)[^/]+)?)+$")
"""Folders of a day or a month at the end of a path: `/2025/03/01` as Oracle has them, `/20250301-20250331/<run>` as Microsoft has, and
partitions such as `/billing_period=2025-03` or `/year=2025/month=3`."""


@dataclass(frozen=True, kw_only=True)
class FoundExport:
    """An export that was found.

    Attributes:
        location: Where it is and how it is read; its name is made of the report's.
        findings: Its deliveries, and what stands in the way of others.
        header: Header cells of one of its files, where no manifest states them.
    """

    location: ExportLocation
    findings: Findings
    header: tuple[str, ...] = ()

    @property
    def _places(self) -> tuple[str, ...]:
        """Billing periods of which something is there, and keys of files that cannot be used."""
        findings = self.findings
        return (*findings.deliveries, *findings.waiting, *findings.broken)

    @property
    def format_version(self) -> str | None:
        """Version of the format's specification, empty where nothing tells it; None where the format has no versions."""
        format_ = self.location.format
        if format_.version_of is None:
            return None
        deliveries = self.findings.deliveries
        newest = deliveries[max(deliveries)] if deliveries else None
        cells = newest.columns if newest is not None and newest.columns else self.header
        stated = "" if newest is None else newest.format_version
        return stated or format_.version_of([format_.name_of(cell) for cell in cells])

    @property
    def settings(self) -> dict[str, str]:
        """The settings by which the component reads it."""
        where = self.location
        settings = {
            "name": where.name,
            "format": where.format.name,
            "layout": where.layout,
            "prefix": where.prefix,
            "report": where.report,
            "start": min(filter(is_period, self._places), default=""),
        }
        return {name: value for name, value in settings.items() if value or name == "prefix"}


@dataclass(frozen=True, kw_only=True)
class Unused:
    """Files that belong to no export.

    Attributes:
        why: Why, or what they are.
        remedy: What to do; empty where nothing is to be done.
        keys: The files.
    """

    why: str
    remedy: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The content of a storage.

    Attributes:
        exports: The exports, by their folder.
        unused: What belongs to none.
        files: Number of all files.
        size: Their bytes.
    """

    exports: tuple[FoundExport, ...]
    unused: tuple[Unused, ...]
    files: int
    size: int


@dataclass
class _Listed:
    """A storage whose files were listed once; all else is asked of it when it is needed.

    Attributes:
        files: Its files, by key.
        kept: Manifests that were read, for as long as the formats of one export are tried.
    """

    storage: Storage
    files: Sequence[StoredObject]
    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def memory(self) -> Memory | None:
        """See `Storage.memory`."""
        return self.storage.memory

    def list(self, prefix: str, *, hidden: bool = False) -> list[StoredObject]:
        """See `Storage.list`."""
        folder = len(prefix.rpartition("/")[0])
        return [
            one
            for one in self.files
            if one.key.startswith(prefix) and (hidden or "/." not in f"/{one.key[folder:]}")
        ]

    def names(self, folder: str) -> Sequence[str] | None:
        """See `Storage.names`."""
        below = (one.key[len(folder) :] for one in self.files if one.key.startswith(folder))
        parts = (key.partition("/") for key in below)
        names = sorted({f"{name}{slash}" for name, slash, _ in parts if name})
        return names if names or not folder else None

    def address(self, key: str) -> str:
        """See `Storage.address`."""
        return self.storage.address(key)

    def read(self, key: str, etag: str) -> bytes:
        """See `Storage.read`: once, however many formats are tried."""
        if (key, etag) not in self.kept:
            self.kept[key, etag] = self.storage.read(key, etag)
        return self.kept[key, etag]

    def open(self, key: str) -> BinaryIO:
        """See `Storage.open`."""
        return self.storage.open(key)

    def stat(self, key: str) -> StoredObject | None:
        """See `Storage.stat`."""
        return self.storage.stat(key)


@dataclass
class _Unused:
    groups: dict[Kind, list[str]] = field(default_factory=lambda: defaultdict(list))
    folders: list[str] = field(default_factory=list)

    def add(self, why: str, remedy: str, *keys: str) -> None:
        self.groups[Kind(why, remedy)] += keys


def inspect(storage: Storage, prefix: str = "") -> Inspection:
    """Look at everything below ``prefix``, without any settings.

    Args:
        storage: The bucket or the folder.
        prefix: Where to look; empty, or a folder with a slash at its end.

    Returns:
        The exports that lie there, and the files that belong to none, with the reasons.
    """
    files = storage.list(prefix, hidden=True)
    listed = _Listed(storage, files)
    unused = _Unused()
    found = [*_with_manifests(listed, unused)]
    folders = tuple({*unused.folders, *(one.location.rules.folder for one in found)})
    rest = [one for one in files if not plain(one.key).startswith(folders) or not folders]
    found += _loose(listed, rest, unused)
    return Inspection(
        exports=tuple(_named(sorted(found, key=_place))),
        unused=tuple(
            Unused(why=kind.name, remedy=kind.remedy, keys=tuple(keys))
            for kind, keys in unused.groups.items()
        ),
        files=len(files),
        size=sum(one.size for one in files),
    )


def _with_manifests(listed: _Listed, unused: _Unused) -> Iterator[FoundExport]:
    """Yield the exports whose deliveries manifests commit."""
    places: dict[tuple[str, str], dict[str, Format]] = defaultdict(dict)
    for file in listed.files:
        if not is_manifest(file.key):
            continue
        key = plain(file.key)
        is_known = False
        for one in FORMATS.values():
            tree = one.tree_of(key)
            if tree is not None and tree.export is not None:
                is_known = True
                places[tree.export][one.name] = one
        if not is_known:
            kind = kind_of_tree(key)
            unused.add(f"a manifest of {kind.name}", kind.remedy, file.key)
    for (prefix, report), formats in places.items():
        try:
            tried = [
                FoundExport(location=where, findings=find_deliveries(listed, where))
                for one in formats.values()
                for where in _locations(one, prefix, report)
            ]
        except ConfigurationError as error:
            unused.add(error.what, error.how, f"{prefix}/{report}")
        else:
            # What a format does not know it calls broken; so the one that reads most is right.
            best = max(tried, key=lambda one: len(one.findings.deliveries))
            if best.findings.no_bill:
                folder = best.location.rules.folder
                unused.add(best.findings.no_bill, "It is no bill: leave it as it is", folder)
                unused.folders.append(folder)
            else:
                yield _in_layout(best)
        listed.kept.clear()


def _locations(format_: Format, prefix: str, report: str) -> Iterator[ExportLocation]:
    """Yield the places of one export, one for each set of rules: some layouts are read alike.

    Raises:
        ConfigurationError: A folder has a name that no settings can have.
    """
    known = set()
    for layout in format_.layouts:
        where = ExportLocation(report, layout, prefix, report, format=format_)
        if layout != "loose" and where.rules not in known:
            known.add(where.rules)
            yield where


def _in_layout(found: FoundExport) -> FoundExport:
    """Return ``found`` with the layout that its files show: where deliveries have no folders of their own, they overwrite."""
    format_ = found.location.format
    folders = {
        file.key.split("/")[-2]
        for delivery in found.findings.deliveries.values()
        for file in delivery.files
    }
    is_read_alike = found.location.layout == "create-new" and "overwrite" in format_.layouts
    if not is_read_alike or not any(map(format_.period_of_folder, folders)):
        return found
    return replace(found, location=replace(found.location, layout="overwrite"))


def _loose(
    listed: _Listed, files: Sequence[StoredObject], unused: _Unused
) -> Iterator[FoundExport]:
    """Yield the exports of report files without a manifest: those of one folder and one format.

    Where other report files lie in the same folder, the names tell which are the export's.
    """
    formats: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    headers: dict[tuple[str, str], tuple[str, ...]] = {}
    for (folder, pattern), keys in _alike(files, unused).items():
        try:
            format_, headers[folder, pattern] = _format_of(listed, keys[0])
            _loose_location(folder, pattern, format_)
        except BillingLakeError as error:
            unused.add(error.what, error.how, *keys)
            formats[folder][""] = []
        else:
            formats[folder][format_.name].append(pattern)
    for folder, patterns in formats.items():
        for name, own in patterns.items():
            for pattern in own if len(patterns) > 1 else own and [""]:
                where = _loose_location(folder, pattern, FORMATS[name])
                yield FoundExport(
                    location=where,
                    findings=find_deliveries(listed, where),
                    header=headers[folder, pattern or own[0]],
                )


def _loose_location(folder: str, pattern: str, format_: Format) -> ExportLocation:
    """Return the place of an export of loose files.

    Raises:
        ConfigurationError: The folder has a name that no settings can have.
    """
    stem = (pattern or folder or _UNNAMED).rpartition("/")[2].partition(".")[0]
    return ExportLocation(stem, "loose", folder, pattern, format=format_)


def _alike(files: Sequence[StoredObject], unused: _Unused) -> dict[tuple[str, str], list[str]]:
    """Return report files by their folder and by a pattern of their names, in which numbers may be any."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    reports = (plain(file.key) for file in files if is_report_file(file.key))
    above = _without_dates({key.rpartition("/")[0] for key in reports})
    for file in files:
        folder, _, name = plain(file.key).rpartition("/")
        if is_report_file(file.key):
            alike[above[folder], re.sub(r"\d+", "*", name)].append(file.key)
        elif not is_manifest(file.key):
            kinds = (one.unread_kind(file.key) for one in FORMATS.values())
            kind = next(filter(None, kinds), _NO_REPORT)
            unused.add(kind.name, kind.remedy, file.key)
    return alike


def _without_dates(folders: Collection[str]) -> dict[str, str]:
    """Return for each folder the one that is an export's: above folders of single days or months, if nothing else is below it."""
    above = {folder: _DATES.sub("", folder) for folder in folders}
    below: dict[str, set[str]] = defaultdict(set)
    for folder, top in above.items():
        parts = folder.split("/")
        for depth in range(1, len(parts) + 1):
            below["/".join(parts[:depth])].add(top)
    return {folder: top if below[top] == {top} else folder for folder, top in above.items()}


def _format_of(listed: _Listed, key: str) -> tuple[Format, tuple[str, ...]]:
    """Return the format of the file ``key``, and the header that tells it.

    Raises:
        ReportFileError: It has none that can be read, or that of no export.
    """
    packed = next(one for one in FORMATS.values() if one.is_report_file(key))
    with listed.open(key) as stream, naming_errors(key):
        header = header_of(stream, key, packed, is_known=False)
    for one in FORMATS.values():
        if one.is_header(header):
            return one, header
    what = "Files with the header of no export that is read"
    raise BadHeaderError(what, file=key, remedy="Leave them as they are")


def _named(found: Iterable[FoundExport]) -> Iterator[FoundExport]:
    """Yield exports with names that may stand in a table's name, each once."""
    taken: set[str] = set()
    for one in found:
        name = re.sub(r"[^a-z0-9]+", "_", one.location.name.lower()).strip("_") or _UNNAMED
        name = name if name[0].isalpha() else f"export_{name}"
        number = 1
        while (candidate := name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        taken.add(candidate)
        yield replace(one, location=replace(one.location, name=candidate))


def _place(found: FoundExport) -> tuple[str, str]:
    return found.location.rules.folder, found.location.report
