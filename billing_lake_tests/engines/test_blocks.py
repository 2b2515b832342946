"""Blocks: wherever a file is cut, rows stay whole and separators are counted as a CSV parser would."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.records import BadCellError, row_end, split_row
from billing_lake.engines import blocks
from billing_lake.engines.blocks import line_at, row_blocks, scan
from billing_lake.files.local import LocalFiles
from billing_lake_tests.engines.report_files import csv_text, report

FILES = LocalFiles()

cells = st.text(st.sampled_from('ab,"\n é'), max_size=6)
tables = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=20)
)


@settings(max_examples=80)
@given(tables, st.integers(1, 64))
def test_blocks_joined_are_the_file_and_each_holds_whole_rows(
    tmp_path: Path, rows: list[tuple[str, ...]], size: int
) -> None:
    header = [f"h,{n}" for n in range(len(rows[0]))]
    path = report(tmp_path / "r.csv.gz", csv_text(rows, header))
    found, offset = [], len(csv_text([], header).encode())
    for block in row_blocks(FILES, str(path), "r", size):
        assert block.offset == offset
        parsed = list(csv.reader(io.StringIO(block.data.decode(), newline="")))
        assert block.separators == sum(len(row) - 1 for row in parsed)
        found += parsed
        offset += len(block.data)
    assert found == [list(row) for row in rows]


def test_the_line_of_a_block_counts_every_line_break_before_it(tmp_path: Path) -> None:
    rows = [("a", "two\nlines"), ("b", "c"), ("d", "e")]
    path = report(tmp_path / "r.csv.gz", csv_text(rows, ("h", "i\nj")))
    lines = [
        line_at(FILES, str(path), "r", block.offset)
        for block in row_blocks(FILES, str(path), "r", 16)
    ]
    assert lines == [3, 5]


@given(st.text(st.sampled_from(',"ab\n\r'), max_size=400), st.sampled_from([64, 128, 1 << 18]))
def test_separators_are_the_commas_that_no_quote_holds(text: str, size: int) -> None:
    outside = sum(piece.count(",") for piece in text.split('"')[::2])
    ends = [n for n, c in enumerate(text) if c in ",\n" and text.count('"', 0, n) % 2 == 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_SLICE_BYTES", size)
        found = scan(text.encode())
    assert (found.separators, found.is_open) == (outside, text.count('"') % 2 == 1)
    assert found.is_broken == has_stray_quote(text)
    assert (
        np.flatnonzero(np.unpackbits(found.ends.view(np.uint8), bitorder="little")).tolist() == ends
    )


def has_stray_quote(text: str) -> bool:
    """Say by the slow rules whether a quote stands where none may; one that never closes is another matter."""
    data, start = text.encode(), 0
    while start < len(data):
        end = row_end(data, start) or len(data)
        try:
            split_row(data[start:end].decode().removesuffix("\n").removesuffix("\r"))
        except BadCellError as error:
            if "never closes" not in str(error):
                return True
        start = end
    return False


def test_separators_carry_an_open_quote_from_slice_to_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "_SLICE_BYTES", 64)
    for start in range(40, 70):
        whole = scan(b"x" * start + b',b,"c,d""e,f",g\n"h,,,,,",i,j,k\n')
        assert (whole.separators, whole.is_open, whole.is_broken) == (6, False, False)
        cut = scan(b"x" * start + b',"b,')
        assert (cut.separators, cut.is_open, cut.is_broken) == (1, True, False)


def test_a_row_without_end_is_broken_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LONGEST_ROW_BYTES", 1 << 16)
    path = report(tmp_path / "r.csv.gz", 'a,b\n1,2\n3,"' + "x\n" * 100_000)
    found = list(row_blocks(FILES, str(path), "r", 1 << 10))
    assert [(block.offset, block.is_broken) for block in found] == [(4, False), (8, True)]
    assert len(found[-1].data) <= 1 << 16
