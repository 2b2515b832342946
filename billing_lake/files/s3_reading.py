"""A file in S3 as a seekable stream of ranged requests: large ones for sequential reads, small ones for reads here and there.

The object's ETag is pinned when it is opened. An object that is replaced while it is read is an error; the stream never yields
half of the old bytes and half of the new.
"""

from __future__ import annotations

import errno
import io
import logging
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from billing_lake.aws.errors import error_status, s3_errors
from billing_lake.aws.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

_FIRST_AHEAD_BYTES = 64 * 1024
_LARGEST_AHEAD_BYTES = 8 * 1024 * 1024
_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024
_GROWTH = 8
"""Factor by which a request that continues the last one is larger."""


class S3Reader(io.RawIOBase):
    """One object, pinned; wrap it in an `io.BufferedReader`.

    Raises:
        FileNotFoundError: There is none.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        super().__init__()
        self._client = client
        self._bucket, self._key = bucket, key
        self.name = f"s3://{bucket}/{key}"
        head = head_of(client, bucket, key)
        self._size, self._etag = int(head["ContentLength"]), str(head["ETag"])
        self._position = 0
        self._block, self._block_start = b"", 0
        self._ahead = _FIRST_AHEAD_BYTES

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; costs nothing until something is read there."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            what = f"negative seek position {origin + offset}"
            raise ValueError(what)
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as what is at hand goes; 0 at the end of the file."""
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not view:
            return 0
        start = self._position - self._block_start
        if not 0 <= start < len(self._block):
            self._fetch(len(view))
            start = 0
        part = self._block[start : start + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        """Let go of what is at hand."""
        self._block = b""
        super().close()

    def _fetch(self, wanted: int) -> None:
        reads_on = bool(self._block) and self._position == self._block_start + len(self._block)
        self._ahead = (
            min(self._ahead * _GROWTH, _LARGEST_AHEAD_BYTES) if reads_on else _FIRST_AHEAD_BYTES
        )
        end = min(
            self._position + min(max(wanted, self._ahead), _LARGEST_REQUEST_BYTES), self._size
        )
        self._block = b""  # its memory goes before the next one's comes
        self._block = self._get(self._position, end)
        self._block_start = self._position

    def _get(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to ``end``; boto3 repeats refused requests, this one broken answers."""
        what = f"read {self.name} from byte {start}"
        call = retrying(what, log.info, when=_broke_off)
        try:
            with s3_errors(self.name):
                return call(self._get_once, start, end)
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise _changed(self.name) from error
            raise

    def _get_once(self, start: int, end: int) -> bytes:
        answer = self._client.get_object(
            Bucket=self._bucket,
            Key=self._key,
            Range=f"bytes={start}-{end - 1}",
            IfMatch=self._etag,
        )
        with answer["Body"] as body:
            if answer["ETag"] != self._etag:
                raise _changed(self.name)
            read: bytes = body.read()
        if len(read) != end - start:
            raise _changed(self.name)
        return read


def _broke_off(error: BaseException) -> bool:
    """Return whether an answer ended before its end; boto3 has repeated everything else."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    return isinstance(error, (HTTPClientError, IncompleteReadError))


def _changed(uri: str) -> OSError:
    return OSError(errno.ESTALE, "The object changed while it was being read", uri)


def head_of(client: Any, bucket: str, key: str) -> Mapping[str, Any]:
    """Return what S3 says of an object. Where it refuses, the object itself is asked for: the answer to that has a reason.

    Raises:
        OSError: See `s3_errors`.
    """
    from botocore.exceptions import ClientError

    with s3_errors(f"s3://{bucket}/{key}"):
        try:
            head: Mapping[str, Any] = client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_status(error) == HTTPStatus.FORBIDDEN:
                client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
            raise
        return head
