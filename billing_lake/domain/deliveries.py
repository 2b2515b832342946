"""Deliveries: what the provider put down for one billing period, pinned so that a load can tell when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from billing_lake.domain.errors import UnsettledDeliveryError, shown
from billing_lake.domain.json_values import JsonValues

Layout = Literal["create-new", "overwrite", "athena", "loose"]
"""How an export lays out its keys: each delivery gets keys of its own; the same keys are written again, in a folder of each month or
in those of a partition for Athena; files without a manifest."""

REWRITTEN: frozenset[Layout] = frozenset({"overwrite", "athena"})
"""Layouts in which the next delivery has the keys of the one before."""

FIRST_FORMAT = "legacy_cur"
"""The format of deliveries that name none."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """A file in a storage, as a listing shows it.

    Attributes:
        key: Path below the storage's root, `/` between folders, no leading slash.
        uri: How an engine opens it: an absolute path, or `s3://bucket/key`.
        size: Bytes.
        etag: Content tag of the storage; a local folder has none and uses inode, size and time.
        modified: Time of the last change, ISO 8601 in UTC with microseconds.
        touched: When a folder's file system last changed anything of the file, which no program can set: nanoseconds since 1970.
            It tells within a load that a file was written to, and is no part of a delivery's identity, because it changes
            with a new name or link, too. Empty elsewhere.
    """

    key: str
    uri: str
    size: int
    etag: str
    modified: str
    touched: str = ""


@dataclass(frozen=True, kw_only=True)
class Delivery(JsonValues):
    """One full restatement of one billing period by one export.

    Attributes:
        export: Name of the export.
        period: Billing period, `YYYY-MM`.
        version: Id that the manifest gives it, or a fingerprint of loose files.
        layout: The export's key layout.
        files: Report files in the order of the manifest, pinned.
        manifest: The manifest, pinned; None for loose files.
        columns: Header cells that the manifest promises; empty where it states none.
        ignored: Keys beside the delivery that belong to nothing (side files, stale chunks), for the curious.
        format: Name of the export's format.
        bucket: Bucket that it was written to, as the manifest says; where it lies may be a copy. Empty where nothing says.
        format_version: Version of the format's specification that the manifest states; empty where it states none.
        mixed: Keys of those of its files that hold rows of other billing periods too; of them its own rows alone are read.
    """

    export: str
    period: str
    version: str
    layout: Layout
    files: tuple[StoredObject, ...]
    manifest: StoredObject | None = None
    columns: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    format: str = FIRST_FORMAT
    bucket: str = ""
    format_version: str = ""
    mixed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all report files."""
        return sum(file.size for file in self.files)

    @property
    def delivered_at(self) -> str:
        """Return when its last file or its manifest was written, ISO 8601 in UTC; empty where it has neither."""
        pinned = (*self.files, *((self.manifest,) if self.manifest else ()))
        return max((one.modified for one in pinned), default="")

    @property
    def identity(self) -> str:
        """Content identity: equal when, and only when, version, manifest and every file are the same."""
        pinned = (*((self.manifest,) if self.manifest else ()), *self.files)
        return fingerprint_of_texts((self.version, *(f"{o.key} {o.size} {o.etag}" for o in pinned)))

    @property
    def overtaken(self) -> tuple[str, ...]:
        """Keys of the report files that were written after the manifest that lists them."""
        committed = self.manifest.modified if self.manifest else ""
        return tuple(f.key for f in self.files if self.manifest and f.modified > committed)

    @property
    def is_committed(self) -> bool:
        """Say whether its files say that it is finished: they have keys of their own, and the manifest came last.

        Where keys are written again, a manifest also lists the files of the delivery before, and AWS does not say in which
        order it writes. Loose files have nothing that says that they are all there.
        """
        return self.layout == "create-new" and not self.overtaken


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Holds what a look at an export's folder found.

    Attributes:
        deliveries: The current delivery of each billing period that has a complete one.
        waiting: Periods whose delivery is not complete yet, with the reason.
        broken: Periods (or, where none can be told, keys) whose delivery cannot be used, with the reason.
        no_bill: What was found, where all of it is of a table that holds no costs, in a sentence; else empty.
    """

    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    no_bill: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what stands in the way of deliveries, a line for each reason with all that it holds up."""
        return (
            *_grouped(self.waiting, "waits", "wait"),
            *_grouped(self.broken, "is broken", "are broken"),
        )


def _grouped(reasons: Mapping[str, str], one: str, many: str) -> Iterable[str]:
    places: dict[str, list[str]] = {}
    for place, reason in sorted(reasons.items()):
        places.setdefault(reason, []).append(place)
    for reason, held in places.items():
        yield f"{', '.join(held)} {one if len(held) == 1 else many}: {reason}"


def require_settled(delivery: Delivery, quiet_seconds: int, now: datetime) -> None:
    """Refuse a delivery whose keys are written again while that is going on: new and old files would be mixed.

    It is going on where a report file is newer than the manifest and has been for less than ``quiet_seconds``. Waiting for
    the next manifest could be for ever: AWS does not say that it comes last, and in a copied folder nothing has the times
    of the bucket. A time that lies in the future says nothing.

    Args:
        delivery: What the manifest lists.
        quiet_seconds: For how long nothing must have been written.
        now: The present.

    Raises:
        UnsettledDeliveryError: It is; the message says until when to wait.
    """
    if delivery.layout not in REWRITTEN or not delivery.overtaken:
        return
    newest = max(delivery.files, key=lambda file: file.modified)
    written, quiet = datetime.fromisoformat(newest.modified), timedelta(seconds=quiet_seconds)
    if abs(now - written) < quiet:
        what = (
            f"{len(delivery.overtaken)} of the {len(delivery.files)} report files of {delivery.period} are newer than the "
            f"manifest, and the last was written at {written:%H:%M:%S} UTC: the delivery may be being replaced. It is at "
            f"rest when nothing is written until {written + quiet:%Y-%m-%d %H:%M:%S} UTC"
        )
        raise UnsettledDeliveryError(shown(what, 1_000), file=newest.key)


def fingerprint_of_texts(parts: Iterable[str]) -> str:
    """Return a short, stable fingerprint of ``parts`` in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
