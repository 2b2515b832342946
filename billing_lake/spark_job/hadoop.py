"""Files as Spark sees them, through Hadoop's file systems: folders here, S3 on a cluster, whatever Spark is configured for.

The program runs where the lake's own file layer is not installed; what Spark can read it can also open, move and remove.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from billing_lake.spark_job.java import causes_of, error_text, java_errors, java_session, jvm_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BUFFER_BYTES = 4 << 20
_CHECKSUMS = "org.apache.hadoop.fs.LocalFileSystem"

_NUMBERS = (
    (errno.ENOENT, ("FileNotFoundException", "NoSuchFileException", "NoSuchKey")),
    (errno.EEXIST, ("FileAlreadyExistsException",)),
    (errno.ENOTDIR, ("ParentNotDirectoryException", "NotDirectoryException")),
    (errno.EACCES, ("AccessControlException", "AccessDeniedException")),
)
_TEXTS = (
    (errno.ENOSPC, ("No space left on device", "There is not enough space")),
    (errno.EROFS, ("Read-only file system",)),
    (errno.EDQUOT, ("quota",)),
    (errno.EACCES, ("Permission denied", "Access Denied", "Status Code: 403")),
    (errno.EEXIST, ("Mkdirs failed to create", "Not a directory", "is not a directory")),
)


@dataclass(frozen=True)
class Status:
    """A file that is there.

    Attributes:
        uri: How to open it.
        path: How Spark spells it in queries: everything special as its number.
        size: Its bytes.
    """

    uri: str
    path: str
    size: int


class Hadoop:
    """Hadoop's file systems, with Python's errors."""

    def __init__(self, spark: SparkSession) -> None:
        """Take the file systems that ``spark`` is configured for."""
        self._jvm = jvm_of(spark)
        self._conf = java_session(spark).sessionState().newHadoopConf()

    def status(self, uri: str) -> Status:
        """Return what is known of the file ``uri``.

        Raises:
            OSError: There is none, or it may not be looked at.
        """
        path, system = self._at(uri)
        with _errors(uri):
            return _status(system.getFileStatus(path))

    def open(self, uri: str) -> BinaryIO:
        """Open the file ``uri`` for reading from its start.

        Raises:
            OSError: There is none, or it may not be read.
        """
        path, system = self._at(uri)
        with _errors(uri):
            return cast(
                "BinaryIO",
                io.BufferedReader(_Stream(system, path, uri), buffer_size=_BUFFER_BYTES),
            )

    def start(self, uri: str, size: int) -> bytes:
        """Return the first ``size`` bytes of the file ``uri``, and read no more than those.

        Raises:
            OSError: There is none, or it may not be read.
        """
        path, system = self._at(uri)
        with _errors(uri):
            stream = system.open(path)
            try:
                return bytes(stream.readNBytes(size))
            finally:
                stream.close()

    def digest(self, uri: str) -> str:
        """Return the SHA-256 of the file ``uri`` as hexadecimal text.

        Raises:
            OSError: There is none, or it may not be read.
        """
        path, system = self._at(uri)
        with _errors(uri):
            stream = system.open(path)
            try:
                digests = self._jvm.org.apache.commons.codec.digest.DigestUtils
                return str(digests.sha256Hex(stream))
            finally:
                stream.close()

    def make_folder(self, uri: str) -> None:
        """Make the folder ``uri`` and those above it.

        Raises:
            OSError: It cannot be made.
        """
        path, system = self._at(uri)
        with _errors(uri):
            if not system.mkdirs(path):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), uri)

    def list(self, folder: str) -> Sequence[Status]:
        """Return the files in ``folder``, by name.

        Raises:
            OSError: There is none, or it may not be listed.
        """
        path, system = self._at(folder)
        with _errors(folder):
            found = [one for one in system.listStatus(path) if one.isFile()]
        return sorted((_status(one) for one in found), key=lambda one: one.uri)

    def move(self, source: str, target: str) -> None:
        """Give the file ``source`` the name ``target``; a file that has it goes.

        Raises:
            OSError: It cannot be moved.
        """
        path, system = self._at(source)
        with _errors(target):
            if str(system.getClass().getName()) == _CHECKSUMS:
                # Its checksums are files of their own, and would move along.
                system = system.getRawFileSystem()
            system.delete(self._path(target), False)  # noqa: FBT003 - Java knows no keywords
            if not system.rename(path, self._path(target)):
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), target)

    def remove(self, uri: str) -> None:
        """Remove a file, or a folder with everything in it; nothing where there is none.

        Raises:
            OSError: It cannot be removed.
        """
        path, system = self._at(uri)
        with _errors(uri):
            system.delete(path, True)  # noqa: FBT003 - Java knows no keywords

    def parquet(self, uri: str) -> tuple[int, str]:
        """Return the rows of a Parquet file, and its schema as its footer spells it.

        Raises:
            OSError: There is no such file.
            ValueError: It is no Parquet.
        """
        parquet = self._jvm.org.apache.parquet.hadoop
        with _errors(uri):
            file = parquet.util.HadoopInputFile.fromPath(self._path(uri), self._conf)
        try:
            reader = parquet.ParquetFileReader.open(file)
            try:
                schema = reader.getFooter().getFileMetaData().getSchema()
                return int(reader.getRecordCount()), str(schema.toString())
            finally:
                reader.close()
        except java_errors() as error:
            raise ValueError(error_text(error)) from error

    def _path(self, uri: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(uri)

    def _at(self, uri: str) -> tuple[Any, Any]:
        path = self._path(uri)
        with _errors(uri):
            return path, path.getFileSystem(self._conf)


class _Stream(io.RawIOBase):
    """A Java stream as a Python one."""

    def __init__(self, system: Any, path: Any, uri: str) -> None:
        self._system = system
        self._path = path
        self._stream = system.open(path)
        self._uri = uri

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._stream.getPos())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with _errors(self._uri):
            if whence == os.SEEK_CUR:
                offset += self.tell()
            elif whence == os.SEEK_END:
                offset += int(self._system.getFileStatus(self._path).getLen())
            self._stream.seek(offset)
        return offset

    def readinto(self, buffer: Any) -> int:
        with _errors(self._uri):
            data = self._stream.readNBytes(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def refusal_of(error: BaseException, uri: str) -> OSError | None:
    """Return the refusal of a file system that made Spark fail, or None where it was something else."""
    chain = causes_of(error)
    for number, names in _NUMBERS:
        if any(cause.kind.rpartition(".")[2].rpartition("$")[2] in names for cause in chain):
            return OSError(number, os.strerror(number), uri)
    for number, texts in _TEXTS:
        if any(text in cause.message for cause in chain for text in texts):
            return OSError(number, os.strerror(number), uri)
    return None


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    try:
        yield
    except java_errors() as error:
        raise (refusal_of(error, uri) or OSError(errno.EIO, error_text(error), uri)) from error


def _status(status: Any) -> Status:
    path = status.getPath()
    return Status(
        uri=str(path.toString()), path=same_path(path.toUri().toString()), size=int(status.getLen())
    )


def same_path(path: str) -> str:
    """Return the one spelling of ``path``: Spark writes `file:/a` in one place and `file:///a` in another."""
    return path.replace("file:///", "file:/", 1) if path.startswith("file:///") else path


def path_spellings(path: str) -> list[str]:
    """Return every spelling of ``path`` that `same_path` takes for it."""
    local = path.startswith("file:/")
    return [path, path.replace("file:/", "file:///", 1)] if local else [path]
