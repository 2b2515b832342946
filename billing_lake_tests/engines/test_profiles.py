"""A profile knows every column: exact sums of any size, and how many cells hold something."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain import errors
from billing_lake.domain.profiles import compare
from billing_lake.domain.types import BOOLEAN, DOUBLE, INT, LONG
from billing_lake.engines.base import Engine
from billing_lake.engines.blocks import row_blocks
from billing_lake.engines.cell_counts import column_counts, empty_cells
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.files.local import LocalFiles
from billing_lake_tests.engines import test_parquet_sources
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of, table_of
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

COST = "line_item_unblended_cost"
AMOUNT = "line_item_usage_amount"
HALF = "60000000000000000000.000000000000000001"
"""Three of them are more than an integer of 128 bits holds with 18 decimals; two are more than 38 digits."""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_column_is_counted_and_every_number_summed(
    engine: Engine, tmp_path: Path, line_end: str
) -> None:
    tags = ("resourceTags/user:Cost Center", "resourceTags/user:cost-center", "resourceTags/user:z")
    header = (*MINIMAL_HEADER, *tags)
    rows = [
        (*minimal_row(amount="1.5", cost="2"), "a", "a", ""),
        (*minimal_row(amount="", cost="0.25"), "a", "b", 'x, "y"'),
        (*minimal_row(amount="1E-20", cost="", product="EMPTY"), "", "c", "z"),
        (*minimal_row(amount="EMPTY", cost="1", product="", end=""), "", "", ""),
    ]
    content = csv_text(rows, header).replace("EMPTY", '""').replace("\n", line_end)
    path = report(tmp_path / "r.csv.gz", content.removesuffix(line_end))
    source = source_of(path, header=header)
    raw = engine.profile(source)
    assert raw.sums == {AMOUNT: Decimal("1.5")}
    assert raw.totals == {"USD": {COST: Decimal("3.25")}}
    assert raw.filled is not None
    expected = dict.fromkeys(raw.filled, 4) | {
        AMOUNT: 2,
        COST: 3,
        "line_item_product_code": 3,
        "line_item_usage_end_date": 3,
        "resource_tags_user_cost_center": 3,
        "resource_tags_user_cost_center__2": 1,
        "resource_tags_user_z": 2,
    }
    assert raw.filled == expected
    assert set(expected) == {column.name for column in source.columns}
    table = engine.profile(table_of(source, encode(engine, source, tmp_path / "out")))
    assert (table.sums, table.filled) == (raw.sums, raw.filled)


def test_sums_of_quantities_are_exact_beyond_what_a_decimal_holds(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [
        minimal_row(amount=amount, currency=currency)
        for amount, currency in [(HALF, "USD"), (HALF, "EUR"), (HALF, "USD"), ("-" + HALF, "EUR")]
    ]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([*rows, rows[0]])))
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    exact = {AMOUNT: Decimal("180000000000000000000.000000000000000003")}
    assert engine.profile(source).sums == exact
    assert engine.profile(table).sums == exact
    assert PolarsEngine().profile(table).sums == exact


def test_a_cost_total_that_a_table_cannot_hold_is_named_and_never_wraps_around(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [minimal_row(cost=HALF), minimal_row(cost=HALF), minimal_row(cost="1", currency="EUR")]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([*rows, rows[0]])))
    with pytest.raises(errors.LoadError, match="too large for DECIMAL") as caught:
        engine.profile(source)
    assert caught.value.column == COST
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    assert PolarsEngine().profile(table).totals == {
        "USD": {COST: Decimal("180000000000000000000.000000000000000003")},
        "EUR": {COST: Decimal(1)},
    }


def test_sums_of_parquet_reports_never_wrap_around(engine: Engine, tmp_path: Path) -> None:
    columns = {
        AMOUNT: pa.array([Decimal(HALF)] * 3, pa.decimal128(38, 18)),
        COST: pa.array([Decimal(HALF)] * 2 + [Decimal("-" + HALF)], pa.decimal128(38, 18)),
        "ids": pa.array([2**63 - 1, 2**63 - 1, None], pa.int64()),
        "small": pa.array([2**31 - 1, 2**31 - 1, 1], pa.int32()),
        "flag": pa.array([True, None, None]),
        "share": pa.array([0.1, 0.2, None]),
    }
    path = test_parquet_sources.parquet(tmp_path / "r.parquet", columns)
    types = {"ids": LONG, "small": INT, "flag": BOOLEAN, "share": DOUBLE}
    source = test_parquet_sources.source_of(path, names=list(columns), **types)
    raw = engine.profile(source)
    assert raw.sums == {
        AMOUNT: Decimal("180000000000000000000.000000000000000003"),
        "ids": Decimal(2**64 - 2),
        "small": Decimal(2**32 - 1),
    }
    assert raw.totals == {"(none)": {COST: Decimal(HALF)}}
    assert raw.filled == {AMOUNT: 3, COST: 3, "ids": 2, "small": 3, "flag": 1, "share": 2}
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    assert compare(raw, engine.profile(table)) == []
    assert compare(raw, PolarsEngine().profile(table)) == []


def test_a_table_whose_footer_does_not_count_is_counted(tmp_path: Path) -> None:
    source = source_of(
        report(tmp_path / "r.csv.gz", csv_text([minimal_row(), minimal_row(cost="")]))
    )
    engine = PolarsEngine()
    (file,) = encode(engine, source, tmp_path / "out")
    pq.write_table(pq.read_table(file.uri), file.uri, write_statistics=False)
    assert compare(engine.profile(source), engine.profile(table_of(source, [file]))) == []


cells = st.sampled_from(["", "a", "bc", '"', ",", "\n", "\r\n", '""'])


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1)
    )
)
def test_empty_cells_are_those_that_a_csv_reader_finds_empty(
    tmp_path: Path, rows: Sequence[Sequence[str]]
) -> None:
    width = len(rows[0])
    for line_end, end in (("\n", True), ("\n", False), ("\r\n", True)):
        lines = [csv_text([], row).removesuffix("\n") + line_end for row in rows]
        content = "header\n" + "".join(lines)
        path = report(tmp_path / "r.csv.gz", content if end else content.removesuffix("\n"))
        found = [0] * width
        for block in row_blocks(LocalFiles(), str(path), "r", 64):
            counts = column_counts(empty_cells(block, width))
            found = [one + more for one, more in zip(found, counts, strict=True)]
        assert found == [sum(row[n] == "" for row in rows) for n in range(width)]
