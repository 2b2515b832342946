"""What holds for every catalog of Hive-style tables: generations of files, of which a load keeps the last two."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.sources import Encoded
from billing_lake.tables.base import CleanUp, TableCatalog
from billing_lake_tests.tables.making import (
    MARCH,
    TABLE,
    changed,
    count,
    data_of,
    encode,
    files_of,
    load,
    versions,
)

pytestmark = pytest.mark.parametrize("catalog", ["glue_hive", "hive"], indirect=True)


def encode_in_place(
    catalog: TableCatalog, version: str = "v1", rows: tuple[int, ...] = (2,)
) -> Encoded:
    return encode(catalog.new_location(TABLE, MARCH) or "", version=version, rows=rows)


def uris(*encoded: Encoded) -> set[str]:
    return {file.uri for one in encoded for file in one.files}


def generations(catalog: TableCatalog) -> set[str]:
    """Files of all generations, without the links by which a folder of the table shows them."""
    return {uri for uri in data_of(catalog) if "/_views/" not in uri}


def test_files_written_into_a_new_location_are_taken_over_where_they_lie(
    catalog: TableCatalog,
) -> None:
    encoded = encode_in_place(catalog)
    load(catalog, encoded)
    assert {file.uri for file in catalog.files(TABLE, MARCH).files} == uris(encoded)


def test_files_of_several_folders_with_one_name_are_kept_apart(
    catalog: TableCatalog, staging: str
) -> None:
    files = []
    for rows in (1, 2):
        (file,) = encode(staging, rows=(rows,)).files
        uri = f"{staging}/{rows}/part.parquet"
        files_of(uri).copy(file.uri, uri)
        files.append(replace(file, uri=uri))
    load(catalog, replace(encode(staging, rows=()), files=tuple(files)))
    assert count(catalog.files(TABLE, MARCH)) == 3


def test_a_reader_that_looked_before_a_switch_reads_the_old_month_and_a_later_one_the_new(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging, rows=(3,)))
    before = catalog.files(TABLE, MARCH)
    load(catalog, encode(staging, rows=(1,), version="v2"))
    after = catalog.files(TABLE, MARCH)
    assert (count(before), versions(before)) == (3, {"v1"})
    assert (count(after), versions(after)) == (1, {"v2"})


def test_at_most_the_current_and_the_previous_generation_are_kept(catalog: TableCatalog) -> None:
    made: list[Encoded] = []
    for version in ("v1", "v2", "v3"):
        made.append(encode_in_place(catalog, version))
        load(catalog, made[-1])
        assert generations(catalog) == uris(*made[-2:])


def test_loading_the_current_or_the_previous_generation_again_keeps_both(
    catalog: TableCatalog,
) -> None:
    first, second = encode_in_place(catalog, "v1"), encode_in_place(catalog, "v2", rows=(3,))
    for encoded, rows in ((first, 2), (second, 3), (second, 3), (first, 2)):
        load(catalog, encoded)
        assert count(catalog.files(TABLE, MARCH)) == rows
    with pytest.raises(DeliveryChangedError):
        load(catalog, second, verify=changed)
    assert generations(catalog) == uris(first, second)


def test_a_failed_load_takes_its_generation_with_it(catalog: TableCatalog) -> None:
    load(catalog, encode_in_place(catalog))
    before = generations(catalog)
    with pytest.raises(DeliveryChangedError):
        load(catalog, encode_in_place(catalog, "v2"), verify=changed)
    assert generations(catalog) == before


def test_only_generations_that_nothing_refers_to_can_be_abandoned(
    catalog: TableCatalog, staging: str
) -> None:
    encoded = encode_in_place(catalog)
    load(catalog, encoded)
    catalog.abandon(TABLE, MARCH, encoded.files[0].uri.rpartition("/")[0])
    assert count(catalog.files(TABLE, MARCH)) == 2
    foreign = encode(staging).files[0].uri
    catalog.abandon(TABLE, MARCH, staging)
    assert files_of(foreign).size(foreign)
    fresh = encode_in_place(catalog)
    catalog.abandon(TABLE, MARCH, fresh.files[0].uri.rpartition("/")[0])
    assert generations(catalog) == uris(encoded)


def test_generations_that_a_kill_left_behind_are_removed_when_they_are_old_enough(
    catalog: TableCatalog,
) -> None:
    kept = [encode_in_place(catalog, version) for version in ("v1", "v2")]
    for encoded in kept:
        load(catalog, encoded)
    left = encode_in_place(catalog).files[0].uri.rpartition("/")[0]
    assert catalog.remove_orphans(TABLE) == ()
    # S3 tells times in whole seconds.
    assert catalog.remove_orphans(TABLE, CleanUp(older_than=timedelta(seconds=-2))) == (left,)
    assert generations(catalog) == uris(*kept)
