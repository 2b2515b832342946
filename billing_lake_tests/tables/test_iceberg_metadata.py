"""Metadata files of Iceberg tables: each is read once, and what others commit is seen all the same."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from pyiceberg.serializers import FromByteStream

from billing_lake.domain.errors import StorageReadError
from billing_lake.files.local import local_path
from billing_lake_tests.tables.making import FIELDS, MARCH, TABLE, encode, iceberg, load, versions


def test_a_metadata_file_is_read_once_and_a_commit_of_somebody_else_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, others = iceberg(tmp_path), iceberg(tmp_path)
    tables.create(TABLE, FIELDS)
    read = []
    whole = FromByteStream.table_metadata

    def counting(*stream: object, **how: object) -> object:
        read.append(1)
        return whole(*stream, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(FromByteStream, "table_metadata", counting)
    load(tables, encode(tmp_path / "staging", MARCH, (3,), version="first"))
    assert len(read) <= 2, "before the load, and after it"
    before = tables.open(TABLE)
    assert tables.open(TABLE).metadata is before.metadata
    load(others, encode(tmp_path / "staging", MARCH, (3,), version="second"))
    assert versions(tables.files(TABLE, MARCH)) == {"second"}
    assert tables.open(TABLE).metadata is not before.metadata
    assert len(before.metadata.snapshots) == 1, "what was read stays what it was"


def test_a_file_that_takes_the_place_of_another_one_is_read(tmp_path: Path) -> None:
    tables = iceberg(tmp_path)
    tables.create(TABLE, FIELDS)
    before = tables.open(TABLE)
    file = local_path(before.metadata_location)
    assert file is not None
    text = file.read_text().replace('"format-version":2', '"format-version":2 ')
    file.unlink()
    file.write_text(text)
    after = tables.open(TABLE)
    assert after.metadata is not before.metadata
    assert after.metadata == before.metadata
    file.unlink()
    with pytest.raises(StorageReadError):
        tables.open(TABLE)


def test_a_copy_of_metadata_shares_schemas_and_snapshots_and_nothing_that_can_be_changed(
    tmp_path: Path,
) -> None:
    tables = iceberg(tmp_path)
    tables.create(TABLE, FIELDS)
    load(tables, encode(tmp_path / "staging", MARCH, (3,)))
    metadata = tables.open(TABLE).metadata
    copied = copy.deepcopy(metadata)
    assert copied == metadata
    assert copied.snapshots[0] is metadata.snapshots[0]
    assert copied.schemas[0] is metadata.schemas[0]
    assert copied.snapshots is not metadata.snapshots
    assert copied.properties is not metadata.properties
