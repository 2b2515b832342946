"""Data files on their way into a table: how far they are, and what the storage or a catalog's database refuses."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from billing_lake.aws.errors import aws_errors
from billing_lake.domain.errors import (
    BillingLakeError,
    LoadError,
    StorageReadError,
    StorageWriteError,
    shown,
)
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source, SourceFile
from billing_lake.files.base import Files
from billing_lake.files.local import LocalFiles, local_path

_LOG_EVERY_SECONDS = 10.0
_LOG_EVERY_BYTES = 256 * 1024 * 1024
_LOG_TOTAL_FROM_SECONDS = 1.0
"""Placing that is over sooner, as on this machine, is not logged."""

_LONGEST_TEXT_CHARACTERS = 400


class Placing:
    """Logs how many bytes of a load's files have been placed: about every ten seconds or 256 MB, and at the end.

    Args:
        table: The table that they are placed for.
        sizes: Bytes of the files, in order.
        log: Called with each line.
    """

    def __init__(self, table: str, sizes: Sequence[int], log: Callable[[str], None]) -> None:
        self._table, self._sizes, self._log = table, sizes, log
        self._started = self._logged_at = time.monotonic()
        self._logged_bytes, self._arrived_bytes, self._number = 0, 0, 0
        self._lock = threading.Lock()

    def begin(self, number: int) -> None:
        """Note that a file is begun, counted from 1."""
        self._number = number

    def arrived(self, more: int) -> None:
        """Note that ``more`` bytes have arrived; may be called from any thread."""
        with self._lock:
            self._arrived_bytes += more
            now = time.monotonic()
            unlogged = self._arrived_bytes - self._logged_bytes
            if now - self._logged_at < _LOG_EVERY_SECONDS and unlogged < _LOG_EVERY_BYTES:
                return
            self._logged_at, self._logged_bytes = now, self._arrived_bytes
            line = (
                f"{self._table}: placing file {self._number} of {len(self._sizes)},"
                f" {_megabytes(self._arrived_bytes)} of {_megabytes(sum(self._sizes))} MB"
            )
        self._log(line)

    def end(self) -> None:
        """Log that all files are placed."""
        seconds = time.monotonic() - self._started
        if seconds < _LOG_TOTAL_FROM_SECONDS:
            return
        self._log(
            f"{self._table}: placed {len(self._sizes)} files, {_megabytes(sum(self._sizes))} MB in {seconds:.1f} s"
        )


def table_source(uris: Iterable[str], columns: Iterable[Column]) -> Source:
    """Return data files of a table as files that an engine reads; a file may lack some of the columns."""
    files = tuple(SourceFile(uri=uri, name=uri) for uri in sorted(uris))
    return Source(container="parquet", files=files, columns=tuple(columns))


def open_encoded(files: Files, uri: str) -> BinaryIO:
    """Open a file that an engine wrote, on this machine or in the storage of ``files``."""
    return (files if local_path(uri) is None else LocalFiles()).open(uri)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


@contextmanager
def naming_write_errors(place: str) -> Iterator[None]:
    """Turn every error of the storage or of the catalog's database within the block into a `StorageWriteError`.

    Errors of AWS are named by `aws_errors`. A missing file of this machine is a `LoadError`, after which a load may encode
    the delivery again.
    """
    with _named_errors(place, _write_error), aws_errors(place):
        yield


@contextmanager
def naming_read_errors(place: str) -> Iterator[None]:
    """Turn every error of the storage or of the catalog's database within the block into a `StorageReadError`.

    Errors of AWS are named by `aws_errors`.
    """
    with _named_errors(place, _read_error), aws_errors(place):
        yield


@contextmanager
def _named_errors(place: str, named: Callable[[str, str], BillingLakeError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        file = str(error.filename or place)
        here = not file.startswith("s3:")
        if here and (isinstance(error, FileNotFoundError) and named is _write_error):
            raise LoadError("A file that is needed is not there", file=file) from error
        # pyiceberg and pyarrow raise errors without a number, or without a text.
        text = error.strerror or str(error) or os.strerror(error.errno or errno.EIO)
        raise named(shown(text, _LONGEST_TEXT_CHARACTERS), file) from error
    except Exception as error:
        # SQLAlchemy wraps SQLite's own error.
        refusal = getattr(error, "orig", error)
        # These two, and no class below them: locked for a minute, full, read-only, cannot be opened; and no database at all.
        if type(refusal) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            raise
        raise named(f"the catalog's database: {shown(refusal)}", place) from error


def _write_error(text: str, file: str) -> BillingLakeError:
    return StorageWriteError(f"The storage refuses a write: {text}", file=file)


def _read_error(text: str, file: str) -> BillingLakeError:
    return StorageReadError(f"The storage cannot be read: {text}", file=file)
