"""Cells that a type rounds are counted for every scale, though most are only glanced at."""

from __future__ import annotations

from decimal import Context, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.types import DECIMAL
from billing_lake.engines.polars_rounding import are_short, rounded

WIDE = Context(prec=100)


def differs(text: str, scale: int) -> bool:
    number = Decimal(text)
    return number != number.quantize(Decimal(1).scaleb(-scale), context=WIDE)


def found(text: str, scale: int) -> int:
    return int(pl.DataFrame({"cell": [text]}).select(rounded(pl.col("cell"), scale)).item())


numbers = st.builds(
    lambda sign, whole, decimals, exponent: f"{sign}{whole}.{decimals}E{exponent}",
    st.sampled_from(["", "-"]),
    st.sampled_from(["", "0", "7", "123"]),
    st.text("012345", min_size=1, max_size=8),
    st.integers(-9, 3),
)


@given(numbers, st.integers(0, 18))
def test_a_number_counts_exactly_where_rounding_changes_it(text: str, scale: int) -> None:
    lost = differs(text, scale)
    # What is lost ten decimals further is not looked for.
    if not lost or (differs(text, scale) and not differs(text, scale + 10)):
        assert found(text, scale) == lost


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        (".1", 0),
        (".01", 1),
        (".001", 2),
        ("1E-9", 8),
        ("1E-10", 9),
        (f".{'0' * 18}1", 18),
        (".1234567891E-9", 18),
    ],
)
def test_the_shortest_number_that_a_scale_rounds_is_counted(text: str, scale: int) -> None:
    assert found(text, scale) == 1
    assert found(text, scale + 1) == 0


@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(-0.1, 0.1),
        st.builds(
            lambda n, places: n / 10.0**places, st.integers(-(10**17), 10**17), st.integers(0, 30)
        ),
    ),
    st.sampled_from([pl.Float32(), pl.Float64()]),
)
def test_a_double_with_more_decimals_than_are_kept_is_looked_at(
    number: float, type_: pl.DataType
) -> None:
    cells = pl.Series([number], dtype=pl.Float64()).cast(type_)
    exact = WIDE.scaleb(Decimal(cells.cast(pl.String).item()), DECIMAL.scale)
    if exact.is_finite() and exact != WIDE.to_integral_value(exact):
        assert not are_short(cells.extend_constant(None, 1))
