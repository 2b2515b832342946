"""The first lines of report files, whatever state they are in."""

from __future__ import annotations

import csv
import gzip
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.errors import (
    BadHeaderError,
    BadValueError,
    BillingLakeError,
    EmptyFileError,
    EncodingError,
    MissingColumnError,
    NotGzipError,
    RaggedRowError,
    ReportFileError,
    TruncatedFileError,
    UnclosedQuoteError,
)
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.landing.headers import HEADER_LIMIT_BYTES, read_header, read_period
from billing_lake_tests.landing.small_deliveries import csv_gz, row

START = "bill_billing_period_start_date"


def header(data: bytes) -> tuple[str, ...]:
    return read_header(io.BytesIO(data), "f.csv.gz")


def period(data: bytes) -> str:
    return read_period(io.BytesIO(data), "f.csv.gz", LEGACY_CUR)


def gz(text: str | bytes) -> bytes:
    return gzip.compress(text.encode() if isinstance(text, str) else text, mtime=0)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b\n1,2\n", ("a", "b")),
        ("a,b\r\n1,2\r\n", ("a", "b")),
        ("\ufeffa,b\n1,2\n", ("a", "b")),
        ('\ufeff"a","b"\n', ("a", "b")),
        ("a,b", ("a", "b")),
        ("a,b\r", ("a", "b")),
        ("a,,\n", ("a", "", "")),
        ('"a,1","b ""x""","c\r\nd"\n1,2,3\n', ("a,1", 'b "x"', "c\r\nd")),
        ('"a"', ("a",)),
        ('"",b\n', ("", "b")),
        ("ä,日本,🙂\n", ("ä", "日本", "🙂")),
        (" a , b \n", (" a ", " b ")),
    ],
)
def test_a_header_is_read_as_it_was_written(text: str, cells: tuple[str, ...]) -> None:
    assert header(gz(text)) == cells


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_whatever_a_csv_writer_writes_is_read_back(cells: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(["first", *cells])
    assert header(gz(text.getvalue())) == ("first", *cells)


@given(st.binary(max_size=60))
def test_whatever_bytes_are_in_a_file_they_are_read_or_refused_by_name(content: bytes) -> None:
    for data in (content, gz(content)):
        for read in (header, period):
            try:
                read(data)
            except BillingLakeError as error:
                assert "f.csv.gz" in str(error)  # noqa: PT017


def test_a_header_larger_than_one_block_is_read() -> None:
    cells = tuple(f"column {n} {'x' * 50}" for n in range(8_000))
    assert header(gz('"' + '","'.join(cells) + '"\r\n1\r\n')) == cells


def test_a_gzip_of_several_members_is_one_file() -> None:
    assert header(gz("a,") + gz("b\n1,2\n")) == ("a", "b")


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", EmptyFileError, "no bytes"),
        (gz(""), EmptyFileError, "no header"),
        (gz("\n1,2\n"), EmptyFileError, "no header"),
        (gz("\ufeff"), EmptyFileError, "no header"),
        (b"a,b\n1,2\n", NotGzipError, "not gzipped; it begins with the bytes 61 2c"),
        (b"PK\x03\x04", NotGzipError, "50 4b"),
        (b"\x1f", NotGzipError, "1f"),
        (gz("a,b\n" * 9)[:5], TruncatedFileError, "damaged"),
        (gz("a,b\n" * 9)[:-6], TruncatedFileError, "damaged"),
        (gz("a,b\n") + b"rubbish", TruncatedFileError, "damaged"),
        (gz("a,b\n")[:10] + b"\xff" * 20, TruncatedFileError, "damaged"),
        (gz(b"a,caf\xe9\n"), EncodingError, "not UTF-8.*line 1.*caf"),
        (gz("a,b\n".encode("utf-16")), EncodingError, "not UTF-8"),
        (gz("a,b\n".encode("utf-16-le")), BadHeaderError, "NUL byte"),
        (gz("a\0b,c\n"), BadHeaderError, "NUL byte"),
        (gz('"a,b\n1,2\n'), UnclosedQuoteError, "never closes"),
        (gz('"a"x,b\n1,2\n'), UnclosedQuoteError, "opens or closes in the middle of a cell"),
        (gz('a"b,c\n1,2\n'), UnclosedQuoteError, "opens or closes in the middle of a cell"),
        (gz("a,b\r1,2\r"), ReportFileError, "carriage return"),
        (gz("a" * (HEADER_LIMIT_BYTES + 100_000)), BadHeaderError, "no end within 1,048,576 bytes"),
        (gz('"' + "a" * 3 * HEADER_LIMIT_BYTES), BadHeaderError, "no end within 1,048,576 bytes"),
        (gz("a," * HEADER_LIMIT_BYTES + "a\n1\n"), BadHeaderError, "no end within 1,048,576 bytes"),
        (gz('"' + "\n" * 3 * HEADER_LIMIT_BYTES), BadHeaderError, "no end within 1,048,576 bytes"),
        (gz('"' * 3 * HEADER_LIMIT_BYTES), BadHeaderError, "no end within 1,048,576 bytes"),
        (gz('"\n"' * HEADER_LIMIT_BYTES), BadHeaderError, "no end within 1,048,576 bytes"),
    ],
)
def test_a_file_without_a_readable_header_is_refused_by_name(
    data: bytes, kind: type[ReportFileError], reason: str
) -> None:
    with pytest.raises(kind, match=rf"{reason}.*") as caught:
        header(data)
    assert caught.value.file == "f.csv.gz"


def test_what_is_wrong_behind_the_header_is_left_to_the_engine() -> None:
    assert header(gz(b'a,b\n\xe9,2\n\0,"x\n')) == ("a", "b")


def test_a_large_file_is_opened_without_reading_it_whole() -> None:
    stream = io.BytesIO(gz(b"a,b\n" + os.urandom(3_000_000)))
    assert read_header(stream, "f") == ("a", "b")
    assert stream.tell() < 300_000


@pytest.mark.parametrize(
    "cell",
    ["2025-03-01 00:00:00.0", "2025-03-01T00:00:00Z", "2025-03-01T00:00:00.000Z", "2025-03-01"],
)
def test_the_first_row_states_the_period_in_any_spelling(cell: str) -> None:
    assert period(gz(f"x,{START}\n1,{cell}\nrubbish")) == "2025-03"


@pytest.mark.parametrize("name", ["bill/BillingPeriodStartDate", "bill_BillingPeriodStartDate"])
def test_the_column_of_the_period_is_known_in_any_spelling(name: str) -> None:
    assert period(gz(f"x,{name}\n1,2025-03-01\n")) == "2025-03"


def test_of_two_columns_of_the_period_the_first_that_says_something_counts() -> None:
    assert period(gz(f"bill/BillingPeriodStartDate,{START}\n,2025-03-01\n")) == "2025-03"


def test_a_first_row_with_a_cell_of_twenty_megabytes_states_its_period() -> None:
    text = "x" * 20_000_000 + 'x""' * 100_000
    assert period(gz(f'x,{START}\n"{text}",2025-03-01\n')) == "2025-03"


def test_blank_lines_before_the_first_row_are_skipped() -> None:
    assert period(gz(f"x,{START}\n\n\r\n1,2025-03-01\n")) == "2025-03"


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (csv_gz([]), ReportFileError, "has no rows, and so no billing period"),
        (gz(f"x,{START}\n\n"), ReportFileError, "has no rows, and so no billing period"),
        (csv_gz([("1",)], ["x"]), MissingColumnError, f"column {START}"),
        (gz(f"x,{START}\n1\n"), RaggedRowError, "1 cells and the header 2.*line 2"),
        (gz(f'"x\n",{START}\n1,soon\n'), BadValueError, "line 3.*'soon'"),
        (gz(f"x,{START}\n1,\n"), BadValueError, "states no billing period.*''"),
        (gz(f"x,{START}\n".encode() + b"1,\xff\n"), BadValueError, "xff"),
        (gz(f'x,{START}\n"1,2025-03-01\n'), UnclosedQuoteError, "line 2"),
    ],
)
def test_a_loose_file_that_states_no_period_is_refused_by_name(
    data: bytes, kind: type[ReportFileError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        period(data)


def test_the_report_of_the_tests_states_its_period() -> None:
    assert period(csv_gz([row("2024-12")])) == "2024-12"
