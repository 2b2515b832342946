"""A file in S3 written as a stream: parts of bounded size, and an object that is there as a whole or not at all.

Polars could write to S3 by itself, but when a query fails it completes the upload in the background a second later: half a
file appears under the name of a whole one, or replaces what a second try has written by then. So it writes into this.
"""

from __future__ import annotations

import errno
import io
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from billing_lake.aws.errors import s3_errors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

PART_BYTES = 16 << 20
"""Bytes of a part; S3 takes 10,000 of them, which makes 160 GB a file."""

_PARTS_AT_ONCE = 2
"""Parts that are uploaded at a time; a faster writer waits."""


class S3Writer(io.RawIOBase):
    """One object that is being written; `finish` or `abort` ends it. Closing it does neither.

    Args:
        client: boto3's S3 client.
        key: The object's key.
        part: Bytes of a part, 5 MiB at least.

    Attributes:
        failure: The first error of S3; a caller that writes through a library may see another error in its place.
    """

    def __init__(self, client: Any, bucket: str, key: str, *, part: int) -> None:
        super().__init__()
        self.name = f"s3://{bucket}/{key}"
        self.failure: OSError | None = None
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._part = part
        self._buffer = bytearray()
        self._written = 0
        self._upload: str | None = None
        self._parts: list[Future[str]] = []
        self._pool = ThreadPoolExecutor(max_workers=_PARTS_AT_ONCE, thread_name_prefix="s3-upload")
        self._ended = False
        # A library whose query failed may still be writing from another thread while this one gives up.
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._written

    def write(self, data: ReadableBuffer, /) -> int:
        """Take ``data``; a part that is full is sent, and waits for an earlier one where too many are on their way.

        Raises:
            OSError: S3 refused an earlier part, or the file was given up.
        """
        with self._lock:
            if self._ended:
                raise OSError(errno.ECANCELED, "The file was given up", self.name)
            view = memoryview(data).cast("B")
            self._buffer += view
            self._written += len(view)
            while len(self._buffer) >= self._part:
                self._remember(self._send)
            return len(view)

    def finish(self) -> None:
        """Make the object appear.

        Raises:
            OSError: S3 refuses; nothing appears.
        """
        with self._lock:
            if self.failure is not None:
                raise self.failure
            self._remember(self._complete)
            self._end()

    def abort(self) -> None:
        """Give the object up: whatever was sent is removed."""
        with self._lock:
            if self._ended:
                return
            self._end()
            if self._upload is None:
                return
            try:
                with s3_errors(self.name):
                    self._client.abort_multipart_upload(**self._where, UploadId=self._upload)
            except OSError as error:
                log.warning("could not give up the upload of %s: %s", self.name, error)

    def _remember(self, step: Any) -> None:
        try:
            step()
        except OSError as error:
            self.failure = self.failure or error
            raise

    def _end(self) -> None:
        self._ended = True
        self._buffer = bytearray()
        # A part that arrives after an upload was given up would be paid for until it is found.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _send(self) -> None:
        if self._upload is None:
            with s3_errors(self.name):
                self._upload = self._client.create_multipart_upload(**self._where)["UploadId"]
        number = len(self._parts) + 1
        if number > _PARTS_AT_ONCE:
            self._parts[-_PARTS_AT_ONCE].result()
        body = bytes(memoryview(self._buffer)[: self._part])
        del self._buffer[: self._part]
        self._parts.append(self._pool.submit(self._send_part, number, body))

    def _send_part(self, number: int, body: bytes) -> str:
        with s3_errors(self.name):
            answer = self._client.upload_part(
                **self._where, UploadId=self._upload, PartNumber=number, Body=body
            )
        return str(answer["ETag"])

    def _complete(self) -> None:
        if self._upload is None:
            with s3_errors(self.name):
                self._client.put_object(**self._where, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send()
        parts = [
            {"PartNumber": number, "ETag": part.result()}
            for number, part in enumerate(self._parts, 1)
        ]
        with s3_errors(self.name):
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._upload, MultipartUpload={"Parts": parts}
            )
