"""Deliveries in a storage: find them, pin their files, read their headers, and tell when they change.

All rules are in `domain.layouts` and `domain.manifests`; this joins them with what a storage lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from itertools import islice

from billing_lake.domain.deliveries import (
    Delivery,
    Findings,
    StoredObject,
    fingerprint,
    require_settled,
)
from billing_lake.domain.dictionary import type_of
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    DeliveryChangedError,
    IncompleteDeliveryError,
    NoDeliveryError,
    PeriodMismatchError,
    shown,
)
from billing_lake.domain.layouts import (
    ExportLocation,
    by_period,
    is_manifest,
    is_report_file,
    is_side_file,
)
from billing_lake.domain.manifests import (
    Manifest,
    check_manifest,
    parse_manifest,
    require_manifest_size,
)
from billing_lake.domain.naming import (
    Merge,
    column_names,
    merges,
    require_columns,
    require_promised,
)
from billing_lake.domain.periods import is_period
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source, SourceFile, union_columns
from billing_lake.storage.base import Storage
from billing_lake.storage.errors import naming_errors
from billing_lake.storage.headers import read_header, read_period

_MAX_IGNORED = 20
_MAX_NAMED = 3
_MAX_PERIODS = 24

# A file that vanishes between listing and reading is a delivery in motion, not a broken one.
_TRANSIENT = (IncompleteDeliveryError, DeliveryChangedError)


def find_deliveries(
    storage: Storage, export: ExportLocation, *, only: str | None = None
) -> Findings:
    """Look for the current delivery of each billing period.

    A period that waits, or whose manifest is broken, stops no other one: the findings say why.

    Args:
        storage: Where the export delivers to.
        export: The export.
        only: Look at this billing period alone, as far as the layout allows.

    Raises:
        ConfigurationError: ``only`` is no billing period.
    """
    if only is not None:
        _require_period(only)
    return _findings(_look(storage, export, only))


def resolve_delivery(storage: Storage, export: ExportLocation, period: str) -> Delivery:
    """Return the current delivery of a billing period.

    Raises:
        NoDeliveryError: There is none; the message lists the periods that have one.
        IncompleteDeliveryError: It is not complete yet.
        DeliveryError: Its manifest cannot be used.
        ConfigurationError: ``period`` is no billing period.
    """
    found = _current(storage, export, period)
    if found is None:
        raise _no_delivery(export, period, find_deliveries(storage, export))
    return found


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
        what = f"The delivery of {delivery.period} changed: {_change(delivery, now)}"
        raise DeliveryChangedError(what)


def read_source(storage: Storage, delivery: Delivery) -> tuple[Source, tuple[Merge, ...]]:
    """Read the headers of a delivery's files.

    Returns:
        The files with their columns, as an engine takes them, and the header cells that share a column.

    Raises:
        ReportFileError: A file or its header cannot be read, or lacks a column that a report must have.
    """
    files, merged = [], dict[Merge, None]()
    for file in delivery.files:
        with storage.open(file.key) as stream, naming_errors(file.key):
            header = read_header(stream, file.key)
        names = column_names(header, file.key)
        require_columns(names, file.key)
        require_promised(header, delivery.columns, file.key)
        files.append(SourceFile(uri=file.uri, name=file.key, columns=names))
        merged.update(dict.fromkeys(merges(header, names)))
    columns = union_columns([[Column(name, type_of(name)) for name in f.columns] for f in files])
    return Source(format="csv.gz", files=tuple(files), columns=columns), tuple(merged)


@dataclass
class _Looked:
    """Deliveries, and what stood in the way of others, by period or key."""

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    errors: dict[str, BillingLakeError] = field(default_factory=dict)


def _look(storage: Storage, export: ExportLocation, only: str | None) -> _Looked:
    if export.layout == "loose":
        return _look_loose(storage, export, only)
    return _look_manifests(storage, export, only)


def _current(storage: Storage, export: ExportLocation, period: str) -> Delivery | None:
    """Return the period's delivery, None where nothing speaks of one, or raise what stands in its way."""
    _require_period(period)
    looked = _look(storage, export, period)
    if period in looked.errors:
        raise looked.errors[period]
    return looked.deliveries.get(period)


def _require_period(text: str) -> None:
    if not is_period(text):
        what = f"This is no billing period: {shown(text)!r}"
        raise ConfigurationError(what, remedy="Write it YYYY-MM")


def _findings(looked: _Looked) -> Findings:
    waiting: dict[str, str] = {}
    broken: dict[str, str] = {}
    for place, error in looked.errors.items():
        group = waiting if isinstance(error, _TRANSIENT) else broken
        group[place] = str(error)
    return Findings(deliveries=looked.deliveries, waiting=waiting, broken=broken)


def _look_manifests(storage: Storage, export: ExportLocation, only: str | None) -> _Looked:
    looked = _Looked()
    listed = storage.list(export.folder if only is None else export.period_folder(only))
    for period, files in sorted(by_period(export, listed).items()):
        _look_period(storage, export, period, files, looked)
    for file in listed:
        if _is_astray(export, file.key):
            what = f"A manifest lies in no billing period's folder, where {export.layout} puts it"
            looked.errors[file.key] = PeriodMismatchError(what, file=file.key)
    return looked


def _look_period(
    storage: Storage,
    export: ExportLocation,
    period: str,
    files: Sequence[StoredObject],
    looked: _Looked,
) -> None:
    try:
        delivery = _from_manifest(storage, export, period, {file.key: file for file in files})
    except BillingLakeError as error:
        looked.errors[period] = error
        return
    if delivery is not None:
        looked.deliveries[period] = delivery


def _is_astray(export: ExportLocation, key: str) -> bool:
    return is_manifest(key) and not is_side_file(key) and export.period_of_key(key) is None


def _from_manifest(
    storage: Storage, export: ExportLocation, period: str, files: Mapping[str, StoredObject]
) -> Delivery | None:
    """Return the delivery that the period's manifest commits; None where nothing was delivered."""
    key = export.manifest_key(period)
    pinned = files.get(key)
    if pinned is None:
        reports = sum(map(is_report_file, files))
        if not reports:
            return None
        what = f"{reports} report files of {period} are there and no manifest that commits them"
        raise IncompleteDeliveryError(what, file=key)
    require_manifest_size(pinned.size, key)
    manifest = _manifest(_Pinned(pinned.uri, pinned.etag, key, storage))
    check_manifest(manifest, export, period=period, bucket=export.bucket or storage.bucket, key=key)
    _require_complete(manifest.keys, files, key)
    delivery = Delivery(
        export=export.name,
        period=period,
        version=manifest.assembly_id,
        layout=export.layout,
        files=tuple(files[listed] for listed in manifest.keys),
        manifest=pinned,
        columns=manifest.columns,
        ignored=_beside(key, manifest.keys, files),
    )
    require_settled(delivery, export.quiet_seconds, _now())
    return delivery


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _require_complete(
    listed: Sequence[str], files: Mapping[str, StoredObject], manifest: str
) -> None:
    absent = [key for key in listed if key not in files]
    empty = [key for key in listed if key in files and files[key].size == 0]
    for keys, state in ((absent, "not there"), (empty, "empty")):
        if keys:
            what = f"{len(keys)} of the {len(listed)} files that the manifest lists are {state}: {_named(keys)}"
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
    return tuple(islice(beside, _MAX_IGNORED))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _look_loose(storage: Storage, export: ExportLocation, only: str | None) -> _Looked:
    looked = _Looked()
    periods: dict[str, list[StoredObject]] = {}
    ignored = []
    for file in storage.list(export.folder):
        if not is_report_file(file.key):
            ignored.append(file.key)
            continue
        try:
            stated = _stated_period(_Pinned(file.uri, file.etag, file.key, storage))
        except BillingLakeError as error:
            looked.errors[file.key] = error
        else:
            periods.setdefault(stated, []).append(file)
    beside = tuple([*looked.errors, *ignored][:_MAX_IGNORED])
    for period in sorted(periods if only is None else periods.keys() & {only}):
        looked.deliveries[period] = _from_loose(export, period, periods[period], beside)
    return looked


def _from_loose(
    export: ExportLocation, period: str, files: Sequence[StoredObject], ignored: tuple[str, ...]
) -> Delivery:
    version = fingerprint(f"{file.key} {file.size} {file.etag}" for file in files)
    return Delivery(
        export=export.name,
        period=period,
        version=f"loose-{version}",
        layout=export.layout,
        files=tuple(files),
        ignored=ignored,
    )


@dataclass(frozen=True)
class _Pinned:
    """A file, equal to another one when its content is."""

    uri: str
    etag: str
    key: str = field(compare=False)
    storage: Storage = field(compare=False)


# A sensor asks every minute and pinned content never changes: no file is read twice for what it says.
@lru_cache(maxsize=1_000)
def _manifest(file: _Pinned) -> Manifest:
    manifest = parse_manifest(file.storage.read(file.key), file.key)
    now = file.storage.stat(file.key)
    if now is None or now.etag != file.etag:
        what = "The manifest was replaced while it was being read"
        raise DeliveryChangedError(what, file=file.key)
    return manifest


@lru_cache(maxsize=10_000)
def _stated_period(file: _Pinned) -> str:
    with file.storage.open(file.key) as stream, naming_errors(file.key):
        return read_period(stream, file.key)


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
        what = f"{what}; unusable are {_named(sorted(findings.broken))}"
    return NoDeliveryError(what, file=export.folder or "/")


def _change(old: Delivery, new: Delivery) -> str:
    if old.manifest is not None and old.version != new.version:
        return f"{shown(new.version)} took the place of {shown(old.version)}"
    before, after = (
        {o.key: (o.size, o.etag) for o in (*((d.manifest,) if d.manifest else ()), *d.files)}
        for d in (old, new)
    )
    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    return _named(changed) or "the order of its files"


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
    return ", ".join(shown(key) for key in keys[:_MAX_NAMED]) + more
