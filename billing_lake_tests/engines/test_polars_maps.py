"""Maps in Polars: however many texts a column has, in whatever order and portions they come, each is read as the domain reads it."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.map_texts import map_of
from billing_lake.engines import polars_maps
from billing_lake.engines.polars_maps import maps

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
CELLS = st.none() | st.just("") | st.dictionaries(_TEXTS, _TEXTS | st.none()).map(json.dumps)


def read(cells: list[str | None], size: int) -> list[dict[str, str | None] | None]:
    """Read ``cells`` in portions of ``size``, as the engine hands them out."""
    column = maps(pl.col("a"))
    parts = [
        pl.DataFrame({"a": cells[start : start + size]}, schema={"a": pl.String}).select(column)
        for start in range(0, len(cells), size)
    ]
    found = pl.concat(parts).to_series().to_list() if parts else []
    return [None if one is None else dict(one) for one in found]


@given(st.lists(CELLS, max_size=20), st.integers(1, 7))
def test_whatever_texts_come_in_whatever_portions_each_is_the_map_that_the_domain_reads(
    cells: list[str | None], size: int
) -> None:
    assert read(cells, size) == [map_of(cell) if cell else None for cell in cells]


def test_texts_that_were_forgotten_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polars_maps, "_KEPT_TEXTS", 10)
    cells = [f'{{"EDP":-{n}.50}}' for n in (*range(40), *range(5), 99, *range(20))]
    assert read([*cells], 4) == [map_of(cell) for cell in cells]
