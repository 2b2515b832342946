"""Cells in Spark's SQL against the rules of the domain: many cells in one query, drawn and chosen."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing_lake.domain.sources import SourceFile
from billing_lake.domain.text_values import fits
from billing_lake.domain.types import DECIMAL, TIMESTAMP
from billing_lake.spark_job import sql
from billing_lake.spark_job.bad_cells import CellPlace, place_of_error
from billing_lake.spark_job.inputs import Input
from billing_lake.spark_job.java import java_errors
from billing_lake.spark_job.session import own_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

WIDE = Context(prec=400, rounding=ROUND_HALF_EVEN)
UNIT = Decimal("1E-18")

TIES = [
    f"{sign}{digits}{zeros}"
    for sign in ("", "-", "+")
    for digits in (
        "0.1234567890123456785",
        "0.1234567890123456775",
        "0.12345678901234567850001",
        "0.12345678901234567849999",
        ".9999999999999999995",
        "7.0000000000000000005",
        "12345678901234567890.1234567890123456745",
    )
    for zeros in ("", "0", "00000000000000000000000000000000000000000000")
] + [
    "5E-19",
    "-5e-19",
    "15E-19",
    "25E-19",
    "2.5E-18",
    "3.50E-18",
    "0.05E-17",
    "50.0E-20",
    "5.0000000001E-19",
    "250000E-23",
    "2500.00E-21",
    "0.0000000000000000000000000000025E12",
    "0.00000000000000000025E+1",
    "0.1234567890123456785E0",
    "0.1234567890123456785e-00",
    "-1.234567890123456785E-001",
]
PLAIN = [
    "0",
    "-0",
    "1.",
    ".5",
    "00012",
    "1e5",
    "1E+5",
    "9E19",
    "1E20",
    "1E-9999",
    "1.28554E-5",
    "1.2855412E-5",
    "1E-18",
    "-12345678901234567890.123456789012345678",
    "123456789012345678901.5",
    "1.2345678901234567E-1",
    "1.23456789012345678E-1",
    "1.23456789E-9",
    "1.2345678905E-9",
    "1.0E-10",
    "1.5E-18",
    "0.E-18",
    "1.E-5",
    "1.25E-05",
    "0E38",
    "-0.00e+400",
    ".0E6610",
]
NO_NUMBERS = [
    "",
    " 1",
    "1 ",
    "\t1",
    "1\n",
    "1,5",
    "ten",
    "NaN",
    "Infinity",
    "0x1",
    "1E",
    "E5",
    ".",
    "-",
    "1E12345",
    "1" * 21,
    "1E400",
    "--1",
    "1.2.3",
    "1d",
    "1f",
    "1_0",
]
MOMENTS = [
    "2025-03-01T05:00:00Z",
    "2025-03-01T05:00:00.000Z",
    "2025-03-01 05:00:00.0",
    "2025-03-01 05:00:00",
    "2025-03-01T05:00:00",
    "2025-03-01",
    "2025-03-01T05:00:00.123456789Z",
    "1999-12-31T23:59:59.999999Z",
    "2024-02-29",
]
NO_MOMENTS = [
    "yesterday",
    "2025",
    "2025-03",
    "2025-3-1",
    "2025-02-29",
    "2025-13-01",
    "2025-03-01T24:00:00Z",
    "2025-03-01T05:00Z",
    "2025-03-01T05:00:00+01:00",
    " 2025-03-01",
    "2025-03-01 ",
    "2025-03-01T05:00:60Z",
    "05:00:00",
    "2025-03-01T05:00:00.Z",
    "now",
    "epoch",
    "2025-03-01\n",
    "20250301",
    "12025-03-01",
    "2025-03-01T05:00:0+Z",
    "2025-03-01T05:00:+1Z",
    "+202-03-01T05:00:00Z",
    "2025-03-01T0 :00:00Z",
    "2025-03-01T05:00:00.+01Z",
    "2025-03-01T05:00:00.UTCZ",
    "2025-03-01 25:00:00.0",
    "2025- 3-01 05:00:00.0",
]


def column(
    spark: SparkSession, cells: Sequence[str], *expressions: str
) -> list[tuple[object, ...]]:
    rows = own_session(spark).createDataFrame(list(enumerate(cells)), "n int, c string")
    found = rows.selectExpr("n", *expressions).collect()
    return [tuple(row)[1:] for row in sorted(found)]


def expected(cell: str) -> Decimal | None:
    return WIDE.quantize(Decimal(cell), UNIT) if cell and fits(cell, DECIMAL) else None


def loses(cell: str) -> bool:
    """Say whether Polars counts the cell as rounded; see `polars_rounding`."""
    kept = expected(cell)
    if kept is None:
        return False
    fine = WIDE.quantize(Decimal(cell), Decimal("1E-28"))
    return abs(fine) < Decimal("1E10") and fine != kept


def assert_numbers(spark: SparkSession, cells: Sequence[str]) -> None:
    found = column(spark, cells, sql.decimal("c", 38, 18), sql.is_rounded("c", 18))
    found = [(value, bool(counted)) for value, counted in found]
    wanted = [(expected(cell), loses(cell)) for cell in cells]
    assert [each for each in zip(cells, wanted, found, strict=True) if each[1] != each[2]] == []


def test_numbers_are_rounded_half_even_and_what_is_none_is_null(spark: SparkSession) -> None:
    assert_numbers(spark, TIES + PLAIN + NO_NUMBERS)


def test_a_type_without_digits_before_the_point_takes_fractions_alone(spark: SparkSession) -> None:
    found = column(spark, ["0.25", "-.5", "1.0", "1"], sql.decimal("c", 5, 5))
    assert found == [(Decimal("0.25000"),), (Decimal("-0.50000"),), (None,), (None,)]


digits = st.text("0123456789", max_size=24)
numbers = st.builds(
    "{}{}.{}{}".format,
    st.sampled_from(["", "-", "+"]),
    st.text("0123456789", max_size=9),
    digits,
    st.sampled_from(["", "E-1", "e-7", "E-10", "E2", "E+3", "E-19", "E0"]),
)


@settings(
    max_examples=2,
    phases=[Phase.generate],
)
@given(st.lists(numbers | st.text("0123456789.eE+- x", max_size=8), min_size=150, max_size=300))
def test_whatever_the_digits(spark: SparkSession, cells: list[str]) -> None:
    assert_numbers(spark, cells)


def test_moments_are_those_of_the_domain(spark: SparkSession) -> None:
    cells = MOMENTS + NO_MOMENTS
    found = column(
        spark,
        cells,
        f"date_format({sql.convert_text('c', TIMESTAMP)}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')",
    )
    assert [one[0] is not None for one in found] == [fits(cell, TIMESTAMP) for cell in cells]
    padded = [
        (cell.replace("T", " ").rstrip("Z") + " 00:00:00"[len(cell) - 10 :])[:26]
        for cell in MOMENTS
    ]
    assert [one[0] for one in found[: len(MOMENTS)]] == [
        cell
        if "." in cell and len(cell) == 26
        else (cell + "" if "." in cell else cell + ".").ljust(26, "0")
        for cell in padded
    ]


@pytest.mark.parametrize(
    "text", ["it's", "a\\b", "${env:HOME}", '"', "line\nbreak", "日本語 ☁ 🎉", "\x00`--", "''"]
)
def test_text_from_outside_is_a_literal_whatever_it_holds(spark: SparkSession, text: str) -> None:
    assert own_session(spark).range(1).selectExpr(sql.literal(text)).collect()[0][0] == text


def test_a_cell_that_does_not_fit_says_where(spark: SparkSession) -> None:
    value = sql.fail_unless_converted(
        sql.decimal("c", 38, 18), "c != ''", "c", DECIMAL, "a'b.cost", "'file:///x'"
    )
    with pytest.raises(java_errors()) as caught:
        column(spark, ["1", "ten"], value)
    source = Input(SourceFile(uri="/x", name="x"), "file:/x", 1)
    other = Input(SourceFile(uri="/y", name="y"), "file:/y", 1)
    assert place_of_error(caught.value, [other, source]) == CellPlace("a'b.cost", source, "ten")
    assert place_of_error(ValueError("ten"), [source]) is None
    assert column(spark, ["1", ""], value) == [(Decimal(1),), (None,)]
