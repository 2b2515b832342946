"""Partitions of Hive-style tables in the Glue Data Catalog, which follow the claims of their periods.

Glue writes a partition whatever it holds, so a late writer may point it at a generation that is no longer the current one. So
there is one rule: each writer of a partition reads claim and partition again, and writes again until they agree. The
last to write has then read the last claim. A writer that is killed in between leaves a partition that the next load, or the
next reader of its files, corrects.

Columns follow in this order: table first, then partitions. While a partition lacks a column that its table has, Athena reads
NULL; while its type is narrower than the table's, Athena widens. The other way round it would refuse the partition.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from billing_lake.domain.errors import CommitConflictError, StorageWriteError, TableError, shown
from billing_lake.domain.sources import PeriodKey
from billing_lake.tables.base import VERSION_PROPERTY
from billing_lake.tables.data_files import naming_write_errors
from billing_lake.tables.glue_api import AlreadyThere, Changed, GlueApi, NotThere
from billing_lake.tables.glue_generations import (
    folders_kept_by,
    generation_folder,
    generations_folder,
)
from billing_lake.tables.glue_partition_owners import Claim, Claims
from billing_lake.tables.glue_schemas import data_columns, parquet_storage
from billing_lake.tables.glue_tables import Entry, GlueTables

log = logging.getLogger(__name__)

_CLAIM = "billing-lake.claim"
_ATTEMPTS = 20
_PARTITIONS_WRITTEN_AT_ONCE = 100
"""Partitions in one call, by Glue's limit."""

_PARTITIONS_DELETED_AT_ONCE = 25
"""Partitions in one call, by Glue's limit."""

_COLUMNS_AT_ONCE = 20_000
"""Columns of all partitions in one call: they are sent whole, and a request should stay below some megabytes."""

_OVERTAKEN = {
    "AlreadyExistsException",
    "ConcurrentModificationException",
    "EntityNotFoundException",
}
"""Error codes of a partition in a batch that another writer wrote first; it is read again afterwards."""


@dataclass
class _Changes:
    """The writes that a table's partitions need: inputs of Glue, and the values of those to delete."""

    create: list[dict[str, Any]] = field(default_factory=list)
    update: list[dict[str, Any]] = field(default_factory=list)
    delete: list[list[str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


class Partitions:
    """The partitions of tables."""

    def __init__(self, api: GlueApi, tables: GlueTables, claims: Claims) -> None:
        self._api = api
        self._tables = tables
        self._claims = claims

    def get(self, entry: Entry, key: PeriodKey) -> dict[str, Any] | None:
        """Return a partition, or None."""
        try:
            answer = self._api.call(
                "get_partition",
                _subject(entry, key),
                **entry.place,
                PartitionValues=partition_values(key),
            )
        except NotThere:
            return None
        found: dict[str, Any] = answer["Partition"]
        return found

    def all(self, entry: Entry, *, columns: bool = False) -> dict[PeriodKey, dict[str, Any]]:
        """Return all partitions of a table, with their columns if ``columns`` is set."""
        found = self._api.pages(
            "get_partitions",
            f"table {entry.table}",
            "Partitions",
            **entry.place,
            ExcludeColumnSchema=not columns,
        )
        return {PeriodKey(one["Values"][1], one["Values"][0]): one for one in found}

    def followed(self, entry: Entry) -> dict[PeriodKey, Claim]:
        """Return the claims to periods of a table that the partitions follow."""
        claims = self._claims.all(entry.folder, entry.id)
        found = self.all(entry)
        return {key: claim for key, claim in claims.items() if _follows(found.get(key), claim)}

    def used_folders(self, entry: Entry, key: PeriodKey | None = None) -> set[str]:
        """Return the folders of generations that a claim or a partition uses; of partitions that of ``key`` only, if given."""
        found = self.all(entry) if key is None else {key: self.get(entry, key)}
        claims = self._claims.all(entry.folder, entry.id).values()
        kept = {folder for claim in claims for folder in folders_kept_by(entry, claim)}
        return kept | {partition_folder(one) for one in found.values() if one is not None}

    def read(self, entry: Entry, key: PeriodKey) -> tuple[Claim | None, Mapping[str, Any] | None]:
        """Return claim and partition, made to agree; a reader that may not write gets them as they are."""
        try:
            return self._settle(lambda: self._tables.reread(entry), key)
        except (StorageWriteError, CommitConflictError) as error:
            log.warning("%s is not what was loaded last: %s", _subject(entry, key), error)
            return self._claims.look(entry.folder, entry.id, key).claim, self.get(entry, key)

    def follow(self, entry: Entry, key: PeriodKey) -> None:
        """Make a partition follow its claim, even if the table's name was given to another one while it was written.

        Raises:
            CommitConflictError: Others kept writing it, or the table is another one now.
        """
        try:
            self._settle(lambda: self._tables.reread(entry), key)
        except CommitConflictError:
            with suppress(TableError):
                self._settle(lambda: self._tables.require(entry.table), key)
            raise

    def catch_up(self, entry: Entry) -> None:
        """Give all partitions the table's columns, then remove the table's mark, unless its columns changed again."""
        with naming_write_errors(entry.folder):
            now = self.settle_all(entry)
        try:
            self._tables.update(now, now.caught_up())
        except (Changed, NotThere):
            log.info("%s changed again; that writer updates its partitions", now.table)

    def _settle(
        self, look: Callable[[], Entry], key: PeriodKey
    ) -> tuple[Claim | None, Mapping[str, Any] | None]:
        """Make a partition agree with its claim; return both.

        Args:
            look: Returns the table as it is now, or raises where the partition must not be written any more.
            key: Export and period.

        Raises:
            CommitConflictError: Others kept writing it.
        """
        for _ in _rounds(f"The partition {key.period}"):
            entry = look()
            claim = self._claims.look(entry.folder, entry.id, key).claim
            found = self.get(entry, key)
            changes = _Changes()
            _compare(entry, key, claim, found, changes)
            if not changes:
                return claim, found
            self._write(entry, changes)
        raise AssertionError

    def settle_all(self, entry: Entry) -> Entry:
        """Make every partition of a table agree with its claim; return the table as it was when all did.

        Raises:
            CommitConflictError: Others kept writing them, or the table is another one now.
        """
        for _ in _rounds(f"A partition of table {entry.table}"):
            entry = self._tables.reread(entry)
            claims = self._claims.all(entry.folder, entry.id)
            found = self.all(entry, columns=True)
            changes = _Changes()
            for key in sorted({*claims, *found}, key=partition_values):
                _compare(entry, key, claims.get(key), found.get(key), changes)
            if not changes:
                return entry
            self._write(entry, changes)
        raise AssertionError

    def _write(self, entry: Entry, changes: _Changes) -> None:
        size = max(
            1, min(_PARTITIONS_WRITTEN_AT_ONCE, _COLUMNS_AT_ONCE // max(1, len(entry.fields)))
        )
        for some in _batches(changes.create, size):
            self._batch("batch_create_partition", entry, PartitionInputList=some)
        for some in _batches(changes.update, size):
            entries = [{"PartitionValueList": one["Values"], "PartitionInput": one} for one in some]
            self._batch("batch_update_partition", entry, Entries=entries)
        for gone in _batches(changes.delete, _PARTITIONS_DELETED_AT_ONCE):
            listed = [{"Values": one} for one in gone]
            self._batch("batch_delete_partition", entry, PartitionsToDelete=listed)

    def _batch(self, verb: str, entry: Entry, **given: Any) -> None:
        subject = f"partitions of table {entry.table}"
        try:
            answer = self._api.call(verb, subject, **entry.place, **given)
        except (NotThere, AlreadyThere) as error:
            log.info("%s were written by another writer: %s", subject, error)
            return
        for refused in answer.get("Errors", ()):
            detail = refused.get("ErrorDetail", {})
            if detail.get("ErrorCode") not in _OVERTAKEN:
                listed = refused.get("PartitionValues") or refused.get("PartitionValueList")
                what = f"Glue refuses {verb} on {subject}, {listed}: {shown(detail)}"
                raise StorageWriteError(what, remedy="Remove the cause, then load again")


def _rounds(what: str) -> Iterator[None]:
    """Yield for each round of writing and reading again, with pauses from the third on.

    Raises:
        CommitConflictError: ``what`` was written over in every round.
    """
    for number in range(_ATTEMPTS):
        if number > 1:
            time.sleep(random.uniform(0.01, min(2.0, 0.05 * 2.0**number)))  # noqa: S311  # no secret
        yield
    remedy = "Find out who else writes it, then load again"
    raise CommitConflictError(f"{what} does not stay as it is written", remedy=remedy)


def partition_values(key: PeriodKey) -> list[str]:
    """Return the values of a partition's keys, in their order."""
    return [key.period, key.export]


def partition_folder(partition: Mapping[str, Any]) -> str:
    """Return the folder that a partition points at, without a slash at its end."""
    return str(partition["StorageDescriptor"]["Location"]).rstrip("/")


def _follows(partition: Mapping[str, Any] | None, claim: Claim) -> bool:
    """Say whether readers of a partition find the files of ``claim``; its columns are not compared."""
    if partition is None or not claim.rows:
        return partition is None and not claim.rows
    return bool(partition.get("Parameters", {}).get(_CLAIM) == claim.id)


def _compare(
    entry: Entry,
    key: PeriodKey,
    claim: Claim | None,
    found: Mapping[str, Any] | None,
    changes: _Changes,
) -> None:
    """Add to ``changes`` what makes the partition ``found`` agree with ``claim``.

    A partition without a claim is left as it is, because nothing says that its rows are not valid; unless it points into another
    table's folder, as it may after the table was renamed while it was written. An empty period has no partition.
    """
    if claim is None:
        mine = (f"{entry.folder}/", f"{generations_folder(entry.folder)}/")
        if found is not None and not partition_folder(found).startswith(mine):
            changes.delete.append(partition_values(key))
        return
    if not claim.rows:
        if found is not None:
            changes.delete.append(partition_values(key))
        return
    wanted = _partition_input(entry, claim)
    if found is None:
        changes.create.append(wanted)
    elif not _agree(found, wanted):
        changes.update.append(wanted)


def _partition_input(entry: Entry, claim: Claim) -> dict[str, Any]:
    folder = generation_folder(entry, claim.generation)
    return {
        "Values": partition_values(claim.key),
        "StorageDescriptor": parquet_storage(data_columns(entry.fields), folder),
        "Parameters": {
            "classification": "parquet",
            "numFiles": str(len(claim.files)),
            "numRows": str(claim.rows),
            "totalSize": str(sum(file.size for file in claim.files)),
            _CLAIM: claim.id,
            VERSION_PROPERTY: claim.version,
        },
    }


def _agree(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return (
        partition_folder(found) == partition_folder(wanted)
        and found.get("Parameters", {}).get(_CLAIM) == wanted["Parameters"][_CLAIM]
        and _columns(found) == _columns(wanted)
    )


def _columns(partition: Mapping[str, Any]) -> list[tuple[str, str]]:
    columns = partition["StorageDescriptor"].get("Columns", ())
    return [(one["Name"], one["Type"].replace(" ", "").lower()) for one in columns]


def _subject(entry: Entry, key: PeriodKey) -> str:
    return f"partition {key.period} of export {key.export} of table {entry.table}"


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
