"""The history of an Iceberg table: which snapshots may go, and which files those that stay refer to.

Every snapshot makes each later commit dearer, since all of them stand in the metadata file that a commit writes anew. A table
that is loaded three times a day needs an end of its history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from billing_lake.domain.periods import is_period
from billing_lake.tables.base import EXPORT_PROPERTY, PERIOD_PROPERTY, KeptHistory

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.table.update.snapshot import _SnapshotProducer

BOUNDED_METADATA = {"write.metadata.delete-after-commit.enabled": "true"}
"""Properties of a table by which a commit removes all metadata files but the last hundred."""


def expired_snapshots(metadata: TableMetadata, kept: KeptHistory, now: datetime) -> tuple[int, ...]:
    """Return the ids of the snapshots that ``kept`` does not ask for, the oldest first.

    What a tag or a branch names stays, and what was current within the days that are kept: a snapshot's age counts from when
    another one took its place, since until then readers were given it.
    """
    left = _left_current(metadata)
    since = now.timestamp() * 1000 - kept.days * 24 * 60 * 60 * 1000
    referred = {ref.snapshot_id for ref in metadata.refs.values()} | {metadata.current_snapshot_id}
    latest = _latest_loads(metadata, kept.loads)
    old = [
        one.snapshot_id
        for one in sorted(metadata.snapshots, key=_sequence)
        if left.get(one.snapshot_id, one.timestamp_ms) < since
        and one.snapshot_id not in referred
        and one.snapshot_id not in latest
    ]
    # Of what is older than the beginning of the history nobody could tell any more whether it was undone.
    begin = min(
        (_sequence(one) for one in undone_snapshots(metadata) if one.snapshot_id not in old),
        default=None,
    )
    if begin is None:
        return tuple(old)
    sequences = {one.snapshot_id: _sequence(one) for one in metadata.snapshots}
    return tuple(one for one in old if sequences[one] < begin)


def expire_snapshots(table: Table, snapshots: Collection[int]) -> None:
    """Forget ``snapshots``, and bound the number of metadata files where the table did not so far."""
    from pyiceberg.table.update.snapshot import ExpireSnapshots

    from billing_lake.tables.iceberg_transactions import LakeTransaction

    with LakeTransaction(table) as transaction:
        if not BOUNDED_METADATA.items() <= table.properties.items():
            transaction.set_properties(BOUNDED_METADATA)
        if snapshots:
            ExpireSnapshots(transaction).by_ids(list(snapshots)).commit()


def undone_snapshots(metadata: TableMetadata) -> list[Snapshot]:
    """Return the snapshots that a rollback took back, or that never were on the main branch.

    Those that are older than the first known ancestor of the current snapshot were ancestors once, and what came between has
    expired.
    """
    from pyiceberg.table.snapshots import ancestors_of

    ancestors = list(ancestors_of(metadata.current_snapshot(), metadata))
    if not ancestors:
        return list(metadata.snapshots)
    known, first = {one.snapshot_id for one in ancestors}, _sequence(ancestors[-1])
    return [
        one for one in metadata.snapshots if one.snapshot_id not in known and _sequence(one) > first
    ]


def without_dead_manifests(snapshot: _SnapshotProducer[Any]) -> None:
    """Have a snapshot that is being made refer to no manifest that lists nothing but files deleted by earlier ones.

    pyiceberg 0.12 carries these along for ever, one more with each load, and every commit and every plan of a query reads their list.
    """

    def live(manifests: list[ManifestFile]) -> list[ManifestFile]:
        return [
            one
            for one in manifests
            if one.has_added_files()
            or one.has_existing_files()
            or one.added_snapshot_id == snapshot.snapshot_id
        ]

    # A hook of pyiceberg's own for what follows on the choice of manifests; it has no public one.
    vars(snapshot)["_process_manifests"] = live


def referred_files(table: Table, without: Collection[int]) -> Iterator[str]:
    """Yield the URIs of all files that the table refers to by any snapshot that is not among ``without``; some come twice."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (one.statistics_path for one in table.metadata.statistics)
    manifests: dict[str, ManifestFile] = {}
    for snapshot in table.metadata.snapshots:
        if snapshot.snapshot_id not in without:
            yield snapshot.manifest_list
            manifests |= {one.manifest_path: one for one in snapshot.manifests(table.io)}
    yield from manifests
    for manifest in manifests.values():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file.file_path


def _left_current(metadata: TableMetadata) -> dict[int, int]:
    """Return when each snapshot that was current was so last, in milliseconds."""
    entries = metadata.snapshot_log
    return {before.snapshot_id: after.timestamp_ms for before, after in pairwise(entries)}


def _latest_loads(metadata: TableMetadata, number: int) -> set[int]:
    """Return the last snapshots of each billing period of each export, and those that are none of a single period."""
    loads: dict[tuple[str, str], list[int]] = defaultdict(list)
    gone = {one.snapshot_id for one in undone_snapshots(metadata)}
    for one in sorted(metadata.snapshots, key=_sequence):
        about = {} if one.summary is None else one.summary.additional_properties
        period = about.get(PERIOD_PROPERTY, "")
        if is_period(period) and one.snapshot_id not in gone:
            loads[about.get(EXPORT_PROPERTY, ""), period].append(one.snapshot_id)
    return {one for ids in loads.values() for one in ids[-number:]}


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0
