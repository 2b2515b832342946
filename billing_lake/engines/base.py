"""The contract that every engine keeps, with the same results from each, and that of the reader that proves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from billing_lake.domain.bill import Bill, Charges, TagKeys
from billing_lake.domain.content import Content
from billing_lake.domain.ledger import Amount
from billing_lake.domain.profiles import Profile
from billing_lake.domain.quality import Quality
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source

Log = Callable[[str], None]
"""Takes a line about progress."""


class Engine(Protocol):
    """Turns report files into Parquet and totals them; see the README for why it knows nothing else."""

    @property
    def name(self) -> str:
        """Name for people: `polars`."""

    def profile(self, source: Source) -> Profile:
        """Total ``source`` in one pass, exactly.

        Report files are also checked: every row has the header's number of cells, and every cell that is read fits its type.
        The profile says the digest of each that lies on this machine.

        Raises:
            ReportFileError: A file cannot be read, with file, line, column and value where they can be told.
            TableError: A Parquet file of a table is missing or unreadable.
        """

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """Write ``source`` as Parquet (zstd) with the names, types and ids of ``target``.

        Columns that the source lacks are NULL. Files without rows are not kept.

        Raises:
            ReportFileError: As for `profile`; nothing that was written stays.
            DeliveryChangedError: A file of this machine has other bytes than its digest says; nothing that was written stays.
            StorageWriteError: The target's folder takes no more.
        """

    def convert(
        self, source: Source, target: EncodeTarget
    ) -> tuple[Profile, tuple[EncodedFile, ...]] | None:
        """Do both in one pass over ``source``: return what `profile` and `encode` would.

        None, before anything is done, where that would take this engine as much as the two of them.

        Raises:
            ReportFileError: As for `profile` and `encode`; nothing that was written stays.
            StorageWriteError: As for `encode`.
        """

    def facts(self) -> Mapping[str, str | int | float]:
        """Return what people should know about the last call: the run of a job elsewhere, and what it cost."""


class Reader(Protocol):
    """Reads tables back, in this process, streamed: a proof must not depend on what it proves."""

    def profile(self, source: Source) -> Profile:
        """Total the Parquet files ``source``, exactly.

        Raises:
            TableError: A file is missing or unreadable.
        """

    def content(self, source: Source, columns: Sequence[Column]) -> Content:
        """Hash the cells of ``columns`` in report files or in a table's files, as values of the columns' types.

        Raises:
            ReportFileError: A report file is missing, damaged, or holds a value that does not fit.
            DeliveryChangedError: A report file of this machine has other bytes than its digest says.
            TableError: A table's file is missing or unreadable.
        """

    def quality(self, source: Source, period: str) -> Quality:
        """Look at the Parquet files ``source`` of the billing period ``period``."""

    def groups(
        self, source: Source, keys: Sequence[str | None], cost: str | None = None
    ) -> Mapping[tuple[str | None, ...], Amount]:
        """Total the column ``cost`` of the Parquet files ``source`` by the values of the columns ``keys``, exactly.

        A column that is None or not there has no value, and neither has empty text. Without ``cost``, rows are counted.
        """

    def bill(
        self,
        source: Source,
        cost: str,
        charges: Charges = ...,
        tags: Mapping[str, TagKeys | None] = ...,
        figures: Collection[str] = ...,
    ) -> Bill:
        """Return figures of the Parquet files ``source``, all of them from one reading; see `Bill`.

        Args:
            source: The files, with their roles.
            cost: The column of the cost that is looked at.
            charges: What the kinds of charge mean.
            tags: Columns of tags, with the keys that count where one is a map.
            figures: Names of the figures that are wanted; all unless given.
        """

    def preview(self, source: Source, columns: Sequence[str], rows: int) -> list[dict[str, str]]:
        """Return the first rows of Parquet files, the cells as text."""


def facts_of(engine: Engine) -> dict[str, str | int | float]:
    """Return what people should know about an engine's last call, and which engine it is."""
    return {"engine": engine.name, **engine.facts()}
