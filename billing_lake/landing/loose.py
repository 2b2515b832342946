"""Loose files: every report file below a folder counts, and its rows say for which billing period.

The first row speaks for all of them, unless the format has files of several billing periods: then each row speaks for itself, and
the file belongs to each period that it has rows of.

Nothing commits such a delivery, so all that could be part of it must be understood: a file that is left out would be
money that is missing. A file that states no period could belong to any; while one is there, no period is a delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from billing_lake.domain.deliveries import Delivery, StoredObject, fingerprint_of_texts
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    EmptyFileError,
    IncompleteDeliveryError,
    OtherFormatError,
    ReportFileError,
    SameFilesError,
    TruncatedFileError,
    UnusableFilesError,
    WrongLayoutError,
    in_words,
    shown,
)
from billing_lake.formats.keys import is_manifest
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.recognition import kind_of_tree, several_deliveries
from billing_lake.formats.report_files import READS
from billing_lake.landing.base import Storage
from billing_lake.landing.pinned_files import (
    FolderFindings,
    file_digest,
    last_bytes,
    list_export,
    stated_periods,
)

MAX_IGNORED = 20
"""Most keys that a delivery names as ignored."""

ARRIVING = (EmptyFileError, TruncatedFileError, DeliveryChangedError)
"""Errors of a file that has probably not arrived yet; one with any other error stays as it is."""

_MAX_REASONS = 3
_BESIDE_OTHERS = "Set `report` to a pattern of names that the export's own files have alone, such as `bill-*.csv.gz`"


@dataclass
class _Sorted:
    """The files of a loose folder, each where it belongs."""

    periods: dict[str, list[StoredObject]] = field(default_factory=dict)
    mixed: set[str] = field(default_factory=set)
    errors: dict[str, BillingLakeError] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    blocked: BillingLakeError | None = None


def look_at_loose_files(
    storage: Storage, export: ExportLocation, only: str | None
) -> FolderFindings:
    """Look at the files of an export without manifests; with ``only``, make the delivery of this billing period alone."""
    found = _sort(storage, export)
    if found.blocked is not None:
        places = sorted(found.periods) or list(found.errors) or [str(found.blocked.file)]
        return FolderFindings(errors=dict.fromkeys(places, found.blocked), blocked=found.blocked)
    looked = FolderFindings()
    for period in sorted(found.periods if only is None else found.periods.keys() & {only}):
        try:
            _refuse_same(storage, period, found.periods[period])
        except BillingLakeError as error:
            looked.errors[period] = error
        else:
            looked.deliveries[period] = _delivery(export, period, found)
    return looked


def other_periods(storage: Storage, export: ExportLocation, period: str) -> list[Delivery]:
    """Return what lies beside the delivery of ``period`` in a loose folder: the files that begin with another one.

    Raises:
        BillingLakeError: A file cannot be used, see `look_at_loose_files`.
    """
    found = _sort(storage, export)
    if found.blocked is not None:
        raise found.blocked
    return [_delivery(export, other, found) for other in sorted(found.periods.keys() - {period})]


def _sort(storage: Storage, export: ExportLocation) -> _Sorted:
    format_ = export.format
    rules = export.rules
    files = [
        one
        for one in list_export(storage, rules)
        if not isinstance(rules, Loose) or rules.takes(one.key)
    ]
    found = _Sorted(blocked=_another_layout(export, files))
    for file in () if found.blocked else files:
        kind = format_.unread_kind(file.key)
        # A folder that is a link is listed with a size, the mark of a bucket's folder without.
        if format_.is_report_file(file.key) or (file.key.endswith("/") and file.size):
            try:
                periods = stated_periods(storage, file, format_)
            except BillingLakeError as error:
                found.errors[file.key] = error
            else:
                for period in periods:
                    found.periods.setdefault(period, []).append(file)
                found.mixed |= {file.key} if len(periods) > 1 else set()
        elif kind is not None:
            what = f"This is {kind.name}, and what is read is {READS}"
            found.errors[file.key] = UnusableFilesError(what, file=file.key, remedy=kind.remedy)
        else:
            found.ignored.append(file.key)
    if found.errors:
        found.blocked = _unusable(found.errors, has_own=bool(found.periods))
    return found


def _another_layout(
    export: ExportLocation, files: Sequence[StoredObject]
) -> WrongLayoutError | None:
    manifests = [file.key for file in files if is_manifest(file.key)]
    if manifests:
        kind = kind_of_tree(manifests[0])
        what = (
            f"Manifests lie below the folder of loose files, {shown(export.rules.folder or '/')}: it is a tree of {kind.name}, in "
            "which several deliveries of a billing period may lie side by side, and loose files are added up"
        )
        remedy = f"{kind.remedy}. To load some of it, copy the report files of one delivery of each period to a folder of their own"
        return WrongLayoutError(what, file=manifests[0], remedy=remedy)
    several = several_deliveries(
        file.key for file in files if export.format.is_report_file(file.key)
    )
    if several:
        place, *folders = several
        what = (
            f"The folder of one billing period holds {len(folders)} folders, {export.format.named(folders)}: probably as many deliveries, "
            "and loose files are added up"
        )
        remedy = (
            "Copy the report files of the current one to a folder of their own, and set `prefix` to that; if they are parts of "
            "one delivery, give the folder above them another name"
        )
        return WrongLayoutError(what, file=place, remedy=remedy)
    return None


def _unusable(errors: Mapping[str, BillingLakeError], *, has_own: bool) -> BillingLakeError:
    """Return one error for all files that could hold rows of any billing period."""
    key, first = next(iter(errors.items()))
    arriving = all(isinstance(error, ARRIVING) for error in errors.values())
    kind = IncompleteDeliveryError if arriving else UnusableFilesError
    reasons = in_words((_reason(*one) for one in errors.items()), _MAX_REASONS, "; ")
    what = f"A loose file that cannot be read could hold rows of any billing period: {reasons}"
    if arriving:
        remedy = (
            "Wait until it has arrived, or remove it; until then nothing of the export is loaded"
        )
    else:
        advice = first.how
        if has_own and isinstance(first, OtherFormatError):
            # The file's own advice is for exports of which all files are of that format.
            advice = _BESIDE_OTHERS
        # What can be said of any file is no advice here: nobody delivers loose files again.
        advice = "" if advice == ReportFileError.remedy else f"{advice}. "
        remedy = f"{advice}{UnusableFilesError.remedy}"
    return kind(
        what,
        file=key,
        line=first.line,
        column=first.column,
        value=first.value,
        remedy=remedy,
    )


def _reason(key: str, error: BillingLakeError) -> str:
    place = f", line {error.line}" if error.line is not None else ""
    return f"{shown(key)}{place}: {error.what}"


def _refuse_same(storage: Storage, period: str, files: Iterable[StoredObject]) -> None:
    """Refuse two files of the same bytes.

    Sizes tell nearly all apart, and the check sum at a gzip's end the rest; only what agrees in both is read whole.
    """
    sizes: dict[int, list[StoredObject]] = {}
    for file in files:
        sizes.setdefault(file.size, []).append(file)
    for alike in sizes.values():
        known: dict[bytes, list[StoredObject]] = {}
        for file in alike if len(alike) > 1 else ():
            known.setdefault(last_bytes(storage, file), []).append(file)
        for suspects in known.values():
            _refuse_same_bytes(storage, period, suspects)


def _refuse_same_bytes(storage: Storage, period: str, files: Sequence[StoredObject]) -> None:
    known: dict[bytes, str] = {}
    for file in files if len(files) > 1 else ():
        first = known.setdefault(file_digest(storage, file), file.key)
        if first != file.key:
            what = f"Two files of {period} are the same, byte for byte: {shown(first)} and {shown(file.key)}"
            raise SameFilesError(what, file=file.key)


def _delivery(export: ExportLocation, period: str, found: _Sorted) -> Delivery:
    files = found.periods[period]
    version = fingerprint_of_texts(f"{file.key} {file.size} {file.etag}" for file in files)
    return Delivery(
        export=export.name,
        period=period,
        version=f"loose-{version}",
        layout=export.layout,
        files=tuple(files),
        ignored=tuple(found.ignored[:MAX_IGNORED]),
        format=export.format.name,
        mixed=tuple(file.key for file in files if file.key in found.mixed),
    )
