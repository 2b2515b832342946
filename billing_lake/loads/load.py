"""Load one delivery into its tables: it is encoded once, then placed and committed table by table."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    CommitConflictError,
    CommitUnknownError,
    FieldIdMismatchError,
    LoadError,
    SchemaChangeError,
    SnapshotGoneError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Field, SchemaPlan, lake_columns, plan
from billing_lake.domain.sources import Encoded, EncodedFile
from billing_lake.engines.base import Engine, Log, facts_of
from billing_lake.landing.deliveries import verify_unchanged
from billing_lake.loads.crawl import encode_target, encoded_as
from billing_lake.loads.ledger import Ledger, Recorded
from billing_lake.loads.ledger_rows import delivery_properties
from billing_lake.loads.staging import shared_fields, staged_files
from billing_lake.tables.base import RUN_PROPERTY, VERSION_PROPERTY, Commit
from billing_lake.tables.exports import TABLE_ASSETS, Export, Table, TableOutput


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A delivery that one table holds now.

    Attributes:
        encoded: Its files, as the table refers to them where other tables can take them over.
        commit: What the catalog did.
        fields: The table's fields.
        seconds: How long it took.
        encoded_here: Whether the files were encoded for this table, not taken over.
        while_crawled: Whether the crawl encoded them, in the pass that totalled the delivery.
        facts: Which engine encoded it, and what it says about that.
        recorded: What the ledger got, by billing period: this delivery, where all tables of the export hold it now, and any that it
            lacked.
    """

    encoded: Encoded
    commit: Commit
    fields: tuple[Field, ...]
    seconds: float = 0.0
    encoded_here: bool = False
    while_crawled: bool = False
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    recorded: Mapping[str, Recorded] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Loads deliveries of one export.

    Attributes:
        lake: The lake.
        export: The export.
        run_id: Id of the run, recorded with each commit.
        engine: What encodes.
        log: Takes lines about progress.
        verify: Raises where a delivery is no longer the one in storage; asks the export's folder unless given.
    """

    lake: Lake
    export: Export
    run_id: str
    engine: Engine
    log: Log = field(default=lambda _: None)
    verify: Callable[[Delivery], None] | None = None

    def load(self, table: Table, crawl: Crawl, encoded: Encoded | None = None) -> Loaded:
        """Make ``table`` hold the delivery of ``crawl`` for its billing period.

        Args:
            table: The table.
            crawl: The delivery.
            encoded: The delivery as files of another table, if there are any; taken over where they fit.

        Raises:
            BillingLakeError: The table's rows are as they were before, unless what fails is the row of the ledger: the next load
                makes up for it.
        """
        ledger = Ledger(lake=self.lake, export=self.export, log=self.log, run_id=self.run_id)
        is_own = table.name == self.export.table
        if is_own and table.output == self.export.outputs[0]:
            # What a killed load left out is recorded before its rows are replaced.
            ledger.record()
        started = time.monotonic()
        loaded = self._load(table, crawl, encoded)
        loaded = replace(loaded, seconds=time.monotonic() - started)
        is_last = table.output != self.export.outputs[0] or len(self.export.outputs) == 1
        if not (is_own and is_last):
            return loaded
        return replace(loaded, recorded=ledger.record(crawl, loaded.commit))

    def _load(self, table: Table, crawl: Crawl, encoded: Encoded | None) -> Loaded:
        if encoded is not None and self._is_of(encoded, crawl, table):
            loaded = self._take_over(table, crawl, encoded)
            if loaded is not None:
                return loaded
        shared = shared_fields(self.lake, self.export, table)
        wanted = plan(shared, lake_columns(crawl.source.columns))
        _refuse(table, wanted)
        with self._staged(table, crawl, wanted.fields) as waiting:
            loaded = None if waiting is None else self._take_over(table, crawl, waiting)
            if loaded is not None:
                placed = _placed(table, crawl.delivery.period, loaded.commit, loaded.encoded)
                encoded = replace(loaded.encoded, files=placed)
                facts = {"engine": self.engine.name}
                return replace(loaded, encoded=encoded, while_crawled=True, facts=facts)
        try:
            return self._encode_and_commit(table, shared, crawl)
        except FieldIdMismatchError as error:
            # The ids that the tables were to share are not this table's: its own are never wrong.
            self.log(f"{table.name}: encoding with the table's own field ids: {error.what}")
            return self._encode_and_commit(table, table.fields(), crawl)

    def _staged(
        self, table: Table, crawl: Crawl, fields: tuple[Field, ...]
    ) -> AbstractContextManager[Encoded | None]:
        """Give the files that the crawl encoded; there are none for other tables than the export's own."""
        if table.name != self.export.table:
            return nullcontext()
        return staged_files(self.lake, self.export, crawl, fields)

    def _take_over(self, table: Table, crawl: Crawl, encoded: Encoded) -> Loaded | None:
        """Commit files that are there already; None where they do not fit this table, or are gone."""
        try:
            return self._commit(table, crawl, encoded)
        except (CommitConflictError, CommitUnknownError, StorageWriteError):
            raise
        except LoadError as error:
            self.log(f"{table.name}: encoding again for this table: {error.what}")
            return None

    def _is_of(self, encoded: Encoded, crawl: Crawl, table: Table) -> bool:
        wanted = (crawl.delivery.identity, crawl.content)
        if (encoded.identity, encoded.content) == wanted:
            return True
        self.log(f"{table.name}: the files at hand are of another delivery")
        return False

    def _encode_and_commit(
        self, table: Table, have: Sequence[Field] | None, crawl: Crawl
    ) -> Loaded:
        """Encode with the fields and ids of ``have``, then commit."""
        target = plan(have, lake_columns(crawl.source.columns))
        _refuse(table, target)
        period = crawl.delivery.period
        with self._folder(table, period) as (folder, in_place):
            encoded = encode_delivery(self.engine, crawl, target.fields, folder)
            loaded = self._commit(table, crawl, encoded)
            if not in_place:
                # What was staged goes; the next table takes over what this one refers to.
                encoded = replace(encoded, files=_placed(table, period, loaded.commit, encoded))
        return replace(loaded, encoded=encoded, encoded_here=True, facts=facts_of(self.engine))

    @contextmanager
    def _folder(self, table: Table, period: str) -> Iterator[tuple[str, bool]]:
        """Give a folder to encode into, and whether the table takes files over from there where they lie."""
        own = table.catalog.new_location(table.name, table.key(period))
        folder = own or f"{self.lake.staging}/{uuid.uuid4().hex}"
        try:
            yield folder, own is not None
        except BaseException:
            table.catalog.abandon(table.name, table.key(period), folder)
            raise
        finally:
            if own is None:
                self.lake.files.remove_folder(folder)

    def _commit(self, table: Table, crawl: Crawl, encoded: Encoded) -> Loaded:
        """Evolve the table and replace the period."""
        # Read here: encoding takes minutes, in which others may have changed the table.
        have = table.fields()
        described = self.export.format.described
        if have is None:
            made = table.catalog.create(table.name, described(encoded.fields))
            have = encoded.fields if made else table.fields()
        change = plan(have, lake_columns(crawl.source.columns))
        _refuse(table, change)
        planned = replace(change, fields=described(change.fields))
        fields = table.catalog.evolve(table.name, planned)
        delivery = crawl.delivery
        commit = table.catalog.replace_period(
            table.name,
            table.key(delivery.period),
            encoded,
            properties=commit_properties(delivery, self.run_id),
            verify=lambda: self._verify(delivery),
            log=self.log,
        )
        return Loaded(encoded=encoded, commit=commit, fields=fields)

    def _verify(self, delivery: Delivery) -> None:
        if self.verify is not None:
            self.verify(delivery)
        else:
            verify_unchanged(self.lake.storage, self.export.location, delivery)


def encoded_files(
    lake: Lake, export: Export, output: TableOutput | None, period: str
) -> Encoded | None:
    """Return the files that the table of ``output`` was last loaded with, if there are any."""
    if output is None:
        return None
    return lake.values.latest(export.path(TABLE_ASSETS[output]), period, Encoded)


def drop_crawled_table(lake: Lake, export: Export, output: TableOutput, crawl: Crawl) -> None:
    """Drop the crawled table if ``output``, just loaded, is the last of the export's tables to hold the crawl."""
    period = crawl.delivery.period
    crawled = lake.values.find(export.path("crawler_table"), period)
    if crawled is None:
        return
    for other in export.outputs:
        if other == output:
            continue
        try:
            held = lake.values.find(export.path(TABLE_ASSETS[other]), period)
        except TableError:
            return  # its own load writes it anew, and looks at this one
        if (
            held is None
            or not isinstance(held.value, Encoded)
            or held.value.identity != crawl.delivery.identity
            or held.written < crawled.written
        ):
            return
    lake.crawled.drop(crawl.table)


def encode_delivery(
    engine: Engine, crawl: Crawl, fields: tuple[Field, ...], folder: str
) -> Encoded:
    """Write a delivery as Parquet with the names, types and ids of ``fields`` into ``folder``."""
    files = engine.encode(crawl.pinned, encode_target(crawl.delivery, fields, folder))
    return encoded_as(crawl, fields, files)


def commit_properties(delivery: Delivery, run_id: str) -> dict[str, str]:
    """Return what is recorded with a commit about the delivery that a period holds by it."""
    about = {VERSION_PROPERTY: delivery.version, RUN_PROPERTY: run_id}
    return {**about, **delivery_properties(delivery)}


def _refuse(table: Table, change: SchemaPlan) -> None:
    """Stop a load whose columns the table cannot follow; `schema_diff` says the same earlier, with a table."""
    if change.diff.incompatible:
        first = change.diff.incompatible[0]
        what = (
            f"Table {table.name} has the column as {first.table}, the delivery as {first.delivery}"
        )
        raise SchemaChangeError(what, column=first.name)


def _placed(table: Table, period: str, commit: Commit, encoded: Encoded) -> tuple[EncodedFile, ...]:
    """Return the files as the table refers to them; none where somebody has replaced the period since."""
    try:
        found = table.files(period, commit).files
    except SnapshotGoneError:
        return ()
    written = [file for file in encoded.files if file.rows]
    if len(found) != len(written):
        return ()
    return tuple(replace(file, uri=placed.uri) for file, placed in zip(written, found, strict=True))
