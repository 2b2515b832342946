"""Finds the exports of report files without a manifest, so that each file is in one of them.

An export of loose files takes what lies below its folder at any depth, or what of it has a name of its pattern. Outer folders
are looked at first: an export of files in a folder takes those of its format in the folders below as well, which then are
no export of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import BadHeaderError, BillingLakeError, UnusableFilesError, shown
from billing_lake.formats.base import Format
from billing_lake.formats.keys import is_manifest, plain_key
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.recognition import is_report_of_any_format
from billing_lake.formats.registry import DEFAULT_FORMAT, FORMATS
from billing_lake.formats.report_files import Kind
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.landing.errors import naming_errors
from billing_lake.landing.found_exports import FoundExport, ListedStorage, UnusedFiles
from billing_lake.landing.loose import ARRIVING
from billing_lake.landing.report_headers import header_of

UNNAMED = "bill"
"""Name of an export of loose files in no folder."""

_NO_REPORT = Kind("not a report file", "")
_OF_NO_EXPORT = Kind("not a billing report (unknown header)", "Ignored; nothing is to be done")
_DATES = re.compile(r"(?<=[^/])(?:/\d+|/(?:\w+=[\d-]+|\d{8}-\d{8})(?:/(?!\w+=)[^/]+)?)+$")
"""Folders of a day or a month at the end of a path: `/2025/03/01` as Oracle has them, `/20250301-20250331/<run>` as Microsoft has, and
partitions such as `/billing_period=2025-03` or `/year=2025/month=3`."""
_NUMBERS = re.compile(r"\d+")
_SIGNS = re.compile(r"[\[?*]")
"""What stands for other characters in a pattern."""

# Marks of files that are of no format.
_MAY_BE_ANY, _FOREIGN, _ELSEWHERE = "", "\0foreign", "\0elsewhere"


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Report files of one folder whose names differ in numbers alone.

    Attributes:
        folder: The folder; that above folders of single days or months.
        pattern: Pattern of the names.
        keys: The files.
        format: The format of the first one that tells it; None where none does.
        header: Its header.
        error: Why none does.
    """

    folder: str
    pattern: str
    keys: tuple[str, ...]
    format: Format | None = None
    header: tuple[str, ...] = ()
    error: BillingLakeError | None = None

    @property
    def mark(self) -> str:
        """Tells files that one export may take from others: by the name of their format."""
        if self.format is not None:
            return self.format.name
        return _MAY_BE_ANY if isinstance(self.error, ARRIVING) else _FOREIGN


@dataclass(frozen=True)
class _Marked:
    """All files that an export of loose files could take, with their marks, by plain key."""

    marks: Mapping[str, str]

    @cached_property
    def _keys(self) -> list[str]:
        return sorted(self.marks)

    def below(self, folder: str) -> Sequence[str]:
        """Return the files below ``folder``, plain and without a slash at its end."""
        if not folder:
            return self._keys
        first = bisect_left(self._keys, f"{folder}/")
        return self._keys[first : bisect_left(self._keys, f"{folder}0")]  # 0 comes after the slash

    def taken_by(self, folder: str, pattern: str) -> list[str]:
        """Return the files that an export of loose files takes."""
        rules = Loose(folder, pattern)
        return [key for key in self.below(folder) if rules.takes(key)]


def loose_exports(
    listed: ListedStorage,
    files: Sequence[StoredObject],
    trees: tuple[str, ...],
    known: Sequence[ExportLocation],
    unused: UnusedFiles,
) -> Iterator[FoundExport]:
    """Yield the exports of report files without a manifest that have no settings yet.

    Args:
        listed: The storage.
        files: Files that are in no tree of manifests.
        trees: Folders of exports with manifests.
        known: Where exports with settings have their files.
        unused: Gets what no export takes.
    """
    groups = _alike(files, unused)
    own = [rules for one in known if isinstance(rules := one.rules, Loose)]
    taken = {
        key
        for keys in groups.values()
        for key in keys
        if any(_takes(rules, plain_key(key)) for rules in own)
    }
    marks = {
        plain_key(file.key): _ELSEWHERE
        for file in listed.files
        if plain_key(file.key).startswith(trees or "//")
        and (is_report_of_any_format(file.key) or is_manifest(file.key))
    }
    marks.update((plain_key(key), _ELSEWHERE) for key in taken)
    new = [
        _looked_at(listed, _Group(folder=folder, pattern=pattern, keys=rest))
        for (folder, pattern), keys in groups.items()
        if (rest := tuple(key for key in keys if key not in taken))
    ]
    marks.update((plain_key(key), group.mark) for group in new for key in group.keys)
    marked, covered = _Marked(marks), set[str]()
    written = {pattern for _, pattern in groups}
    for group in _outer_and_broad_ones_first(new, marked):
        if covered.issuperset(map(plain_key, group.keys)):
            continue
        if owner := _left_out_by(group, known, written):
            what = f"left out by `report` of the export {owner.name}, {shown(owner.report)}"
            unused.add(Kind(what, ""), group.keys)
            continue
        try:
            where = _only_its_own(group, marked, covered)
        except BillingLakeError as error:
            unused.add(Kind(error.what, error.how), group.keys, is_fault=True)
            continue
        covered.update(marked.taken_by(where.prefix, where.report))
        findings = find_deliveries(listed, where)
        yield FoundExport(location=where, findings=findings, header=group.header)
    _name_unread(new, covered, unused)


def _outer_and_broad_ones_first(groups: Iterable[_Group], marked: _Marked) -> list[_Group]:
    """Return the groups of known formats: those of outer folders first, and of one folder those whose pattern takes most."""
    return sorted(
        (one for one in groups if one.format is not None),
        key=lambda one: (
            len(one.folder.split("/")) if one.folder else 0,
            -len(marked.taken_by(one.folder, one.pattern)),
        ),
    )


def _takes(rules: Loose, key: str) -> bool:
    return key.startswith(rules.folder) and rules.takes(key)


def _only_its_own(group: _Group, marked: _Marked, covered: Collection[str]) -> ExportLocation:
    """Return a place that takes the files of a group, and no file of another format or export.

    Raises:
        ConfigurationError: The folder has a name that no settings can have.
        UnusableFilesError: There is no such place.
    """
    own = (group.mark, _MAY_BE_ANY)
    for pattern in ("", group.pattern):
        where = _location(group, pattern)
        taken = marked.taken_by(group.folder, pattern)
        if all(marked.marks[key] in own and key not in covered for key in taken):
            return where
    what = (
        f"Files named {shown(group.pattern)}, as files of another format or export in or below the same folder are: which of "
        "them are of one export cannot be told"
    )
    remedy = "Move each kind to a folder of its own, none of them below another one's"
    raise UnusableFilesError(what, remedy=remedy)


def _left_out_by(
    group: _Group, known: Iterable[ExportLocation], written: Collection[str]
) -> ExportLocation | None:
    """Return the export whose user does not want these files in it: it has a pattern that `load` does not write."""
    for one in known:
        is_of_user = isinstance(one.rules, Loose) and one.report not in written
        if (
            is_of_user
            and one.format.name == group.mark
            and f"{group.folder}/".startswith(one.rules.folder)
        ):
            return one
    return None


def _name_unread(groups: Iterable[_Group], covered: Collection[str], unused: UnusedFiles) -> None:
    """Name the files of which no format can be told, but for those that an export takes, which says so itself."""
    for group in groups:
        if group.error is not None:
            rest = (key for key in group.keys if plain_key(key) not in covered)
            kind = Kind(group.error.what, group.error.how)
            unused.add(kind, rest, is_fault=not _is_of_no_export(group.error))


def _location(group: _Group, pattern: str) -> ExportLocation:
    stem = (pattern or group.folder or UNNAMED).rpartition("/")[2].partition(".")[0]
    format_ = group.format or DEFAULT_FORMAT
    return ExportLocation(stem, "loose", group.folder, pattern, format=format_)


def _alike(files: Sequence[StoredObject], unused: UnusedFiles) -> dict[tuple[str, str], list[str]]:
    """Return report files by their folder and by a pattern of their names, in which numbers may be any."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    reports = (plain_key(file.key) for file in files if is_report_of_any_format(file.key))
    above = _without_dates({key.rpartition("/")[0] for key in reports})
    for file in files:
        folder, _, name = plain_key(file.key).rpartition("/")
        if is_report_of_any_format(file.key):
            pattern = _NUMBERS.sub("*", _SIGNS.sub(r"[\g<0>]", name))
            alike[above[folder], pattern].append(file.key)
        elif not is_manifest(file.key):
            kinds = (one.unread_kind(file.key) for one in FORMATS.values())
            unused.add(next(filter(None, kinds), _NO_REPORT), [file.key])
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


def _looked_at(listed: ListedStorage, group: _Group) -> _Group:
    """Return ``group`` with the format that the first file says which can be read, or with the reason why none does."""
    errors: list[BillingLakeError] = []
    for key in group.keys:
        try:
            format_, header = _format_of(listed, key)
        except BillingLakeError as error:
            errors.append(error)
        else:
            return replace(group, format=format_, header=header)
    told = next((one for one in errors if not _is_of_no_export(one)), errors[0])
    return replace(group, error=told)


def _is_of_no_export(error: BillingLakeError) -> bool:
    return error.what == _OF_NO_EXPORT.name


def _format_of(listed: ListedStorage, key: str) -> tuple[Format, tuple[str, ...]]:
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
    raise BadHeaderError(_OF_NO_EXPORT.name, file=key, remedy=_OF_NO_EXPORT.remedy)
