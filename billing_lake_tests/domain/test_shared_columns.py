"""Which cell of a row a column's value comes from, where several have one name."""

from __future__ import annotations

import pytest

from billing_lake.domain.shared_columns import Origin, first_of, further_name, origins


@pytest.mark.parametrize("number", [1, 2, 13])
def test_a_further_column_names_the_first_one(number: int) -> None:
    assert first_of(further_name("tag", number)) == "tag"


def test_cells_of_the_very_same_name_must_agree_and_numbered_ones_need_not() -> None:
    found = origins(("tag", "cost", "tag__2", "cost", "own"))
    assert found["cost"] == Origin((1, 3), agree=True)
    assert found["tag"] == Origin((0, 2))
    assert found["tag__2"] == Origin((0, 2), further=2)
    assert found["own"] == Origin((4,))
