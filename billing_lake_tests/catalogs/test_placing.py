from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from billing_lake.catalogs.placing import local_path, remove_tree, writing
from billing_lake.domain.errors import StorageWriteError


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a/b", Path("/a/b")),
        ("file:///a/b c", Path("/a/b c")),
        ("file:/a/b", Path("/a/b")),
        ("s3://bucket/a", None),
    ],
)
def test_only_files_of_this_machine_have_a_path(uri: str, path: Path | None) -> None:
    assert local_path(uri) == path


def test_errors_that_are_no_refusal_of_the_storage_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), writing("place"):
        raise FileNotFoundError(2, "gone")
    with pytest.raises(KeyError), writing("place"):
        raise KeyError("x")


def test_a_database_that_refuses_is_a_storage_that_refuses() -> None:
    with pytest.raises(StorageWriteError, match=r"full.*place"), writing("place"):
        raise sqlite3.OperationalError("database or disk is full")


def test_removing_what_is_not_there_is_harmless(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
