"""Defines what engines are given and what they give back: files, columns, and counts of what was done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from billing_lake.domain.column_names import SOURCE_FILE
from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.json_values import JsonValues
from billing_lake.domain.packing import Compression
from billing_lake.domain.schemas import Column, Field
from billing_lake.domain.types import Type

Container = Literal["csv", "parquet"]
"""What the rows of source files are written in: CSV as delivered, or Parquet, delivered or written by an engine."""

QUOTED_EMPTY = '""'
"""Stands among the texts that mean NULL for an empty text in quotes, which otherwise only columns of text tell from NULL."""

_READ: frozenset[tuple[Container, Compression]] = frozenset(
    {("csv", "gzip"), ("csv", "zip"), ("csv", None), ("parquet", None)}
)


@dataclass(frozen=True, kw_only=True)
class Roles:
    """States which column is for what, whatever its name is in a format; None where the format has no such column.

    Attributes:
        period_start: Start of the row's billing period.
        usage_start: Start of the usage that the row charges for.
        usage_end: Its end.
        currency: Currency of the costs.
        account: Account that used.
        payer: Account that pays.
        line_id: Id of the row, unique within a time interval of one delivery.
        time_interval: That time interval.
        charge_type: Kind of charge: usage, tax, credit, fee.
        service: Service that was used.
        invoice: Id of the invoice that the row is on; empty until it is issued.
        issuer: Company that issues it.
        savings_plan: Savings Plan that covers the usage.
    """

    period_start: str | None = None
    usage_start: str | None = None
    usage_end: str | None = None
    currency: str | None = None
    account: str | None = None
    payer: str | None = None
    line_id: str | None = None
    time_interval: str | None = None
    charge_type: str | None = None
    service: str | None = None
    invoice: str | None = None
    issuer: str | None = None
    savings_plan: str | None = None


class MapEntryColumn(NamedTuple):
    """A column of text that has the value of one key of a map."""

    column: str
    map: str
    key: str


class PeriodRows(NamedTuple):
    """The rows of a file that state one billing period, where it holds rows of several.

    Attributes:
        column: The column that states it, a moment. As text it begins with the period, in every spelling that reports use.
        period: The billing period, `YYYY-MM`.
    """

    column: str
    period: str


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file to read.

    Attributes:
        uri: How to open it: an absolute path, or `s3://bucket/key`.
        name: What the `source_file` column says: the key below the export's storage root.
        columns: Column name of each cell of its header, in order; see `shared_columns.origins` for those that share one. Of each of
            its columns for Parquet; empty where its own names count, as in a table's files.
        lifted: Columns that its maps' keys are made.
        only: The rows that are read; all of them where it is None.
        digest: SHA-256 of the bytes that an earlier pass read, as hexadecimal text; empty where none took one. An engine that
            finds other bytes refuses them.
    """

    uri: str
    name: str
    columns: tuple[str, ...] = ()
    lifted: tuple[MapEntryColumn, ...] = ()
    only: PeriodRows | None = None
    digest: str = ""

    def lifted_as(self, name: str) -> MapEntryColumn | None:
        """Return which key of which map the column ``name`` is; None where it is none."""
        return next((one for one in self.lifted if one.column == name), None)

    def renamed(self, own: Sequence[str]) -> dict[str, str]:
        """Return the column name of each of a Parquet file's ``own`` columns.

        Raises:
            DeliveryChangedError: They are not as many as when its footer was looked at.
        """
        if self.columns and len(self.columns) != len(own):
            what = f"The file has {len(own):,} columns, and had {len(self.columns):,} before"
            raise DeliveryChangedError(what, file=self.name)
        return dict(zip(own, self.columns or own, strict=True))

    def require_digest(self, found: str) -> None:
        """Compare the file's bytes with those that an earlier pass read, where both are known.

        Raises:
            DeliveryChangedError: They are others.
        """
        if self.digest and found and found != self.digest:
            what = "The file was rewritten while it was loaded: its bytes are no longer those that were totalled"
            raise DeliveryChangedError(what, file=self.name)


@dataclass(frozen=True, kw_only=True)
class Source(JsonValues):
    """Files of one format that are read as one set of rows.

    Attributes:
        container: What their rows are written in.
        compression: How they are packed.
        files: The files; their columns may differ from one another.
        columns: The union of their columns, with the types that the format gives them.
        roles: Which of the columns is for what; a file may lack any of them.
        costs: Names of those columns that are totalled.
        nulls: Texts of CSV cells that mean NULL; `QUOTED_EMPTY` for an empty text in quotes, which is one itself otherwise.
    """

    container: Container
    compression: Compression = None
    files: tuple[SourceFile, ...]
    columns: tuple[Column, ...]
    roles: Roles = field(default_factory=Roles)
    costs: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        """Refuse files that no engine reads.

        Raises:
            ValueError: Nothing reads this container with this compression.
        """
        if (self.container, self.compression) not in _READ:
            msg = f"No engine reads {self.container} with the compression {self.compression}"
            raise ValueError(msg)

    def type_of(self, name: str) -> Type | None:
        """Return the type of the column ``name``, or None where no file has it."""
        return next((column.type for column in self.columns if column.name == name), None)

    @property
    def of_table(self) -> bool:
        """Say whether these are a table's files: they, and no report, have the lake's own columns."""
        return self.type_of(SOURCE_FILE) is not None

    def with_digests(self, digests: Mapping[str, str]) -> Source:
        """Return the source with the digest of each file's bytes, by its name; that of a file that is not named stays."""
        files = (replace(file, digest=digests.get(file.name, file.digest)) for file in self.files)
        return replace(self, files=tuple(files))


@dataclass(frozen=True, kw_only=True)
class EncodeTarget:
    """Holds what `encode` is to write.

    Attributes:
        fields: Every field of the files, in order, with the ids they carry.
        constants: Columns with one value for all rows (`export_name`, `billing_period`, `delivery_version`).
        folder: Folder that the files are written into: an absolute path, or `s3://bucket/prefix`.
        stem: What the files' names begin with; unique to this load.
    """

    fields: tuple[Field, ...]
    constants: Mapping[str, str]
    folder: str
    stem: str


@dataclass(frozen=True, kw_only=True)
class EncodedFile:
    """A finished Parquet file."""

    uri: str
    rows: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Encoded(JsonValues):
    """One delivery as finished Parquet files.

    Attributes:
        identity: The delivery's content identity.
        version: The delivery's version.
        fields: Names, types and ids that the files carry.
        content: What the bytes were that they were made from: `Crawl.content`.
    """

    identity: str
    version: str
    files: tuple[EncodedFile, ...] = ()
    fields: tuple[Field, ...] = field(default=())
    content: str = ""

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class PeriodKey:
    """Names what a load replaces: one billing period of one export."""

    export: str
    period: str


def union_columns(columns: Sequence[Sequence[Column]]) -> tuple[Column, ...]:
    """Return the union of several files' columns in the order in which they are first met."""
    return tuple({column.name: column for group in columns for column in group}.values())
