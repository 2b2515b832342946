"""Finds the exports in a bucket or a folder, with format and layout, and what is none.

Everything comes from one listing, the manifests, and the headers of files that have none; loose files of a format that has files of
several billing periods are read to their ends, because nothing else says for which they count. Each export is looked at by the rules by
which it would be loaded, so what is shown as a delivery here is one there. No file is in two of the exports that are found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import ConfigurationError
from billing_lake.formats.base import Format
from billing_lake.formats.keys import OWN_SAMPLES, is_manifest, plain_key
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.recognition import is_report_of_any_format, kind_of_tree
from billing_lake.formats.registry import FORMATS
from billing_lake.formats.report_files import Kind
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.landing.each_file_once import each_file_once
from billing_lake.landing.found_exports import (
    FoundExport,
    Inspection,
    ListedStorage,
    UnusedFiles,
)
from billing_lake.landing.loose_exports import UNNAMED, loose_exports

_LAKE = "catalog/lake.json"
_LANDING = "landing/"
"""Folder of a lake in which deliveries lie, and nothing of its own."""

_HIDDEN = Kind(
    "a report file whose name, or whose folder's, begins with a dot, which is not looked into",
    "Rename it when all of it is there",
)
_BESIDE = Kind(
    "a report file in the folder of an export that no manifest lists",
    "Move it out of the export's folder, if it is a bill of its own",
)


def inspect(
    storage: Storage,
    prefix: str = "",
    known: Sequence[ExportLocation] = (),
    uncounted: Collection[str] = (),
) -> Inspection:
    """Look at everything below ``prefix``.

    Args:
        storage: The bucket or the folder.
        prefix: Where to look; empty, or a folder with a slash at its end.
        known: Where exports with settings have their files. Each is found, by its settings, whatever lies there, and its files
            are offered to no other one.
        uncounted: Names of those whose costs do not count (`counts: false`): they may have files that others have as well.

    Returns:
        The exports that lie there, and the files that belong to none, with the reasons.
    """
    listed_files = storage.list(prefix, hidden=True)
    files = [one for one in listed_files if one.key.rpartition("/")[2] != OWN_SAMPLES]
    unused = UnusedFiles()
    listed = ListedStorage(storage, _without_lakes(files, unused))
    found = [_as_set_up(listed, prefix, where) for where in known]
    found += _with_manifests(listed, prefix, known, unused)
    trees = [one for one in found if not isinstance(one.location.rules, Loose)]
    found = [one for one in found if one.is_known or not _is_no_bill(one, unused)]
    folders = tuple({one.location.rules.folder for one in trees})
    rest: list[StoredObject] = []
    for file in listed.files:
        if plain_key(file.key).startswith(folders or "//"):
            continue
        if is_report_of_any_format(file.key) and _is_hidden(file.key, prefix):
            unused.add(_HIDDEN, [file.key])
        else:
            rest.append(file)
    _name_files_beside(listed, trees, unused)
    found += loose_exports(listed, rest, folders, known, unused)
    once = each_file_once(listed, sorted(found, key=_place), unused, uncounted)
    return Inspection(
        exports=tuple(_named(once)),
        unused=unused.all(),
        files=len(files),
        size=sum(one.size for one in files),
    )


def _as_set_up(listed: ListedStorage, prefix: str, where: ExportLocation) -> FoundExport:
    """Return the export with settings at ``where``, as its sensor sees it."""
    is_below = where.rules.folder.startswith(prefix)
    findings = find_deliveries(listed if is_below else listed.storage, where)
    return FoundExport(location=where, findings=findings, is_known=True)


def _without_lakes(files: Sequence[StoredObject], unused: UnusedFiles) -> list[StoredObject]:
    """Return ``files`` without those of lakes, whose tables look like exports; what was delivered to a lake's own folder stays."""
    lakes = tuple(
        one.key.removesuffix(_LAKE) for one in files if f"/{one.key}".endswith(f"/{_LAKE}")
    )
    kind = Kind("a lake, whose tables and values are no exports", "")
    unused.add(kind, (lake or "./" for lake in lakes))
    return [
        one
        for one in files
        if not any(
            one.key.startswith(lake) and not one.key.startswith(f"{lake}{_LANDING}")
            for lake in lakes
        )
    ]


def _is_hidden(key: str, prefix: str) -> bool:
    """Say whether a part of ``key`` below ``prefix`` begins with a dot: what copy tools write before they rename it."""
    return "/." in f"/{key[len(prefix) :]}"


def _with_manifests(
    listed: ListedStorage, prefix: str, known: Iterable[ExportLocation], unused: UnusedFiles
) -> Iterator[FoundExport]:
    """Yield the exports whose deliveries manifests commit; without those whose folder an export with settings has."""
    taken = tuple(one.rules.folder for one in known if not isinstance(one.rules, Loose))
    places: dict[tuple[str, str], dict[str, Format]] = defaultdict(dict)
    for file in listed.files:
        key = plain_key(file.key)
        if not is_manifest(key) or key.startswith(taken or "//"):
            continue
        is_known = False
        for one in FORMATS.values():
            tree = one.tree_of(key)
            if tree is not None and tree.export is not None:
                is_known = True
                if not _is_hidden("/".join(tree.export), plain_key(prefix)):
                    places[tree.export][one.name] = one
        if not is_known:
            kind = kind_of_tree(key)
            unused.add(Kind(f"a manifest of {kind.name}", kind.remedy), [file.key])
    for (folder, report), formats in places.items():
        try:
            tried = [
                FoundExport(location=where, findings=find_deliveries(listed, where))
                for one in formats.values()
                for where in _locations(one, folder, report)
            ]
        except ConfigurationError as error:
            unused.add(Kind(error.what, error.how), [f"{folder}/{report}"], is_fault=True)
        else:
            yield _in_layout(max(tried, key=_read))
        listed.kept.clear()


def _is_no_bill(found: FoundExport, unused: UnusedFiles) -> bool:
    """Say whether what lies there is an export of a table without costs, and name it."""
    why = found.findings.no_bill
    unused.add(
        Kind(why, "It is no bill: leave it as it is"), [found.location.rules.folder] if why else ()
    )
    return bool(why)


def _read(found: FoundExport) -> tuple[int, int, int]:
    """Return how much of an export is read as one of its format: what a format does not know it calls broken."""
    findings = found.findings
    return len(findings.deliveries), len(findings.waiting), -len(findings.broken)


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


def _name_files_beside(
    listed: ListedStorage, trees: Sequence[FoundExport], unused: UnusedFiles
) -> None:
    """Name report files in the folders of exports with manifests that lie beside their deliveries, and not in an earlier one."""
    for one in trees:
        rules = one.location.rules
        if isinstance(rules, Loose):
            continue
        beside = {key for delivery in one.findings.deliveries.values() for key in delivery.ignored}
        unused.add(
            _BESIDE,
            (
                key
                for file in listed.list(rules.folder)
                for key in [plain_key(file.key)]
                if is_report_of_any_format(key)
                and (key in beside or rules.period_of_key(key) is None)
            ),
        )


def _named(found: Iterable[FoundExport]) -> Iterator[FoundExport]:
    """Yield the exports; those without settings get a name that a table may have and no other export has."""
    exports = list(found)
    taken = {one.location.name for one in exports if one.is_known}
    for one in exports:
        if one.is_known:
            yield one
            continue
        name = re.sub(r"[^a-z0-9]+", "_", one.location.name.lower()).strip("_") or UNNAMED
        name = name if name[0].isalpha() else f"export_{name}"
        number = 1
        while (candidate := name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        taken.add(candidate)
        yield replace(one, location=replace(one.location, name=candidate))


def _place(found: FoundExport) -> tuple[str, str]:
    return found.location.rules.folder, found.location.report
