"""CSV in gzip, in ZIP and as it is: the same rows, the same faults with the same lines, on every engine."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from billing_lake.domain import errors
from billing_lake.domain.packing import Compression
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Engine
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of
from billing_lake_tests.reports import minimal_row

ROWS = [
    minimal_row(line_item_id=f"line {n}", product=product, cost=f"0.{n + 1}")
    for n, product in enumerate(["AmazonS3", "a,b", 'say "so"', "two\nlines", "end\r", "日本語 ☁"])
]
TEXT = csv_text(ROWS)
ENDS: dict[Compression, str] = {"gzip": ".csv.gz", "zip": ".csv.zip", None: ".csv"}
LAST_CELL_ENDS_WITH_A_RETURN = csv_text([*ROWS, minimal_row()]).removesuffix("\n") + "\r\n"


def zipped(data: bytes, name: str = "r.csv", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP of one file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def written(path: Path, text: str, compression: Compression) -> Source:
    """Return the source of one report file that is packed so."""
    if compression == "gzip":
        return source_of(report(path, text))
    path.write_bytes(zipped(text.encode()) if compression == "zip" else text.encode())
    return replace(source_of(path), compression=compression)


@pytest.mark.parametrize("text", [TEXT, LAST_CELL_ENDS_WITH_A_RETURN], ids=["unix", "windows"])
def test_a_report_says_the_same_however_it_is_packed(
    engine: Engine, tmp_path: Path, text: str
) -> None:
    profiles, tables = [], []
    for compression in ("gzip", "zip", None):
        (tmp_path / str(compression)).mkdir()
        name = f"r{ENDS[compression]}"
        source = written(tmp_path / str(compression) / name, text, compression)
        profile = engine.profile(source)
        profiles.append(replace(profile, files={}))
        assert [*profile.files] == [name]
        (file,) = encode(engine, source, tmp_path / str(compression) / "out")
        table = pq.read_table(file.uri).sort_by("identity_line_item_id").to_pylist()
        tables.append([{k: v for k, v in row.items() if k != "source_file"} for row in table])
    assert profiles[0].rows == text.count("AmazonS3") + 5
    assert profiles[1:] == profiles[:1] * 2
    assert tables[1:] == tables[:1] * 2
    assert {row["line_item_product_code"] for row in tables[0]} == {row[9] for row in ROWS}


def test_several_zips_are_read_as_one(engine: Engine, tmp_path: Path) -> None:
    for number in range(3):
        data = zipped(csv_text([minimal_row(cost="1.25")] * (number + 1)).encode())
        (tmp_path / f"{number}.csv.zip").write_bytes(data)
    source = replace(source_of(*sorted(tmp_path.glob("*.zip"))), compression="zip")
    profile = engine.profile(source)
    assert {name: file.rows for name, file in profile.files.items()} == {
        "0.csv.zip": 1,
        "1.csv.zip": 2,
        "2.csv.zip": 3,
    }
    files = encode(engine, source, tmp_path / "out")
    assert sum(file.rows for file in files) == 6


@pytest.mark.parametrize("compression", ["zip", None])
def test_a_bad_cell_is_named_with_line_and_column(
    engine: Engine, tmp_path: Path, compression: Compression
) -> None:
    text = csv_text([*ROWS, minimal_row(cost="ten")])
    source = written(tmp_path / "bad", text, compression)
    for act in (engine.profile, lambda one: encode(engine, one, tmp_path / "out")):
        with pytest.raises(errors.BadValueError, match="line_item_unblended_cost") as caught:
            act(source)
        assert (caught.value.file, caught.value.value) == ("bad", "ten")
        assert caught.value.line == 1 + TEXT.count("\n")


@pytest.mark.parametrize("compression", ["zip", None])
def test_a_ragged_row_is_named_with_its_line(
    engine: Engine, tmp_path: Path, compression: Compression
) -> None:
    source = written(tmp_path / "bad", TEXT + "a,b\n", compression)
    with pytest.raises(errors.RaggedRowError) as caught:
        engine.profile(source)
    assert (caught.value.file, caught.value.line) == ("bad", 1 + TEXT.count("\n"))


def two_members() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("__MACOSX/._a.csv", b"")
    return packed.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped(TEXT.encode()))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def bomb() -> bytes:
    data = bytearray(zipped(TEXT.encode()))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 3 << 30)
    return bytes(data)


def damaged() -> bytes:
    data = bytearray(zipped(TEXT.encode()))
    data[60:70] = bytes(10)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", errors.EmptyFileError, "no bytes"),
        (TEXT.encode(), errors.NotZipError, "is no ZIP"),
        (two_members(), errors.ZipContentError, "2 files: a.csv, __MACOSX/._a.csv"),
        (zipped(b"")[-22:-14] + bytes(14), errors.ZipContentError, "no file"),
        (zipped(TEXT.encode(), "../a.csv"), errors.ZipContentError, "is a path"),
        (zipped(TEXT.encode(), "a.txt"), errors.ZipContentError, "not named as a CSV file"),
        (zipped(TEXT.encode(), method=zipfile.ZIP_LZMA), errors.ZipContentError, "the method 14"),
        (encrypted(), errors.ZipContentError, "is encrypted"),
        (bomb(), errors.ZipBombError, "are said to hold 3,221,225,472 bytes"),
        (damaged(), errors.TruncatedFileError, "damaged"),
        (zipped(TEXT.encode())[:-30], errors.TruncatedFileError, "damaged or ends early"),
        (zipped(TEXT.encode()) + bytes(100), errors.PaddedFileError, "follow the end"),
    ],
)
def test_a_zip_that_is_not_one_csv_file_is_named(
    engine: Engine, tmp_path: Path, data: bytes, error: type[errors.ReportFileError], says: str
) -> None:
    (tmp_path / "bad.csv.zip").write_bytes(data)
    source = replace(source_of(tmp_path / "bad.csv.zip"), compression="zip")
    acts: list[Callable[[Source], object]] = [
        engine.profile,
        lambda one: encode(engine, one, tmp_path / "out"),
    ]
    for act in acts:
        with pytest.raises(error, match=says) as caught:
            act(source)
        assert caught.value.file == "bad.csv.zip"
        assert not (tmp_path / "out").exists() or [*(tmp_path / "out").iterdir()] == []


def test_what_a_zip_holds_unpacked_is_read_too(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(zipped(TEXT.encode(), method=zipfile.ZIP_STORED))
    source = replace(source_of(tmp_path / "r"), compression="zip")
    assert engine.profile(source).rows == len(ROWS)
    (file,) = encode(engine, source, tmp_path / "out")
    assert file.rows == len(ROWS)


@pytest.mark.parametrize("name", ["gzip", "zip"])
def test_plain_csv_that_is_packed_is_named(engine: Engine, tmp_path: Path, name: str) -> None:
    source = written(tmp_path / "r.csv", TEXT, "gzip" if name == "gzip" else "zip")
    with pytest.raises(errors.NotPlainTextError, match=f"The file is {name}"):
        engine.profile(replace(source, compression=None))


def test_a_zip_that_is_rewritten_while_it_is_loaded_is_noticed(
    engine: Engine, tmp_path: Path
) -> None:
    source = written(tmp_path / "r", TEXT, "zip")
    digest = engine.profile(source).files["r"].digest
    pinned = replace(source, files=tuple(replace(one, digest=digest) for one in source.files))
    assert len(encode(engine, pinned, tmp_path / "out")) == 1
    (tmp_path / "r").write_bytes(zipped(TEXT.replace("0.25", "0.75").encode()))
    written(tmp_path / "r", csv_text([minimal_row(cost="9")]), "zip")
    with pytest.raises(errors.DeliveryChangedError):
        encode(engine, pinned, tmp_path / "out2")
