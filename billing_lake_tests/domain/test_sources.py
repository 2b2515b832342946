"""Sources, crawls and encoded files survive the way between two assets."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.packing import Compression
from billing_lake.domain.profiles import FileProfile, Profile
from billing_lake.domain.schemas import Column, Field
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.sources import (
    Container,
    Encoded,
    EncodedFile,
    Roles,
    Source,
    SourceFile,
    union_columns,
)
from billing_lake.domain.types import DECIMAL, STRING
from billing_lake_tests.domain.test_deliveries import DELIVERY

SOURCE = Source(
    container="csv",
    compression="gzip",
    files=(SourceFile(uri="/r/a", name="a", columns=("x", "y", "x")),),
    columns=(Column("x", STRING), Column("y", DECIMAL)),
    roles=Roles(currency="x"),
    costs=("y",),
    nulls=("", "NULL"),
)


def test_a_source_survives_the_way_through_json() -> None:
    assert Source.from_json(json.loads(json.dumps(SOURCE.to_json()))) == SOURCE


@pytest.mark.parametrize("packed", [("parquet", "zip"), ("parquet", "gzip")])
def test_files_that_no_engine_reads_are_no_source(packed: tuple[Container, Compression]) -> None:
    container, compression = packed
    with pytest.raises(ValueError, match=f"No engine reads {container}"):
        Source(container=container, compression=compression, files=(), columns=())


def test_a_source_knows_the_type_of_its_columns_only() -> None:
    assert SOURCE.type_of("y") == DECIMAL
    assert SOURCE.type_of("z") is None


def test_encoded_files_survive_the_way_through_json_and_add_up() -> None:
    encoded = Encoded(
        identity="i",
        version="v",
        files=(EncodedFile(uri="/a", rows=2, size=10), EncodedFile(uri="/b", rows=3, size=20)),
        fields=(Field("x", STRING, 1),),
    )
    assert Encoded.from_json(json.loads(json.dumps(encoded.to_json()))) == encoded
    assert (encoded.rows, encoded.size) == (5, 30)


def test_the_union_of_columns_keeps_the_order_of_first_sight() -> None:
    x, y, z = (Column(name, STRING) for name in "xyz")
    assert union_columns([[y, x], [x, z]]) == (y, x, z)


def test_a_crawl_survives_the_way_through_json() -> None:
    crawl = Crawl(
        table="t",
        delivery=DELIVERY,
        source=SOURCE,
        merged=(Merge("x", ("X", "x")),),
        profile=Profile(
            rows=1, files={"a": FileProfile(rows=1, totals={"USD": {"c": Decimal("1.10")}})}
        ),
    )
    assert Crawl.from_json(json.loads(json.dumps(crawl.to_json()))) == crawl


def test_a_crawled_table_is_named_after_export_period_and_version() -> None:
    name = crawled_table_name("cur", "2025-03", "v1")
    assert name.startswith("cur_2025_03_")
    assert name == crawled_table_name("cur", "2025-03", "v1")
    assert name != crawled_table_name("cur", "2025-03", "v2")
