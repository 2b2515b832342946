"""The content of a table is that of its delivery, whichever engine wrote it, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing_lake.domain.column_names import LAKE_COLUMNS, SOURCE_FILE
from billing_lake.domain.content import Content, merge_content, other_columns
from billing_lake.domain.errors import DeliveryChangedError
from billing_lake.domain.sources import EncodedFile, Source
from billing_lake.domain.types import BOOLEAN, LONG
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake_tests.engines import test_parquet_sources
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of, table_of
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HEADER = (*MINIMAL_HEADER, "resourceTags/user:a b", "resourceTags/user:a-b", "resourceTags/user:z")
COST = "line_item_unblended_cost"
START = "line_item_usage_start_date"
TAG, OTHER_TAG = "resource_tags_user_a_b", "resource_tags_user_z"


def contents(source: Source, files: Sequence[EncodedFile]) -> tuple[Content, Content]:
    """Return the content of report files, and that of the table that was made from them."""
    reader = PolarsEngine()
    table = table_of(source, files)
    columns = [
        one for one in table.columns if one.name == SOURCE_FILE or one.name not in LAKE_COLUMNS
    ]
    return reader.content(source, columns), reader.content(table, columns)


def delivered(tmp_path: Path) -> Source:
    rows = [
        (*minimal_row(cost="1.81E-8", start="2025-03-01 05:00:00.0"), "a", "a", "z"),
        (*minimal_row(cost="0.1234567890123456785", product="EMPTY"), "a", "b", ""),
        (*minimal_row(cost="EMPTY", start="2025-03-02", product=" two\nlines"), "", "c", 'x, "y"'),
        (*minimal_row(cost="", start="", product="日本語", currency=""), "", "", "007"),
    ]
    content = csv_text(rows, HEADER).replace("EMPTY", '""')
    one = report(tmp_path / "1.csv.gz", content)
    two = report(tmp_path / "2.csv.gz", csv_text([(*minimal_row(), "q", "", "r")] * 2, HEADER))
    return source_of(one, two, header=HEADER)


def test_a_table_has_the_content_of_its_delivery(engine: Engine, tmp_path: Path) -> None:
    source = delivered(tmp_path)
    raw, table = contents(source, encode(engine, source, tmp_path / "out"))
    assert raw == table
    assert raw.rows == 6
    assert len(set(raw.columns.values())) > len(MINIMAL_HEADER) / 2


def test_a_parquet_report_has_the_content_of_its_table(engine: Engine, tmp_path: Path) -> None:
    columns = {
        COST: pa.array([0.1, 1e-19, None]),
        "ids": pa.array([2**63 - 1, None, -1], pa.int64()),
        "flag": pa.array([True, None, False]),
        "line_item_product_code": pa.array(["", None, "x"]),
    }
    path = test_parquet_sources.parquet(tmp_path / "r.parquet", columns)
    source = test_parquet_sources.source_of(path, names=list(columns), ids=LONG, flag=BOOLEAN)
    raw, table = contents(source, encode(engine, source, tmp_path / "out"))
    assert raw == table
    assert raw.rows == 3


def swapped_columns(rows: pa.Table) -> pa.Table:
    names = {TAG: OTHER_TAG, OTHER_TAG: TAG}
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def with_cells(rows: pa.Table, name: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    cells = pa.array(change(rows[name].to_pylist()), rows.schema.field(name).type)
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), cells)


def one_tag(rows: pa.Table) -> pa.Table:
    return with_cells(rows, TAG, lambda cells: ["A", *cells[1:]])


def null_for_empty_text(rows: pa.Table) -> pa.Table:
    return with_cells(rows, "line_item_product_code", lambda cells: [one or None for one in cells])


def shifted_moments(rows: pa.Table) -> pa.Table:
    hour = timedelta(hours=1)
    return with_cells(rows, START, lambda cells: [one and one + hour for one in cells])


def one_unit(rows: pa.Table) -> pa.Table:
    return with_cells(rows, COST, lambda cells: [cells[0] + Decimal("1E-18"), *cells[1:]])


def exchanged_cells(rows: pa.Table) -> pa.Table:
    return with_cells(rows, OTHER_TAG, lambda cells: [cells[3], *cells[1:3], cells[0], *cells[4:]])


def doubled_for_another(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows.slice(0, 1), rows.slice(0, 1), rows.slice(2)])


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (swapped_columns, [(TAG, OTHER_TAG), (OTHER_TAG, TAG)]),
        (one_tag, [(TAG, None)]),
        (null_for_empty_text, [("line_item_product_code", None)]),
        (shifted_moments, [(START, None)]),
        (one_unit, [(COST, None)]),
        (exchanged_cells, []),
    ],
)
def test_every_change_is_found_and_named(
    tmp_path: Path,
    tamper: Callable[[pa.Table], pa.Table],
    named: list[tuple[str, str | None]],
) -> None:
    source = delivered(tmp_path)
    (file,) = encode(PolarsEngine(), source, tmp_path / "out")
    pq.write_table(tamper(pq.read_table(file.uri)), file.uri)
    raw, table = contents(source, [file])
    assert list(other_columns(raw, table)) == named
    assert raw.whole != table.whole
    assert raw.rows == table.rows


@pytest.mark.parametrize("rows", [slice(0, 5), slice(0, 7)])
def test_a_lost_or_a_doubled_row_is_found(tmp_path: Path, rows: slice) -> None:
    source = delivered(tmp_path)
    (file,) = encode(PolarsEngine(), source, tmp_path / "out")
    table = pq.read_table(file.uri)
    pq.write_table(pa.concat_tables([table, table]).slice(rows.start, rows.stop), file.uri)
    raw, found = contents(source, [file])
    assert (raw.rows, found.rows) == (6, rows.stop)
    assert raw.whole != found.whole


def test_a_row_in_another_ones_place_is_found(tmp_path: Path) -> None:
    source = delivered(tmp_path)
    (file,) = encode(PolarsEngine(), source, tmp_path / "out")
    pq.write_table(doubled_for_another(pq.read_table(file.uri)), file.uri)
    raw, found = contents(source, [file])
    assert raw.rows == found.rows
    assert raw.whole != found.whole
    assert (OTHER_TAG, None) in other_columns(raw, found)


def test_the_order_of_rows_row_groups_and_files_makes_no_difference(tmp_path: Path) -> None:
    source = delivered(tmp_path)
    (file,) = encode(PolarsEngine(), source, tmp_path / "out")
    rows = pq.read_table(file.uri)
    rows = rows.take(pc.sort_indices(rows, [(TAG, "descending"), (OTHER_TAG, "ascending")]))
    files = [replace(file, uri=str(tmp_path / f"{n}.parquet")) for n in range(2)]
    pq.write_table(rows.slice(4), files[0].uri)
    pq.write_table(rows.slice(0, 4), files[1].uri, row_group_size=1)
    turned = replace(source, files=source.files[::-1])
    raw, table = contents(turned, files)
    assert raw == table == contents(source, [file])[0]


def test_raw_files_with_other_bytes_than_were_loaded_are_refused(tmp_path: Path) -> None:
    source = delivered(tmp_path)
    pinned = replace(source, files=tuple(replace(one, digest="0" * 64) for one in source.files))
    with pytest.raises(DeliveryChangedError, match="rewritten"):
        PolarsEngine().content(pinned, source.columns)


def test_content_adds_up_in_any_grouping() -> None:
    parts = [Content(rows=n, columns={"a": n << 62}, whole=n << 61) for n in range(9)]
    whole = merge_content(parts)
    assert whole == merge_content([merge_content(parts[3:]), merge_content(parts[:3])])
    assert (whole.rows, whole.columns["a"], whole.whole) == (36, 0, 36 << 61 & (1 << 64) - 1)


amounts = st.one_of(
    st.just(""),
    st.just('""'),
    st.decimals(-(10**15), 10**15, allow_nan=False, places=20).map(str),
    st.floats(-1e6, 1e6).map(repr),
)
moments = st.sampled_from(
    ["", "2025-03-01T05:00:00Z", "2025-03-01 05:00:00.123 UTC", "2025-03-01 05:00", "2025-03-31"]
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=16)
rows_of_cells = st.lists(st.tuples(amounts, moments, texts, texts, texts), min_size=1, max_size=12)


def assert_no_alarm(
    engine: Engine, tmp_path: Path, cells: Sequence[tuple[str, ...]], files: int
) -> None:
    rows = [
        (*minimal_row(cost="COST", start=start, product=product), a, b, "z")
        for _, start, product, a, b in cells
    ]
    paths = []
    for n in range(files):
        text = csv_text(rows[n::files], HEADER)
        for cost, *_ in cells[n::files]:
            text = text.replace("COST", cost, 1)
        paths.append(report(tmp_path / f"{n}.csv.gz", text))
    source = source_of(*paths, header=HEADER)
    raw, table = contents(source, encode(engine, source, tmp_path / "out"))
    assert raw == table
    assert raw.rows == len(cells)


@settings(max_examples=40)
@given(rows_of_cells, st.integers(1, 3))
def test_no_delivery_raises_a_false_alarm(
    tmp_path: Path, cells: list[tuple[str, ...]], files: int
) -> None:
    assert_no_alarm(PolarsEngine(), tmp_path, cells, files)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(st.lists(rows_of_cells, min_size=8, max_size=8), st.integers(1, 3))
def test_no_delivery_on_spark_raises_a_false_alarm(
    spark: SparkSession, tmp_path: Path, cells: list[list[tuple[str, ...]]], files: int
) -> None:
    assert_no_alarm(
        SparkEngine(lambda: spark), tmp_path, [one for some in cells for one in some], files
    )
