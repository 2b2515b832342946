"""An export as a load needs to know it, and its tables in the catalogs of a lake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from billing_lake.domain.errors import ConfigurationError
from billing_lake.domain.periods import period_of, periods_between
from billing_lake.domain.schemas import Field
from billing_lake.domain.sources import PeriodKey, Source
from billing_lake.formats.base import Format
from billing_lake.formats.locations import ExportLocation
from billing_lake.tables.base import Commit, Crawler, TableCatalog

if TYPE_CHECKING:
    from billing_lake.tables.iceberg import IcebergTables

TableOutput = Literal["hive", "iceberg", "s3_table"]
"""The tables that an export may be loaded into, in the order in which they are loaded."""

TABLE_OUTPUTS: tuple[TableOutput, ...] = get_args(TableOutput)

TABLE_ASSETS: dict[TableOutput, str] = {
    "hive": "hive_table",
    "iceberg": "iceberg_table",
    "s3_table": "s3_table",
}
"""Name of the asset of each output; messages call the table by it."""

SQL_CATALOGS: dict[TableOutput, str] = {
    "hive": "hive",
    "iceberg": "iceberg",
    "s3_table": "s3tables",
}
"""Name by which queries call the catalog of each output."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """One configured export.

    Attributes:
        location: Where it is delivered to.
        outputs: Tables that it is loaded into, in the order of `TABLE_OUTPUTS`.
        start: First billing period, for example `2024-01`.
        end: Last billing period; None for an export that goes on.
        namespace: Namespace of its tables.
        table_name: Name of its tables, which exports of the same format may share; the export's own unless given.
        crawler: What makes the crawled table.
        counts: Whether its costs count in the view of all exports.
        reconcile: Name of another export of the same payer, with which its costs are compared; empty for none.
    """

    location: ExportLocation
    outputs: tuple[TableOutput, ...] = TABLE_OUTPUTS
    start: str = "2024-01"
    end: str | None = None
    namespace: str = "billing"
    table_name: str = ""
    crawler: Crawler = "built_in"
    counts: bool = True
    reconcile: str = ""

    @property
    def name(self) -> str:
        """Name of the export."""
        return self.location.name

    @property
    def format(self) -> Format:
        """Return what the rows of its report files mean."""
        return self.location.format

    @property
    def table(self) -> str:
        """Full name of the tables that its deliveries are loaded into: the same in every catalog."""
        return f"{self.namespace}.{self.table_name or self.name}"

    @property
    def ledger_output(self) -> TableOutput:
        """The output from whose table the story of a month is read: one that keeps its snapshots, where there is one."""
        return next(one for one in ("iceberg", "s3_table", "hive") if one in self.outputs)

    @property
    def static_table(self) -> str:
        """Full name of the table of static files."""
        return f"{self.namespace}.{self.name}_static"

    def path(self, asset: str) -> tuple[str, str]:
        """Return under which key the values of an asset are kept: `("cost_and_usage", "crawler_table")`."""
        return self.name, asset

    def first_output(self, output: TableOutput) -> TableOutput | None:
        """Return the output whose files ``output`` takes over; None for the first one itself.

        It is the first one for all others, so that a table that fails stops no other.
        """
        first = self.outputs[0]
        return None if output == first else first

    def has_period(self, period: str) -> bool:
        """Say whether ``period`` is one of the export's, the open month included."""
        return self.start <= period <= self._last_period

    @property
    def periods(self) -> list[str]:
        """Its billing periods, the open month included."""
        return list(periods_between(self.start, self._last_period))

    @property
    def _last_period(self) -> str:
        open_month = period_of(datetime.now(timezone.utc))
        return min(self.end or open_month, open_month)


def refuse_two_formats(export: Export, others: Iterable[Export]) -> None:
    """Refuse an export whose table one of ``others`` names too, in another format: a table has the columns of one.

    Raises:
        ConfigurationError: With both exports.
    """
    for one in others:
        if one.table == export.table and one.format.name != export.format.name:
            pair = " and ".join(f"{each.name} ({each.format.name})" for each in (export, one))
            what = f"Exports of two formats go into the same table, {export.table}: {pair}"
            raise ConfigurationError(what, remedy="Give one of them another `table`")


def refuse_static_table(export: Export, static: Iterable[Export]) -> None:
    """Refuse an export whose table is that of the static files of another one: each would replace the other's rows.

    Args:
        export: The export.
        static: The exports that have static files.

    Raises:
        ConfigurationError: With both exports.
    """
    for one in static:
        if one.static_table == export.table:
            what = f"{export.table}, the table of {export.name}, is the one of the static files of {one.name}"
            raise ConfigurationError(what, remedy="Give it another `table`, or another `name`")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of one export in one catalog.

    Attributes:
        output: Which of the export's tables it is.
        name: Its full name, for example `billing.cost_and_usage`.
        export: Name of the export; the table may hold rows of others.
    """

    output: TableOutput
    name: str
    export: str
    catalog: TableCatalog

    @property
    def asset(self) -> str:
        """Name of its asset, by which messages call it."""
        return TABLE_ASSETS[self.output]

    @property
    def full_name(self) -> str:
        """Its name with its catalog's before it; see `TableCatalog.full_name`."""
        return self.catalog.full_name(self.name)

    @property
    def uri(self) -> str:
        """Return where it lies."""
        return self.catalog.uri(self.name)

    def key(self, period: str) -> PeriodKey:
        """Return what a load of ``period`` replaces."""
        return PeriodKey(self.export, period)

    def fields(self) -> tuple[Field, ...] | None:
        """Return its fields, or None where it does not exist."""
        return self.catalog.fields(self.name)

    def files(self, period: str, commit: Commit | None = None) -> Source:
        """Return what a reader reads for the period: now, or as ``commit`` left it; see `TableCatalog.files`."""
        return self.catalog.files(self.name, self.key(period), commit)

    def periods(self) -> tuple[str, ...]:
        """Return the billing periods of which it holds rows of the export; none where it does not exist."""
        return () if self.fields() is None else self.catalog.periods(self.name, self.export)

    def held(self) -> dict[str, str]:
        """Return the identity of the delivery that each billing period holds; see `TableCatalog.held`."""
        return self.catalog.held(self.name, self.export)


def held_by_all(tables: Iterable[Table]) -> dict[str, str]:
    """Return the identity of the delivery that all of ``tables`` hold, by billing period."""
    first, *others = (table.held() for table in tables)
    return {
        period: identity
        for period, identity in first.items()
        if all(other.get(period) == identity for other in others)
    }


class Catalogs(Protocol):
    """The three catalogs of a lake, and the tables of exports in them."""

    @property
    def iceberg(self) -> IcebergTables:
        """The Iceberg tables."""

    @property
    def s3_tables(self) -> IcebergTables:
        """The S3 Tables."""

    @property
    def hive(self) -> TableCatalog:
        """The Hive-style tables."""

    def catalog(self, output: TableOutput) -> TableCatalog:
        """Return the catalog that holds the tables of ``output``."""
        return self.hive if output == "hive" else self.iceberg_catalog(output)

    def iceberg_catalog(self, output: Literal["iceberg", "s3_table"]) -> IcebergTables:
        """Return the catalog that holds the Iceberg tables of ``output``."""
        return self.iceberg if output == "iceberg" else self.s3_tables

    def tables(self, export: Export) -> tuple[Table, ...]:
        """Return the tables that an export is loaded into, in the order in which they are loaded."""
        return tuple(self.table(export, output) for output in export.outputs)

    def table(self, export: Export, output: TableOutput, name: str = "") -> Table:
        """Return the table of ``output``: the export's, or another one of the same catalog called ``name``."""
        catalog = self.catalog(output)
        return Table(output=output, name=name or export.table, export=export.name, catalog=catalog)

    def static_table(self, export: Export) -> Table:
        """Return the table of the export's static files."""
        return self.table(export, "iceberg", export.static_table)
