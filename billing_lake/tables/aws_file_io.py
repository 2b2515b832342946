"""Access of pyiceberg to files in S3, with the credentials that boto3 finds.

PyArrow, through which pyiceberg reads and writes, looks for credentials by itself, and in fewer places than boto3: not in a profile
that takes a role. Where boto3 alone finds some, a catalog would answer and each of its files be refused. Imported by pyiceberg only.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyiceberg.typedef import Properties

_ENVIRONMENTS = 8
_FILE_SYSTEMS = 8


class Boto3FileIO(PyArrowFileIO):
    """Files in S3 by PyArrow, signed as boto3 would sign."""

    def __init__(self, properties: Properties) -> None:
        super().__init__(properties)
        # One for each set of keys: those of a role are others after some minutes.
        signed = lru_cache(_FILE_SYSTEMS)(self._signed)

        def found(scheme: str, netloc: str | None = None) -> FileSystem:
            return signed(scheme, netloc, *_keys())

        self.fs_by_scheme = found

    def _signed(
        self, scheme: str, netloc: str | None, key: str, secret: str, token: str | None
    ) -> FileSystem:
        given = {"s3.access-key-id": key, "s3.secret-access-key": secret}
        if token:
            given["s3.session-token"] = token
        own = PyArrowFileIO({**given, **self.properties})
        return own._initialize_fs(scheme, netloc)  # noqa: SLF001 -- of the class that this one is


def _keys() -> tuple[str, str, str | None]:
    of_aws = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    frozen = _credentials(tuple(of_aws)).get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


@lru_cache(_ENVIRONMENTS)
def _credentials(_environment: tuple[tuple[str, str], ...]) -> Any:
    """Return what boto3 finds with these variables; it renews by itself what expires."""
    import boto3

    return boto3.Session().get_credentials()
