"""Describes what an inspection finds, exports and files that belong to none, and the listing that it is found in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from billing_lake.domain.deliveries import Findings, StoredObject
from billing_lake.domain.periods import is_period
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.report_files import Kind
from billing_lake.landing.base import Storage
from billing_lake.landing.stated_periods import StatedPeriods


@dataclass(frozen=True, kw_only=True)
class FoundExport:
    """An export that was found.

    Attributes:
        location: Where it is and how it is read; its name is made of the report's.
        findings: Its deliveries, and what stands in the way of others.
        header: Header cells of one of its files, where no manifest states them.
        is_known: Whether its settings are there already; its location is what they say.
    """

    location: ExportLocation
    findings: Findings
    header: tuple[str, ...] = ()
    is_known: bool = False

    @property
    def _places(self) -> tuple[str, ...]:
        """The billing periods of deliveries, of waiting ones and of broken ones too, and files of no period that cannot be used."""
        findings = self.findings
        return (*findings.deliveries, *findings.waiting, *findings.broken)

    @property
    def format_version(self) -> str | None:
        """Version of the format's specification, empty where nothing tells it; None where the format has no versions."""
        format_ = self.location.format
        if format_.version_of is None:
            return None
        deliveries = self.findings.deliveries
        newest = deliveries[max(deliveries)] if deliveries else None
        cells = newest.columns if newest is not None and newest.columns else self.header
        stated = "" if newest is None else newest.format_version
        return stated or format_.version_of([format_.name_of(cell) for cell in cells])

    @property
    def settings(self) -> dict[str, str]:
        """The settings by which the component reads it."""
        where = self.location
        settings = {
            "name": where.name,
            "format": where.format.name,
            "layout": where.layout,
            "prefix": where.prefix,
            "report": where.report,
            "start": min(filter(is_period, self._places), default=""),
        }
        return {name: value for name, value in settings.items() if value or name == "prefix"}


@dataclass(frozen=True, kw_only=True)
class Unused:
    """Files that belong to no export.

    Attributes:
        why: Why, or what they are.
        remedy: What to do; empty where nothing is to be done.
        keys: The files.
        is_fault: Whether they may be part of a bill: then money may be missing where they are left out.
    """

    why: str
    remedy: str
    keys: tuple[str, ...]
    is_fault: bool = False


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The content of a storage.

    Attributes:
        exports: The exports, by their folder.
        unused: What belongs to none.
        files: Number of all files.
        size: Their bytes.
    """

    exports: tuple[FoundExport, ...]
    unused: tuple[Unused, ...]
    files: int
    size: int

    @property
    def is_faulty(self) -> bool:
        """Whether something is broken, or may be part of a bill and belongs to no export."""
        return any(one.findings.broken for one in self.exports) or any(
            one.is_fault for one in self.unused
        )


@dataclass
class ListedStorage:
    """A storage whose files were listed once; all else is asked of it when it is needed.

    Attributes:
        files: Its files, by key.
        kept: Manifests that were read, for as long as the formats of one export are tried.
    """

    storage: Storage
    files: Sequence[StoredObject]
    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def stated_periods(self) -> StatedPeriods | None:
        """See `Storage.stated_periods`."""
        return self.storage.stated_periods

    def list(self, prefix: str, *, hidden: bool = False) -> list[StoredObject]:
        """See `Storage.list`."""
        folder = len(prefix.rpartition("/")[0])
        return [
            one
            for one in self.files
            if one.key.startswith(prefix) and (hidden or "/." not in f"/{one.key[folder:]}")
        ]

    def names(self, folder: str) -> Sequence[str] | None:
        """See `Storage.names`."""
        below = (one.key[len(folder) :] for one in self.files if one.key.startswith(folder))
        parts = (key.partition("/") for key in below)
        names = sorted({f"{name}{slash}" for name, slash, _ in parts if name})
        return names if names or not folder else None

    def address(self, key: str) -> str:
        """See `Storage.address`."""
        return self.storage.address(key)

    def read(self, key: str, etag: str) -> bytes:
        """See `Storage.read`: once, however many formats are tried."""
        if (key, etag) not in self.kept:
            self.kept[key, etag] = self.storage.read(key, etag)
        return self.kept[key, etag]

    def open(self, key: str) -> BinaryIO:
        """See `Storage.open`."""
        return self.storage.open(key)

    def stat(self, key: str) -> StoredObject | None:
        """See `Storage.stat`."""
        return self.storage.stat(key)


@dataclass
class UnusedFiles:
    """Collects the files that belong to no export, by what is said of them."""

    groups: dict[tuple[Kind, bool], list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, keys: Iterable[str], *, is_fault: bool = False) -> None:
        """Add ``keys``, of which ``kind`` says what they are or why they are not read, and what to do."""
        self.groups.setdefault((kind, is_fault), []).extend(keys)

    def all(self) -> tuple[Unused, ...]:
        """Return what was added."""
        return tuple(
            Unused(why=kind.name, remedy=kind.remedy, keys=tuple(keys), is_fault=is_fault)
            for (kind, is_fault), keys in self.groups.items()
            if keys
        )
