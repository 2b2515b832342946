"""Rows that are whole can be split into cells, and rows of usual reports are whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.records import are_whole, row_end, split_row
from billing_lake_tests.engines.report_files import csv_text
from billing_lake_tests.reports import minimal_row

TEXTS = st.text(alphabet='ab",\r\n\0é', max_size=24)


def rows_of(data: bytes) -> list[bytes]:
    rows, start = [], 0
    while start < len(data):
        end = row_end(data, start) or len(data)
        rows.append(data[start:end])
        start = end
    return rows


@given(TEXTS)
def test_rows_that_are_whole_hide_nothing(text: str) -> None:
    data = text.encode()
    if not are_whole(data):
        return
    assert b"\0" not in data
    for row in rows_of(data):
        one = row.decode().removesuffix("\n").removesuffix("\r")
        assert one, "a blank row"
        assert split_row(one)


@given(
    st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=4), st.sampled_from(["\n", "\r\n"])
)
def test_rows_that_are_written_by_the_book_are_whole(rows: list[list[str]], end: str) -> None:
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    data = "".join(",".join(row) + end for row in quoted).encode()
    assert are_whole(data) is (b"\0" not in data)


def test_bytes_that_are_no_utf8_and_usual_rows_are_told_apart() -> None:
    rows = csv_text([minimal_row(product=cell) for cell in ("", "a,b", 'say "so"', "two\nlines")])
    assert are_whole(rows.encode())
    assert not are_whole(rows.encode() + b"\xff\n")
