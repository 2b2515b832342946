"""The contract of a storage: what a local folder and an S3 bucket have in common, as far as deliveries need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Protocol

from billing_lake.domain.deliveries import StoredObject
from billing_lake.landing.stated_periods import StatedPeriods


class Storage(Protocol):
    """Files by key. Reads only: nothing here could change a delivery."""

    @property
    def stated_periods(self) -> StatedPeriods | None:
        """Return what was once found in its files; None where nothing is kept."""

    def list(self, prefix: str, *, hidden: bool = False) -> Sequence[StoredObject]:
        """Return every file whose key begins with ``prefix`` (empty, or a folder with a slash at its end), by key.

        Args:
            prefix: The folder.
            hidden: Whether files and folders below it count whose names begin with a dot.
        """

    def names(self, folder: str) -> Sequence[str] | None:
        """Return what lies directly in ``folder``, in order, folders with a slash at their end; None where it is not there."""

    def address(self, key: str) -> str:
        """Return where ``key`` is, for people: an absolute path, or `s3://bucket/key`."""

    def read(self, key: str, etag: str) -> bytes:
        """Return the bytes of a small file, which still has to have its ``etag``.

        Raises:
            DeliveryChangedError: It has another one, or is not there any more.
        """

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading; the stream is seekable and belongs to the caller."""

    def stat(self, key: str) -> StoredObject | None:
        """Return the file at ``key``, or None where there is none."""
