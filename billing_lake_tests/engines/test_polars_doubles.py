"""A double becomes the decimal that its shortest text says, whichever way is the quicker one."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.profiles import EXACT
from billing_lake.domain.types import Decimal as DecimalType
from billing_lake.engines.polars_doubles import decimal_of

EDGES = (1e5, 1e5 + 1e-10, 99_999.9999999999, 1e-10, 1.5e-10, 0.1 + 0.2, 123_456.7890123, -0.0)
few_places = st.builds(
    lambda n, places: n / 10.0**places, st.integers(-(10**15), 10**15), st.integers(0, 14)
)
doubles = st.one_of(
    st.none(), few_places, few_places, st.floats(-1e14, 1e14), st.sampled_from(EDGES)
)


def read(cells: pl.Series, type_: DecimalType, *, strict: bool = True) -> list[Decimal | None]:
    found = cells.to_frame("n").lazy().select(decimal_of(pl.col("n"), type_, strict=strict))
    return found.collect().to_series().to_list()


@given(st.lists(st.lists(doubles, max_size=6), min_size=1, max_size=3), st.integers(0, 18))
def test_a_double_is_what_its_shortest_text_says(
    chunks: list[list[float | None]], scale: int
) -> None:
    parts = [pl.Series("n", one, pl.Float64()) for one in chunks]
    wanted = [
        None if one is None else EXACT.quantize(Decimal(repr(one)), Decimal(1).scaleb(-scale))
        for one in chain(*chunks)
    ]
    assert read(pl.concat(parts, rechunk=False), DecimalType(38, scale)) == wanted


@given(st.floats(width=32, min_value=-1e6, max_value=1e6))
def test_a_number_of_single_precision_is_what_its_own_shortest_text_says(number: float) -> None:
    cells = pl.Series("n", [number], pl.Float32())
    text = cells.cast(pl.String).item()
    wanted = EXACT.quantize(Decimal(text), Decimal("1E-18"))
    assert read(cells, DecimalType(38, 18)) == [wanted]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e20])
def test_what_is_no_decimal_is_refused_or_null(bad: float) -> None:
    cells = pl.Series("n", [0.5, bad])
    assert read(cells, DecimalType(38, 18), strict=False) == [Decimal("0.5"), None]
    with pytest.raises(pl.exceptions.PolarsError):
        read(cells, DecimalType(38, 18))


def test_a_number_of_more_digits_than_a_type_has_is_refused() -> None:
    cells = pl.Series("n", [100.25])
    assert read(cells, DecimalType(12, 10), strict=False) == [None]
    assert read(cells, DecimalType(13, 10)) == [Decimal("100.25")]
