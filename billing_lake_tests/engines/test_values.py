"""Values: what stands in a report stands in the table, to the last digit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing_lake.domain.profiles import compare
from billing_lake.domain.schemas import Column
from billing_lake.domain.text_values import fits
from billing_lake.domain.types import TIMESTAMP
from billing_lake.domain.types import Decimal as DecimalType
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.engines.spark_engine import SparkEngine
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of, table_of
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COST = "line_item_unblended_cost"


def together_and_alone(engine: Engine, cells: list[Any]) -> list[list[Any]]:
    """Return the cells of each of several files: one with all of them; and one with each, but where a file takes a second, as on Spark."""
    quick = isinstance(engine, PolarsEngine)
    return [cells, *([one] for one in cells)] if quick else [cells]


def encoded_column(engine: Engine, tmp_path: Path, content: str | bytes, column: str) -> list[Any]:
    source = source_of(report(tmp_path / "report.csv.gz", content))
    (file,) = encode(engine, source, tmp_path / "out")
    values: list[Any] = pq.read_table(file.uri)[column].to_pylist()
    return values


DECIMALS = [
    ("1.81E-8", "0.000000018100000000"),
    ("-2.5e+2", "-250.000000000000000000"),
    ("3.4553881470476036", "3.455388147047603600"),
    ("0.1234567890123456785", "0.123456789012345678"),
    ("0.1234567890123456775", "0.123456789012345678"),
    ("1E-19", "0.000000000000000000"),
    ("00012", "12.000000000000000000"),
    ("-0.0E38", "0.000000000000000000"),
    (".5", "0.500000000000000000"),
    ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
]


def test_decimals_keep_eighteen_digits_and_round_half_even(engine: Engine, tmp_path: Path) -> None:
    for number, cells in enumerate(together_and_alone(engine, DECIMALS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = csv_text([minimal_row(cost=text) for text, _ in cells])
        found = encoded_column(engine, folder, content, COST)
        assert found == [Decimal(value) for _, value in cells]


def test_cells_that_lose_digits_are_counted_by_column(engine: Engine, tmp_path: Path) -> None:
    costs = [
        "1E-19",
        "1.5E-18",
        "1.10E-17",
        "0.1234567890123456785",
        "-1e-19",
        "0.1",
        "1.000000000000000000000",
        "2.5E-23",
        "2",
    ]
    path = report(tmp_path / "r.csv.gz", csv_text([minimal_row(cost=cost) for cost in costs]))
    assert engine.profile(source_of(path)).rounded == {COST: 5}


def test_cells_that_lose_digits_are_counted_by_the_scale_of_their_own_column(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [minimal_row(cost=cost) for cost in ("0.12", "0.125", "7", "0.135", "1E-3")]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(rows)))
    types = {COST: DecimalType(9, 2)}
    columns = (Column(one.name, types.get(one.name, one.type)) for one in source.columns)
    source = replace(source, columns=tuple(columns))
    raw = engine.profile(source)
    assert raw.rounded == {COST: 3}
    assert raw.totals == {"USD": {COST: Decimal("7.38")}}
    table = engine.profile(table_of(source, encode(engine, source, tmp_path / "out")))
    assert compare(raw, table) == []


MOMENTS = [
    "2025-03-01T05:00:00Z",
    "2025-03-01T05:00:00.000Z",
    "2025-03-01 05:00:00.0",
    "2025-03-01 05:00:00",
    "2025-03-01T05:00:00",
    "2025-03-01 05:00:00+00:00",
    "2025-03-01T05:00:00+0000",
    "2025-03-01 05:00:00.123 UTC",
    "2025-03-01 05:00:00 +00:00",
    "2025-03-01T05:00:00-00",
    "2025-03-01 05:00:00Z",
    "2025-03-01 05:00",
    "2025-03-01T05:00Z",
]


def test_every_spelling_of_a_moment_is_the_same_moment_in_utc(
    engine: Engine, tmp_path: Path
) -> None:
    five = datetime(2025, 3, 1, 5, tzinfo=timezone.utc)
    for number, texts in enumerate(together_and_alone(engine, MOMENTS)):
        assert all(fits(text, TIMESTAMP) for text in texts)
        folder = tmp_path / str(number)
        folder.mkdir()
        content = csv_text([minimal_row(start=text) for text in texts])
        found = encoded_column(engine, folder, content, "line_item_usage_start_date")
        assert [one.replace(microsecond=0) for one in found] == [five] * len(texts), texts
        profile = engine.profile(source_of(folder / "report.csv.gz"))
        assert profile.first_usage == five.isoformat()


def test_spellings_may_differ_from_row_to_row(engine: Engine, tmp_path: Path) -> None:
    spellings = ["2025-03-01 05:00:00.0", "2025-03-01 05:00+00:00", "", "2025-03-01"]
    starts = ["2025-03-01T05:00:00Z"] * 1_200 + spellings
    content = csv_text([minimal_row(start=start) for start in starts])
    found = encoded_column(engine, tmp_path, content, "line_item_usage_start_date")
    five, midnight = (datetime(2025, 3, 1, hour, tzinfo=timezone.utc) for hour in (5, 0))
    assert found == [five] * 1_202 + [None, midnight]


def test_a_date_without_time_is_midnight(engine: Engine, tmp_path: Path) -> None:
    found = encoded_column(
        engine, tmp_path, csv_text([minimal_row(start="2025-03-02")]), "line_item_usage_start_date"
    )
    assert found == [datetime(2025, 3, 2, tzinfo=timezone.utc)]


def test_text_keeps_leading_zeros_quotes_commas_line_breaks_and_every_script(
    engine: Engine, tmp_path: Path
) -> None:
    products = [
        "007",
        'say "hi", now',
        "two\nlines",
        "a blank\n\nline",
        "日本語 ☁",
        " spaced ",
        "x" * 20_000_000,
    ]
    found = encoded_column(
        engine,
        tmp_path,
        csv_text([minimal_row(product=product) for product in products]),
        "line_item_product_code",
    )
    assert found == products


def test_an_empty_cell_is_null_and_a_quoted_empty_text_is_empty(
    engine: Engine, tmp_path: Path
) -> None:
    rows = csv_text([minimal_row(product="", cost="")]).rstrip("\n").replace(",,", ',"",', 1)
    source = source_of(report(tmp_path / "r.csv.gz", rows))
    (file,) = encode(engine, source, tmp_path / "out")
    (row,) = pq.read_table(file.uri).to_pylist()
    assert (row["line_item_product_code"], row[COST]) == ("", None)


def test_a_quoted_empty_number_is_null(engine: Engine, tmp_path: Path) -> None:
    content = csv_text([minimal_row(cost="7")]).replace(",7\n", ',""\n')
    assert encoded_column(engine, tmp_path, content, COST) == [None]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    content = (
        b"\xef\xbb\xbf" + csv_text([minimal_row(), minimal_row()]).replace("\n", "\r\n").encode()
    )
    path = report(tmp_path / "r.csv.gz", content)
    assert engine.profile(source_of(path)).totals["USD"][COST] == Decimal("0.5")
    assert encoded_column(engine, tmp_path, content, COST) == [Decimal("0.25")] * 2


def test_a_file_without_a_line_break_at_its_end_loses_no_row(
    engine: Engine, tmp_path: Path
) -> None:
    content = csv_text([minimal_row(), minimal_row()]).rstrip("\n")
    path = report(tmp_path / "r.csv.gz", content)
    assert engine.profile(source_of(path)).rows == 2
    assert len(encoded_column(engine, tmp_path, content, COST)) == 2


def test_a_header_alone_is_a_valid_empty_delivery(engine: Engine, tmp_path: Path) -> None:
    for content in (csv_text([]), csv_text([]).rstrip("\n")):
        source = source_of(report(tmp_path / "r.csv.gz", content))
        assert engine.profile(source).rows == 0
        assert encode(engine, source, tmp_path / "out") == ()
        assert list((tmp_path / "out").iterdir()) == []


def test_a_gzip_of_several_members_is_read_to_its_end(engine: Engine, tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "r.csv.gz"
    first, second = csv_text([minimal_row()]), csv_text([minimal_row()]).split("\n", 1)[1]
    path.write_bytes(gzip.compress(first.encode()) + gzip.compress(second.encode()))
    source = source_of(path)
    assert engine.profile(source).rows == 2
    assert sum(file.rows for file in encode(engine, source, tmp_path / "out")) == 2


TAGS = (
    "resourceTags/user:Cost Center",
    "resourceTags/user:CostCenter",
    "resourceTags/user:cost-center",
)
TAG = "resource_tags_user_cost_center"


def test_tags_that_share_a_name_keep_each_value_of_a_row(engine: Engine, tmp_path: Path) -> None:
    header = (*MINIMAL_HEADER, *TAGS)
    tags = [
        ("a", "b", "c"),
        ("", "b", "c"),
        ("a", "a", ""),
        ("", "", "c"),
        ("a", "b", "b"),
        ("",) * 3,
    ]
    # Empty texts in quotes hold nothing either.
    content = csv_text([(*minimal_row(), *row) for row in tags], header).replace(",,b", ',"",b')
    source = source_of(report(tmp_path / "r.csv.gz", content), header=header)
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri)
    found = zip(*(table[name].to_pylist() for name in (TAG, f"{TAG}__2", f"{TAG}__3")), strict=True)
    assert list(found) == [
        ("a", "b", "c"),
        ("b", None, "c"),
        ("a", None, None),
        ("c", None, None),
        ("a", "b", "b"),
        (None, None, None),
    ]


def test_amounts_under_one_name_may_be_stated_twice(engine: Engine, tmp_path: Path) -> None:
    header = (*MINIMAL_HEADER, "line_item_unblended_cost", "line_item_currency_code")
    rows = [(*minimal_row(cost="1"), "1", "USD"), (*minimal_row(cost=""), "2", "")]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(rows, header)), header=header)
    (file,) = encode(engine, source, tmp_path / "out")
    assert pq.read_table(file.uri)[COST].to_pylist() == [Decimal(1), Decimal(2)]
    assert engine.profile(source).totals["USD"][COST] == Decimal(3)


def test_tags_of_any_script_are_columns_of_their_own(engine: Engine, tmp_path: Path) -> None:
    tags = {
        "環境": "prod",
        "部署": "sales",
        "Région": "Paris",
        "R gion": "x",
        "Straße": "y",
        "งาน": "z",
    }
    header = (*MINIMAL_HEADER, *(f"resourceTags/user:{tag}" for tag in tags))
    content = csv_text([(*minimal_row(), *tags.values())], header)
    source = source_of(report(tmp_path / "r.csv.gz", content), header=header)
    (file,) = encode(engine, source, tmp_path / "out")
    (row,) = pq.read_table(file.uri).to_pylist()
    assert {name: value for name, value in row.items() if name.startswith("resource_tags_")} == {
        "resource_tags_user_環境": "prod",
        "resource_tags_user_部署": "sales",
        "resource_tags_user_région": "Paris",
        "resource_tags_user_r_gion": "x",
        "resource_tags_user_straße": "y",
        "resource_tags_user_งาน": "z",
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_line_ends_in_quoted_cells_are_kept(engine: Engine, tmp_path: Path, end: str) -> None:
    products = ["x\r\ny", "x\ny", "x\ry", "x\r", "\n"]
    lines = csv_text([minimal_row(product="PRODUCT") for _ in products]).replace("\n", end)
    for product in products:
        lines = lines.replace("PRODUCT", f'"{product}"', 1)
    assert encoded_column(engine, tmp_path, lines, "line_item_product_code") == products


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["windows", "unix"])
def test_a_carriage_return_in_quotes_at_the_end_of_a_row_is_kept(
    engine: Engine, tmp_path: Path, end: str
) -> None:
    header = (*MINIMAL_HEADER, "resourceTags/user:a")
    tags = ["x\r", "y", "", 'say "hi"\r', "\r", "two\r\nlines\r\n", "z"]
    rows = [(*minimal_row(cost=f"{n}"), tag) for n, tag in enumerate(tags)]
    text = "".join(csv_text([row], header).split("\n", 1)[1][:-1] + end for row in rows)
    content = csv_text([], header).rstrip("\n") + end + text.removesuffix(end)
    source = source_of(report(tmp_path / "r.csv.gz", content), header=header)
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri)
    found = zip(table[COST].to_pylist(), table["resource_tags_user_a"].to_pylist(), strict=True)
    assert dict(found) == {Decimal(n): tag or None for n, tag in enumerate(tags)}
    profile = engine.profile(source)
    assert profile.rows == len(tags)
    assert profile.totals["USD"][COST] == Decimal(sum(range(len(tags))))


def test_line_ends_may_differ_from_line_to_line(engine: Engine, tmp_path: Path) -> None:
    header = (*MINIMAL_HEADER, "resourceTags/user:a")
    lines = csv_text([(*minimal_row(), tag) for tag in ("", "b", "c", "d")], header).split("\n")
    ends = ["\r\n", "\r\n", "\n", "\r\n", ""]
    content = "".join(line + end for line, end in zip(lines, ends, strict=False))
    source = source_of(report(tmp_path / "r.csv.gz", content), header=header)
    (file,) = encode(engine, source, tmp_path / "out")
    assert engine.profile(source).rows == 4
    assert pq.read_table(file.uri)["resource_tags_user_a"].to_pylist() == [None, "b", "c", "d"]


def test_two_currencies_are_kept_apart(engine: Engine, tmp_path: Path) -> None:
    rows = [
        minimal_row(currency=c, cost=v)
        for c, v in (("USD", "1"), ("CNY", "2"), ("USD", "3"), ("", "4"))
    ]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(rows)))
    expected = {"USD": Decimal(4), "CNY": Decimal(2), "(none)": Decimal(4)}
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    for profile in (engine.profile(source), engine.profile(table)):
        assert {currency: total[COST] for currency, total in profile.totals.items()} == expected


def test_rows_say_which_file_they_came_from(engine: Engine, tmp_path: Path) -> None:
    paths = [
        report(tmp_path / name, csv_text([minimal_row()])) for name in ("a.csv.gz", "b.csv.gz")
    ]
    source = source_of(*paths)
    (file,) = encode(engine, source, tmp_path / "out")
    assert sorted(pq.read_table(file.uri)["source_file"].to_pylist()) == ["a.csv.gz", "b.csv.gz"]


def test_files_carry_the_field_ids_of_the_schema(engine: Engine, tmp_path: Path) -> None:
    source = source_of(report(tmp_path / "r.csv.gz", csv_text([minimal_row()])))
    (file,) = encode(engine, source, tmp_path / "out")
    ids = [int(field.metadata[b"PARQUET:field_id"]) for field in pq.read_schema(file.uri)]
    assert ids == list(range(1, len(source.columns) + 5))


def test_the_profile_knows_usage_dates_periods_and_files(engine: Engine, tmp_path: Path) -> None:
    starts = ("2025-03-05T00:00:00Z", "2025-03-01T00:00:00Z", "2025-04-02T00:00:00Z")
    path = report(tmp_path / "r.csv.gz", csv_text([minimal_row(start=start) for start in starts]))
    profile = engine.profile(source_of(path))
    assert (profile.first_usage, profile.last_usage) == (
        "2025-03-01T00:00:00+00:00",
        "2025-04-02T00:00:00+00:00",
    )
    assert profile.periods == {"2025-03": 3}
    (file,) = profile.files.values()
    assert (file.rows, file.periods) == (3, {"2025-03": 3})


def test_quality_counts_versions_stray_days_and_duplicates(engine: Engine, tmp_path: Path) -> None:
    rows = [
        minimal_row(line_item_id="a"),
        minimal_row(line_item_id="a"),
        minimal_row(line_item_id="a", start="2025-04-02T00:00:00Z"),
        minimal_row(line_item_id="b", start="2025-02-28T23:00:00Z"),
    ]
    source = source_of(report(tmp_path / "r.csv.gz", csv_text(rows)))
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    quality = PolarsEngine().quality(table, "2025-03")
    assert quality.versions == {"20250403T040211Z": 4}
    assert quality.outside == {"2025-02-28": 1, "2025-04-02": 1}
    assert quality.duplicates == 2


def test_the_preview_shows_cells_as_text(engine: Engine, tmp_path: Path) -> None:
    source = source_of(
        report(tmp_path / "r.csv.gz", csv_text([minimal_row(cost="1"), minimal_row(cost="")]))
    )
    table = table_of(source, encode(engine, source, tmp_path / "out"))
    rows = PolarsEngine().preview(table, [COST, "billing_period"], 5)
    assert rows == [
        {COST: "1.000000000000000000", "billing_period": "2025-03"},
        {COST: "", "billing_period": "2025-03"},
    ]


numbers = st.one_of(
    st.decimals(
        min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=10
    ).map(str),
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(repr),
    st.just(""),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)


cells = st.tuples(numbers, texts, st.sampled_from(["USD", "EUR"]))


@settings(max_examples=40)
@given(st.lists(cells, max_size=12), st.integers(1, 3))
def test_whatever_the_cells_the_table_adds_up_to_the_delivery(
    tmp_path: Path, cells: list[tuple[str, str, str]], files: int
) -> None:
    assert_adds_up(PolarsEngine(), tmp_path, cells, files)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@settings(
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],
)
@given(st.lists(cells, min_size=40, max_size=80), st.integers(1, 3))
def test_on_spark_too_in_few_examples_of_many_rows(
    spark: SparkSession, tmp_path: Path, cells: list[tuple[str, str, str]], files: int
) -> None:
    assert_adds_up(SparkEngine(lambda: spark), tmp_path, cells, files)


def assert_adds_up(
    engine: Engine, tmp_path: Path, cells: list[tuple[str, str, str]], files: int
) -> None:
    rows = [
        minimal_row(cost=cost, product=text, currency=currency) for cost, text, currency in cells
    ]
    paths = [report(tmp_path / f"{n}.csv.gz", csv_text(rows[n::files])) for n in range(files)]
    source = source_of(*paths)
    raw = engine.profile(source)
    encoded = encode(engine, source, tmp_path / "out")
    table = engine.profile(table_of(source, encoded))
    assert raw.rows == len(rows)
    assert compare(raw, table) == []
    # Fractions, because decimals keep 28 digits when they are added.
    exact = sum((Fraction(cost) for cost, _, _ in cells if cost), Fraction())
    total = sum((Fraction(one[COST]) for one in raw.totals.values()), Fraction())
    assert abs(total - exact) <= len(rows) * Fraction("0.5e-18")
    found = [
        text
        for file in encoded
        for text in pq.read_table(file.uri)["line_item_product_code"].to_pylist()
    ]
    assert Counter(found) == Counter(text or None for _, text, _ in cells)
