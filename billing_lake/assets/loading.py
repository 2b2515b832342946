"""One delivery into its tables: encoded once, placed and committed table by table.

Knows no Dagster, so that a load is the same in an asset, in a rebuild and in a test.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from billing_lake.assets.export import TableOutput
from billing_lake.deployments import Lake
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
from billing_lake.domain.sources import Encoded, EncodedFile, EncodeTarget, PeriodKey
from billing_lake.engines.base import Engine, Log, facts_of
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import verify_unchanged
from billing_lake.tables.base import BEFORE, DELIVERY_VERSION, Commit, TableCatalog

PROPERTY = "billing-lake."
"""What the names of a load's snapshot properties begin with."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A delivery that one table holds now.

    Attributes:
        encoded: Its files, as the table refers to them where other tables can take them over.
        commit: What the catalog did.
        fields: The table's fields.
        seconds: How long it took.
        encoded_here: Whether the files were encoded for this table, not taken over.
        facts: Which engine encoded it, and what it says about that.
    """

    encoded: Encoded
    commit: Commit
    fields: tuple[Field, ...]
    seconds: float
    encoded_here: bool
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Loads deliveries of one export.

    Attributes:
        lake: The lake.
        location: The export.
        table: Full name of the tables.
        outputs: The tables that deliveries are loaded into; they share field ids, and so bytes, as far as they can.
        run_id: Id of the run, recorded with each commit.
        engine: What encodes.
        log: Takes lines about progress.
        verify: Raises where a delivery is no longer the one in storage; asks the export's folder unless given.
    """

    lake: Lake
    location: ExportLocation
    table: str
    outputs: tuple[TableOutput, ...]
    run_id: str
    engine: Engine
    log: Log = field(default=lambda _: None)
    verify: Callable[[Delivery], None] | None = None

    def load(self, output: TableOutput, crawl: Crawl, upstream: Encoded | None = None) -> Loaded:
        """Make the table of ``output`` hold ``crawl`` for its billing period.

        Args:
            output: Which table.
            crawl: The delivery.
            upstream: The delivery as another table's files, if there are any; taken over where they fit.

        Raises:
            BillingLakeError: The table's rows are as they were before.
        """
        started = time.monotonic()
        if upstream is not None and (upstream.identity, upstream.content) != (
            crawl.delivery.identity,
            crawl.content,
        ):
            self.log(f"{self.table}: the files at hand are of another delivery")
        elif upstream is not None:
            try:
                commit = self._commit(output, crawl, upstream)
            except (CommitConflictError, CommitUnknownError, StorageWriteError):
                raise
            except LoadError as error:
                self.log(f"{self.table}: encoding again for this table: {error.what}")
            else:
                return self._loaded(
                    output, _key(crawl), upstream, commit, started, encoded_here=False
                )
        try:
            return self._encode_and_commit(output, crawl, self._shared_fields(output), started)
        except FieldIdMismatchError as error:
            # The ids that the tables were to share are not this table's: its own are never wrong.
            self.log(f"{self.table}: encoding with the table's own field ids: {error.what}")
            own = catalog_of(self.lake, output).fields(self.table)
            return self._encode_and_commit(output, crawl, own, started)

    def _encode_and_commit(
        self,
        output: TableOutput,
        crawl: Crawl,
        have: Sequence[Field] | None,
        started: float,
    ) -> Loaded:
        target = plan(have, lake_columns(crawl.source.columns))
        _refuse(self.table, target)
        key = _key(crawl)
        folder = (
            self.lake.hive.new_location(self.table, key)
            if output == "hive"
            else f"{self.lake.staging}/{uuid.uuid4().hex}"
        )
        try:
            encoded = encode(self.engine, crawl, target.fields, folder)
            commit = self._commit(output, crawl, encoded)
            return self._loaded(output, key, encoded, commit, started, encoded_here=True)
        except BaseException:
            if output == "hive":
                self.lake.hive.abandon(self.table, key, folder)
            raise
        finally:
            if output != "hive":
                self.lake.files.remove_folder(folder)

    def _commit(self, output: TableOutput, crawl: Crawl, encoded: Encoded) -> Commit:
        catalog = catalog_of(self.lake, output)
        if catalog.fields(self.table) is None:
            _refuse_remains(catalog, self.table)
            catalog.create(self.table, encoded.fields)
        change = plan(catalog.fields(self.table), lake_columns(crawl.source.columns))
        _refuse(self.table, change)
        catalog.evolve(self.table, change)
        return catalog.replace_period(
            self.table,
            _key(crawl),
            encoded,
            properties=commit_properties(crawl.delivery, self.run_id),
            verify=lambda: self._verify(crawl.delivery),
            log=self.log,
        )

    def _verify(self, delivery: Delivery) -> None:
        if self.verify is not None:
            self.verify(delivery)
        else:
            verify_unchanged(self.lake.storage, self.location, delivery)

    def _shared_fields(self, output: TableOutput) -> tuple[Field, ...] | None:
        """Return the fields whose ids the files should carry: those of the first Iceberg table that exists.

        A Hive-style table finds columns by name, so its files may carry the ids of the Iceberg tables that take them over;
        an Iceberg table that does not exist yet is made like its sister.
        """
        own = catalog_of(self.lake, output).fields(self.table)
        if own is not None and output != "hive":
            return own
        for other in self.outputs:
            if other not in (output, "hive"):
                fields = catalog_of(self.lake, other).fields(self.table)
                if fields is not None:
                    return fields
        return own

    def _loaded(
        self,
        output: TableOutput,
        key: PeriodKey,
        encoded: Encoded,
        commit: Commit,
        started: float,
        *,
        encoded_here: bool,
    ) -> Loaded:
        catalog = catalog_of(self.lake, output)
        if encoded_here and output != "hive":
            # What was staged goes; the next table takes what this one refers to.
            encoded = replace(encoded, files=_placed(catalog, key, commit, encoded))
        return Loaded(
            encoded=encoded,
            commit=commit,
            fields=catalog.fields(self.table) or encoded.fields,
            seconds=time.monotonic() - started,
            encoded_here=encoded_here,
            facts=facts_of(self.engine) if encoded_here else {},
        )


def catalog_of(lake: Lake, output: TableOutput) -> TableCatalog:
    """Return the catalog that holds the tables of ``output``."""
    if output == "hive":
        return lake.hive
    return lake.iceberg if output == "iceberg" else lake.s3_tables


def encode(engine: Engine, crawl: Crawl, fields: tuple[Field, ...], folder: str) -> Encoded:
    """Write a delivery as Parquet with the names, types and ids of ``fields`` into ``folder``."""
    delivery = crawl.delivery
    files = engine.encode(
        crawl.pinned,
        EncodeTarget(
            fields=fields,
            constants={
                "export_name": delivery.export,
                "billing_period": delivery.period,
                "delivery_version": delivery.version,
            },
            folder=folder,
            stem=uuid.uuid4().hex[:12],
        ),
    )
    return Encoded(
        identity=delivery.identity,
        version=delivery.version,
        files=files,
        fields=fields,
        content=crawl.content,
    )


def commit_properties(delivery: Delivery, run_id: str) -> dict[str, str]:
    """Return what is recorded with a commit about the delivery that a period holds by it."""
    return {
        f"{PROPERTY}export": delivery.export,
        f"{PROPERTY}period": delivery.period,
        DELIVERY_VERSION: delivery.version,
        f"{PROPERTY}run-id": run_id,
    }


def _refuse_remains(catalog: TableCatalog, table: str) -> None:
    """Refuse to begin a table anew whose rows lie under another name, where a rebuild of an older version was killed."""
    remains = [name for name in catalog.tables() if name.startswith(f"{table}{BEFORE}")]
    if remains:
        what = f"There is no table {table}, and its rows are in {', '.join(remains)}: a rebuild did not finish"
        remedy = "Run the job that rebuilds the export's tables: it makes the table from all deliveries; the other one stays"
        raise TableError(what, remedy=remedy)


def _key(crawl: Crawl) -> PeriodKey:
    return PeriodKey(crawl.delivery.export, crawl.delivery.period)


def _refuse(table: str, change: SchemaPlan) -> None:
    """Stop a load whose columns the table cannot follow; `schema_diff` says the same earlier, with a table."""
    if change.diff.incompatible:
        first = change.diff.incompatible[0]
        what = f"Table {table} has the column as {first.table}, the delivery as {first.delivery}"
        raise SchemaChangeError(what, column=first.name)


def _placed(
    catalog: TableCatalog, key: PeriodKey, commit: Commit, encoded: Encoded
) -> tuple[EncodedFile, ...]:
    """Return the files as the table refers to them; none where somebody has replaced the period since."""
    try:
        found = catalog.files(commit.table, key, commit).files
    except SnapshotGoneError:
        return ()
    written = [file for file in encoded.files if file.rows]
    if len(found) != len(written):
        return ()
    return tuple(replace(file, uri=placed.uri) for file, placed in zip(written, found, strict=True))
