"""Files of this machine and of S3 beside each other: a lake in a folder, whose exports are delivered to a bucket."""

from __future__ import annotations

from typing import BinaryIO

from billing_lake.files.local import LocalFiles
from billing_lake.files.s3 import S3Files


class FilesWithS3(LocalFiles):
    """`Files` on this machine's disks, which open what is in S3, too; nothing is written there."""

    def __init__(self, s3: S3Files) -> None:
        self._s3 = s3

    def open(self, uri: str) -> BinaryIO:
        """See `Files.open`."""
        return self._s3.open(uri) if uri.startswith("s3://") else super().open(uri)
