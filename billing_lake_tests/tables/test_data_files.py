from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy.exc

from billing_lake.domain.errors import LoadError, StorageReadError, StorageWriteError
from billing_lake.tables.data_files import naming_read_errors, naming_write_errors


def test_errors_that_are_no_refusal_of_the_storage_stay_what_they_are() -> None:
    for faults in (naming_read_errors, naming_write_errors):
        with pytest.raises(KeyError), faults("place"):
            raise KeyError("x")
        with pytest.raises(sqlite3.IntegrityError), faults("place"):
            raise sqlite3.IntegrityError("taken")


def test_a_file_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"not there.*gone"), naming_write_errors("place"):
        (tmp_path / "gone").read_bytes()
    with pytest.raises(StorageReadError, match=r"No such file.*gone"), naming_read_errors("place"):
        (tmp_path / "gone").read_bytes()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO), "/lake/a"),
        OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
        NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/lake/a"),
        FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), "/lake/a"),
        OSError("pyarrow says it without a number"),
        OSError(),
        sqlite3.OperationalError("database is locked"),
        sqlite3.DatabaseError("file is not a database"),
        sqlalchemy.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")),
        sqlalchemy.exc.DatabaseError("SELECT 1", {}, sqlite3.DatabaseError("malformed")),
    ],
)
def test_every_fault_of_a_disk_or_a_database_has_one_of_two_names(error: Exception) -> None:
    with (
        pytest.raises(StorageWriteError, match=r"refuses a write: .+(place|lake/a)"),
        naming_write_errors("place"),
    ):
        raise error
    with (
        pytest.raises(StorageReadError, match=r"cannot be read: .+(place|lake/a)"),
        naming_read_errors("place"),
    ):
        raise error


def test_a_database_that_refuses_is_a_storage_that_refuses() -> None:
    with pytest.raises(StorageWriteError, match=r"full.*place"), naming_write_errors("place"):
        raise sqlite3.OperationalError("database or disk is full")
