"""Hive-style tables in the Glue Data Catalog: plain Parquet in S3 that Athena reads, one generation of a period at a time.

The promises are those of the local tables (`hive`), kept without a database: each load brings a new generation, its *claim*
decides who wins (`glue_claims`), and the partition follows the claim (`glue_partitions`).

    <root>/billing.cur/billing_period=2025-03/<generation>/….parquet
    <root>/billing.cur/_claims/<export>/billing_period=2025-03.json

A table is partitioned by billing period and export, since that is what a load replaces; to SQL both are columns like others.
A query that was planned before a switch goes on reading the generation that it was given: that one stays until the next
switch. An empty period has no partition.
"""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from billing_lake.catalogs.base import (
    DELIVERY_IDENTITY,
    PERIOD,
    Commit,
    backoff,
    check_columns,
    check_key,
    check_table,
)
from billing_lake.catalogs.footers import check_fields, check_footers
from billing_lake.catalogs.glue_api import Changed, GlueApi, NotThere
from billing_lake.catalogs.glue_claims import Claim, ClaimedFile, Claims, Seen
from billing_lake.catalogs.glue_partitions import (
    Partitions,
    follows,
    generation_folder,
    location,
)
from billing_lake.catalogs.glue_tables import Entry, GlueTables
from billing_lake.catalogs.placing import SAFE_AGE, Placing, writing
from billing_lake.domain.errors import (
    BillingLakeError,
    CommitConflictError,
    SchemaChangeError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, SchemaPlan
from billing_lake.domain.schemas import plan as plan_schema
from billing_lake.domain.sources import Encoded, PeriodKey, Source, SourceFile
from billing_lake.files.s3 import S3Files

_LOGGER = logging.getLogger(__name__)


class GlueHiveTables:
    """The Hive-style tables of a lake on AWS.

    Args:
        files: The lake's files in S3, with the clients of AWS.
        root: URI of the folder of the tables, `s3://bucket/…/hive`.
        patience: Seconds for which a load goes on trying while others switch its partition.
    """

    def __init__(self, files: S3Files, root: str, *, patience: float = 120.0) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._patience = patience
        api = GlueApi(files.clients)
        self._claims = Claims(files)
        self._tables = GlueTables(api, self._root)
        self._partitions = Partitions(api, self._claims)

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""
        entry = self._tables.find(table)
        return None if entry is None else entry.fields

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table; return False where it exists already."""
        check_columns(fields)
        return self._tables.create(table, fields)

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add and promote columns as planned, on top of what others did meanwhile; return the fields now.

        The table changes first, then its partitions, so that they are readable at any moment; a kill in between is made good
        by the next call. Files stay as they are; readers get NULL for a column that a file lacks.
        """
        check_columns(plan.fields)
        wanted = [Column(field.name, field.type) for field in plan.fields]
        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            entry = self._tables.require(table)
            merged = plan_schema(entry.fields, wanted)
            if merged.diff.incompatible:
                change = merged.diff.incompatible[0]
                what = f"The column is {change.table} in table {table} and {change.delivery} in the plan"
                raise SchemaChangeError(what, column=change.name)
            if merged.fields == entry.fields:
                if entry.behind:
                    self._catch_up(entry)
                return merged.fields
            try:
                self._tables.update(entry, entry.evolved(merged.fields))
            except (Changed, NotThere) as error:
                self._wait(attempt, deadline, f"Other writers kept changing table {table}", error)
        raise AssertionError  # pragma: no cover

    def new_location(self, table: str, key: PeriodKey) -> str:
        """Return the URI of a folder for a new generation: files that an engine writes there are taken over in place."""
        check_key(key)
        return f"{self._tables.folder(table)}/{PERIOD}={key.period}/{uuid.uuid4().hex}"

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` gave, unless a claim or a partition refers to it; never raises."""
        try:
            folder = self._tables.folder(check_table(table))
            parent, _, generation = location.rstrip("/").rpartition("/")
            if parent != f"{folder}/{PERIOD}={check_key(key).period}" or not generation:
                _LOGGER.warning(
                    "%s is no generation of %s of table %s", location, key.period, table
                )
            elif generation not in self._referred(self._tables.find(table), key):
                self._files.remove_folder(location)
        except (BillingLakeError, LookupError, OSError) as error:
            _LOGGER.warning("left %s for the orphan clean-up: %s", location, error)

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,  # files are placed in a moment
    ) -> Commit:
        """Make the period hold exactly the files of ``encoded``, in one switch; see `TableCatalog.replace_period`.

        Files in a folder that `new_location` gave are taken over where they lie, and whatever a dead attempt left beside them
        is removed, because a reader takes all that a folder holds. Others are copied. When the load fails before its claim,
        its folder is removed either way; once the claim is made, the load counts, and the partition follows.
        """
        check_table(table)
        check_key(key)
        with writing(self._root):
            entry = self._tables.require(table)
            adopted = _adoptable(entry, key, encoded)
            folder = adopted or generation_folder(entry, key, uuid.uuid4().hex)
            try:
                check_footers(encoded, self._files.open)
                placing = Placing(table, [file.size for file in encoded.files], log)
                files = (
                    self._adopt(encoded, folder)
                    if adopted
                    else self._copy(encoded, folder, placing)
                )
                claim = _claim(entry, key, encoded, folder, files, properties)
                before = self._switch(entry, claim, encoded, verify)
            except BaseException:
                self.abandon(table, key, folder)
                raise
            self._follow(entry, key)
        self._remove_outlived(entry, before, claim)
        return Commit(
            table=table,
            rows=encoded.rows,
            files=len(encoded.files),
            size=encoded.size,
            replaced_rows=0 if before is None else before.rows,
            replaced_version=None if before is None else before.version,
        )

    def files(self, table: str, key: PeriodKey) -> Source:
        """Return what a reader reads now for the period: the files in the folder that the partition points at.

        Where the partition is not what the last load claimed, because that one died on the way, it is put right first.
        """
        check_key(key)
        entry = self._tables.require(table)
        with writing(self._root):
            claim, partition = self._settled(entry, key)
            folder = None if partition is None else location(partition)
            found = () if folder is None else self._files.list(folder)
        empty = set() if claim is None else {file.name for file in claim.files if not file.rows}
        names = ((file.uri, file.uri.rpartition("/")[2]) for file in found)
        uris = sorted(uri for uri, name in names if _is_read(name) and name not in empty)
        return Source(
            format="parquet",
            files=tuple(SourceFile(uri=uri, name=uri) for uri in uris),
            columns=tuple(Column(field.name, field.type) for field in entry.fields),
        )

    def periods(self, table: str, export: str) -> tuple[str, ...]:
        """Return the billing periods of the export that hold rows, in order."""
        found = self._partitions.all(self._tables.require(table))
        return tuple(sorted(key.period for key in found if key.export == export))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`; a period whose partition does not follow its claim yet is left out."""
        entry = self._tables.find(table)
        if entry is None:
            return {}
        claims = self._claims.all(entry.folder, entry.id)
        partitions = self._partitions.all(entry)
        return {
            key.period: claim.properties[DELIVERY_IDENTITY]
            for key, claim in claims.items()
            if key.export == export
            and DELIVERY_IDENTITY in claim.properties
            and follows(partitions.get(key), claim)
        }

    def locations(self, table: str) -> dict[PeriodKey, str]:
        """Return the folder that each partition points at."""
        found = self._partitions.all(self._tables.require(table))
        return {key: location(partition) for key, partition in found.items()}

    def uri(self, table: str) -> str:
        """Return the table's folder."""
        return self._tables.folder(table)

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader meets half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        entry = self._tables.require(table)
        self._tables.remove(entry)
        # Where a rename broke off, two names share the folder, and the other one still needs it.
        if any(other.folder == entry.folder for other in self._tables.all()):
            _LOGGER.warning("kept %s: another table lies there too", entry.folder)
            return
        with writing(entry.folder):
            self._files.remove_folder(entry.folder)
        _LOGGER.info("dropped table %s", table)

    def rename(self, table: str, name: str) -> None:
        """Give the table another name; its files stay where they are.

        Glue cannot rename. A second entry over the same files is made complete before the first one goes, so nothing can be
        lost on the way; when this breaks off, both names exist, and calling it again finishes it.

        Raises:
            TableError: There is no such table, or the name is taken.
        """
        old = self._tables.require(table)
        new = self._tables.find(name)
        if new is None and self._tables.add(name, old.renamed(name)):
            new = self._tables.require(name)
        if new is None or new.id != old.id or name == table:
            raise TableError(f"There is a table {name} already")
        self._partitions.copy(old, new)
        with writing(self._root):
            self._partitions.settle_all(lambda: self._same(new))
            self._tables.remove(old)
            # Once more for those who switched a partition of the old entry meanwhile.
            self._partitions.settle_all(lambda: self._same(new))
        _LOGGER.info("renamed table %s to %s", table, name)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables of this lake, in order."""
        return tuple(sorted(entry.table for entry in self._tables.all()))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that nothing refers to, in order of their folders."""
        entry = self._tables.require(table)
        # Looked at in this order: a generation that is switched to in between is then among those referred to.
        young = datetime.now(timezone.utc) - older_than
        newest: dict[str, datetime] = {}
        for file in self._files.list(entry.folder):
            period, _, below = file.uri.removeprefix(f"{entry.folder}/").partition("/")
            generation, slash, _ = below.partition("/")
            if slash and period.startswith(f"{PERIOD}="):
                folder = f"{entry.folder}/{period}/{generation}"
                newest[folder] = max(newest.get(folder, file.modified), file.modified)
        kept = {
            generation_folder(entry, claim.key, generation)
            for claim in self._claims.all(entry.folder, entry.id).values()
            for generation in (claim.generation, claim.previous)
            if generation is not None
        }
        kept |= {location(partition) for partition in self._partitions.all(entry).values()}
        orphans = sorted(f for f, changed in newest.items() if changed <= young and f not in kept)
        for folder in orphans:
            self._files.remove_folder(folder)
        return tuple(orphans)

    def _switch(
        self, entry: Entry, claim: Claim, encoded: Encoded, verify: Callable[[], None]
    ) -> Claim | None:
        """Claim the period; return the claim before.

        The order is what makes an older delivery unable to replace a newer one: look at the claim, ask for the delivery,
        claim if the claim is still the one that was looked at.
        """
        deadline = time.monotonic() + self._patience
        for attempt in itertools.count():
            seen = self._claims.look(entry.folder, entry.id, claim.key)
            verify()
            now = self._same(entry)
            check_fields(now.table, now.fields, encoded.fields, by_name=True)
            if self._claims.swap(entry.folder, _after(claim, seen), seen):
                return seen.claim
            what = f"Other writers kept switching {claim.period} of table {entry.table}"
            self._wait(attempt, deadline, what, None)
        raise AssertionError  # pragma: no cover

    def _follow(self, entry: Entry, key: PeriodKey) -> None:
        """Make the partition follow its claim, also where the table's name went to another one while it was written."""
        try:
            self._partitions.settle(lambda: self._same(entry), key)
        except CommitConflictError:
            with suppress(TableError):
                self._partitions.settle(lambda: self._tables.require(entry.table), key)
            raise

    def _same(self, entry: Entry) -> Entry:
        """Return the table as it is now.

        Raises:
            TableError: It is gone.
            CommitConflictError: Its name belongs to another one.
        """
        now = self._tables.require(entry.table)
        if now.id != entry.id:
            what = f"Table {entry.table} was exchanged for another one meanwhile"
            raise CommitConflictError(what, remedy="Load the period again")
        return now

    def _catch_up(self, entry: Entry) -> None:
        """Give all partitions the table's columns, then take the mark away, unless the columns changed again."""
        with writing(self._root):
            now = self._partitions.settle_all(lambda: self._same(entry))
        try:
            self._tables.update(now, now.caught_up())
        except (Changed, NotThere):
            _LOGGER.info("%s changed again; who did that takes care of its partitions", now.table)

    def _settled(
        self, entry: Entry, key: PeriodKey
    ) -> tuple[Claim | None, Mapping[str, Any] | None]:
        """Return claim and partition, made to agree; a reader who may not write gets them as they are."""
        try:
            return self._partitions.settle(lambda: self._same(entry), key)
        except (StorageWriteError, CommitConflictError) as error:
            _LOGGER.warning(
                "the partition %s of %s is not what was loaded last: %s",
                key.period,
                entry.table,
                error,
            )
            claim = self._claims.look(entry.folder, entry.id, key).claim
            return claim, self._partitions.get(entry, key)

    def _adopt(self, encoded: Encoded, folder: str) -> tuple[ClaimedFile, ...]:
        named = {file.uri for file in encoded.files}
        for file in self._files.list(folder):
            if file.uri not in named:
                self._files.remove(file.uri)
                if _is_read(file.uri.rpartition("/")[2]):
                    _LOGGER.warning("removed %s, which no finished attempt wrote", file.uri)
        return tuple(
            ClaimedFile(file.uri.rpartition("/")[2], file.rows, file.size) for file in encoded.files
        )

    def _copy(self, encoded: Encoded, folder: str, placing: Placing) -> tuple[ClaimedFile, ...]:
        """Place the files in ``folder``; they may come from several, so a number keeps their names apart."""
        placed = []
        for number, file in enumerate(encoded.files, start=1):
            name = f"{number:05d}-{file.uri.rpartition('/')[2]}"
            placing.begin(number)
            self._files.copy(file.uri, f"{folder}/{name}", placing.arrived)
            placed.append(ClaimedFile(name, file.rows, file.size))
        placing.end()
        return tuple(placed)

    def _referred(self, entry: Entry | None, key: PeriodKey) -> set[str | None]:
        """Return the generations of the period that something refers to."""
        if entry is None:
            return set()
        claims = self._claims.all(entry.folder, entry.id)
        same = [claim for claim in claims.values() if claim.period == key.period]
        partition = self._partitions.get(entry, key)
        read = None if partition is None else location(partition).rpartition("/")[2]
        return {read, *(g for one in same for g in (one.generation, one.previous))}

    def _remove_outlived(self, entry: Entry, before: Claim | None, now: Claim) -> None:
        """Remove the generation that was the previous one until this switch, and now is nobody's."""
        if before is None or before.previous in (None, before.generation, now.generation):
            return
        folder = generation_folder(entry, now.key, str(before.previous))
        self.abandon(entry.table, now.key, folder)

    def _wait(self, attempt: int, deadline: float, what: str, error: Exception | None) -> None:
        if time.monotonic() > deadline:
            raise CommitConflictError(f"{what}, {attempt + 1} times") from error
        _LOGGER.info("%s, trying again (%d)", what, attempt + 1)
        time.sleep(backoff(attempt))


def _adoptable(entry: Entry, key: PeriodKey, encoded: Encoded) -> str | None:
    """Return the generation folder that all files lie in, or None where they lie elsewhere."""
    folders = {file.uri.rpartition("/")[0] for file in encoded.files}
    if len(folders) != 1:
        return None
    folder = folders.pop()
    parent, _, generation = folder.rpartition("/")
    return folder if generation and parent == f"{entry.folder}/{PERIOD}={key.period}" else None


def _claim(
    entry: Entry,
    key: PeriodKey,
    encoded: Encoded,
    folder: str,
    files: tuple[ClaimedFile, ...],
    properties: Mapping[str, str],
) -> Claim:
    return Claim(
        id=uuid.uuid4().hex,
        table_id=entry.id,
        export=key.export,
        period=key.period,
        generation=folder.rpartition("/")[2],
        previous=None,
        files=files,
        version=encoded.version,
        properties={**properties, DELIVERY_IDENTITY: encoded.identity},
        at=datetime.now(timezone.utc).isoformat(),
    )


def _after(claim: Claim, seen: Seen) -> Claim:
    """Return ``claim`` as it follows what was seen; a generation that is loaded once more keeps the previous one as it was."""
    before = seen.claim
    if before is None:
        return claim
    same = before.generation == claim.generation
    return replace(claim, previous=before.previous if same else before.generation)


def _is_read(name: str) -> bool:
    """Say whether readers of a folder take a file: not those that Hive hides."""
    return not name.startswith(("_", "."))
