"""Hive-style tables in the Glue Data Catalog: plain Parquet in S3 that Athena reads, one generation of a period at a time.

The promises are those of the local tables (`hive`), kept without a database: each load brings a new generation, its *claim*
decides who wins (`glue_claims`), and the partition follows the claim (`glue_partitions`).

    <root>/_generations/billing.cur/billing_period=2025-03/<generation>/….parquet
    <root>/billing.cur/_claims/<export>/billing_period=2025-03.json

The files lie beside the table's folder, because S3 cannot exchange several objects at once: a reader of the folder would find
a month twice. Readers ask the catalog, whose partitions say where their files are.

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

from billing_lake.domain.errors import (
    BillingLakeError,
    CommitConflictError,
    SchemaChangeError,
    SnapshotGoneError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, SchemaPlan, plan_anew
from billing_lake.domain.schemas import plan as plan_schema
from billing_lake.domain.sources import Encoded, PeriodKey, Source, SourceFile
from billing_lake.files.s3 import S3Files
from billing_lake.tables.base import (
    BEFORE,
    DELIVERY_IDENTITY,
    PERIOD,
    Commit,
    backoff,
    check_columns,
    check_key,
    check_table,
    refuse_others,
)
from billing_lake.tables.data_files import SAFE_AGE, Placing, writing
from billing_lake.tables.glue_api import Changed, GlueApi, NotThere
from billing_lake.tables.glue_generations import (
    adoptable,
    after,
    claim_to,
    emptied,
    generation_folder,
    generation_name,
    generations_folder,
    is_read,
    new_generation,
    parents,
)
from billing_lake.tables.glue_partition_owners import Claim, ClaimedFile, Claims
from billing_lake.tables.glue_partitions import Partitions, follows, location
from billing_lake.tables.glue_tables import Entry, GlueTables, glue_names
from billing_lake.tables.parquet_field_ids import check_fields, check_footers

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

    finds_by_name = True
    is_managed = False

    def full_name(self, table: str) -> str:
        """See `TableCatalog.full_name`."""
        return f"awsdatacatalog.{'.'.join(glue_names(table))}"

    def name_before(self, table: str, before: str) -> str:
        """See `TableCatalog.name_before`."""
        return f"table {table}{BEFORE}{before}"

    def new_location(self, table: str, key: PeriodKey) -> str:
        """Return the URI of a folder for a new generation: files that an engine writes there are taken over in place."""
        check_key(key)
        return new_generation(self._tables.folder(table), key)

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` gave, unless a claim or a partition refers to it; never raises."""
        try:
            folder = self._tables.folder(check_table(table))
            parent, _, generation = location.rstrip("/").rpartition("/")
            if not generation or parent not in parents(folder, check_key(key)):
                _LOGGER.warning(
                    "%s is no generation of %s of table %s", location, key.period, table
                )
            elif location.rstrip("/") not in self._referred(self._tables.find(table), key):
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
            adopted = adoptable(entry, key, encoded)
            folder = adopted or new_generation(entry.folder, key)
            try:
                check_footers(encoded, self._files.open)
                placing = Placing(table, [file.size for file in encoded.files], log)
                files = (
                    self._adopt(encoded, folder)
                    if adopted
                    else self._copy(encoded, folder, placing)
                )
                placing.end()
                claim = claim_to(entry, key, encoded, folder, files, properties)
                before = self._switch(entry, claim, encoded, verify)
            except BaseException:
                self.abandon(table, key, folder)
                raise
            self._follow(entry, key)
            # A rebuild may have exchanged columns between the look at them and the claim.
            now = self._same(entry)
            check_fields(now.table, now.fields, encoded.fields, by_name=True)
        self._remove_outlived(entry, before, claim)
        return Commit(
            table=table,
            rows=encoded.rows,
            files=len(encoded.files),
            size=encoded.size,
            replaced_rows=0 if before is None else before.rows,
            replaced_version=None if before is None else before.version,
            generation=folder,
        )

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """See `TableCatalog.plan_rebuild`."""
        return plan_anew(self._tables.require(table).fields, wanted)

    def rebuild(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        *,
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
        log: Callable[[str], None] = lambda _: None,
    ) -> Commit:
        """Replace all rows of an export, and columns with them; see `TableCatalog.rebuild`.

        Glue changes a table and its partitions one after the other. For some seconds partitions have the old columns and the
        table the new ones; each holds its old rows or its new ones, whole, and a query that needs an exchanged column of an
        old one is refused by Athena. Where it ends there, because the process dies, loads and the next rebuild go on from it.
        The old rows stay in the table `<table>__before_<before>`, which has files of its own.
        """
        entry = self._tables.require(check_table(table))
        claims: dict[PeriodKey, Claim] = {}
        folders: dict[PeriodKey, str] = {}
        with writing(self._root):
            try:
                sizes = [file.size for encoded in periods.values() for file in encoded.files]
                placing = Placing(table, sizes, log)
                for period, encoded in periods.items():
                    check_footers(encoded, self._files.open)
                    key = check_key(PeriodKey(export, period))
                    folder = folders[key] = new_generation(entry.folder, key)
                    files = self._copy(encoded, folder, placing)
                    claims[key] = claim_to(entry, key, encoded, folder, files, properties[period])
                placing.end()
                fields = next(iter(periods.values())).fields
                old = self._exchange(entry, export, claims, fields, verify, before)
            except BaseException:
                for key, folder in folders.items():
                    self.abandon(table, key, folder)
                raise
        for key, claim in claims.items():
            self._remove_outlived(entry, old.get(key), claim)
        return Commit(
            table=table,
            rows=sum(encoded.rows for encoded in periods.values()),
            files=sum(len(encoded.files) for encoded in periods.values()),
            size=sum(encoded.size for encoded in periods.values()),
            replaced_rows=sum(claim.rows for claim in old.values()),
            replaced_version=None,
        )

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: the files in the folder that the partition points at, or ``commit`` made.

        Where the partition is not what the last load claimed, because that one died on the way, it is put right first.
        """
        check_key(key)
        entry = self._tables.require(table)
        with writing(self._root):
            claim, partition = self._settled(entry, key)
            folder = None if partition is None else location(partition)
            if commit is not None and commit.generation is not None:
                folder = commit.generation
                kept = () if claim is None else (claim.generation, claim.previous)
                if generation_name(entry, folder) not in kept:
                    what = (
                        f"The files of the load are gone: others have replaced {key.period} twice"
                    )
                    raise SnapshotGoneError(what, file=folder)
            found = () if folder is None else self._files.list(folder)
        empty = set() if claim is None else {file.name for file in claim.files if not file.rows}
        names = ((file.uri, file.uri.rpartition("/")[2]) for file in found)
        uris = sorted(uri for uri, name in names if is_read(name) and name not in empty)
        return Source(
            container="parquet",
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
        # Earlier versions could leave two names that share a folder, and the other one still needs it.
        if any(other.folder == entry.folder for other in self._tables.all()):
            _LOGGER.warning("kept %s: another table lies there too", entry.folder)
            return
        with writing(entry.folder):
            self._files.remove_folder(entry.folder)
            self._files.remove_folder(generations_folder(entry.folder))
        _LOGGER.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables of this lake, in order."""
        return tuple(sorted(entry.table for entry in self._tables.all()))

    def remove_orphans(self, table: str, older_than: timedelta = SAFE_AGE) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that nothing refers to, in order of their folders."""
        entry = self._tables.require(table)
        # Looked at in this order: a generation that is switched to in between is then among those referred to.
        young = datetime.now(timezone.utc) - older_than
        newest: dict[str, datetime] = {}
        for parent in (entry.folder, generations_folder(entry.folder)):
            for file in self._files.list(parent):
                period, _, below = file.uri.removeprefix(f"{parent}/").partition("/")
                generation, slash, _ = below.partition("/")
                if slash and period.startswith(f"{PERIOD}="):
                    folder = f"{parent}/{period}/{generation}"
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
            if self._claims.swap(entry.folder, after(claim, seen), seen):
                return seen.claim
            what = f"Other writers kept switching {claim.period} of table {entry.table}"
            self._wait(attempt, deadline, what, None)
        raise AssertionError  # pragma: no cover

    def _exchange(
        self,
        entry: Entry,
        export: str,
        claims: Mapping[PeriodKey, Claim],
        fields: Sequence[Field],
        verify: Callable[[], None],
        before: str,
    ) -> dict[PeriodKey, Claim]:
        """Give the table the columns of ``fields`` and claim all periods of an export; return the export's claims before.

        The columns change first: a load that has looked at them before finds out behind its claim (`replace_period`).
        """
        deadline = None
        wanted = [Column(field.name, field.type) for field in fields]
        for attempt in itertools.count():
            now = self._same(entry)
            planned = plan_anew(now.fields, wanted)
            check_fields(now.table, planned.fields, fields, by_name=True)
            held = self._claims.all(now.folder, now.id)
            others = {key.export for key, one in held.items() if one.rows} - {export}
            refuse_others(now.table, others, planned)
            self._keep(now, f"{now.table}{BEFORE}{before}", held)
            deadline = deadline or time.monotonic() + self._patience
            gone = (key for key in held if key.export == export and key not in claims)
            targets = {**claims, **{key: emptied(held[key]) for key in gone}}
            seen = {key: self._claims.look(now.folder, now.id, key) for key in targets}
            verify()
            with suppress(Changed):
                if planned.fields != now.fields:
                    self._tables.update(now, now.evolved(planned.fields))
                if all(
                    self._claims.swap(now.folder, after(claim, seen[key]), seen[key])
                    for key, claim in targets.items()
                ):
                    self._catch_up(entry)
                    return {k: one.claim for k, one in seen.items() if one.claim is not None}
            self._wait(attempt, deadline, f"Other writers kept changing table {now.table}", None)
        raise AssertionError  # pragma: no cover

    def _keep(self, entry: Entry, name: str, claims: Mapping[PeriodKey, Claim]) -> None:
        """Copy the rows of a table to a second one, unless it is there."""
        if not any(claim.rows for claim in claims.values()):
            return
        if not self._tables.create(name, entry.fields):
            return
        kept = self._tables.require(name)
        for key, claim in claims.items():
            source = generation_folder(entry, key, claim.generation)
            target = new_generation(kept.folder, key)
            for file in claim.files:
                self._files.copy(f"{source}/{file.name}", f"{target}/{file.name}")
            copied = replace(
                claim,
                id=uuid.uuid4().hex,
                table_id=kept.id,
                generation=generation_name(kept, target),
                previous=None,
            )
            self._claims.swap(kept.folder, copied, self._claims.look(kept.folder, kept.id, key))
        self._partitions.settle_all(lambda: self._same(kept))

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
                if is_read(file.uri.rpartition("/")[2]):
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
        return tuple(placed)

    def _referred(self, entry: Entry | None, key: PeriodKey) -> set[str | None]:
        """Return the folders of the period's generations that something refers to."""
        if entry is None:
            return set()
        claims = self._claims.all(entry.folder, entry.id)
        partition = self._partitions.get(entry, key)
        read = None if partition is None else location(partition)
        return {
            read,
            *(
                generation_folder(entry, key, generation)
                for one in claims.values()
                if one.period == key.period
                for generation in (one.generation, one.previous)
                if generation is not None
            ),
        }

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
