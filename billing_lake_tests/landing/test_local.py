"""A local folder as a storage: complete, confined and pinned."""

from __future__ import annotations

import logging
import os
import socket
from datetime import datetime
from pathlib import Path

import pytest

from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    DeliveryChangedError,
    ReportFileError,
)
from billing_lake.landing.base import Storage
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import put


@pytest.fixture(name="root")
def a_root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [file.key for file in storage.list(prefix)]


def test_every_file_below_a_prefix_is_listed_by_key(root: Path) -> None:
    for name in ("b/2", "b/1", "b/c/d/3", "bb/4", "5"):
        put(root / name, b"x")
    storage = LocalStorage(root)
    assert keys(storage) == ["5", "b/1", "b/2", "b/c/d/3", "bb/4"]
    assert keys(storage, "b/") == ["b/1", "b/2", "b/c/d/3"]
    assert keys(storage, "b/c/") == ["b/c/d/3"]
    assert keys(storage, "nowhere/") == []
    assert keys(storage, "5/") == []


def test_a_root_that_is_not_there_yet_is_empty(root: Path) -> None:
    storage = LocalStorage(root)
    assert keys(storage) == []
    put(root / "a", b"x")
    assert keys(storage) == ["a"]


def test_a_root_that_is_a_file_is_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        LocalStorage(put(root, b""))


def test_a_file_is_pinned_by_inode_size_and_time(root: Path) -> None:
    path = put(root / "a/b.csv.gz", b"four")
    os.utime(path, ns=(0, 1_741_046_400_123_456_789))
    (file,) = LocalStorage(root).list("")
    assert file.key == "a/b.csv.gz"
    assert file.uri == str(path.resolve())
    assert file.size == 4
    assert file.etag == f"{path.stat().st_ino}-4-1741046400123456789"
    assert file.modified == "2025-03-04T00:00:00.123456+00:00"
    assert datetime.fromisoformat(file.modified).tzinfo is not None


def test_listing_and_looking_at_one_file_agree(root: Path) -> None:
    put(root / "a/b", b"x")
    storage = LocalStorage(root)
    assert storage.stat("a/b") == storage.list("")[0]
    assert storage.stat("a") is None
    assert storage.stat("a/c") is None


def test_the_tag_changes_when_a_file_is_replaced_by_one_of_the_same_size_and_time(
    root: Path,
) -> None:
    path = put(root / "a", b"1")
    os.utime(path, ns=(0, 0))
    storage = LocalStorage(root)
    before = storage.stat("a")
    other = put(root / ".a", b"2")
    os.utime(other, ns=(0, 0))
    other.replace(path)
    assert before != storage.stat("a")


def test_hidden_and_temporary_files_are_left_out(root: Path) -> None:
    for name in (".a.csv.gz.part", ".tmp/b.csv.gz", "c"):
        put(root / name, b"x")
    assert keys(LocalStorage(root)) == ["c"]


def test_what_is_no_file_is_left_out(root: Path) -> None:
    put(root / "a", b"x")
    os.mkfifo(root / "pipe")
    (root / "dangling").symlink_to(root / "nowhere")
    assert keys(LocalStorage(root)) == ["a"]


@pytest.mark.parametrize("name", ["a.csv.gz", "daily-Manifest.json"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "dangling", "loop", "outside", "to a pipe"])
def test_what_stands_in_the_place_of_a_report_and_is_no_file_is_refused_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    path = put(root / "a/b", b"x").with_name(name)
    storage = LocalStorage(root)
    # The name of a socket has room for some hundred characters.
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(name)
        elif kind == "to a pipe":
            os.mkfifo(path.with_name("pipe"))
            path.symlink_to("pipe")
        else:
            outside = put(root.parent / "outside", b"x")
            path.symlink_to({"dangling": "nowhere", "loop": name, "outside": str(outside)}[kind])
        # It is listed, so that no month does without it, and refused by whoever opens it.
        assert {file.key: file.size for file in storage.list("a/")} == {"a/b": 1, f"a/{name}": 1}
        for look in (storage.open, lambda key: storage.read(key, "")):
            with pytest.raises(BillingLakeError, match=name):
                look(f"a/{name}")


def test_a_hard_link_is_a_file_like_any_other(root: Path) -> None:
    outside = put(root.parent / "outside", b"x")
    put(root / "a", b"y")
    os.link(outside, root / "b.csv.gz")
    with LocalStorage(root).open("b.csv.gz") as stream:
        assert stream.read() == b"x"
    assert keys(LocalStorage(root)) == ["a", "b.csv.gz"]


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "/etc/passwd", "a/../b"])
def test_a_key_that_leads_out_of_the_root_is_refused(root: Path, key: str) -> None:
    put(root.parent / "secret", b"x")
    put(root / "b", b"x")
    storage = LocalStorage(root)
    for look in (storage.open, lambda key: storage.read(key, ""), storage.stat):
        with pytest.raises(ReportFileError, match="leads out of the storage"):
            look(key)


def test_a_link_that_leads_out_of_the_root_is_never_read_and_listed_where_it_stands_for_a_folder(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root / "a", b"x")
    (root / "link").symlink_to(put(root.parent / "secret", b"x"))
    (root / "folder").symlink_to(root.parent)
    storage = LocalStorage(root)
    with caplog.at_level(logging.WARNING):
        assert keys(storage) == ["a", "folder/"]
    assert "link" in caplog.text
    for key in ("link", "folder/secret"):
        with pytest.raises(ReportFileError, match="leads out of the storage"):
            storage.open(key)


def test_a_link_to_a_file_inside_is_that_file_and_a_linked_folder_is_not_walked(
    root: Path,
) -> None:
    put(root / "a/b", b"x")
    (root / "link").symlink_to(root / "a/b")
    (root / "loop").symlink_to(root)
    assert keys(LocalStorage(root)) == ["a/b", "link"]


def test_a_link_to_a_hidden_folder_is_listed_because_its_files_are_not(root: Path) -> None:
    put(root / "a/.stage/b.csv.gz", b"x")
    (root / "a/link").symlink_to(root / "a/.stage")
    storage = LocalStorage(root)
    assert keys(storage) == ["a/link/"]
    assert [one.key for one in storage.list("a/", hidden=True)] == ["a/.stage/b.csv.gz"]


def test_a_linked_folder_is_listed_where_its_files_are_not(root: Path) -> None:
    put(root / "a/b", b"x")
    put(root / "elsewhere/c", b"x")
    (root / "a/link").symlink_to(root / "elsewhere")
    storage = LocalStorage(root)
    assert keys(storage, "a/") == ["a/b", "a/link/"]
    assert keys(storage) == ["a/b", "elsewhere/c"]


def test_a_link_that_leads_back_to_itself_is_named_among_what_lies_in_a_folder(root: Path) -> None:
    put(root / "a/b", b"x")
    (root / "a/loop").symlink_to("loop")
    assert LocalStorage(root).names("a") == ["b", "loop"]


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    put(root / "a", b"x")
    (root.parent / "link").symlink_to(root)
    assert keys(LocalStorage(root.parent / "link")) == ["a"]


@pytest.mark.parametrize("kind", ["folder", "report file", "other file"])
def test_nothing_is_listed_without_a_report_file_or_a_folder_whose_name_is_no_utf8(
    root: Path, kind: str
) -> None:
    put(root / "a/b.csv.gz", b"x")
    name = b"M\xe4rz.csv.gz" if kind == "report file" else b"M\xe4rz"
    odd = Path(os.fsdecode(os.fsencode(root / "a") + b"/" + name))
    try:
        odd.mkdir() if kind == "folder" else odd.touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    storage = LocalStorage(root)
    assert storage.names("a") == ["b.csv.gz"]
    if kind == "other file":
        assert keys(storage) == ["a/b.csv.gz"]
    else:
        with pytest.raises(ReportFileError, match=r"no UTF-8") as refused:
            keys(storage, "a/")
        assert f"a/{name.decode(errors='backslashreplace')}" in str(refused.value)


def test_files_are_read_and_opened(root: Path) -> None:
    put(root / "a", b"some bytes")
    storage = LocalStorage(root)
    (listed,) = storage.list("")
    assert storage.read("a", listed.etag) == b"some bytes"
    with pytest.raises(DeliveryChangedError, match="changed while it was being read"):
        storage.read("a", "another")
    with storage.open("a") as stream:
        assert stream.read(4) == b"some"


def test_a_file_that_vanished_is_named(root: Path) -> None:
    with pytest.raises(DeliveryChangedError, match=r"not there any more \(file a\)"):
        LocalStorage(root).open("a")


def test_a_folder_cannot_be_opened(root: Path) -> None:
    put(root / "a/b", b"x")
    with pytest.raises(ReportFileError, match=r"no regular file \(file a\)"):
        LocalStorage(root).open("a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(root: Path) -> None:
    put(root / "a", b"x").chmod(0)
    with pytest.raises(ReportFileError, match="Permission denied"):
        LocalStorage(root).open("a")
