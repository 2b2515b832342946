"""The one pass over Parquet reports gives what profile and encoding give one after the other, and refuses what they refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.errors import BadValueError, LoadError, ReportFileError, StorageWriteError
from billing_lake.domain.profiles import EXACT
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.sources import MapEntryColumn, PeriodRows, Source, SourceFile
from billing_lake.domain.types import DECIMAL, INT, LONG, STRING, TIMESTAMP, Map
from billing_lake.engines import one_pass, parquet_pass
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake_tests.engines.report_files import assert_same, converted, target_of

COST = "line_item_unblended_cost"
AMOUNT = "line_item_usage_amount"
START = "line_item_usage_start_date"
PERIOD = "bill_billing_period_start_date"
CURRENCY = "line_item_currency_code"
ID = "identity_line_item_id"
TYPES = {COST: DECIMAL, AMOUNT: DECIMAL, START: TIMESTAMP, PERIOD: TIMESTAMP, CURRENCY: STRING}
TEXTS = Map(STRING, STRING)
MARCH = datetime(2025, 3, 1, tzinfo=timezone.utc)
PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))


def written(path: Path, columns: dict[str, Any], **settings: Any) -> SourceFile:
    """Write ``columns`` as a Parquet report file."""
    pq.write_table(pa.table(columns), path, **settings)
    return SourceFile(uri=str(path), name=path.name)


def source_of(*files: SourceFile, **types: Any) -> Source:
    """Return the source of ``files``, with the columns ``types`` beside the usual ones."""
    columns = [Column(name, type_) for name, type_ in {**TYPES, ID: STRING, **types}.items()]
    return LEGACY_CUR.source(files, columns, container="parquet", compression=None)


def rows_of(rows: int = 5, **other: Any) -> dict[str, Any]:
    """Return columns as a provider writes them, of ``rows`` rows."""
    return {
        COST: pa.array([0.1 * n if n % 3 else None for n in range(rows)]),
        AMOUNT: pa.array([1.25e-18 / (n + 1) for n in range(rows)]),
        START: pa.array([MARCH + timedelta(hours=n) for n in range(rows)], pa.timestamp("ms")),
        PERIOD: pa.array([MARCH.replace(tzinfo=None)] * rows, pa.timestamp("ns")),
        CURRENCY: pa.array([("USD", "EUR", "", None)[n % 4] for n in range(rows)]),
        ID: pa.array([f"line {n}" for n in range(rows)]),
        **other,
    }


def test_files_whose_types_and_columns_differ_are_read_once(tmp_path: Path) -> None:
    texts = {COST: pa.array(["1.5", "", None, "1E-19"]), CURRENCY: pa.array(["USD"] * 4)}
    decimals = pa.array([Decimal("0.12345678901234567850")], pa.decimal128(38, 20))
    files = [
        written(tmp_path / "double.parquet", rows_of(), use_deprecated_int96_timestamps=True),
        written(tmp_path / "text.parquet", texts),
        written(tmp_path / "decimal.parquet", {COST: decimals, "unknown": pa.array([1])}),
        written(tmp_path / "integer.parquet", {AMOUNT: pa.array([7, -(2**63)])}),
        written(tmp_path / "float.parquet", {COST: pa.array([0.1, 1e-20, 3e-9], pa.float32())}),
        written(tmp_path / "empty.parquet", rows_of(0)),
        written(tmp_path / "dictionary.parquet", {ID: pa.array(["a", None]).dictionary_encode()}),
    ]
    assert assert_same(source_of(*files), tmp_path)


def test_maps_of_both_shapes_and_their_lifted_keys_are_read_once(tmp_path: Path) -> None:
    maps = pa.array([[("team", "a"), ("b", None)], [], None], pa.map_(pa.string(), pa.string()))
    pairs = pa.array([[{"key": "team", "value": "b"}], [], None], PAIRS)
    doubles = pa.array([[("EDP", 0.1)], None, []], pa.map_(pa.string(), pa.float64()))
    texts = pa.array(['{"team": 1.50}', "{}", ""])
    lifted = (MapEntryColumn("tags_team", "tags", "team"),)
    files = [
        replace(written(tmp_path / f"{n}.parquet", rows_of(3, tags=tags)), lifted=lifted)
        for n, tags in enumerate((maps, pairs, texts, doubles))
    ]
    source = source_of(*files, tags=TEXTS, tags_team=STRING)
    assert assert_same(source, tmp_path)
    (found,) = (tmp_path / "once").iterdir()
    table = pq.read_table(found)
    assert table["tags_team"].to_pylist() == ["a", None, None, "b", None, None, "1.50", *[None] * 5]
    tags = pq.read_schema(found).field("tags")
    own = [
        field.metadata[b"PARQUET:field_id"]
        for field in (tags, tags.type.key_field, tags.type.item_field)
    ]
    assert own == [
        f"{one}".encode()
        for one in next(f.ids for f in target_of(source, "x").fields if f.name == "tags")
    ]


keys = st.sampled_from(["a", "b", "a.b", ""])
maps = st.one_of(st.none(), st.dictionaries(keys, st.one_of(st.none(), st.just("x"))))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(maps, min_size=1, max_size=12),
    st.sampled_from([pa.map_(pa.string(), pa.string()), PAIRS]),
    st.integers(1, 5),
    st.booleans(),
    st.data(),
)
def test_maps_are_loaded_as_they_are_and_one_that_has_a_key_twice_anywhere_is_named(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, str | None] | None],
    type_: pa.DataType,
    group: int,
    is_of_one_month: bool,  # noqa: FBT001 -- drawn
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("maps")

    def source(cells: list[list[tuple[str, str | None]] | None]) -> Source:
        entries: list[Any] = [
            cell if cell is None or type_ != PAIRS else [{"key": k, "value": v} for k, v in cell]
            for cell in cells
        ]
        other = pa.array([[("z", "1")]] * len(cells), pa.map_(pa.string(), pa.string()))
        columns = rows_of(len(cells), **{"a.b": other}, a=pa.array(entries, type_))
        file = written(folder / "r.parquet", columns, row_group_size=group)
        only = PeriodRows(PERIOD, "2025-03") if is_of_one_month else None
        return source_of(replace(file, only=only), a=TEXTS, **{"a.b": TEXTS})

    cells = [None if row is None else [*row.items()] for row in rows]
    assert assert_same(source(cells), folder)
    (found,) = (folder / "once").iterdir()
    assert pq.read_table(found)["a"].to_pylist() == cells
    filled = [place for place, cell in enumerate(cells) if cell]
    if filled:
        place = data.draw(st.sampled_from(filled))
        cell = cells[place] or []
        key, _ = data.draw(st.sampled_from(cell))
        bad = source([*cells[:place], [*cell, (key, "y")], *cells[place + 1 :]])
        for act in (partial(converted, folder=folder / "bad"), PolarsEngine().profile):
            with pytest.raises(BadValueError, match="has a key twice") as caught:
                act(bad)
            assert (caught.value.column, caught.value.value) == ("a", key)


def test_maps_whose_keys_pyarrow_does_not_read_are_refused_if_one_stands_twice(
    tmp_path: Path,
) -> None:
    tags = pa.array([[("a", "x"), ("a", "y")], None], pa.map_(pa.string(), pa.string()))
    tiny = {"row_group_size": 1, "data_page_size": 1}  # pyarrow reads no row of such a file
    source = source_of(written(tmp_path / "r.parquet", rows_of(2, tags=tags), **tiny), tags=TEXTS)
    for act in (partial(converted, folder=tmp_path / "bad"), PolarsEngine().profile):
        with pytest.raises(ReportFileError, match="cannot be read"):
            act(source)


def test_a_footer_that_states_other_keys_than_there_are_costs_a_second_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = pa.array([[("a", "x")], None], pa.map_(pa.string(), pa.string()))
    source = source_of(written(tmp_path / "r.parquet", rows_of(2, tags=tags)), tags=TEXTS)
    monkeypatch.setattr(parquet_pass, "stated_keys", lambda *_: {"tags": 3})
    assert not assert_same(source, tmp_path)


def test_maps_and_texts_that_each_row_has_have_no_statistics_and_all_else_has(
    tmp_path: Path,
) -> None:
    tags = pa.array([[("a", "x")], None], pa.map_(pa.string(), pa.string()))
    source = source_of(written(tmp_path / "r.parquet", rows_of(2, tags=tags)), tags=TEXTS)
    _, (file,), _ = converted(source, tmp_path / "out")
    group = pq.read_metadata(file.uri).row_group(0)
    without = [
        column.path_in_schema
        for column in map(group.column, range(group.num_columns))
        if not column.is_stats_set
    ]
    assert without == ["identity_line_item_id", "tags.key_value.key", "tags.key_value.value"]


def test_rows_of_one_month_of_a_file_of_several_are_read_once(tmp_path: Path) -> None:
    stated = pa.array([MARCH, MARCH.replace(month=2), MARCH], pa.timestamp("us", "UTC"))
    texts = pa.array(["2025-02-01T00:00:00Z", "2025-03-01 00:00:00", None])
    files = [
        replace(
            written(tmp_path / f"{n}.parquet", rows_of(3, **{PERIOD: cells})),
            only=PeriodRows(PERIOD, "2025-03"),
        )
        for n, cells in enumerate((stated, texts))
    ]
    source = source_of(*files)
    assert assert_same(source, tmp_path)
    profile, _, _ = converted(source, tmp_path / "out")
    assert profile.periods == {"2025-03": 3}


def test_columns_have_the_names_that_the_source_gives_them(tmp_path: Path) -> None:
    file = written(tmp_path / "r.parquet", {"Cost": [1.5, 2.5], "Id": ["a", "b"], "?": [1, 2]})
    source = source_of(replace(file, columns=(COST, ID, "other")))
    assert assert_same(source, tmp_path)
    assert converted(source, tmp_path / "out")[0].totals == {"(none)": {COST: Decimal(4)}}


def test_runs_and_files_are_cut_and_the_rows_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pass, "_RUN_ROWS", 7)
    monkeypatch.setattr(one_pass, "_FILE_BYTES", 200 << 20)
    files = [
        written(tmp_path / f"{n}.parquet", rows_of(rows), row_group_size=10)
        for n, rows in enumerate((40, 3, 3, 26))
    ]
    assert assert_same(source_of(*files), tmp_path)
    found = [pq.read_metadata(file) for file in (tmp_path / "once").iterdir()]
    groups = [one.row_group(n).num_rows for one in found for n in range(one.num_row_groups)]
    assert len(found) > 2
    assert sum(groups) == 72
    assert max(groups) < 2 * 7


def test_numbers_whose_sum_has_more_digits_than_a_decimal_are_added_exactly(tmp_path: Path) -> None:
    numbers = pa.array([Decimal("9" * 19)] * 100, pa.decimal128(38, 18))
    source = source_of(written(tmp_path / "r.parquet", rows_of(100, **{AMOUNT: numbers})))
    assert assert_same(source, tmp_path)


def test_a_total_that_no_table_holds_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    costs = pa.array([Decimal("9" * 20)] * 2, pa.decimal128(38, 18))
    usd = pa.array(["USD", "USD"])
    rows = rows_of(2, **{COST: costs, CURRENCY: usd})
    source = source_of(written(tmp_path / "r.parquet", rows))
    with pytest.raises(LoadError, match="too large"):
        converted(source, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_table_with_a_wider_column_is_filled_the_careful_way(tmp_path: Path) -> None:
    source = source_of(written(tmp_path / "r.parquet", rows_of(2, n=pa.array([1, 2]))), n=INT)
    target = target_of(source, tmp_path / "out")
    wider = plan(None, lake_columns([*source_of(n=LONG).columns])).fields
    found = PolarsEngine().convert(source, replace(target, fields=wider))
    assert found is not None
    (file,) = found[1]
    assert pq.read_table(file.uri)["n"].type == pa.int64()
    assert found[0] == PolarsEngine().profile(source)


def test_a_fault_in_the_last_of_many_runs_is_named_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pass, "_RUN_ROWS", 5)
    good = written(tmp_path / "good.parquet", rows_of(60))
    bad = written(tmp_path / "bad.parquet", {COST: pa.array([1.0] * 30 + [float("nan")])})
    with pytest.raises(BadValueError) as caught:
        converted(source_of(good, bad), tmp_path / "out")
    assert (caught.value.file, caught.value.column) == ("bad.parquet", COST)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    source = source_of(written(tmp_path / "r.parquet", rows_of()))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageWriteError, match="cannot be written"):
        converted(source, tmp_path / "out")


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    full = tmp_path / "out"
    full.mkdir()
    source = source_of(written(tmp_path / "r.parquet", rows_of()))
    target = target_of(source, full)
    (full / f"{target.stem}-00000.parquet").symlink_to("/dev/full")
    with pytest.raises(StorageWriteError, match="No space left"):
        PolarsEngine().convert(source, target)
    assert list(full.iterdir()) == []


doubles = st.one_of(
    st.none(),
    st.floats(-1e19, 1e19),
    st.floats(-1, 1),
    st.builds(
        lambda digits, places: digits / 10.0**places, st.integers(), st.integers(0, 22)
    ).filter(lambda one: abs(one) < 1e19),
)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(doubles, doubles), min_size=1, max_size=30),
    st.sampled_from([pa.float32(), pa.float64()]),
)
def test_whatever_the_doubles_one_pass_gives_what_two_give(
    tmp_path: Path, numbers: list[tuple[float | None, float | None]], type_: pa.DataType
) -> None:
    costs, amounts = (pa.array(list(cells), pa.float64()) for cells in zip(*numbers, strict=True))
    other = {COST: costs, AMOUNT: amounts.cast(type_)}
    source = source_of(written(tmp_path / "r.parquet", rows_of(len(numbers), **other)))
    assert assert_same(source, tmp_path)
    texts = [Decimal(repr(one)) for one, _ in numbers if one is not None]
    long = [one for one in texts if one != EXACT.quantize(one, Decimal("1E-18"))]
    (profile, _, _) = converted(source, tmp_path / "out")
    assert profile.rounded.get(COST, 0) <= len(
        long
    )  # differences far behind the point are not counted
