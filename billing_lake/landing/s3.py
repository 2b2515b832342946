"""An S3 bucket as a storage: where a cloud provider delivers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timezone
from typing import TYPE_CHECKING, Any, BinaryIO

from billing_lake.aws.errors import s3_errors
from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.files.s3 import S3Files
from billing_lake.landing.errors import changed_error, naming_errors, unreadable_error
from billing_lake.landing.stated_periods import StatedPeriods

if TYPE_CHECKING:
    from billing_lake.aws.clients import AwsClients

_SETTINGS = "BILLING_LAKE_LANDING_BUCKET on AWS, BILLING_LAKE_LANDING for a lake in a folder"


class S3Storage:
    """Report files in a bucket.

    Like in a folder, what lies below a name that begins with a dot is left out. Every listing is whole, in pages of the
    server's choice, and sorted here: servers differ in their order.
    """

    def __init__(
        self, clients: AwsClients, bucket: str, stated_periods: StatedPeriods | None = None
    ) -> None:
        self.bucket = bucket
        self.stated_periods = stated_periods
        self._clients = clients
        self._files = S3Files(clients)

    def list(self, prefix: str, *, hidden: bool = False) -> list[StoredObject]:
        """Return every file whose key begins with ``prefix``, by key.

        Raises:
            ConfigurationError: There is no such bucket, or it may not be listed.
            ReportFileError: S3 does not answer.
        """
        folder = len(prefix.rpartition("/")[0])
        with self._listing(prefix):
            found = [
                _stored(self.bucket, one["Key"], int(one["Size"]), one)
                for one in self._files.listed(self.bucket, prefix)
                if hidden or not _is_hidden(one["Key"][folder:])
            ]
        return sorted(found, key=lambda file: file.key)

    def names(self, folder: str) -> Sequence[str] | None:
        """Return what lies directly in ``folder``, the first thousand; None where nothing does, but in the bucket itself."""
        with self._listing(folder), s3_errors(self.address(folder)):
            page = self._clients.client("s3").list_objects_v2(
                Bucket=self.bucket, Prefix=folder, Delimiter="/"
            )
        keys = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        keys += [one["Key"] for one in page.get("Contents", ())]
        names = sorted(key[len(folder) :] for key in keys if key != folder)
        return names if names or not folder else None

    def address(self, key: str) -> str:
        """Return the URI of ``key``."""
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def _listing(self, prefix: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            what = f"Bucket {shown(self.bucket)} cannot be listed: {error.strerror}"
            remedy = f"Name the bucket that exports deliver to ({_SETTINGS}), and allow its listing"
            raise ConfigurationError(what, remedy=remedy, file=self.address(prefix)) from error
        except OSError as error:
            raise unreadable_error(error, prefix) from error

    def read(self, key: str, etag: str) -> bytes:
        """Return the bytes of a small file, in one request; see `Storage.read`."""
        wanted = f'"{etag}"'
        with naming_errors(key), s3_errors(self.address(key)):
            answer = self._clients.client("s3").get_object(
                Bucket=self.bucket, Key=key, IfMatch=wanted
            )
            with answer["Body"] as body:
                data: bytes = body.read()
        if answer["ETag"] != wanted:
            raise changed_error(key)
        return data

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""
        with naming_errors(key):
            return self._files.open(self.address(key))

    def stat(self, key: str) -> StoredObject | None:
        """Return the file at ``key``, or None where there is none."""
        with naming_errors(key):
            try:
                with s3_errors(self.address(key)):
                    head = self._clients.client("s3").head_object(Bucket=self.bucket, Key=key)
            except FileNotFoundError:
                return None
        return _stored(self.bucket, key, int(head["ContentLength"]), head)


def _stored(bucket: str, key: str, size: int, answer: Mapping[str, Any]) -> StoredObject:
    # Some servers list fractions of a second and others do not; the head of an object never has any.
    changed = answer["LastModified"].astimezone(timezone.utc).replace(microsecond=0)
    return StoredObject(
        key=key,
        uri=f"s3://{bucket}/{key}",
        size=size,
        etag=answer["ETag"].strip('"'),
        modified=changed.isoformat(timespec="microseconds"),
    )


def _is_hidden(path: str) -> bool:
    return any(name.startswith(".") for name in path.split("/"))
