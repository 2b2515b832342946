"""Sees to it that no report file is in two of the exports that are found: a cost in two tables is counted twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import BillingLakeError, SharedFilesError, in_words, shown
from billing_lake.formats.keys import plain_key
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.report_files import Kind
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.landing.found_exports import FoundExport, ListedStorage, UnusedFiles
from billing_lake.landing.pinned_files import manifest_of

_NAMED_PERIODS = 3


def each_file_once(
    listed: ListedStorage,
    found: Sequence[FoundExport],
    unused: UnusedFiles,
    uncounted: Collection[str] = (),
) -> list[FoundExport]:
    """Return ``found`` with each file in one export, and with one of the copies of an export.

    What has settings goes before what has none. Where two exports with settings have a file, neither has a delivery of its billing
    period: which of them is right is for their owner to say. Those named in ``uncounted`` may have files of others.
    """
    kept: list[FoundExport] = []
    owners: dict[str, FoundExport] = {}
    faults: dict[str, dict[str, SharedFilesError]] = defaultdict(dict)
    by_age = sorted(found, key=_newest, reverse=True)
    free = {id(one) for one in found if one.is_known and one.location.name in uncounted}
    # The free ones come first, so that a file that others have as well is theirs.
    for one in sorted(by_age, key=lambda each: (not each.is_known, id(each) not in free)):
        original = next((each for each in kept if _is_copy(listed, one, each)), None)
        if original is not None:
            _name_copy(one, original, unused)
            if not one.is_known:
                continue
        shared = [
            (period, file.key, owners[file.uri])
            for period, file in _files(one)
            if file.uri in owners and id(one) not in free
            if not (one.is_known and id(owners[file.uri]) in free)
        ]
        if shared and not one.is_known:
            what = f"Files that the export {shown(shared[0][2].location.name)} has as well"
            unused.add(Kind(what, ""), (key for _, key, _ in shared), is_fault=True)
            continue
        for period, key, other in shared:
            faults[one.location.name].setdefault(period, _shared(period, key, other.location))
            faults[other.location.name].setdefault(period, _shared(period, key, one.location))
        owners.update((file.uri, one) for _, file in _files(one))
        kept.append(one)
    places = {id(one): number for number, one in enumerate(found)}
    kept.sort(key=lambda one: places[id(one)])
    return [_without(one, faults.get(one.location.name, {})) for one in kept]


def refuse_shared_files(
    storage: Storage, delivery: Delivery, others: Iterable[ExportLocation]
) -> None:
    """Refuse a delivery of which another export takes a file, too.

    Args:
        storage: Where the files lie; it is asked only for exports whose settings may take one of them.
        delivery: A delivery.
        others: The other exports that are read from there.

    Raises:
        SharedFilesError: One of them does.
    """
    root = storage.address("")
    # A link has a key of its own, and the URI of the file that it leads to.
    places = [key for file in delivery.files for key in {file.key, file.uri.removeprefix(root)}]
    for other in others:
        if not any(_may_take(other, key) for key in places):
            continue
        try:
            theirs = resolve_delivery(storage, other, delivery.period)
        except BillingLakeError:
            continue  # it has none now, and is told of this one before it loads any
        taken = {file.uri for file in theirs.files}
        for file in delivery.files:
            if file.uri in taken:
                raise _shared(delivery.period, file.key, other)


def _may_take(export: ExportLocation, key: str) -> bool:
    rules = export.rules
    is_inside = plain_key(key).startswith(rules.folder)
    return is_inside and (not isinstance(rules, Loose) or rules.takes(key))


def _newest(found: FoundExport) -> tuple[int, str]:
    """Return what puts an export before its copies: its months, and when the last of them was delivered."""
    months = found.findings.deliveries
    return len(months), max((one.delivered_at for one in months.values()), default="")


def _files(found: FoundExport) -> Iterator[tuple[str, StoredObject]]:
    """Yield each file with its period; where links lead to one file from two folders, its URI is the same."""
    for period, delivery in found.findings.deliveries.items():
        for file in delivery.files:
            yield period, file


def _shared(period: str, key: str, other: ExportLocation) -> SharedFilesError:
    what = f"The export {shown(other.name)} has files of {period} as well, which would be counted twice"
    return SharedFilesError(what, file=key)


def _without(found: FoundExport, faults: Mapping[str, SharedFilesError]) -> FoundExport:
    """Return an export without its deliveries of billing periods that ``faults`` tell of."""
    if not faults:
        return found
    findings = found.findings
    good = {period: one for period, one in findings.deliveries.items() if period not in faults}
    broken = {**findings.broken, **{period: str(fault) for period, fault in faults.items()}}
    return replace(found, findings=replace(findings, deliveries=good, broken=broken))


def _is_copy(listed: ListedStorage, one: FoundExport, other: FoundExport) -> bool:
    """Say whether two exports are copies of one in a bucket, and have a billing period in common."""
    here, there = one.findings.deliveries, other.findings.deliveries
    common = sorted(here.keys() & there.keys())
    if one.location.report != other.location.report or not common:
        return False
    first, second = here[common[-1]], there[common[-1]]
    if first.manifest is None or second.manifest is None or first.bucket != second.bucket:
        return False
    if not first.bucket and _content(first) != _content(second):
        return False
    return _stated_folder(listed, one, first) == _stated_folder(listed, other, second)


def _content(delivery: Delivery) -> tuple[str, tuple[int, ...]]:
    return delivery.version, tuple(file.size for file in delivery.files)


def _stated_folder(listed: ListedStorage, found: FoundExport, delivery: Delivery) -> str:
    """Return the folder that the manifest of a delivery says that the export's files lie in."""
    rules = found.location.rules
    if isinstance(rules, Loose) or delivery.manifest is None or not delivery.files:
        return ""
    stated = manifest_of(listed, delivery.manifest, rules).keys[0]
    return stated.removesuffix(plain_key(delivery.files[0].key).removeprefix(rules.folder))


def _name_copy(one: FoundExport, original: FoundExport, unused: UnusedFiles) -> None:
    here, there = one.findings.deliveries, original.findings.deliveries
    more = [
        period
        for period, delivery in here.items()
        if period not in there or _content(delivery) != _content(there[period])
    ]
    what = f"a copy of the export in {shown(original.location.rules.folder)}, of the same report and bucket"
    if one.is_known:
        remedy = "If both count in all_costs, set `counts: false` in the settings of one"
    elif more:
        what = f"{what}, with other deliveries of {in_words(more, _NAMED_PERIODS)}"
        remedy = "Keep one of them below this folder, with all deliveries"
    else:
        remedy = "Nothing of it is loaded: its costs would be counted twice"
    is_fault = bool(more) and not one.is_known
    unused.add(Kind(what, remedy), [one.location.rules.folder], is_fault=is_fault)
