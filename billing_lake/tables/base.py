"""Defines what every catalog of the lake can do, and the names that may reach its SQL and its paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from billing_lake.domain.column_names import (
    BILLING_PERIOD,
    EXPORT_NAME,
    MAX_NAME_BYTES,
    is_column_name,
)
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import ConfigurationError, TableError, shown
from billing_lake.domain.periods import require_period
from billing_lake.domain.schemas import Column, Field, SchemaPlan
from billing_lake.domain.sources import Encoded, PeriodKey, Source
from billing_lake.files.base import FileInfo

EXPORT = EXPORT_NAME
PERIOD = BILLING_PERIOD

EXPORT_PROPERTY = "billing-lake.export"
PERIOD_PROPERTY = "billing-lake.period"
"""Properties of a load, and of a crawled table, that say whose rows they are; catalogs that have no columns for it write them."""

RUN_PROPERTY = "billing-lake.run-id"
"""Property of a load with the id of the run that made it."""

VERSION_PROPERTY = "billing-lake.delivery-version"
"""Property of a load with the version of the delivery, such as `20250401T000000Z`; the caller gives it."""

DELIVERY_PROPERTY = "billing-lake.delivery-identity"
"""Property of a load with the delivery's content identity; catalogs take it from the encoded files."""

BEFORE = "__before_"
"""Marks the name of a table with the rows of another one before a rebuild: `<table>__before_<id>`."""

Crawler = Literal["built_in", "glue"]
"""What finds a delivery's columns: the lake itself, or a crawler of AWS Glue."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,254}")


class _Replaced(Protocol):
    @property
    def rows(self) -> int: ...

    @property
    def version(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The change that a load made to a table: one billing period was replaced, or by a rebuild all of an export.

    Attributes:
        rows: Rows that the period holds now.
        files: Number of its files.
        size: Their bytes.
        replaced_rows: Rows that the period held before.
        replaced_version: Delivery version that the period held before; None where it was never loaded.
        snapshot_id: The Iceberg snapshot; None for a Hive-style table.
        generation: The folder of the files of a Hive-style table; None for an Iceberg table, and where several were made.
        metadata_location: The Iceberg metadata file that was current after the commit; None for a Hive-style table.
    """

    table: str
    rows: int
    files: int
    size: int
    replaced_rows: int
    replaced_version: str | None
    snapshot_id: int | None = None
    generation: str | None = None
    metadata_location: str | None = None

    @classmethod
    def of(
        cls,
        table: str,
        encoded: Collection[Encoded],
        replaced: Collection[_Replaced],
        generation: str | None = None,
    ) -> Commit:
        """Return the commit of deliveries in a Hive-style table, in place of what the ``replaced`` partitions held.

        Args:
            table: The table.
            encoded: The deliveries, one for each period.
            replaced: The partitions before; none for a period that was never loaded.
            generation: The folder of the files of the only period; None where all periods of an export are replaced.
        """
        versions = [] if generation is None else [one.version for one in replaced]
        return cls(
            table=table,
            rows=sum(one.rows for one in encoded),
            files=sum(len(one.files) for one in encoded),
            size=sum(one.size for one in encoded),
            replaced_rows=sum(one.rows for one in replaced),
            replaced_version=versions[0] if versions else None,
            generation=generation,
        )


@dataclass(frozen=True, kw_only=True)
class KeptHistory:
    """The history of a table that is kept, besides what tags and branches name.

    Attributes:
        days: States that were current within so many days.
        loads: The last so many loads of each billing period, however old.
    """

    days: float
    loads: int


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """The extent of a clean-up of a table.

    Attributes:
        older_than: Age below which a file may belong to a load that is still under way: no load takes a day.
        kept: What stays of the table's history; all of it unless given.
        dry_run: Whether nothing is changed.
        listed: Called with the files that go, or would, before they do.
    """

    older_than: timedelta = timedelta(days=1)
    kept: KeptHistory | None = None
    dry_run: bool = False
    listed: Callable[[Sequence[FileInfo]], None] = lambda _: None


LEFT_BEHIND = CleanUp()
"""Removes what loads that were killed left behind, and no history."""


class TableCatalog(Protocol):
    """Tables whose billing periods are replaced as a whole, atomically."""

    @property
    def finds_by_name(self) -> bool:
        """Say whether readers find a file's columns by their names, so that its field ids may be those of another table."""

    @property
    def is_managed(self) -> bool:
        """Say whether the storage belongs to the catalog, which then cleans up by its own rules."""

    def full_name(self, table: str) -> str:
        """Return the table's name with its catalog's before it, as lineage tools write it: `iceberg.billing.cur`."""

    def new_location(self, table: str, key: PeriodKey) -> str | None:
        """Return the URI of a folder for a new load of the period, from which files are taken over where they lie.

        None where files are linked or copied to their place, so that they may be written anywhere.
        """

    def abandon(self, table: str, key: PeriodKey, location: str) -> None:
        """Remove a folder that `new_location` gave, unless the table refers to it; never raises."""

    def fields(self, table: str) -> tuple[Field, ...] | None:
        """Return the table's fields, or None where there is no such table."""

    def create(self, table: str, fields: Sequence[Field]) -> bool:
        """Create an empty table; return False where it exists already."""

    def evolve(self, table: str, plan: SchemaPlan) -> tuple[Field, ...]:
        """Add and promote columns as planned, on top of what others did meanwhile; return the fields now."""

    def replace_period(
        self,
        table: str,
        key: PeriodKey,
        encoded: Encoded,
        *,
        properties: Mapping[str, str],
        verify: Callable[[], None],
        log: Callable[[str], None] = ...,
    ) -> Commit:
        """Make the period hold exactly the rows of ``encoded``, in one atomic step.

        Args:
            table: The table.
            key: What is replaced.
            encoded: The finished files; none, or none with rows, empties the period.
            properties: Recorded with the commit.
            verify: Raises where the delivery is no longer the one in storage. It is called in each attempt, after the table was
                read and before the commit, so that an older delivery never replaces a newer one.
            log: Called with lines about the progress of the files, where placing them takes more than seconds.

        Raises:
            FieldIdMismatchError: The files carry other names, types or ids than the table.
            StorageWriteError: The storage is full or read-only, or a right is missing.
            CommitConflictError: Other writers kept committing first.
        """

    def plan_rebuild(self, table: str, wanted: Sequence[Column]) -> SchemaPlan:
        """Return the plan whose fields files must carry to replace all rows of an export; see `domain.schemas.plan_anew`."""

    def rebuild(
        self,
        table: str,
        export: str,
        periods: Mapping[str, Encoded],
        *,
        properties: Mapping[str, Mapping[str, str]],
        verify: Callable[[], None],
        before: str,
        log: Callable[[str], None] = ...,
    ) -> Commit:
        """Make the table hold exactly ``periods`` of the export, and exchange the columns whose types have to change.

        The table is never without its name, and a reader sees its old rows or its new ones. Rows of other exports stay.

        Args:
            table: The table; it exists.
            export: Whose rows are replaced, in all billing periods.
            periods: The finished files of each period, with the fields of `plan_rebuild`; at least one.
            properties: What is recorded about each period.
            verify: As in `replace_period`, for all deliveries.
            before: Ends the name under which the old rows can be found afterwards.
            log: Called with lines about the progress of the files, where placing them takes more than seconds.

        Raises:
            TableError: Another export has rows whose values of a column would be lost.
            FieldIdMismatchError: The table's columns changed since `plan_rebuild`.
        """

    def files(self, table: str, key: PeriodKey, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: now, or as ``commit`` left it.

        Raises:
            TableError: There is no such table.
            SnapshotGoneError: Not all that ``commit`` made is kept any more.
        """

    def name_before(self, table: str, before: str) -> str:
        """Return in words under which name `rebuild` keeps the old rows, for the same ``before``."""

    def periods(self, table: str, export: str | None = None) -> tuple[str, ...]:
        """Return the billing periods of the export, or of every export, that hold rows, in order."""

    def held(self, table: str, export: str) -> dict[str, str]:
        """Return the identity of the delivery that each billing period of the export was last replaced by.

        It is written in the same step as the rows and belongs to the table, so it is true whatever happened to runs. Periods
        whose load was undone are left out; a period without rows is not.
        The result is empty where there is no such table.
        """

    def uri(self, table: str) -> str:
        """Return where the table lies."""

    def drop(self, table: str) -> None:
        """Remove the table: its catalog entry, then its files."""

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, in order."""

    def remove_orphans(self, table: str, what: CleanUp = ...) -> tuple[str, ...]:
        """Remove what killed loads left and the table does not refer to, and the history that is not kept.

        Returns:
            The URIs of what is gone, or would go.
        """


class CrawledCatalog(Protocol):
    """Tables over raw files, one for each delivery that is being loaded."""

    def register(
        self, crawl: Crawl, crawler: Crawler = "built_in", log: Callable[[str], None] = ...
    ) -> None:
        """Register a crawl in place of every earlier one of its export and billing period.

        Args:
            crawl: The delivery, its columns and types.
            crawler: What makes the table.
            log: Called with lines about progress.

        Raises:
            ConfigurationError: There is no such crawler here.
        """

    def drop(self, name: str) -> None:
        """Drop a crawled table; the raw files stay. Nothing happens where there is none."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all crawled tables, in order."""

    def older_than(self, export: str, age: timedelta) -> tuple[str, ...]:
        """Return the crawled tables of an export that were registered longer ago than ``age``, in order."""


def check_name(name: str, label: str) -> str:
    """Return ``name`` if it may stand in SQL and in a path; ``label`` says what it names.

    Raises:
        ConfigurationError: It may not.
    """
    if _NAME.fullmatch(name) is None:
        what = f"This cannot be the name of {label}: {shown(name)!r}"
        remedy = "Use lower-case letters, digits and underscores, a letter or digit first, 255 characters at most"
        raise ConfigurationError(what, remedy=remedy)
    return name


def check_table(table: str) -> str:
    """Return ``table`` if it is written `namespace.name`, the only form that every catalog knows."""
    namespace, _, name = table.partition(".")
    check_name(namespace, "a table's namespace")
    check_name(name, "a table, after its namespace and a dot")
    return table


def check_key(key: PeriodKey) -> PeriodKey:
    """Return ``key`` if both of its parts may stand in SQL and in a path."""
    check_name(key.export, "an export")
    require_period(key.period)
    return key


def check_columns(fields: Sequence[Field]) -> None:
    """Check the column names of ``fields``."""
    for field in fields:
        if not is_column_name(field.name):
            what = f"This cannot be the name of a column: {shown(field.name)!r}"
            remedy = f"Use lower-case letters, digits and underscores, a letter or digit first, {MAX_NAME_BYTES} bytes at most"
            raise ConfigurationError(what, remedy=remedy)


def refuse_others(table: str, exports: Collection[str], planned: SchemaPlan) -> None:
    """Refuse to exchange columns of a table in which other exports than the one that is written anew have rows.

    Raises:
        TableError: A column is exchanged, and there are others.
    """
    if planned.diff.incompatible and exports:
        names = ", ".join(change.name for change in planned.diff.incompatible)
        what = (
            f"Table {table} also holds rows of {', '.join(sorted(exports))}, which would lose their values of {names}: "
            "nothing was changed"
        )
        remedy = "Give the export a `table` of its own and load its months into it, or move the other exports to one"
        raise TableError(what, remedy=remedy)
