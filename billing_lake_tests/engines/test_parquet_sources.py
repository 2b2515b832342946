"""Parquet report files: columns by name, whatever types the provider gave them, and the same table as from CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.domain import errors
from billing_lake.domain.profiles import EXACT, compare
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source, SourceFile
from billing_lake.domain.types import (
    BOOLEAN,
    DATE,
    DECIMAL,
    DOUBLE,
    INT,
    LONG,
    STRING,
    TIMESTAMP,
    Map,
    Type,
)
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake_tests.engines.report_files import encode, table_of

COST = "line_item_unblended_cost"
AMOUNT = "line_item_usage_amount"
START = "line_item_usage_start_date"
PERIOD = "bill_billing_period_start_date"
CURRENCY = "line_item_currency_code"
ACCOUNT = "bill_payer_account_id"
FIVE = datetime(2025, 3, 1, 5, tzinfo=timezone.utc)
TEXTS = pa.map_(pa.string(), pa.string())
LISTED_TEXTS = pa.list_(pa.struct([("a", TEXTS)]))


def parquet(path: Path, columns: dict[str, pa.Array], **settings: Any) -> Path:
    """Write ``columns`` as the Parquet report file ``path``."""
    pq.write_table(pa.table(columns), path, **settings)
    return path


def source_of(*paths: Path, names: Sequence[str], **types: Type) -> Source:
    """Return the source of Parquet report files with the columns ``names``, typed by the dictionary or by ``types``."""
    return LEGACY_CUR.source(
        [SourceFile(uri=str(path), name=path.name) for path in paths],
        [Column(name, types.get(name) or LEGACY_CUR.type_of(name)) for name in names],
        container="parquet",
        compression=None,
    )


def encoded(
    engine: Engine, tmp_path: Path, name: str, cells: pa.Array, **settings: Any
) -> list[Any]:
    """Return what the table says where a report's column ``name`` has ``cells``."""
    path = parquet(tmp_path / "r.parquet", {name: cells}, **settings)
    (file,) = encode(engine, source_of(path, names=[name]), tmp_path / "out")
    values: list[Any] = pq.read_table(file.uri)[name].to_pylist()
    return values


def decimals(*texts: str | None, precision: int = 38, scale: int = 18) -> pa.Array:
    values = [None if text is None else Decimal(text) for text in texts]
    return pa.array(values, pa.decimal128(precision, scale))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (
            pa.array(["1.81E-8", "", None, "0.1234567890123456785", "00012"]),
            ["0.0000000181", None, None, "0.123456789012345678", "12"],
        ),
        (
            pa.array([0.1, 1e-7, 1.5e-18, 2.5e-18, 123456789.12345679, -0.25, None]),
            ["0.1", "0.0000001", "2E-18", "2E-18", "123456789.12345679", "-0.25", None],
        ),
        (pa.array([0.1, 1.5, None], pa.float32()), ["0.1", "1.5", None]),
        (pa.array([7, -(2**63), None]), ["7", str(-(2**63)), None]),
        (decimals("12.50", None, precision=20, scale=2), ["12.5", None]),
        (
            decimals("0.12345678901234567850", "0.12345678901234567750", scale=20),
            ["0.123456789012345678", "0.123456789012345678"],
        ),
        (decimals("0.123456789012345678"), ["0.123456789012345678"]),
    ],
    ids=["text", "double", "float", "integer", "money", "finer", "equal"],
)
def test_money_of_every_type_becomes_the_same_decimal(
    engine: Engine, tmp_path: Path, cells: pa.Array, values: list[str | None]
) -> None:
    found = encoded(engine, tmp_path, COST, cells)
    assert found == [None if value is None else Decimal(value) for value in values]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_moments_of_every_unit_and_zone_become_utc(
    engine: Engine, tmp_path: Path, unit: str, zone: str | None
) -> None:
    moment = FIVE if zone else FIVE.replace(tzinfo=None)
    cells = pa.array([moment, None], pa.timestamp(unit, zone))
    assert encoded(engine, tmp_path, START, cells) == [FIVE, None]


def test_moments_in_the_old_spelling_of_parquet_become_utc(engine: Engine, tmp_path: Path) -> None:
    cells = pa.array([FIVE.replace(tzinfo=None), None], pa.timestamp("ns"))
    found = encoded(engine, tmp_path, START, cells, use_deprecated_int96_timestamps=True)
    assert found == [FIVE, None]


def test_text_and_dates_become_moments(engine: Engine, tmp_path: Path) -> None:
    texts = pa.array(["2025-03-01T05:00:00Z", "2025-03-01 05:00:00.0", "", None])
    assert encoded(engine, tmp_path, START, texts) == [FIVE, FIVE, None, None]
    dates = pa.array([date(2025, 3, 1), None])
    assert encoded(engine, tmp_path, START, dates) == [FIVE.replace(hour=0), None]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (pa.array(["007", "", None, "日本語\n☁"]), ["007", "", None, "日本語\n☁"]),
        (pa.array(["007", None]).dictionary_encode(), ["007", None]),
        (pa.array([123456789012, None]), ["123456789012", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([date(2025, 3, 1), None]), ["2025-03-01", None]),
        (
            pa.array([1.5, 1e-7, 100.0, -0.25, 1e18, None]),
            ["1.5", "0.0000001", "100", "-0.25", f"1{18 * '0'}", None],
        ),
        (decimals("1.50", "100", "0", None), ["1.5", "100", "0", None]),
        (
            pa.array([FIVE, FIVE.replace(microsecond=120_000), None], pa.timestamp("ms")),
            ["2025-03-01T05:00:00Z", "2025-03-01T05:00:00.12Z", None],
        ),
        (
            pa.array([FIVE, None], pa.timestamp("us", "Europe/Berlin")),
            ["2025-03-01T05:00:00Z", None],
        ),
    ],
    ids=["text", "dictionary", "integer", "boolean", "date", "double", "decimal", "moment", "zone"],
)
def test_what_has_one_spelling_becomes_text(
    engine: Engine, tmp_path: Path, cells: pa.Array, values: list[str | None]
) -> None:
    assert encoded(engine, tmp_path, ACCOUNT, cells) == values


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (
            pa.array([[("a", "x"), ("b", None)], [], None], pa.map_(pa.string(), pa.string())),
            [[("a", "x"), ("b", None)], [], None],
        ),
        (
            pa.array([[("EDP", 1e-7), ("RI", -2.5)], [], None], pa.map_(pa.string(), pa.float64())),
            [[("EDP", "0.0000001"), ("RI", "-2.5")], [], None],
        ),
        (
            pa.array([[{"key": "a", "value": "x"}], [], None]),
            [[("a", "x")], [], None],
        ),
        (
            pa.array([[{"key": "EDP", "value": 0.1}], [], None]),
            [[("EDP", "0.1")], [], None],
        ),
        (pa.array(['{"a": "x", "b": 1.50}', "{}", ""]), [[("a", "x"), ("b", "1.50")], [], None]),
    ],
    ids=["map", "map-of-doubles", "pairs", "pairs-of-doubles", "text"],
)
def test_maps_of_both_shapes_become_maps_of_text(
    engine: Engine, tmp_path: Path, cells: pa.Array, values: list[Any]
) -> None:
    path = parquet(tmp_path / "r.parquet", {"tags": cells, COST: pa.array([1.5] * 3)})
    source = source_of(path, names=["tags", COST], tags=Map(STRING, STRING))
    (file,) = encode(engine, source, tmp_path / "out")
    table = pq.read_table(file.uri).to_pylist()
    assert [row["tags"] for row in table] == values
    raw = engine.profile(source)
    assert (raw.filled or {})["tags"] == 2  # a map without entries is something
    assert compare(raw, engine.profile(table_of(source, [file]))) == []


CREDIT = {
    "Name": 'a "b" \\ \n\x01\x7f/é☁',
    "Amount": -1e-7,
    "Exact": Decimal("1.50"),
    "At": FIVE,
    "Day": date(2025, 3, 1),
    "Of": ["x", None, ""],
    "*": True,
    "^N.*": 7,
    "Ratio": 0.1,
    "Labels": [("k", "v"), ("q", None)],
}
CREDIT_TYPE = pa.struct(
    [
        ("Name", pa.string()),
        ("Amount", pa.float64()),
        ("Exact", pa.decimal128(38, 9)),
        ("At", pa.timestamp("us", "UTC")),
        ("Day", pa.date32()),
        ("Of", pa.list_(pa.string())),
        ("*", pa.bool_()),
        ("^N.*", pa.int32()),
        ("Ratio", pa.float32()),
        ("Labels", pa.map_(pa.string(), pa.string())),
    ]
)


def test_nested_cells_become_json_text_of_one_spelling(engine: Engine, tmp_path: Path) -> None:
    lists = [[CREDIT, None], [], None, [dict.fromkeys(CREDIT)]]
    columns = {
        "x_credits": pa.array(lists, pa.list_(CREDIT_TYPE)),
        "x_project": pa.array([{"Id": 1, "Part": {"Of": [[1.5], []]}}, None, {}, None]),
        "x_labels": pa.array(
            [[("b", 0.5), ("a", None)], [], None, []], pa.map_(pa.string(), pa.float64())
        ),
    }
    path = parquet(tmp_path / "r.parquet", columns)
    source = source_of(path, names=[*columns], **dict.fromkeys(columns, STRING))
    (file,) = encode(engine, source, tmp_path / "out")
    rows = pq.read_table(file.uri)
    credit = (
        r'{"Name":"a \"b\" \\ \n\u0001'
        "\x7f/é☁"
        r'","Amount":-0.0000001,"Exact":1.5,"At":"2025-03-01T05:00:00Z","Day":"2025-03-01","Of":["x",null,""],'
        r'"*":true,"^N.*":7,"Ratio":0.1,"Labels":{"k":"v","q":null}}'
    )
    nulls = ",".join(f'"{name}":null' for name in CREDIT)
    assert rows["x_credits"].to_pylist() == [f"[{credit},null]", "[]", None, f"[{{{nulls}}}]"]
    assert rows["x_project"].to_pylist() == [
        '{"Id":1,"Part":{"Of":[[1.5],[]]}}',
        None,
        '{"Id":null,"Part":null}',
        None,
    ]
    assert rows["x_labels"].to_pylist() == ['{"b":0.5,"a":null}', "{}", None, "{}"]
    raw = engine.profile(source)
    assert compare(raw, engine.profile(table_of(source, [file]))) == []
    reader = PolarsEngine()
    assert reader.content(source, source.columns) == reader.content(
        table_of(source, [file]), source.columns
    )


def test_a_double_is_the_decimal_that_its_shortest_text_says(
    engine: Engine, tmp_path: Path
) -> None:
    draw = np.random.default_rng(7)
    powers = draw.integers(-18, 16, 3_000).astype(float)
    few = draw.integers(1, 10**6, 1_000) / 10.0 ** draw.integers(0, 12, 1_000)
    doubles = [*(draw.uniform(-10, 10, 3_000) * 10**powers), *few, 2e16, 1e16 + 2, 0.0, -0.0]
    wanted = [EXACT.quantize(Decimal(repr(float(one))), Decimal("1E-18")) for one in doubles]
    path = parquet(tmp_path / "r.parquet", {COST: pa.array(doubles)})
    source = source_of(path, names=[COST])
    (file,) = encode(engine, source, tmp_path / "out")
    assert sorted(pq.read_table(file.uri)[COST].to_pylist()) == sorted(wanted)
    assert engine.profile(source).totals == {"(none)": {COST: reduce(EXACT.add, wanted, Decimal())}}


def test_columns_have_the_names_that_the_source_gives_them(engine: Engine, tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "r.parquet", {"BilledCost": pa.array([1.5]), "Region Id": pa.array(["a"])}
    )
    file = SourceFile(uri=str(path), name="r.parquet", columns=(COST, "region"))
    columns = [Column(COST, DECIMAL), Column("region", STRING)]
    source = LEGACY_CUR.source([file], columns, container="parquet", compression=None)
    (encoded_file,) = encode(engine, source, tmp_path / "out")
    (row,) = pq.read_table(encoded_file.uri).to_pylist()
    assert (row[COST], row["region"]) == (Decimal("1.5"), "a")
    assert engine.profile(source).totals == {"(none)": {COST: Decimal("1.5")}}
    gone = replace(source, files=(replace(file, columns=(COST,)),))
    with pytest.raises(errors.DeliveryChangedError, match="has 2 columns, and had 1 before"):
        engine.profile(gone)


def test_columns_are_found_by_name_and_those_that_a_file_lacks_are_null(
    engine: Engine, tmp_path: Path
) -> None:
    first = {"unknown": pa.array([1]), COST: pa.array(["1"]), ACCOUNT: pa.array(["a"])}
    one = parquet(tmp_path / "1.parquet", first)
    two = parquet(tmp_path / "2.parquet", {ACCOUNT: pa.array(["b"]), AMOUNT: pa.array([2.5])})
    source = source_of(one, two, names=[ACCOUNT, COST, AMOUNT])
    (file,) = encode(engine, source, tmp_path / "out")
    rows = sorted(pq.read_table(file.uri).to_pylist(), key=lambda row: str(row[ACCOUNT]))
    lake = {
        "export_name": "acme",
        "billing_period": "2025-03",
        "delivery_version": "20250403T040211Z",
    }
    assert rows == [
        {ACCOUNT: "a", COST: Decimal(1), AMOUNT: None, **lake, "source_file": "1.parquet"},
        {ACCOUNT: "b", COST: None, AMOUNT: Decimal("2.5"), **lake, "source_file": "2.parquet"},
    ]
    assert file.rows == 2
    ids = [int(field.metadata[b"PARQUET:field_id"]) for field in pq.read_schema(file.uri)]
    assert ids == list(range(1, 8))


def test_a_column_may_change_its_type_from_file_to_file(engine: Engine, tmp_path: Path) -> None:
    paths = [
        parquet(tmp_path / f"{number}.parquet", {COST: cells})
        for number, cells in enumerate([pa.array([0.5]), pa.array(["0.5"]), decimals("0.5")])
    ]
    source = source_of(*paths, names=[COST])
    files = encode(engine, source, tmp_path / "out")
    assert pq.read_table([file.uri for file in files])[COST].to_pylist() == [Decimal("0.5")] * 3
    assert engine.profile(source).totals == {"(none)": {COST: Decimal("1.5")}}


@pytest.mark.parametrize(
    ("type_", "cells"),
    [
        (INT, pa.array([1, None], pa.int32())),
        (LONG, pa.array([2**40, None])),
        (DOUBLE, pa.array([0.1, None])),
        (BOOLEAN, pa.array([True, None])),
        (DATE, pa.array([date(2025, 3, 1), None])),
    ],
)
def test_types_that_need_no_change_are_kept(
    engine: Engine, tmp_path: Path, type_: Type, cells: pa.Array
) -> None:
    path = parquet(tmp_path / "r.parquet", {"tag": cells})
    (file,) = encode(engine, source_of(path, names=["tag"], tag=type_), tmp_path / "out")
    assert pq.read_table(file.uri)["tag"].to_pylist() == cells.to_pylist()


@pytest.mark.parametrize(
    ("name", "cells", "value"),
    [
        (COST, pa.array(["1", "ten"]), "ten"),
        (COST, pa.array(["1", " 1"]), " 1"),
        (COST, pa.array([1.0, float("nan")]), None),
        (COST, pa.array([1.0, float("-inf")]), None),
        (COST, pa.array([1.0, 1e20]), None),
        (COST, decimals("1", "1" * 25, precision=38, scale=2), None),
        (START, pa.array(["2025-03-01", "yesterday"]), "yesterday"),
        (START, pa.array(["2025-03-01", "2025-02-30"]), "2025-02-30"),
        (COST, pa.array([["1"], []]), None),
        (COST, pa.array([True, False]), None),
        (START, pa.array([1, 2]), None),
        (CURRENCY, pa.array([1.5, float("nan")]), None),
        (CURRENCY, pa.array([{"a": b"1"}]), None),
        (CURRENCY, pa.array([[{"a": 1.5}], [{"a": float("nan")}]]), None),
        ("tags", pa.array([[{"key": "a", "other": "b"}]]), None),
        (
            "tags",
            pa.array([None, [("a", "1"), ("a", "2")]], TEXTS),
            None,
        ),
        ("tags", pa.array([[], [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]]), None),
        (CURRENCY, pa.array([None, [("a", "1"), ("a", "2")]], TEXTS), None),
        (CURRENCY, pa.array([[None, {"a": [("b", "1"), ("b", "1")]}]], LISTED_TEXTS), None),
        (
            CURRENCY,
            pa.array([[("a", [("b", "1"), ("b", "1")])]], pa.map_(pa.string(), TEXTS)),
            None,
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_both_verbs(
    engine: Engine, tmp_path: Path, name: str, cells: pa.Array, value: str | None
) -> None:
    good = parquet(tmp_path / "good.parquet", {ACCOUNT: pa.array(["a"])})
    bad = parquet(tmp_path / "bad.parquet", {name: cells})
    maps = {"tags": Map(STRING, STRING)}
    types = {one: type_ for one, type_ in maps.items() if one == name}
    source = source_of(good, bad, names=[ACCOUNT, name], **types)
    for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(errors.BadValueError) as caught:
            act(source)
        assert (caught.value.file, caught.value.column) == ("bad.parquet", name)
        assert value is None or caught.value.value == value
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def cut(content: bytes) -> bytes:
    return content[:-20]


@pytest.mark.parametrize(
    "damage", [cut, lambda _: b"", lambda _: b"a,b\n1,2\n"], ids=["cut", "empty", "text"]
)
def test_a_file_that_is_no_parquet_is_named_by_both_verbs(
    engine: Engine, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = parquet(tmp_path / "bad.parquet", {COST: pa.array(["1"] * 100)})
    path.write_bytes(damage(path.read_bytes()))
    source = source_of(path, names=[COST])
    for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(errors.ReportFileError, match=r"bad\.parquet"):
            act(source)


def test_damage_behind_the_footer_is_named_by_both_verbs(engine: Engine, tmp_path: Path) -> None:
    cells = pa.array([f"{number}.5" for number in range(20_000)])
    path = parquet(tmp_path / "bad.parquet", {COST: cells}, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:2_000] = bytes(1_996)
    path.write_bytes(content)
    source = source_of(path, names=[COST])
    for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(errors.ReportFileError, match=r"bad\.parquet"):
            act(source)


def test_a_missing_file_is_named_by_both_verbs(engine: Engine, tmp_path: Path) -> None:
    source = source_of(tmp_path / "gone.parquet", names=[COST])
    for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(errors.ReportFileError, match=r"gone\.parquet"):
            act(source)


def test_a_file_without_rows_is_a_valid_empty_delivery(engine: Engine, tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", {COST: pa.array([], pa.float64())})
    source = source_of(path, names=[COST])
    assert engine.profile(source).rows == 0
    assert encode(engine, source, tmp_path / "out") == ()


def test_the_profile_adds_up_what_the_encoding_stores(engine: Engine, tmp_path: Path) -> None:
    days = [datetime(2025, 3, day, tzinfo=timezone.utc) for day in (5, 1, 31)]
    doubles = {
        COST: pa.array([0.1, 1.25e-18, 1 / 3]),
        AMOUNT: pa.array([1e-19, 2.0, None]),
        START: pa.array(days, pa.timestamp("ms", "UTC")),
        PERIOD: pa.array([days[1]] * 3, pa.timestamp("us")),
        CURRENCY: pa.array(["USD", "EUR", "USD"]),
    }
    texts = {
        COST: pa.array(["0.7", "1E-19", "0.2", "0.1", ""]),
        START: pa.array(["2025-02-28T23:00:00Z", "2025-04-02 00:00:00.0", None, None, ""]),
        PERIOD: pa.array(["2025-03-01T00:00:00Z"] * 5),
        CURRENCY: pa.array(["USD", None, None, "", ""]),
    }
    one = parquet(tmp_path / "1.parquet", doubles)
    two = parquet(tmp_path / "2.parquet", texts)
    source = source_of(one, two, names=list(doubles))
    assert {column.type for column in source.columns} == {DECIMAL, TIMESTAMP, STRING}
    raw = engine.profile(source)
    table = engine.profile(table_of(source, encode(engine, source, tmp_path / "out")))
    assert compare(raw, table) == []
    assert raw.totals == {
        "USD": {COST: Decimal("1.1333333333333333")},
        "EUR": {COST: Decimal("1E-18")},
        "(none)": {COST: Decimal("0.3")},
    }
    assert raw.periods == {"2025-03": 8}
    assert raw.rounded == {COST: 2, AMOUNT: 1}
    assert (raw.first_usage, raw.last_usage) == (
        "2025-02-28T23:00:00+00:00",
        "2025-04-02T00:00:00+00:00",
    )
    assert {name: file.rows for name, file in raw.files.items()} == {"1.parquet": 3, "2.parquet": 5}
    assert raw.files["2.parquet"].totals["USD"] == {COST: Decimal("0.7")}
