"""Maps in report files: every engine makes the same maps of the same cells, and names the cell that is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.domain.errors import BadValueError
from billing_lake.domain.map_texts import BadMapError, map_of
from billing_lake.domain.profiles import compare
from billing_lake.domain.schemas import lake_columns
from billing_lake.domain.sources import Source, SourceFile, union_columns
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.base import Format
from billing_lake.formats.chosen_columns import as_exported
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.headers import column_names
from billing_lake_tests.engines.report_files import csv_text, encode, report

HEADER = (*CUR2.required, "product", "tags")
START = "2025-03-01T00:00:00.000Z"
ROW = ("1", START, "Usage", "2", START, START, "0.5", "USD")

GOOD = (
    "{}",
    "",
    '{"a":"b"}',
    ' { "a" : "b, \'c\':{}" ,\t"d":""} ',
    '{"EDP":-1.50E-7,"n":0.10,"t":true,"f":false,"z":null,"s":"null"}',
    '{"q":"say \\"hi\\"","e":"\\u00e9\\ud83d\\ude00","\\u006b":"\\\\ \\/"}',
    '{"München":"naïve 😀","":"empty key"}',
    '{"line":"a\\nb"}',
    json.dumps({f"key{n}": "x" * n for n in range(300)}),
)
BAD = (
    ('{"a":"b"', "no JSON"),
    ('{"a":"b"} x', "no JSON"),
    ("{'a':'b'}", "no JSON"),
    ('{"a":01}', "no JSON"),
    ('{"a":NaN}', "no number"),
    ("null", "no JSON object"),
    ('["a"]', "no JSON object"),
    ('{"a":{"b":"c"}}', "nested"),
    ('{"a":["b"]}', "nested"),
    ('{"a":"1","a":"2"}', "twice"),
    ('{"a":"1","\\u0061":"2"}', "twice"),
    ('{"a":"\\ud800"}', "text that is none"),
    ('{"a":"\\u0000"}', "text that is none"),
)


def source_of(*paths: Path, header: Sequence[str] = HEADER, format_: Format = CUR2) -> Source:
    names = column_names(header, "header", format_)
    lifted = format_.lifted_from(names)
    files = tuple(
        SourceFile(uri=str(path), name=path.name, columns=names, lifted=lifted) for path in paths
    )
    columns = format_.columns((*names, *(one.column for one in lifted)))
    return format_.source(files, union_columns([columns]))


def maps_of(folder: Path, column: str) -> list[dict[str, str | None] | None]:
    rows = pq.read_table(folder, columns=[column]).column(0).to_pylist()
    return [None if row is None else dict(row) for row in rows]


def text_of(found: dict[str, str | None] | None) -> str:
    return "" if found is None else json.dumps(found)


def test_maps_come_out_as_they_stand_there_and_the_files_prove_equal(
    engine: Engine, tmp_path: Path
) -> None:
    cells = [*GOOD, *GOOD[:3]]
    rows = [(*ROW, cell, cells[-n]) for n, cell in enumerate(cells, start=1)]
    text = csv_text(rows, HEADER).replace("USD,,", 'USD,"",', 1)
    source = source_of(report(tmp_path / "r.csv.gz", text))
    profile = engine.profile(source)
    files = encode(engine, source, tmp_path / "out")
    wanted = [None if cell == "" else map_of(cell) for cell in cells]
    assert sorted(maps_of(tmp_path / "out", "product"), key=text_of) == sorted(wanted, key=text_of)
    filled = sum(one is not None for one in wanted)
    assert (profile.filled or {})["product"] == (profile.filled or {})["tags"] == filled
    reader = PolarsEngine()
    table = CUR2.with_roles(
        Source(
            container="parquet",
            files=tuple(SourceFile(uri=file.uri, name=file.uri) for file in files),
            columns=lake_columns(source.columns),
        )
    )
    assert compare(profile, reader.profile(table)) == []
    assert compare(profile, engine.profile(table)) == []
    assert reader.content(source, source.columns) == reader.content(table, source.columns)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_empty_text_in_quotes_is_no_map(engine: Engine, tmp_path: Path, line_end: str) -> None:
    header = ("product", *CUR2.required, "tags")
    rows = [f'"",{",".join(ROW)},""', f"{{}},{','.join(ROW)},{{}}", f",{','.join(ROW)},"]
    text = line_end.join([",".join(header), *rows]) + line_end
    source = source_of(report(tmp_path / "r.csv.gz", text), header=header)
    profile = engine.profile(source)
    encode(engine, source, tmp_path / "out")
    for name in ("product", "tags"):
        assert (profile.filled or {})[name] == 1
        assert sorted(maps_of(tmp_path / "out", name), key=text_of) == [None, None, {}]


def test_every_engine_refuses_every_cell_that_is_no_map_with_file_line_and_column(
    engine: Engine, tmp_path: Path
) -> None:
    for number, (cell, reason) in enumerate(BAD):
        rows = [(*ROW, "{}", '{"a":"1"}'), (*ROW, "{}", cell), (*ROW, "{}", "")]
        path = report(tmp_path / f"r{number}.csv.gz", csv_text(rows, HEADER))
        with pytest.raises(BadValueError, match=reason) as caught:
            encode(engine, source_of(path), tmp_path / f"out{number}")
        fault = caught.value
        assert (fault.file, fault.line, fault.column) == (path.name, 3, "tags")
        assert not [*(tmp_path / f"out{number}").glob("*.parquet")]
        with pytest.raises(BadMapError, match=reason):
            map_of(cell)


def test_keys_that_settings_name_are_columns_of_text_beside_their_map(
    engine: Engine, tmp_path: Path
) -> None:
    format_ = as_exported(CUR2, map_keys={"product": ["a"], "tags": ["x/y"], "discount": ["z"]})
    cells = ('{"a":"1"}', '{"a":0.10}', '{"a":null}', '{"b":"2"}', "{}", "")
    rows = [(*ROW, cell, '{"x/y":"t"}') for cell in cells]
    path = report(tmp_path / "r.csv.gz", csv_text(rows, HEADER))
    source = source_of(path, format_=format_)
    profile = engine.profile(source)
    files = encode(engine, source, tmp_path / "out")
    found = pq.read_table(tmp_path / "out", columns=["product_a", "tags_x_y", "product"])
    assert sorted(map(str, found["product_a"].to_pylist())) == ["0.10", "1", *["None"] * 4]
    assert found["tags_x_y"].to_pylist() == ["t"] * 6
    assert "discount_z" not in {one.name for one in source.columns}
    assert found["product"].null_count == 1
    filled = profile.filled or {}
    assert (filled["product_a"], filled["tags_x_y"], filled["product"]) == (2, 6, 5)
    table = CUR2.with_roles(
        Source(
            container="parquet",
            files=tuple(SourceFile(uri=file.uri, name=file.uri) for file in files),
            columns=lake_columns(source.columns),
        )
    )
    reader = PolarsEngine()
    assert compare(profile, reader.profile(table)) == []
    assert reader.content(source, source.columns) == reader.content(table, source.columns)
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source
    report(path, csv_text([(*ROW, '{"a"', "")], HEADER))
    with pytest.raises(BadValueError, match=r"no JSON.*line 2, column product"):
        engine.profile(source)


def test_a_file_that_lacks_a_map_has_none_in_its_rows(engine: Engine, tmp_path: Path) -> None:
    with_map = report(tmp_path / "a.csv.gz", csv_text([(*ROW, '{"a":"b"}')], HEADER[:-1]))
    without = report(tmp_path / "b.csv.gz", csv_text([ROW], HEADER[:-2]))
    files = (
        *source_of(with_map, header=HEADER[:-1]).files,
        *source_of(without, header=HEADER[:-2]).files,
    )
    source = CUR2.source(files, CUR2.columns(column_names(HEADER[:-1], "h", CUR2)))
    encode(engine, source, tmp_path / "out")
    assert sorted(maps_of(tmp_path / "out", "product"), key=text_of) == [None, {"a": "b"}]


def test_keys_of_real_maps_in_parquet_are_columns_too(engine: Engine, tmp_path: Path) -> None:
    format_ = as_exported(CUR2, map_keys={"product": ["a"]})
    types = pa.map_(pa.string(), pa.string())
    cells = pa.array([[("a", "1")], [("b", "2")], [], None], types)
    columns = {name: [ROW[n]] * 4 for n, name in enumerate(CUR2.required)}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, "product": cells}), path)
    names = (*columns, "product")
    lifted = format_.lifted_from(names)
    file = SourceFile(uri=str(path), name=path.name, columns=names, lifted=lifted)
    wanted = format_.columns((*names, "product_a"))
    source = format_.source((file,), wanted, "parquet", None)
    profile = engine.profile(source)
    encode(engine, source, tmp_path / "out")
    found = pq.read_table(tmp_path / "out", columns=["product_a"])["product_a"].to_pylist()
    assert sorted(map(str, found)) == ["1", "None", "None", "None"]
    filled = profile.filled or {}
    assert (filled["product_a"], filled["product"]) == (1, 3)
