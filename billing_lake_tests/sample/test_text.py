"""How numbers and ids are spelled."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.sample.random_values import Draws
from billing_lake.sample.text import ids_text, number_text, numbers_text

MANTISSAS = st.integers(-(10**18), 10**18)
SCALES = st.integers(0, 16)


@pytest.mark.parametrize(
    ("mantissa", "scale", "text"),
    [
        (0, 10, "0.0"),
        (5, 0, "5.0"),
        (10**10, 10, "1.0"),
        (116, 4, "0.0116"),
        (181, 10, "1.81E-8"),
        (4_000, 10, "4.0E-7"),
        (-1, 10, "-1.0E-10"),
        (1, 3, "0.001"),
        (999, 6, "9.99E-4"),
        (-12_345_000, 4, "-1234.5"),
    ],
)
def test_numbers_are_spelled_as_in_real_reports(mantissa: int, scale: int, text: str) -> None:
    assert number_text(mantissa, scale) == text
    assert numbers_text(np.array([mantissa]), scale).to_list() == [text]


@given(st.lists(st.tuples(MANTISSAS, SCALES), min_size=1, max_size=20))
def test_many_numbers_are_spelled_as_one_by_one_and_lose_no_digit(
    numbers: list[tuple[int, int]],
) -> None:
    mantissas, scales = map(np.array, zip(*numbers, strict=True))
    texts = numbers_text(mantissas, scales).to_list()
    assert texts == [number_text(mantissa, scale) for mantissa, scale in numbers]
    assert [Decimal(text) for text in texts] == [Decimal(f"{m}E-{s}") for m, s in numbers]


@given(st.sets(st.integers(0, 2**40 - 1), min_size=1, max_size=30), st.integers(0, 2**32))
def test_ids_are_as_many_as_their_serial_numbers(serials: set[int], key: int) -> None:
    ids = ids_text(np.array(sorted(serials)), key).to_list()
    assert len(set(ids)) == len(serials)
    assert {len(name) for name in ids} == {52}


def test_draws_stay_the_same_for_ever() -> None:
    draws = Draws(7, "usage")
    assert draws.below(1_000, 5).tolist() == [691, 12, 410, 283, 262]
    assert ids_text(np.arange(1), 7).to_list() == [
        "aaaaaaaafovrizhvioiokqvtyrqo23776nr5u342tdr3cqxhbhtv"
    ]


@given(st.integers(1, 50), st.integers(0, 2**32))
def test_an_order_is_a_permutation(count: int, seed: int) -> None:
    assert sorted(Draws(seed).order(count).tolist()) == list(range(count))
