"""Every error that Billing Lake raises on purpose, in one place.

An operator reads these at three in the morning: each says what happened, where (file, line, column, value), and what to
do. Nothing in a message comes from outside without being shortened and made printable first.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar

_SHOWN_CHARACTERS = 120

INSTALL_AWS = (
    "Run `make aws` in a checkout of Billing Lake; where the package was installed with pip, "
    "`pip install 'billing-lake[aws]'` in the same environment"
)
"""Remedy where the packages that speak to AWS are not installed."""

_COPY_AGAIN = "Copy it again; if it is damaged at the provider too, have it delivered again. No table was changed"


def number(value: Decimal | int, sign: str = "") -> str:
    """Return a number with all its digits and no zeros behind them; ``sign`` is `+` to show that of a positive one."""
    text = format(Decimal(value), f"{sign},f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: `1 file`, `2 files`, `3 deliveries` where ``many`` is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def in_words(items: Iterable[object], most: int, between: str = ", ") -> str:
    """Return the first ``most`` of some items in words, and how many more there are."""
    known = list(items)
    more = f"{between.rstrip(' ,')} and {len(known) - most:,} more" if len(known) > most else ""
    return between.join(map(str, known[:most])) + more


def shown(value: object, limit: int = _SHOWN_CHARACTERS) -> str:
    """Return ``value`` as printable text of at most ``limit`` characters, safe for a log or a web page."""
    text = str(value)
    cut = text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut)


class BillingLakeError(Exception):
    """Base of all errors on purpose.

    Args:
        what: What happened, one sentence without a full stop.
        remedy: What to do about it; the class has a default.
        file: The report file, manifest or folder it happened in.
        line: Line of the file, counted from 1, the header included.
        column: Column as the file or table names it.
        value: The offending cell.
    """

    remedy: ClassVar[str] = ""

    passes: ClassVar[bool] = False
    """Whether a load of the same delivery may succeed later: what is in its way lies outside of delivery and table."""

    def __init__(
        self,
        what: str,
        *,
        remedy: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        self.what = what
        self.file = file
        self.line = line
        self.column = column
        self.value = value
        self.how = type(self).remedy if remedy is None else remedy
        place = ", ".join(
            f"{label} {shown(item)}"
            for label, item in (("file", file), ("line", line), ("column", column))
            if item is not None
        )
        if value is not None:
            place = f"{place}: {shown(value)!r}" if place else repr(shown(value))
        super().__init__(
            ". ".join(part for part in (f"{what} ({place})" if place else what, self.how) if part)
        )


class ConfigurationError(BillingLakeError):
    """A setting, a right or a service is missing or wrong."""

    passes = True


class CredentialsError(ConfigurationError):
    """The credentials for AWS are expired, unknown to it, or not there."""

    remedy = "Sign in again with the AWS command line, set AWS_PROFILE, or give this process a role; then run it again: no table was changed"


class NoFolderError(ConfigurationError):
    """The export's folder is not there."""

    remedy = "Set `prefix` and `report` to the folders that the provider writes to, or put the export's files there"


class WrongLayoutError(ConfigurationError):
    """What lies in the export's folder is laid out in another way than its setting says."""


class DeliveryError(BillingLakeError):
    """Something is wrong with a delivery as a whole."""


class NoDeliveryError(DeliveryError):
    """The billing period has no delivery."""

    passes = True
    remedy = "Choose a period that has one, or check the export's folder and layout"


class IncompleteDeliveryError(DeliveryError):
    """The manifest lists a file that is not there yet, or is still empty."""

    passes = True
    remedy = "Wait for the provider to finish the delivery; the sensor tries again at its next tick"


class UnsettledDeliveryError(IncompleteDeliveryError):
    """Report files have just been written after the manifest that lists them, and more may follow."""

    remedy = (
        "The sensor loads it when nothing has changed for that long; for a folder that is finished, set `quiet_seconds` of "
        "the export to 0"
    )


class UnusableFilesError(DeliveryError):
    """Files of the export cannot be used, and it cannot be told which billing period they belong to."""

    passes = True
    remedy = "Repair or replace the file, or move it out of the export's folder; until then nothing of it is loaded"


class SharedFilesError(DeliveryError):
    """Two exports take the same report file, whose costs would be in two tables."""

    remedy = (
        "Let `prefix` and `report` of the two exports take different files, or give one of them `counts: false`, so that its costs "
        "do not count"
    )


class SameFilesError(DeliveryError):
    """Two loose files of one billing period are the same file twice."""

    remedy = "Remove one of them: every report file below a loose folder counts"


class BrokenManifestError(DeliveryError):
    """The manifest cannot be understood."""

    remedy = "Have the provider deliver the period again, or restore the manifest from the bucket's history"


class NoBillError(BrokenManifestError):
    """The manifest is of a table that holds no costs."""


class ForeignKeyInManifestError(BrokenManifestError):
    """The manifest lists a file outside the export's own folder or bucket."""

    remedy = "Nothing outside the export is ever read; find out who wrote this manifest"


class PeriodMismatchError(DeliveryError):
    """Rows or manifest speak of another billing period than the folder does."""

    remedy = "Have the period delivered again; move nothing within an export that a provider writes"


class MixedPeriodsError(PeriodMismatchError):
    """One file holds rows of several billing periods, in a format that has no such files."""

    remedy = "Split the file, one billing period each; a period is replaced as a whole"


class RowsElsewhereError(MixedPeriodsError):
    """Rows of a billing period lie in a loose file that begins with another one."""

    passes = True


class DeliveryChangedError(DeliveryError):
    """A file changed, or a newer delivery arrived, while this one was being loaded."""

    passes = True
    remedy = "Nothing was committed; load the period again to take the newest delivery"


class ReportFileError(BillingLakeError):
    """A report file cannot be read."""

    remedy = "Have the provider deliver the period again; no table was changed"


class OtherFormatError(ReportFileError):
    """The file is of another format than its export."""


class UnreadableFileError(ReportFileError):
    """The file, or a folder, is there and cannot be read: its permissions, the disk, or what it is forbids it."""

    passes = True
    remedy = "Repair the access to the file, then load the period again; no table was changed"


class EmptyFileError(ReportFileError):
    """The file has no bytes, or not even a header."""

    remedy = _COPY_AGAIN


class NotGzipError(ReportFileError):
    """The file's name says gzip, its bytes do not."""

    remedy = _COPY_AGAIN


class NotZipError(ReportFileError):
    """The file's name says ZIP, its bytes do not."""

    remedy = _COPY_AGAIN


class NotPlainTextError(ReportFileError):
    """The file's name says plain CSV, its bytes are packed."""

    remedy = "Let its name end as the file is packed, .csv.gz or .csv.zip; no table was changed"


class ZipContentError(ReportFileError):
    """A ZIP holds something else than one CSV file that can be read."""

    remedy = "Pack each CSV file into a ZIP of its own, without folders or a password; no table was changed"


class ZipBombError(ZipContentError):
    """A ZIP says that it unpacks to far more than a bill would."""

    remedy = "Find out who made this file; a bill packs to a fifth or a sixtieth, and no table was changed"


class NotParquetError(ReportFileError):
    """The file's name says Parquet, its bytes do not."""

    remedy = _COPY_AGAIN


class TruncatedFileError(ReportFileError):
    """The packed file or the Parquet file ends early, or is damaged: a checksum or a footer is wrong."""

    remedy = _COPY_AGAIN


class PaddedFileError(ReportFileError):
    """Zero bytes follow the data of a gzip file, or any bytes the end of a ZIP."""

    remedy = (
        "Copy the file again from where the provider delivered it: a tool that copies in blocks has filled up the last one. No "
        "table was changed"
    )


class EncodingError(ReportFileError):
    """The file is not UTF-8."""

    remedy = "Convert the file to UTF-8 or have the period delivered again; no table was changed"


class BadHeaderError(ReportFileError):
    """A header cell cannot become a column name."""


class DuplicateHeaderError(BadHeaderError):
    """The same header cell stands twice."""


class MissingColumnError(BadHeaderError):
    """A column without which a report cannot be totalled is missing."""


class RaggedRowError(ReportFileError):
    """A row has more or fewer cells than the header."""


class UnclosedQuoteError(ReportFileError):
    """A quote opens and never closes, or closes in the middle of a cell."""


class BadValueError(ReportFileError):
    """A cell does not fit the type that its column has by definition."""


class SchemaChangeError(BillingLakeError):
    """A column's type changed in a way that a table cannot follow."""

    remedy = "Correct the delivery, or run the rebuild_tables job, which builds the table anew and keeps the old rows"


class LoadError(BillingLakeError):
    """A load could not be finished; the table is as it was before."""

    passes = True


class StorageWriteError(LoadError):
    """The lake's storage refuses a write: full, read-only, or no permission."""

    remedy = (
        "Free space or repair the permissions, then load the period again; no table was changed"
    )


class FieldIdMismatchError(LoadError):
    """Encoded files carry other field ids than the table; they are never committed."""

    remedy = "Load the period again: the files are encoded anew for this table"


class CommitConflictError(LoadError):
    """Other writers kept winning the commit."""

    remedy = "Nothing was committed; load the period again"


class CommitUnknownError(LoadError):
    """The catalog did not say whether it committed."""

    remedy = "Load the period again: that replaces it as a whole, whichever it was"


class ProofError(LoadError):
    """The table does not equal the delivery."""

    remedy = "Load the period again; if it persists, compare the delivery's files with the table"


class GlueJobError(LoadError):
    """The Glue job failed, was stopped, ran out of time, or did not answer."""

    remedy = (
        "No table was changed; see the job's run in the Glue console, then load the period again"
    )


class CrawlerError(LoadError):
    """The Glue crawler failed, was stopped, ran out of time, or made other tables than one."""

    remedy = "Load the period again, or set `crawler: built_in` in the export's defs.yaml, which needs no crawler"


class TableError(BillingLakeError):
    """A table is missing, present, or other than expected."""

    passes = True


class SnapshotGoneError(TableError):
    """What a load committed was replaced since, and its files are not kept any more."""

    remedy = "Nothing has to be done: what is there now was proved by the load that brought it"


class StorageReadError(TableError):
    """The lake's storage, or the database of its catalog, cannot be read: the disk, its permissions, somebody's lock."""

    remedy = "Repair the access or the disk, then run it again; no table was changed"


class ConfirmationError(TableError):
    """A destructive job was not confirmed."""

    remedy = "Type the table's full name as `confirm` in the run config"


class QueryError(BillingLakeError):
    """SQL that the lake cannot answer, or may not."""


class NotDeliveredError(BillingLakeError):
    """A service did not take a message."""

    remedy = "It is sent again by itself; see that the service answers"
    passes = True
