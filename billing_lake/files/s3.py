"""Files in S3, by `s3://bucket/key`.

A key is opaque: nothing in it is resolved, decoded or cleaned, so what was listed is what is opened.
"""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timezone
from itertools import islice
from typing import Any, BinaryIO, cast

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import s3_errors
from billing_lake.files.base import FileInfo, Identity, Progress, ignore_bytes
from billing_lake.files.local import LocalFiles
from billing_lake.files.s3_reading import S3Reader, head_of
from billing_lake.files.s3_writing import PART_BYTES, S3Writer

log = logging.getLogger(__name__)

_SCHEME = "s3://"
_BUFFER_BYTES = 128 * 1024
_COPIED_PART_BYTES = 256 * 1024 * 1024
_LARGEST_COPY_BYTES = 1024 * 1024 * 1024
"""S3 refuses to copy more than 5 GB at once, and a copy of that size in one request outlasts any time-out."""

_COPIED_AT_ONCE = 8
_BLOCK_BYTES = 8 * 1024 * 1024

_TABLE_BUCKET = "--table-s3"
"""End of the names of the buckets behind S3 Tables, which cannot copy objects."""

_MARKERS = ("/", "_$folder$")
"""Ends of the keys of empty objects that stand for folders."""

_DELETED_AT_ONCE = 1000


class S3Files:
    """`Files` in S3.

    Args:
        clients: Where S3 is.
        largest_copy: Bytes up to which an object is copied in one request; larger ones in parts.
        part: Bytes of such a part, 5 MiB at least.
    """

    def __init__(
        self,
        clients: AwsClients,
        *,
        largest_copy: int = _LARGEST_COPY_BYTES,
        part: int = _COPIED_PART_BYTES,
    ) -> None:
        self.clients = clients
        self._largest_copy = largest_copy
        self._part = part

    def open(self, uri: str) -> BinaryIO:
        """See `Files.open`; an object that changes while it is read is an `OSError` with `ESTALE`."""
        bucket, key = split_uri(uri)
        return io.BufferedReader(S3Reader(self._client, bucket, key), _BUFFER_BYTES)

    def size(self, uri: str) -> int:
        """See `Files.size`."""
        return int(head_of(self._client, *split_uri(uri))["ContentLength"])

    def identity(self, uri: str) -> Identity:
        """See `Files.identity`: the tag of the content. One that is encrypted by KMS has a tag of its own for each object."""
        found = head_of(self._client, *split_uri(uri))
        return str(found["ETag"]), int(found["ContentLength"])

    def read(self, uri: str) -> bytes:
        """See `Files.read`."""
        bucket, key = split_uri(uri)
        with s3_errors(uri), self._client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            read: bytes = body.read()
            return read

    def write(self, uri: str, data: bytes) -> None:
        """See `Files.write`."""
        bucket, key = split_uri(uri)
        with s3_errors(uri):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        """See `Files.create`."""
        writer = S3Writer(self._client, *split_uri(uri), part=PART_BYTES)
        try:
            yield cast("BinaryIO", writer)
            writer.finish()
        except BaseException as error:
            writer.abort()
            if writer.failure is not None and error is not writer.failure:
                raise writer.failure from error
            raise

    def make_folder(self, uri: str) -> None:
        """See `Files.make_folder`: S3 has none."""

    def list(self, folder: str) -> list[FileInfo]:
        """See `Files.list`.

        Raises:
            FileNotFoundError: There is no such bucket.
        """
        bucket, prefix = _folder(folder)
        found = (
            FileInfo(
                uri=f"{_SCHEME}{bucket}/{one['Key']}",
                size=int(one["Size"]),
                modified=one["LastModified"].astimezone(timezone.utc),
            )
            for one in self.listed(bucket, prefix)
        )
        return sorted(found, key=lambda file: file.uri)

    def listed(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield every object whose key begins with ``prefix``, as S3 lists it and in the server's own order.

        Markers of folders, which some tools make (Glue among them), are left out.
        """
        return (one for one in self._all(bucket, prefix) if not one["Key"].endswith(_MARKERS))

    def copy(self, source: str, target: str, progress: Progress = ignore_bytes) -> None:
        """See `Files.copy`: S3 copies by itself; a copy that breaks off leaves nothing."""
        from boto3.s3.transfer import TransferConfig

        bucket, key = split_uri(target)
        if not source.startswith(_SCHEME):
            self.send(source, target, progress)
            return
        from_bucket, from_key = split_uri(source)
        if bucket.endswith(_TABLE_BUCKET) or from_bucket.endswith(_TABLE_BUCKET):
            self.send(source, target, progress)
            return
        config = TransferConfig(
            multipart_threshold=self._largest_copy,
            multipart_chunksize=self._part,
            max_concurrency=_COPIED_AT_ONCE,
            preferred_transfer_client="classic",
        )
        with s3_errors(f"{source} to {target}"):
            self._client.copy(
                {"Bucket": from_bucket, "Key": from_key},
                bucket,
                key,
                Callback=progress,
                Config=config,
            )

    def send(self, source: str, target: str, progress: Progress = ignore_bytes) -> None:
        """See `Files.send`; ``source`` may be a file of this machine. What breaks off leaves nothing."""
        reading = self.open(source) if source.startswith(_SCHEME) else LocalFiles().open(source)
        with reading, self.create(target) as sending:
            while block := reading.read(_BLOCK_BYTES):
                sending.write(block)
                progress(len(block))

    def remove(self, uri: str) -> None:
        """See `Files.remove`."""
        bucket, key = split_uri(uri)
        try:
            with s3_errors(uri):
                self._client.delete_object(Bucket=bucket, Key=key)
        except FileNotFoundError:
            return

    def remove_folder(self, uri: str) -> None:
        """See `Files.remove_folder`.

        Raises:
            OSError: ``uri`` names a whole bucket.
        """
        bucket, prefix = _folder(uri)
        if not prefix:
            raise OSError(errno.EINVAL, "A whole bucket is never emptied", uri)
        try:
            keys = iter([one["Key"] for one in self._all(bucket, prefix)])
            while batch := list(islice(keys, _DELETED_AT_ONCE)):
                self._remove_all(bucket, batch)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("could not remove %s: %s", uri, error)

    def _all(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors(f"{_SCHEME}{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                yield from page.get("Contents", ())

    def _remove_all(self, bucket: str, keys: Sequence[str]) -> None:
        with s3_errors(f"{_SCHEME}{bucket}/{keys[0]}"):
            answer = self._client.delete_objects(
                Bucket=bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        for refused in answer.get("Errors", ()):
            log.warning(
                "could not remove s3://%s/%s: %s: %s",
                bucket,
                refused.get("Key"),
                refused.get("Code"),
                refused.get("Message"),
            )

    @property
    def _client(self) -> Any:
        return self.clients.client("s3")


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        OSError: It is no such URI, or one of them is empty.
    """
    bucket, slash, key = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not bucket or not slash or not key:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL) + " (no s3://bucket/key)", uri)
    return bucket, key


def _folder(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of a folder: with a slash at its end, so that `a` is not `ab`; none for the bucket."""
    bucket = uri.removeprefix(_SCHEME).partition("/")[0]
    if bucket and uri.rstrip("/") == f"{_SCHEME}{bucket}":
        return bucket, ""
    bucket, key = split_uri(uri)
    return bucket, f"{key.rstrip('/')}/"
