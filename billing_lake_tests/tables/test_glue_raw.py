"""Raw files of other containers than gzip as Glue tables: Parquet by its own types, ZIP without rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.packing import Compression
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import Container, SourceFile
from billing_lake.files.local import LocalFiles
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.tables.glue_raw import raw_parameters, raw_parts, raw_storage

FILES = LocalFiles()


def crawl_of(path: Path, container: Container, compression: Compression) -> Crawl:
    """Return the crawl of one file with two columns."""
    names = ("line_item_unblended_cost", "resource_tags_user_team")
    file = StoredObject(key=path.name, uri=str(path), size=1, etag="e", modified="m")
    source = LEGACY_CUR.source(
        [SourceFile(uri=str(path), name=path.name, columns=names)],
        LEGACY_CUR.columns(names),
        container,
        compression,
    )
    delivery = Delivery(export="a", period="2025-03", version="v", layout="loose", files=(file,))
    return Crawl(table="t", delivery=delivery, source=source, merged=(), profile=Profile())


def test_parquet_is_a_table_with_the_types_that_its_file_stores(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    columns = {
        "BilledCost": pa.array([1.5]),
        "Start": pa.array([0], pa.timestamp("ms")),
        "Tags": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())),
        "x_Discounts": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())),
        "Note": ["a"],
        "x_Credits": pa.array([[{"Name": "a", "Amount": 1.5, "Of": [["b"]]}]]),
        "x_Odd": pa.array([{"a b": 1}]),
        "x_Bytes": pa.array([[b"a"]]),
    }
    pq.write_table(pa.table(columns), path)
    crawl = crawl_of(path, "parquet", None)
    (part,) = raw_parts(crawl, FILES)
    assert {one["Name"]: one["Type"] for one in part.columns} == {
        "billedcost": "double",
        "start": "timestamp",
        "tags": "map<string,string>",
        "x_discounts": "map<string,double>",
        "note": "string",
        "x_credits": "array<struct<name:string,amount:double,of:array<array<string>>>>",
        "x_odd": "string",
        "x_bytes": "array<string>",
    }
    storage = raw_storage(crawl, part, FILES, str(tmp_path / "list"))
    assert storage["Location"] == f"{tmp_path}/"
    assert "Parquet" in storage["InputFormat"]
    assert raw_parameters(crawl, part)["classification"] == "parquet"


def test_a_table_over_zip_shows_columns_and_reads_no_file(tmp_path: Path) -> None:
    path = tmp_path / "r.csv.zip"
    path.write_bytes(b"PK")
    crawl = crawl_of(path, "csv", "zip")
    (part,) = raw_parts(crawl, FILES)
    assert len(part.columns) == 2
    (tmp_path / "list").mkdir()
    storage = raw_storage(crawl, part, FILES, str(tmp_path / "list"))
    assert storage["Location"] == f"{tmp_path}/list/"
    assert (tmp_path / "list/files.txt").read_bytes() == b""
    assert raw_parameters(crawl, part)["compressionType"] == "zip"


def test_plain_csv_is_a_table_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"a,b\n")
    crawl = crawl_of(path, "csv", None)
    (part,) = raw_parts(crawl, FILES)
    storage = raw_storage(crawl, part, FILES, str(tmp_path / "list"))
    assert storage["Location"] == f"{tmp_path}/"
    assert raw_parameters(crawl, part)["compressionType"] == "none"
