"""Hive-style tables in the Glue Data Catalog: plain Parquet in S3 that Athena reads, one generation of a period at a time.

The promises are those of the local tables (`hive`), kept without a database: each load makes a new generation, the period's
*claim* in S3 decides which load wins (`glue_partition_owners`), and the partition follows the claim (`glue_partitions`).

    <root>/_generations/billing.cur/billing_period=2025-03/<generation>/….parquet
    <root>/billing.cur/_claims/<export>/billing_period=2025-03.json

The files lie beside the table's folder, because S3 cannot exchange several objects at once: a reader of the folder would find
a month twice. Readers use the catalog, whose partitions say where their files are.

A table is partitioned by billing period and export, since that is what a load replaces; to SQL both are columns like others.
A query planned before a switch reads the generation of its plan, which stays until the next switch. An empty period has no partition.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from billing_lake.domain.errors import BillingLakeError, SnapshotGoneError
from billing_lake.domain.schemas import Column, Field, SchemaPlan, columns_of, plan_anew
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.files.s3 import S3Files
from billing_lake.tables.base import (
    BEFORE,
    DELIVERY_PROPERTY,
    LEFT_BEHIND,
    CleanUp,
    Commit,
    check_columns,
    check_key,
    check_table,
    refuse_others,
)
from billing_lake.tables.commit_retries import OvertakenError, retry_while_overtaken
from billing_lake.tables.data_files import Placing, naming_write_errors, open_encoded, table_source
from billing_lake.tables.glue_api import Changed, GlueApi, NotThere
from billing_lake.tables.glue_generations import (
    GenerationFiles,
    claim_to,
    empty_claim,
    folders_kept_by,
    generation_folder,
    generation_name,
    generation_with,
    generations_folder,
    is_read,
    new_generation,
    period_folder,
    with_previous,
)
from billing_lake.tables.glue_partition_owners import Claim, Claims
from billing_lake.tables.glue_partitions import Partitions, partition_folder
from billing_lake.tables.glue_tables import Entry, GlueTables, glue_names
from billing_lake.tables.parquet_field_ids import check_fields, check_footers
from billing_lake.tables.schema_changes import plan_evolution

_LOGGER = logging.getLogger(__name__)


class GlueHiveTables:
    """The Hive-style tables of a lake on AWS.

    Args:
        files: The lake's files in S3, with the clients of AWS.
        root: URI of the folder of the tables, `s3://bucket/…/hive`.
        patience: Seconds for which a load tries again while other loads switch its partition.
    """

    finds_by_name = True
    is_managed = False

    def __init__(self, files: S3Files, root: str, *, patience: float = 120.0) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._patience = patience
        api = GlueApi(files.clients)
        self._generations = GenerationFiles(files)
        self._open_encoded = partial(open_encoded, files)
        self._claims = Claims(files)
        self._tables = GlueTables(api, self._root)
        self._partitions = Partitions(api, self._tables, self._claims)

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

        The table changes first, then its partitions, so that they are always readable; after a kill in between the next call
        completes the change. Files stay as they are; readers get NULL for a column that a file lacks.
        """
        check_columns(plan.fields)

        def change() -> tuple[Field, ...]:
            entry = self._tables.require(table)
            fields = plan_evolution(table, entry.fields, plan).fields
            if fields != entry.fields:
                self._tables.update(entry, entry.evolved(fields))
                entry = self._tables.require(table)
            if entry.behind:
                self._partitions.catch_up(entry)
            return entry.fields

        conflict = f"Other writers kept changing table {table}"
        return retry_while_overtaken(conflict, self._patience, Changed, NotThere)(change)

    def full_name(self, table: str) -> str:
        """See `TableCatalog.full_name`."""
        return f"awsdatacatalog.{'.'.join(glue_names(table))}"

    def name_before(self, table: str, before: str) -> str:
        """See `TableCatalog.name_before`."""
        return f"table {table}{BEFORE}{before}"

    def new_location(self, table: str, key: PeriodKey) -> str:
        """Return the URI of a folder for a new generation: files that an engine writes there are used where they lie."""
        check_key(key)
        return new_generation(self._tables.folder(table), key)

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` gave, unless a claim or a partition uses it; never raises."""
        try:
            folder = self._tables.folder(check_table(table))
            of_load = location.rstrip("/")
            parent, _, generation = of_load.rpartition("/")
            if not generation or parent != period_folder(folder, check_key(key)):
                _LOGGER.warning("%s is no generation of %s of %s", location, key.period, table)
                return
            entry = self._tables.find(table)
            if entry is None or of_load not in self._partitions.used_folders(entry, key):
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
        log: Callable[[str], None] = lambda _: None,
    ) -> Commit:
        """Make the period hold exactly the files of ``encoded``, in one switch; see `TableCatalog.replace_period`.

        Files in a folder that `new_location` gave are used where they lie, and whatever a failed attempt left beside them is
        removed, because a reader reads all files of a folder. Others are copied. When the load fails before its claim, its
        folder is removed either way; once the claim is made, the load counts, and the partition follows.
        """
        check_table(table)
        check_key(key)
        with naming_write_errors(self._root):
            entry = self._tables.require(table)
            written = generation_with(entry, key, encoded)
            folder = written or new_generation(entry.folder, key)
            try:
                check_footers(encoded, self._open_encoded)
                if written:
                    files = self._generations.keep_only(folder, encoded)
                else:
                    placing = Placing(table, [file.size for file in encoded.files], log)
                    files = self._generations.copy(encoded, folder, placing)
                    placing.end()
                claim = claim_to(entry, key, encoded, folder, files, properties)
                before = self._switch(entry, claim, encoded, verify)
            except BaseException:
                self.abandon(table, key, folder)
                raise
            self._partitions.follow(entry, key)
            # A rebuild may have exchanged columns between the look at them and the claim.
            now = self._tables.reread(entry)
            check_fields(now.table, now.fields, encoded.fields, by_name=True)
        self._remove_superseded(entry, before, {key: claim})
        return Commit.of(table, [encoded], before.values(), folder)

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
        old one is refused by Athena. Where the process is killed there, loads and the next rebuild go on from it.
        The old rows stay in the table `<table>__before_<before>`, which has files of its own.
        """
        entry = self._tables.require(check_table(table))
        claims: dict[PeriodKey, Claim] = {}
        folders: dict[PeriodKey, str] = {}
        with naming_write_errors(self._root):
            try:
                sizes = [file.size for encoded in periods.values() for file in encoded.files]
                placing = Placing(table, sizes, log)
                for period, encoded in periods.items():
                    check_footers(encoded, self._open_encoded)
                    key = check_key(PeriodKey(export, period))
                    folder = folders[key] = new_generation(entry.folder, key)
                    files = self._generations.copy(encoded, folder, placing)
                    claims[key] = claim_to(entry, key, encoded, folder, files, properties[period])
                placing.end()
                fields = next(iter(periods.values())).fields
                old = self._exchange(entry, export, claims, fields, verify, before)
            except BaseException:
                for key, folder in folders.items():
                    self.abandon(table, key, folder)
                raise
        self._remove_superseded(entry, old, claims)
        return Commit.of(table, periods.values(), old.values())

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: the files in the folder that the partition points at, or ``commit`` made.

        Where the partition does not follow the claim, because the last load was killed in between, it is corrected first.
        """
        check_key(key)
        entry = self._tables.require(table)
        with naming_write_errors(self._root):
            claim, partition = self._partitions.read(entry, key)
            folder = None if partition is None else partition_folder(partition)
            if commit is not None and commit.generation is not None:
                folder = commit.generation
                if claim is None or folder not in folders_kept_by(entry, claim):
                    what = f"The files of the load are gone: {key.period} was replaced twice since"
                    raise SnapshotGoneError(what, file=folder)
            found = () if folder is None else self._files.list(folder)
        empty = set() if claim is None else {file.name for file in claim.files if not file.rows}
        names = ((file.uri, file.uri.rpartition("/")[2]) for file in found)
        uris = (uri for uri, name in names if is_read(name) and name not in empty)
        return table_source(uris, columns_of(entry.fields))

    def periods(self, table: str, export: str | None = None) -> tuple[str, ...]:
        """Return the billing periods of the export, or of every export, that hold rows, in order."""
        found = self._partitions.all(self._tables.require(table))
        return tuple(sorted({key.period for key in found if export in (None, key.export)}))

    def held(self, table: str, export: str) -> dict[str, str]:
        """See `TableCatalog.held`; a period whose partition does not follow its claim yet is left out."""
        entry = self._tables.find(table)
        if entry is None:
            return {}
        return {
            key.period: claim.properties[DELIVERY_PROPERTY]
            for key, claim in self._partitions.followed(entry).items()
            if key.export == export and DELIVERY_PROPERTY in claim.properties
        }

    def uri(self, table: str) -> str:
        """Return the table's folder."""
        return self._tables.folder(table)

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry first, so that no reader finds half a table, then its files.

        Raises:
            TableError: There is no such table.
        """
        entry = self._tables.require(table)
        self._tables.remove(entry)
        with naming_write_errors(entry.folder):
            self._files.remove_folder(entry.folder)
            self._files.remove_folder(generations_folder(entry.folder))
        _LOGGER.info("dropped table %s", table)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables of this lake, in order."""
        return tuple(sorted(entry.table for entry in self._tables.all()))

    def remove_orphans(self, table: str, what: CleanUp = LEFT_BEHIND) -> tuple[str, ...]:
        """See `TableCatalog.remove_orphans`: generations that nothing refers to, in order of their folders."""
        entry = self._tables.require(table)
        # Read in this order, so that a generation that is switched to in between is among those that are kept.
        old = self._generations.older_than(entry, what.older_than)
        used = self._partitions.used_folders(entry)
        orphans = [folder for folder in old if folder not in used]
        what.listed([file for one in orphans for file in self._files.list(one)])
        for folder in () if what.dry_run else orphans:
            self._files.remove_folder(folder)
        return tuple(orphans)

    def _switch(
        self, entry: Entry, claim: Claim, encoded: Encoded, verify: Callable[[], None]
    ) -> dict[PeriodKey, Claim]:
        """Claim the period; return the claim before, if there was one.

        The order ensures that an older delivery never replaces a newer one: read the claim, verify the delivery, claim if the
        claim still is the one that was read.
        """

        def switch() -> dict[PeriodKey, Claim]:
            seen = self._claims.look(entry.folder, entry.id, claim.key)
            verify()
            now = self._tables.reread(entry)
            check_fields(now.table, now.fields, encoded.fields, by_name=True)
            if not self._claims.swap(entry.folder, with_previous(claim, seen), seen):
                raise OvertakenError
            return {} if seen.claim is None else {claim.key: seen.claim}

        what = f"Other writers kept switching {claim.period} of table {entry.table}"
        return retry_while_overtaken(what, self._patience)(switch)

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

        The columns change first: a load that read them before compares them again after its claim (`replace_period`).
        """

        def plan() -> tuple[Entry, SchemaPlan, dict[PeriodKey, Claim]]:
            now = self._tables.reread(entry)
            planned = plan_anew(now.fields, columns_of(fields))
            check_fields(now.table, planned.fields, fields, by_name=True)
            held = self._claims.all(now.folder, now.id)
            others = {key.export for key, one in held.items() if one.rows} - {export}
            refuse_others(now.table, others, planned)
            self._keep(now, f"{now.table}{BEFORE}{before}", held)
            return now, planned, held

        def exchange() -> dict[PeriodKey, Claim]:
            now, planned, held = plan()
            gone = (key for key in held if key.export == export and key not in claims)
            targets = {**claims, **{key: empty_claim(held[key]) for key in gone}}
            seen = {key: self._claims.look(now.folder, now.id, key) for key in targets}
            verify()
            if planned.fields != now.fields:
                self._tables.update(now, now.evolved(planned.fields))
            for key, claim in targets.items():
                if not self._claims.swap(now.folder, with_previous(claim, seen[key]), seen[key]):
                    raise OvertakenError
            self._partitions.catch_up(entry)
            return {key: one.claim for key, one in seen.items() if one.claim is not None}

        plan()  # The copy that it makes may take longer than others are waited for.
        conflict = f"Other writers kept changing table {entry.table}"
        return retry_while_overtaken(conflict, self._patience, Changed)(exchange)

    def _keep(self, entry: Entry, name: str, claims: Mapping[PeriodKey, Claim]) -> None:
        """Copy the rows of a table to a second one, unless it is there."""
        if not any(claim.rows for claim in claims.values()):
            return
        if not self._tables.create(name, entry.fields):
            return
        kept = self._tables.require(name)
        for key, claim in claims.items():
            target = new_generation(kept.folder, key)
            self._generations.copy_claimed(entry, claim, target)
            copied = replace(
                claim,
                id=uuid.uuid4().hex,
                table_id=kept.id,
                generation=generation_name(kept, target),
                previous=None,
            )
            self._claims.swap(kept.folder, copied, self._claims.look(kept.folder, kept.id, key))
        self._partitions.settle_all(kept)

    def _remove_superseded(
        self, entry: Entry, before: Mapping[PeriodKey, Claim], now: Mapping[PeriodKey, Claim]
    ) -> None:
        """Remove the generations that were the previous ones until the claims ``before`` were replaced by those of ``now``."""
        for key, claim in now.items():
            replaced = before.get(key)
            if replaced is None or replaced.previous is None:
                continue
            if replaced.previous not in (replaced.generation, claim.generation):
                self.abandon(entry.table, key, generation_folder(entry, replaced.previous))
