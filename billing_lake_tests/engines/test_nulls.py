"""Texts that mean NULL in a format: they are NULL in every engine, in columns of every type, quoted or not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from billing_lake.domain.errors import BadValueError
from billing_lake.domain.profiles import compare
from billing_lake.domain.sources import QUOTED_EMPTY
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of, table_of
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

COST = "line_item_unblended_cost"
AMOUNT = "line_item_usage_amount"
HEADER = (*MINIMAL_HEADER, COST, "tag", AMOUNT, "other")


def text_of(*rows: tuple[str, ...]) -> str:
    """Return a report in which some cells are quoted although they need not be."""
    text = csv_text([(*minimal_row(amount="NULL"), *row) for row in rows], HEADER)
    return text.replace("(NULL)", '"NULL"')


def test_a_text_that_means_null_is_null_in_columns_of_every_type(
    engine: Engine, tmp_path: Path
) -> None:
    text = text_of(
        ("NULL", "NULL", "NULL", "NULL"),
        ("(NULL)", "(NULL)", "(NULL)", "(NULL)"),
        ("", "null", "2.5", "NULLs"),
    )
    source = source_of(report(tmp_path / "r.csv.gz", text), header=HEADER)
    source = replace(source, nulls=("", "NULL"))
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri)
    assert table["tag"].to_pylist() == [None, None, "null"]
    assert table["other"].to_pylist() == [None, None, "NULLs"]
    assert table["line_item_usage_amount"].to_pylist() == [None, None, Decimal("2.5")]
    assert compare(engine.profile(source), engine.profile(table_of(source, [file]))) == []
    raw, held = (
        PolarsEngine().content(one, source.columns) for one in (source, table_of(source, [file]))
    )
    assert raw == held


def test_the_cell_that_is_at_fault_is_named_and_not_one_that_is_null(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [("NULL", "a", "1", "b"), ("NULL", "a", "NULLs", "b")]
    source = source_of(report(tmp_path / "r.csv.gz", text_of(*rows)), header=HEADER)
    with pytest.raises(BadValueError, match=r"line 3, column line_item_usage_amount.*'NULLs'"):
        encode(engine, replace(source, nulls=("", "NULL")), tmp_path / "out")


def test_a_text_that_means_null_in_another_format_is_a_text_in_this_one(
    engine: Engine, tmp_path: Path
) -> None:
    text = text_of(("", "NULL", "", "(NULL)")).replace("NULL,0.25", ",0.25")
    source = source_of(report(tmp_path / "r.csv.gz", text), header=HEADER)
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri)
    assert (table["tag"].to_pylist(), table["other"].to_pylist()) == (["NULL"], ["NULL"])


def test_an_empty_text_in_quotes_is_null_where_the_format_says_so(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [("(E)", "(E)", "(E)", "(E)"), ("", "", "", ""), ("", "a", "2.5", "NULL")]
    text = text_of(*rows).replace("(E)", '""')
    source = source_of(report(tmp_path / "r.csv.gz", text), header=HEADER)
    source = replace(source, nulls=("", QUOTED_EMPTY, "NULL"))
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri)
    assert table["tag"].to_pylist() == [None, None, "a"]
    assert table["other"].to_pylist() == [None, None, None]
    assert table["line_item_usage_amount"].to_pylist() == [None, None, Decimal("2.5")]
    raw = engine.profile(source)
    assert (raw.filled or {}).get("other", 0) == 0
    assert compare(raw, engine.profile(table_of(source, [file]))) == []
    content = PolarsEngine().content
    assert content(source, source.columns) == content(table_of(source, [file]), source.columns)
