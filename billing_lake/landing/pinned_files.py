"""Lists an export's folder, and remembers what files say as long as their content stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, TypeVar

from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    MissingColumnError,
    ReportFileError,
    UnreadableFileError,
)
from billing_lake.formats.base import Format
from billing_lake.formats.layouts import KeyRules, ManifestLayout
from billing_lake.formats.manifests import Manifest
from billing_lake.formats.recognition import refuse_other_format
from billing_lake.landing.base import Storage
from billing_lake.landing.errors import naming_errors
from billing_lake.landing.mixed_files import periods_of
from billing_lake.landing.report_headers import first_row_period, header_of

_BLOCK_BYTES = 1 << 20
_GZIP_TRAILER_BYTES = 8

_StatedT = TypeVar("_StatedT")


@dataclass
class FolderFindings:
    """The result of a look at an export's folder.

    Attributes:
        deliveries: Deliveries by billing period.
        errors: What stood in the way of others, by period, or by key where no period can be told.
        blocked: What stands in the way of every billing period.
    """

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    errors: dict[str, BillingLakeError] = field(default_factory=dict)
    blocked: BillingLakeError | None = None


@dataclass(frozen=True)
class _Pinned:
    """A file at one state of its content, as a key of caches: equal where address and content tag are."""

    uri: str
    etag: str
    key: str = field(compare=False)
    storage: Storage = field(compare=False)


def list_export(
    storage: Storage, rules: KeyRules, below: Sequence[str] = ("",)
) -> list[StoredObject]:
    """Return every file below the export's folder, or below the folders ``below`` in it, by key.

    One listing for each of them, but for an export whose keys may have empty parts: two.
    """
    found = {
        file.key: file
        for folder in rules.folders
        for inner in below
        for file in storage.list(f"{folder}{inner}", hidden=rules.hidden)
    }
    return [found[key] for key in sorted(found)]


def manifest_of(storage: Storage, file: StoredObject, rules: ManifestLayout) -> Manifest:
    """Read the manifest ``file``."""
    return _manifest(_pinned(storage, file), rules)


def stated_periods(storage: Storage, file: StoredObject, format_: Format) -> tuple[str, ...]:
    """Return the billing periods that the rows of the loose ``file`` state: several only where the format has such files."""
    pinned = _pinned(storage, file)
    if not format_.mixes_periods:
        return (_stated_period(pinned, format_),)
    found = _stated_periods(pinned, format_)
    if isinstance(found, ReportFileError):
        raise found.with_traceback(None)
    return found


def last_bytes(storage: Storage, file: StoredObject) -> bytes:
    """Return the last bytes of ``file``: where it is gzipped, check sum and size of what is in it."""
    return _ending(_pinned(storage, file), file.size)


def file_digest(storage: Storage, file: StoredObject) -> bytes:
    """Return a hash of all bytes of ``file``."""
    return _digest(_pinned(storage, file))


def _pinned(storage: Storage, file: StoredObject) -> _Pinned:
    return _Pinned(file.uri, file.etag, file.key, storage)


# A sensor looks every few minutes, and pinned content never changes: no file is read twice for what it says.
@lru_cache(maxsize=2_000)
def _manifest(file: _Pinned, rules: ManifestLayout) -> Manifest:
    return rules.parse(file.storage.read(file.key, file.etag), file.key)


@lru_cache(maxsize=10_000)
def _stated_period(file: _Pinned, format_: Format) -> str:
    return _stated(file, format_, first_row_period)


@lru_cache(maxsize=10_000)
def _stated_periods(file: _Pinned, format_: Format) -> tuple[str, ...] | ReportFileError:
    kept = file.storage.stated_periods
    pinned = (file.uri, file.etag, format_.name, *format_.renamed)
    known = kept.periods(*pinned) if kept else None
    if known is not None:
        return known
    try:
        found = _stated(file, format_, periods_of)
    except UnreadableFileError:
        raise
    except ReportFileError as error:
        # What is wrong in a file stays so, and to find it again would cost reading it again.
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    now = file.storage.stat(file.key)
    if now is None or now.etag != file.etag:
        what = "The file was written to while its billing periods were looked for"
        raise DeliveryChangedError(what, file=file.key)
    if kept:
        kept.keep(found, *pinned)
    return found


def _stated(
    file: _Pinned, format_: Format, read: Callable[[BinaryIO, str, Format], _StatedT]
) -> _StatedT:
    with file.storage.open(file.key) as stream, naming_errors(file.key):
        try:
            return read(stream, file.key, format_)
        except MissingColumnError:
            stream.seek(0)
            refuse_other_format(header_of(stream, file.key, format_), file.key, format_)
            raise


@lru_cache(maxsize=10_000)
def _ending(file: _Pinned, size: int) -> bytes:
    with file.storage.open(file.key) as stream, naming_errors(file.key):
        stream.seek(max(0, size - _GZIP_TRAILER_BYTES))
        return stream.read(_GZIP_TRAILER_BYTES)


@lru_cache(maxsize=10_000)
def _digest(file: _Pinned) -> bytes:
    digest = hashlib.sha256()
    with file.storage.open(file.key) as stream, naming_errors(file.key):
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()
