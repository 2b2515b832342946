"""The one pass over CSV reads what is usual by itself, leaves what is doubtful to the careful way, and never differs from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.errors import BadValueError, ReportFileError, StorageWriteError
from billing_lake.domain.profiles import EXACT, compare
from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.engines import csv_pass, one_pass
from billing_lake.engines.cell_counts import read_footer
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake_tests.engines.report_files import (
    assert_same,
    converted,
    csv_text,
    report,
    source_of,
    table_of,
    target_of,
)
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

COST = "line_item_unblended_cost"
HEADER = (*MINIMAL_HEADER, "resourceTags/user:a b", "resourceTags/user:a-b")


USUAL = [
    (*minimal_row(cost="1.81E-8", start="2025-03-01 05:00:00.0"), "a", "a"),
    (*minimal_row(cost="-0.000000000000000001", product="EMPTY"), "a", "b"),
    (*minimal_row(cost="12345678901234567890", start="2025-03-02", product=" two\nlines"), "", "c"),
    (*minimal_row(cost="", start="", product="日本語 ☁", currency=""), "", ""),
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("nulls", [("",), ("", QUOTED_EMPTY, "NULL")])
def test_usual_rows_are_read_once(tmp_path: Path, end: str, nulls: tuple[str, ...]) -> None:
    text = csv_text(USUAL, HEADER).replace("EMPTY", '""').replace("two\nlines", "two lines")
    paths = [report(tmp_path / f"{n}.csv.gz", text.replace("\n", end)) for n in range(2)]
    source = replace(source_of(*paths, header=HEADER), nulls=nulls)
    assert assert_same(source, tmp_path)


@pytest.mark.parametrize(
    "cost",
    [
        '""',
        "1.2345678901234567891E-5",
        "7E-30",
        "0.10000000000000000000000",
        "99999999999999999990.5",
        "1E5",
        "1E00005",
        "1E-77",
        "1E-2147483647",  # pyarrow would end the process
    ],
)
def test_numbers_that_are_doubtful_are_read_once_too_by_the_careful_expressions(
    tmp_path: Path, cost: str
) -> None:
    rows = [minimal_row(cost="COST"), minimal_row(cost="2.5"), minimal_row(cost="")]
    text = csv_text(rows).replace("COST", cost)
    assert assert_same(source_of(report(tmp_path / "r.csv.gz", text)), tmp_path)


@pytest.mark.parametrize(
    "cost", ["1" * 22, "9" * 21, " 1", "1 ", "\t1", "1E+-5", "1E0x5", "12E19", "1E20", "0x10", "-"]
)
def test_what_pyarrow_would_misread_without_a_word_is_refused_and_named(
    tmp_path: Path, cost: str
) -> None:
    text = csv_text([minimal_row(), minimal_row(cost=cost)])
    source = source_of(report(tmp_path / "bad.csv.gz", text))
    with pytest.raises(BadValueError, match=COST) as caught:
        converted(source, tmp_path / "out")
    assert (caught.value.line, caught.value.value) == (3, cost)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("AmazonS3", '"Amazon\rS3"'),
        lambda text: text.removesuffix("\n") + "\r",
        lambda text: text.replace("AmazonS3", '"AmazonS3\r"'),
    ],
    ids=["in-a-cell", "at-the-end", "before-a-quote"],
)
def test_a_carriage_return_alone_is_left_to_the_careful_way(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    path = report(tmp_path / "r.csv.gz", change(csv_text([minimal_row(), minimal_row()])))
    assert not assert_same(source_of(path), tmp_path)


@pytest.mark.parametrize("end", ['"a",', '"a",""', "a,", '"",'])
def test_a_last_cell_without_a_line_end_is_what_it_is_elsewhere(tmp_path: Path, end: str) -> None:
    header = (*MINIMAL_HEADER, "resourceTags/user:a", "resourceTags/user:b")
    rows = csv_text([(*minimal_row(), "LAST", "")] * 2, header).replace("LAST,", end)
    path = report(tmp_path / "r.csv.gz", rows.removesuffix("\n"))
    assert assert_same(source_of(path, header=header), tmp_path)


def test_a_row_that_a_carriage_return_would_make_two_of_is_refused(tmp_path: Path) -> None:
    rows = csv_text([minimal_row(), minimal_row()]).rstrip("\n")
    path = report(
        tmp_path / "bad.csv.gz", rows[: rows.rindex("\n")] + "\r" + rows.rpartition("\n")[2]
    )
    with pytest.raises(ReportFileError):
        converted(source_of(path), tmp_path / "out")


def test_bytes_that_are_no_text_are_refused_and_named_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_pass, "_BLOCK_BYTES", 600)
    rows = csv_text([minimal_row(product=f"{n} ☁") for n in range(60)]).encode()
    for bad in (b"40 \xff", b"40 \xe2\x98", b"40 \xed\xa0\x80"):
        path = report(tmp_path / "bad.csv.gz", rows.replace("40 ☁".encode(), bad))
        with pytest.raises(ReportFileError) as caught:
            converted(source_of(path), tmp_path / "out")
        assert (caught.value.file, caught.value.line) == (path.name, 42)
        assert list((tmp_path / "out").iterdir()) == []


def test_all_columns_but_texts_that_each_row_has_say_how_many_cells_are_filled(
    tmp_path: Path,
) -> None:
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(USUAL, HEADER)), header=HEADER)
    profile, (file,), _ = converted(source, tmp_path / "out")
    assert profile.filled is not None
    with Path(file.uri).open("rb") as stream:
        footer = read_footer(stream)
    named = profile.filled.keys() & footer.nulls.keys()
    stated = {name: footer.rows - footer.nulls[name] for name in named}
    assert stated.items() <= profile.filled.items()
    unstated = {"identity_line_item_id", "identity_time_interval"}
    assert profile.filled.keys() - stated.keys() == unstated
    assert compare(profile, PolarsEngine().profile(table_of(source, [file]))) == []


def test_runs_and_files_are_cut_and_the_rows_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_pass, "_BLOCK_BYTES", 600)
    monkeypatch.setattr(one_pass, "_RUNS_BYTES", 2_000)
    monkeypatch.setattr(one_pass, "_FILE_BYTES", 4_000)
    paths = [
        report(
            tmp_path / f"{n}.csv.gz",
            csv_text([minimal_row(line_item_id=f"{n} {m}", cost=f"{m}.5") for m in range(60)]),
        )
        for n in range(3)
    ]
    source = source_of(*paths)
    assert assert_same(source, tmp_path)
    files = sorted((tmp_path / "once").iterdir())
    assert len(files) > 3
    assert sum(pq.read_metadata(file).num_row_groups for file in files) > len(files)


def test_a_small_delivery_of_several_files_makes_one_file(tmp_path: Path) -> None:
    paths = [report(tmp_path / f"{n}.csv.gz", csv_text([minimal_row()])) for n in range(5)]
    _, files, once = converted(source_of(*paths), tmp_path / "out")
    assert once
    (file,) = files
    assert pq.read_metadata(file.uri).num_row_groups == 1
    assert pq.read_table(file.uri)["source_file"].to_pylist() == [path.name for path in paths]


def test_a_fault_in_the_last_of_many_blocks_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_pass, "_BLOCK_BYTES", 600)
    monkeypatch.setattr(one_pass, "_RUNS_BYTES", 2_000)
    rows = [minimal_row(cost=f"{n}") for n in range(200)]
    path = report(tmp_path / "bad.csv.gz", csv_text([*rows, minimal_row(cost="ten")]))
    with pytest.raises(BadValueError) as caught:
        converted(source_of(path), tmp_path / "out")
    assert caught.value.line == 202
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()])))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageWriteError, match="cannot be written"):
        converted(source, tmp_path / "out")


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    full = tmp_path / "out"
    full.mkdir()
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()])))
    target = target_of(source, full)
    (full / f"{target.stem}-00000.parquet").symlink_to("/dev/full")
    with pytest.raises(StorageWriteError, match="No space left"):
        PolarsEngine().convert(source, target)
    assert list(full.iterdir()) == []


numbers = st.one_of(
    st.sampled_from(["", '""', "7E-30", "1E5", ".5", "5.", "-0", "+1", "1e-7"]),
    st.decimals(-(10**19), 10**19, allow_nan=False, places=20).map(str),
    st.decimals(-(10**6), 10**6, allow_nan=False, places=9).map(str),
    st.floats(-1e6, 1e6).map(repr),
)
moments = st.sampled_from(
    ["", "2025-03-01T05:00:00Z", "2025-03-01 05:00:00.123 UTC", "2025-03-01 05:00", "2025-03-31"]
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=9)
rows_of_cells = st.lists(
    st.tuples(numbers, moments, texts, texts, texts, st.sampled_from(["USD", "EUR", ""])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20)
@given(rows_of_cells, st.integers(1, 3))
def test_whatever_the_cells_one_pass_gives_what_two_give(
    tmp_path: Path, cells: list[tuple[str, ...]], files: int
) -> None:
    rows = [
        (*minimal_row(cost="COST", start=start, product=product, currency=currency), a, b)
        for _, start, product, a, b, currency in cells
    ]
    paths = []
    for n in range(files):
        text = csv_text(rows[n::files], HEADER)
        for cost, *_ in cells[n::files]:
            text = text.replace("COST", cost, 1)
        paths.append(report(tmp_path / f"{n}.csv.gz", text))
    assert_same(source_of(*paths, header=HEADER), tmp_path)


def test_totals_are_those_of_the_texts_added_by_python(tmp_path: Path) -> None:
    costs = [
        "0.1",
        "-3",
        "1.81E-8",
        "12345678901.123456789012345678",
        "7E5",
        "0.000000000000000001",
    ]
    source = source_of(
        report(tmp_path / "r.csv.gz", csv_text([minimal_row(cost=cost) for cost in costs * 3]))
    )
    profile, _, once = converted(source, tmp_path / "out")
    assert once
    assert profile.totals["USD"][COST] == reduce(EXACT.add, map(Decimal, costs * 3))
