"""Deliveries: what the provider put down for one billing period, pinned so that a load can tell when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Layout = Literal["create-new", "overwrite", "loose"]
"""How an export lays out its keys: legacy CUR CREATE_NEW_REPORT, legacy CUR OVERWRITE_REPORT, files without a manifest."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """A file in a storage, as a listing shows it.

    Attributes:
        key: Path below the storage's root, `/` between folders, no leading slash.
        uri: How an engine opens it: an absolute path, or `s3://bucket/key`.
        size: Bytes.
        etag: Content tag of the storage; a local folder has none and uses inode, size and time.
        modified: Time of the last change, ISO 8601 in UTC with microseconds.
    """

    key: str
    uri: str
    size: int
    etag: str
    modified: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One full restatement of one billing period by one export.

    Attributes:
        export: Name of the export.
        period: Billing period, `YYYY-MM`.
        version: Assembly id of the manifest, or a fingerprint of loose files.
        layout: The export's key layout.
        files: Report files in the order of the manifest, pinned.
        manifest: The manifest, pinned; None for loose files.
        columns: Header cells that the manifest promises; empty where it states none.
        ignored: Keys beside the delivery that belong to nothing (side files, stale chunks), for the curious.
    """

    export: str
    period: str
    version: str
    layout: Layout
    files: tuple[StoredObject, ...]
    manifest: StoredObject | None = None
    columns: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all report files."""
        return sum(file.size for file in self.files)

    @property
    def identity(self) -> str:
        """Content identity: equal when, and only when, version, manifest and every file are the same."""
        pinned = (*((self.manifest,) if self.manifest else ()), *self.files)
        return fingerprint((self.version, *(f"{o.key} {o.size} {o.etag}" for o in pinned)))

    def to_json(self) -> dict[str, Any]:
        """Return the delivery as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Delivery:
        """Read what `to_json` wrote."""
        manifest = value["manifest"]
        return cls(
            **{
                **value,
                "files": tuple(StoredObject(**file) for file in value["files"]),
                "manifest": None if manifest is None else StoredObject(**manifest),
                "columns": tuple(value["columns"]),
                "ignored": tuple(value["ignored"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a look at an export's folder found.

    Attributes:
        deliveries: The current delivery of each billing period that has a complete one.
        waiting: Periods whose delivery is not complete yet, with the reason.
        broken: Periods (or, where none can be told, keys) whose delivery cannot be used, with the reason.
    """

    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


def fingerprint(parts: Iterable[str]) -> str:
    """Return a short, stable fingerprint of ``parts`` in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
