"""Maps in Polars: however many texts a column has, in whatever order and portions they come, each is read as the domain reads it."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.map_texts import map_of
from billing_lake.engines import polars_maps
from billing_lake.engines.polars_maps import distinct_maps, maps, with_dictionaries

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


def test_a_column_with_many_texts_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polars_maps, "_MOST_TEXTS", 10)
    cells = [f'{{"EDP":{n}}}' for n in range(60)]
    known = polars_maps.Vocabulary()
    for start in range(0, 60, 4):
        # Half of the texts are known, so that the column is not one of mostly new texts.
        portion = cells[max(0, start - 4) : start + 4]
        found = known.read(pl.Series(portion, dtype=pl.String))
        assert [dict(one) for one in found] == [map_of(cell) for cell in portion]
        assert len(known) <= 10 + len(portion)


@given(st.lists(CELLS.filter(lambda cell: cell is not None), max_size=20), st.data())
def test_maps_with_dictionaries_are_the_same_maps(cells: list[str], data: st.DataObject) -> None:
    maps_of_texts = with_dictionaries(distinct_maps(pa.array(cells, pa.string())))
    at = data.draw(st.lists(st.none() | st.integers(0, max(len(cells) - 1, 0)), max_size=20))
    at = at if cells else [None for _ in at]
    found = maps_of_texts.take(pa.array(at, pa.int32()))
    found.validate(full=True)
    wanted = [None if n is None or not cells[n] else map_of(cells[n]) for n in at]
    assert [None if one is None else dict(one) for one in found.to_pylist()] == wanted
