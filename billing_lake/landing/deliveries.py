"""Deliveries in a storage: find them, pin their files, read their headers, and tell when they change.

All rules are those of the export's format; this joins them with what a storage lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import islice

from billing_lake.domain.deliveries import Delivery, Findings, StoredObject, require_settled
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    EmptyFileError,
    IncompleteDeliveryError,
    NoBillError,
    NoDeliveryError,
    UnusableFilesError,
    counted,
    shown,
)
from billing_lake.domain.periods import is_period, require_period
from billing_lake.domain.schemas import Column
from billing_lake.domain.shared_columns import Merge, merged_cells
from billing_lake.domain.sources import PeriodRows, Source, SourceFile, union_columns
from billing_lake.formats.base import Format
from billing_lake.formats.headers import require_columns, require_promised
from billing_lake.formats.keys import is_manifest, plain_key
from billing_lake.formats.layouts import Loose, ManifestLayout
from billing_lake.formats.locations import ExportLocation, as_copied, check_manifest
from billing_lake.formats.manifests import require_manifest_size
from billing_lake.formats.recognition import refuse_other_format
from billing_lake.formats.registry import format_named
from billing_lake.formats.report_files import READS
from billing_lake.landing.base import Storage
from billing_lake.landing.errors import naming_errors
from billing_lake.landing.loose import MAX_IGNORED, look_at_loose_files
from billing_lake.landing.nothing_found import foreign_files, misplaced_files, missing_folder
from billing_lake.landing.pinned_files import FolderFindings, list_export, manifest_of
from billing_lake.landing.report_headers import header_columns, header_of, promised_cells

_MAX_PERIODS = 24
_MANIFESTS_AT_ONCE = 16

# A file that vanishes between listing and reading is a delivery in motion, not a broken one.
_TRANSIENT = (IncompleteDeliveryError, DeliveryChangedError)


def find_deliveries(storage: Storage, export: ExportLocation) -> Findings:
    """Look for the current delivery of each billing period.

    A period that waits, or whose manifest is broken, stops no other one: the findings say why.
    """
    return _findings(_look(storage, export, None))


def resolve_delivery(storage: Storage, export: ExportLocation, period: str) -> Delivery:
    """Return the current delivery of a billing period.

    Raises:
        NoDeliveryError: There is none; the message lists the periods that have one.
        NoFolderError: The export's folder is not there.
        WrongLayoutError: What lies there is laid out in another way.
        UnusableFilesError: Files cannot be used that could belong to it.
        IncompleteDeliveryError: It is not complete yet.
        DeliveryError: Its manifest cannot be used.
        ConfigurationError: ``period`` is no billing period.
    """
    found = _current(storage, export, period)
    if found is not None:
        return found
    looked = _look(storage, export, None)
    unusable = [error for place, error in looked.errors.items() if not is_period(place)]
    if unusable and not looked.deliveries:
        raise unusable[0]
    raise _no_delivery(export, period, _findings(looked))


def verify_unchanged(storage: Storage, export: ExportLocation, delivery: Delivery) -> None:
    """Refuse to go on with a delivery that is not the period's current one any more.

    Raises:
        DeliveryChangedError: A file or the manifest changed, the delivery vanished, or a newer one is there.
    """
    try:
        now = _current(storage, export, delivery.period)
    except BillingLakeError as error:
        what = f"The delivery of {delivery.period} is being replaced: {error.what}"
        raise DeliveryChangedError(what, file=error.file) from error
    if now is None:
        raise DeliveryChangedError(f"The delivery of {delivery.period} is not there any more")
    if now.identity != delivery.identity:
        what = f"The delivery of {delivery.period} changed: {_change(export.format, delivery, now)}"
        raise DeliveryChangedError(what)
    for before, after in zip(delivery.files, now.files, strict=True):
        if before.touched != after.touched:
            what = "The file was written to while it was loaded, with its size and time kept"
            raise DeliveryChangedError(what, file=after.key)


def read_source(
    storage: Storage, delivery: Delivery, format_: Format | None = None
) -> tuple[Source, tuple[Merge, ...]]:
    """Read the headers of a delivery's files.

    Args:
        storage: Where the files lie.
        delivery: The delivery.
        format_: Its format as the export has it; the one that it names unless given.

    Returns:
        The files with their columns, as an engine takes them, and the header cells that share a column.

    Raises:
        ReportFileError: A file or its header cannot be read, lacks a column that a report must have, or is of another format.
    """
    format_ = format_named(delivery.format) if format_ is None else format_
    files, merged = [], dict[Merge, None]()
    for file, header in _headers(storage, delivery, format_):
        refuse_other_format(header, file.key, format_)
        names = header_columns(header, file.key, format_)
        require_columns(names, file.key, format_)
        require_promised(
            header, promised_cells(delivery.columns, file.key, format_), file.key, format_
        )
        lifted = format_.lifted_from(names)
        only = _rows_of(delivery, file, format_)
        one = SourceFile(uri=file.uri, name=file.key, columns=names, lifted=lifted, only=only)
        files.append(one)
        merged.update(dict.fromkeys(merged_cells(header, names)))
    names_of = [(*file.columns, *(one.column for one in file.lifted)) for file in files]
    columns = union_columns([format_.columns(names) for names in names_of])
    return _source(files, columns, format_), tuple(merged)


def read_periods(storage: Storage, delivery: Delivery, format_: Format) -> Source:
    """Return the files of ``delivery`` with the one column that states their rows' billing periods, for a quick look."""
    files = []
    for file, header in _headers(storage, delivery, format_):
        names = header_columns(header, file.key, format_)
        cells = tuple(
            name if name == format_.roles.period_start else f"column_{number}"
            for number, name in enumerate(names)
        )
        files.append(SourceFile(uri=file.uri, name=file.key, columns=cells))
    columns = union_columns([format_.columns(file.columns) for file in files])
    if any(format_.packing_of(file.name)[0] == "parquet" for file in files):
        # Columns of Parquet that are not asked for are not read.
        columns = tuple(one for one in columns if one.name == format_.roles.period_start)
    return _source(files, columns, format_)


def _rows_of(delivery: Delivery, file: StoredObject, format_: Format) -> PeriodRows | None:
    column = format_.roles.period_start
    is_mixed = column is not None and file.key in delivery.mixed
    return PeriodRows(str(column), delivery.period) if is_mixed else None


def _headers(
    storage: Storage, delivery: Delivery, format_: Format
) -> Iterator[tuple[StoredObject, tuple[str, ...]]]:
    """Yield the report files with their headers, without those that are empty where the format has such files."""
    empty: EmptyFileError | None = None
    found = False
    for file in delivery.files:
        with storage.open(file.key) as stream, naming_errors(file.key):
            try:
                header = header_of(stream, file.key, format_)
            except EmptyFileError as error:
                if not format_.may_be_empty:
                    raise
                empty = error
                continue
        found = True
        yield file, header
    if empty is not None and not found:
        raise empty


def _source(files: Sequence[SourceFile], columns: Sequence[Column], format_: Format) -> Source:
    packings = {format_.packing_of(file.name): file.name for file in files}
    if len(packings) > 1:
        names = " and ".join(shown(name) for name in packings.values())
        what = f"The files of one billing period are packed in several ways: {names}"
        remedy = "Pack all of them alike, or move those that are not of this delivery out of the export's folder"
        raise UnusableFilesError(what, file=next(iter(packings.values())), remedy=remedy)
    container, compression = next(iter(packings), ("csv", "gzip"))
    return format_.source(files, columns, container, compression)


def _look(storage: Storage, export: ExportLocation, only: str | None) -> FolderFindings:
    rules = export.rules
    if isinstance(rules, Loose):
        looked = look_at_loose_files(storage, export, only)
    else:
        looked = _look_manifests(storage, export, rules, only)
    if only is None and not looked.deliveries and not looked.errors:
        missing = missing_folder(storage, export)
        if missing is not None:
            looked.errors[rules.folder or "/"] = missing
    return looked


def _current(storage: Storage, export: ExportLocation, period: str) -> Delivery | None:
    """Return the period's delivery, None where nothing speaks of one, or raise what stands in its way."""
    require_period(period)
    looked = _look(storage, export, period)
    if looked.blocked is not None:
        raise looked.blocked
    if period in looked.errors:
        raise looked.errors[period]
    return looked.deliveries.get(period)


def _findings(looked: FolderFindings) -> Findings:
    waiting: dict[str, str] = {}
    broken: dict[str, str] = {}
    for place, error in looked.errors.items():
        group = waiting if isinstance(error, _TRANSIENT) else broken
        group[place] = str(error)
    kinds = {one.what if isinstance(one, NoBillError) else "" for one in looked.errors.values()}
    no_bill = kinds.pop() if len(kinds) == 1 and not looked.deliveries else ""
    return Findings(deliveries=looked.deliveries, waiting=waiting, broken=broken, no_bill=no_bill)


def _look_manifests(
    storage: Storage, export: ExportLocation, rules: ManifestLayout, only: str | None
) -> FolderFindings:
    looked = FolderFindings()
    files = list_export(storage, rules, ("",) if only is None else rules.period_folders(only))
    if only is not None and not files:
        # The folder of a period, too, may have a key with an empty part before it.
        files = list_export(storage, rules)
    periods = sorted(one for one in _by_period(rules, files).items() if only in (None, one[0]))

    def look(
        period_and_files: tuple[str, list[StoredObject]],
    ) -> Delivery | BillingLakeError | None:
        period, there = period_and_files
        try:
            return _from_manifest(storage, export, rules, period, _by_plain_key(there, period))
        except BillingLakeError as error:
            return error

    # A bucket answers after tens of milliseconds, and a report of ten years has 120 manifests.
    with ThreadPoolExecutor(_MANIFESTS_AT_ONCE) as threads:
        for (period, _), found in zip(periods, threads.map(look, periods), strict=True):
            if isinstance(found, BillingLakeError):
                looked.errors[period] = found
            elif found is not None:
                looked.deliveries[period] = found
    if only is None:
        looked.errors.update(
            (str(error.file), error) for error in misplaced_files(export, rules, files)
        )
        if not looked.deliveries and not looked.errors:
            foreign = foreign_files(storage, export, rules, files)
            if foreign is not None:
                looked.errors[rules.folder or "/"] = foreign
    return looked


def _by_period(
    rules: ManifestLayout, files: Iterable[StoredObject]
) -> dict[str, list[StoredObject]]:
    """Group files by the billing period that they belong to; what belongs to none is left out."""
    periods: dict[str, list[StoredObject]] = {}
    for file in files:
        period = rules.period_of_key(file.key)
        if period is not None:
            periods.setdefault(period, []).append(file)
    return periods


def _by_plain_key(files: Sequence[StoredObject], period: str) -> dict[str, StoredObject]:
    found: dict[str, StoredObject] = {}
    for file in files:
        first = found.setdefault(plain_key(file.key), file)
        if first.key != file.key:
            what = f"Two files of {period} differ in slashes alone: {shown(first.key)} and {shown(file.key)}"
            remedy = "Remove the one that is not of this export, or choose a `prefix` that holds one of them"
            raise UnusableFilesError(what, file=file.key, remedy=remedy)
    return found


def _from_manifest(
    storage: Storage,
    export: ExportLocation,
    rules: ManifestLayout,
    period: str,
    files: Mapping[str, StoredObject],
) -> Delivery | None:
    """Return the delivery that the period's manifest commits; None where nothing was delivered."""
    manifests = [one for one in files if rules.commits(one)]
    if len(manifests) > 1:
        what = f"{len(manifests)} manifests commit a delivery of {period}: {export.format.named(manifests)}"
        remedy = "Keep the one that the provider still writes, and move the other's files out of the export's folder"
        raise UnusableFilesError(what, file=manifests[0], remedy=remedy)
    key = manifests[0] if manifests else rules.manifest_key(period)
    if not manifests:
        reports = sum(map(export.format.is_report_file, files))
        if not reports:
            _refuse_other_kinds(export.format, period, files)
            return None
        what = f"{reports} report files of {period} are there and no manifest that commits them"
        raise IncompleteDeliveryError(what, file=key)
    pinned = files[key]
    require_manifest_size(pinned.size, key)
    manifest = as_copied(manifest_of(storage, pinned, rules), rules, files, pinned.key)
    check_manifest(manifest, rules, period=period, buckets=export.buckets, key=pinned.key)
    _require_complete(export.format, manifest.keys, files, key)
    delivery = Delivery(
        export=export.name,
        period=period,
        version=manifest.version,
        layout=export.layout,
        files=tuple(files[one] for one in manifest.keys),
        manifest=pinned,
        columns=manifest.columns,
        format_version=manifest.format_version,
        bucket=manifest.bucket,
        ignored=_beside(key, manifest.keys, files),
        format=export.format.name,
    )
    require_settled(delivery, export.quiet_seconds, datetime.now(timezone.utc))
    return delivery


def _refuse_other_kinds(format_: Format, period: str, files: Iterable[str]) -> None:
    others = [key for key in files if format_.unread_kind(key) is not None]
    if others:
        kind = format_.unread_kind(others[0])
        what = f"{counted(len(others), 'file')} of {period} {'is' if len(others) == 1 else 'are'} of a kind that is not read, {format_.named(others)}; what is read is {READS}"
        raise UnusableFilesError(what, file=others[0], remedy=kind.remedy if kind else None)


def _require_complete(
    format_: Format, listed: Sequence[str], files: Mapping[str, StoredObject], manifest: str
) -> None:
    absent = [key for key in listed if key not in files]
    empty = [key for key in listed if key in files and files[key].size == 0]
    for keys, state in ((absent, "missing"), (empty, "empty")):
        if keys:
            verb = "is" if len(keys) == 1 else "are"
            what = f"{len(keys)} of {counted(len(listed), 'file')} listed in the manifest {verb} {state}: {format_.named(keys)}"
            raise IncompleteDeliveryError(what, file=manifest)


def _beside(manifest: str, listed: Sequence[str], files: Iterable[str]) -> tuple[str, ...]:
    """Return what lies beside a delivery's files and is not part of it; earlier assemblies' folders apart."""
    folders = {_folder(key) for key in (manifest, *listed)}
    members = {manifest, *listed}
    beside = (
        key
        for key in sorted(files)
        if key not in members and _folder(key) in folders and not is_manifest(key)
    )
    return tuple(islice(beside, MAX_IGNORED))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _no_delivery(export: ExportLocation, period: str, findings: Findings) -> NoDeliveryError:
    have = sorted(findings.deliveries, reverse=True)
    what = f"Export {shown(export.name)} has no delivery for {period}"
    if have:
        more = f" and {len(have) - _MAX_PERIODS} earlier ones" if len(have) > _MAX_PERIODS else ""
        what = f"{what}; it has {', '.join(have[:_MAX_PERIODS])}{more}"
    else:
        what = f"{what}, nor for any other period"
    if findings.waiting:
        what = f"{what}; {', '.join(sorted(findings.waiting)[-_MAX_PERIODS:])} wait to be completed"
    if findings.broken:
        what = f"{what}; unusable are {export.format.named(sorted(findings.broken))}"
    return NoDeliveryError(what, file=export.rules.folder or "/")


def _change(format_: Format, old: Delivery, new: Delivery) -> str:
    if old.manifest is not None and old.version != new.version:
        return f"{shown(new.version)} took the place of {shown(old.version)}"
    before, after = (
        {o.key: (o.size, o.etag) for o in (*((d.manifest,) if d.manifest else ()), *d.files)}
        for d in (old, new)
    )
    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    return format_.named(changed) or "the order of its files"
