"""Files of this machine: named by path or URI, linked or copied, listed, removed."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from billing_lake.files.local import LocalFiles, changed_at, link_or_copy, local_path, remove_tree

FILES = LocalFiles()


def test_links_have_one_identity_and_copies_and_what_is_written_to_another_one(
    tmp_path: Path,
) -> None:
    first, link, copy = (str(tmp_path / name) for name in ("first", "link", "copy"))
    FILES.write(first, b"12345")
    before = FILES.identity(first)
    FILES.copy(first, link)
    Path(copy).write_bytes(b"12345")
    assert FILES.identity(link) == FILES.identity(f"file://{first}") == before
    assert FILES.identity(copy) != before
    with Path(link).open("r+b") as stream:
        stream.write(b"2")
    os.utime(link, ns=(0, 1))
    assert FILES.identity(first) != before
    with pytest.raises(FileNotFoundError):
        FILES.identity(f"{tmp_path}/none")


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


def test_a_file_is_the_same_by_its_path_and_by_its_uri(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a b/c"
    FILES.write(uri, b"12345")
    FILES.copy(uri, f"file://{tmp_path}/a b/d")
    assert FILES.read(f"{tmp_path}/a b/c") == FILES.read(uri) == b"12345"
    assert FILES.size(uri) == 5
    assert [file.uri for file in FILES.list(f"file://{tmp_path}")] == [
        f"{tmp_path}/a b/c",
        f"{tmp_path}/a b/d",
    ]
    FILES.remove(uri)
    FILES.remove_folder(f"file://{tmp_path}/a b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_elsewhere_is_refused_and_makes_no_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="no file of this machine") as caught:
        FILES.write("s3://bucket/key", b"x")
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, "s3://bucket/key")
    assert list(tmp_path.iterdir()) == []


def test_a_new_link_to_an_old_file_is_young(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    link_or_copy(old, tmp_path / "folder" / "new")
    moment = datetime.now(timezone.utc) - timedelta(hours=1)
    assert changed_at(tmp_path / "folder" / "new") > moment
    assert [file.modified > moment for file in FILES.list(str(tmp_path / "folder"))] == [True]


def test_a_file_is_copied_where_the_file_system_makes_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(os, "link", link)
    link_or_copy(tmp_path / "a", tmp_path / "b" / "c")
    assert (tmp_path / "b" / "c").read_bytes() == b"x"
    assert (tmp_path / "a").stat().st_nlink == 1


def test_removing_what_is_not_there_is_harmless(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    FILES.remove(str(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []
