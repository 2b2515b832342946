"""Content counts: a report file that is rewritten in place, its size and time kept, is never loaded half old and half new."""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Engine
from billing_lake.engines.blocks import row_blocks
from billing_lake.files.local import LocalFiles
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of
from billing_lake_tests.reports import minimal_row


def test_bytes_behind_the_last_row_are_part_of_the_digest(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv.gz", csv_text([minimal_row()]))
    path.write_bytes(path.read_bytes() + gzip.compress(b""))
    digest = hashlib.sha256()
    assert len(list(row_blocks(LocalFiles(), str(path), "a", digest=digest))) == 1
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


def pinned(source: Source, profile: Profile) -> Source:
    """Return the source with the digests that the profile took, as a load hands it on."""
    files = (replace(file, digest=profile.files[file.name].digest) for file in source.files)
    return replace(source, files=tuple(files))


def rewritten(path: Path, content: bytes) -> None:
    """Rewrite a file in place; it keeps its size, its time and its inode."""
    before = path.stat()
    assert len(content) == before.st_size
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def test_a_profile_says_the_sha_256_of_each_file(engine: Engine, tmp_path: Path) -> None:
    first = report(tmp_path / "a.csv.gz", csv_text([minimal_row(cost="1")] * 1_000))
    empty = report(tmp_path / "b.csv.gz", csv_text([]))
    found = engine.profile(source_of(first, empty))
    assert {name: file.digest for name, file in found.files.items()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, empty)
    }


def test_a_file_rewritten_between_profile_and_encoding_is_refused_by_its_bytes(
    engine: Engine, tmp_path: Path
) -> None:
    stays = report(tmp_path / "a.csv.gz", csv_text([minimal_row(cost="7")]))
    path = report(tmp_path / "b.csv.gz", csv_text([minimal_row(cost="1.25")]))
    other = report(tmp_path / "other", csv_text([minimal_row(cost="1.52")])).read_bytes()
    source = source_of(stays, path)
    source = pinned(source, engine.profile(source))
    assert encode(engine, source, tmp_path / "before")
    rewritten(path, other)
    with pytest.raises(DeliveryChangedError, match=r"rewritten while it was loaded.*b\.csv\.gz"):
        encode(engine, source, tmp_path / "after")
    assert [file for file in (tmp_path / "after").rglob("*") if file.is_file()] == []


def test_a_file_that_is_half_rewritten_while_it_is_encoded_is_called_changed_not_damaged(
    engine: Engine, tmp_path: Path
) -> None:
    path = report(tmp_path / "a.csv.gz", csv_text([minimal_row(cost="1")] * 100))
    source = source_of(path)
    source = pinned(source, engine.profile(source))
    content = path.read_bytes()
    rewritten(path, content[:40] + bytes(len(content) - 40))
    with pytest.raises(DeliveryChangedError, match="rewritten while it was loaded"):
        encode(engine, source, tmp_path / "out")
