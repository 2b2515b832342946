"""Files that hold rows of several months: every engine reads those of one, and the months add up to the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from billing_lake.domain.errors import BadValueError
from billing_lake.domain.profiles import compare, merge
from billing_lake.domain.sources import EncodedFile, Source
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.base import Format
from billing_lake.formats.chosen_columns import as_exported
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import find_deliveries, read_source
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.engines.report_files import encode, table_of
from billing_lake_tests.landing.small_deliveries import csv_gz, put

MONTHS = ("2025-03", "2025-04")
WITH_KEY = as_exported(FOCUS, map_keys={"tags": ["team"]})
HEADER = (
    "BilledCost",
    "ChargeCategory",
    "BillingPeriodStart",
    "ChargePeriodStart",
    "BillingCurrency",
    "Tags",
    "ListCost",
)


def row(period: str, cost: str = "1.5", tags: str = '{"team": "a,b"}') -> tuple[str, ...]:
    """Return a row with a cell in quotes and one that the format calls NULL."""
    return (cost, "Usage", f"{period}-01T00:00:00Z", f"{period}-02T00:00:00Z", "USD", tags, "NULL")


def sources(root: Path, format_: Format = WITH_KEY) -> dict[str, Source]:
    """Return what is read of each month that lies below ``root``."""
    storage = LocalStorage(root)
    location = ExportLocation("bill", "loose", "bill", format=format_)
    found = find_deliveries(storage, location)
    assert found.notes == ()
    return {
        period: read_source(storage, delivery, format_)[0]
        for period, delivery in found.deliveries.items()
    }


def lay_mixed(root: Path, container: str) -> None:
    """Lay a file in which the rows of two months alternate; of CSV, beside one of the first month alone."""
    rows = [row(MONTHS[number % 2], f"{number}.25", f'{{"n": "{number}"}}') for number in range(9)]
    if container == "csv":
        put(root / "bill/both.csv.gz", csv_gz(rows, HEADER))
        put(root / "bill/one.csv.gz", csv_gz([row(MONTHS[0]), row(MONTHS[0], "")], HEADER))
        return
    moment = pl.col("BillingPeriodStart").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    frame = pl.DataFrame(rows, HEADER, orient="row").with_columns(
        moment, pl.col("BilledCost").cast(pl.Float64), pl.lit(None, pl.Float64).alias("ListCost")
    )
    frame.write_parquet(put(root / "bill/both.parquet", b""))


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_each_month_is_read_exactly_and_all_of_them_add_up_to_the_file(
    engine: Engine, tmp_path: Path, container: str
) -> None:
    polars = PolarsEngine()
    lay_mixed(tmp_path, container)
    read = sources(tmp_path)
    raw = {period: engine.profile(source) for period, source in read.items()}
    assert [(one.rows, one.periods) for one in raw.values()] == [
        (rows, {period: rows})
        for period, rows in zip(MONTHS, (7 if container == "csv" else 5, 4), strict=True)
    ]
    for period, source in read.items():
        files = encode(engine, source, tmp_path / period)
        table = FOCUS.with_roles(table_of(source, files))
        assert compare(raw[period], polars.profile(table)) == []
        assert polars.content(source, source.columns) == polars.content(table, source.columns)
    first = read[MONTHS[0]]
    whole = replace(first, files=tuple(replace(file, only=None) for file in first.files))
    assert compare(polars.profile(whole), merge(raw.values())) == []


def rows_in(files: tuple[EncodedFile, ...], *columns: str) -> list[tuple[object, ...]]:
    tables = [pq.read_table(one.uri, columns=[*columns]).to_pylist() for one in files]
    return sorted(tuple(one.values()) for table in tables for one in table)


def test_a_bad_cell_of_another_month_is_not_read_and_one_of_its_own_is_named(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [row(MONTHS[0]), row(MONTHS[1], cost="much"), row(MONTHS[0], cost="2", tags="")]
    put(tmp_path / "bill/a.csv.gz", csv_gz(rows, HEADER))
    good, bad = sources(tmp_path).values()
    profile = engine.profile(good)
    assert (profile.rows, (profile.filled or {})["tags_team"]) == (2, 1)
    found = rows_in(encode(engine, good, tmp_path / "out"), "billedcost", "tags_team")
    assert [(str(cost), team) for cost, team in found] == [
        ("1.500000000000000000", "a,b"),
        ("2.000000000000000000", None),
    ]
    for verb in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(BadValueError, match=r"column billedcost.*'much'"):
            verb(bad)


def test_what_is_read_of_a_file_travels_as_json(tmp_path: Path) -> None:
    put(tmp_path / "bill/a.csv.gz", csv_gz([row(one) for one in MONTHS], HEADER))
    for source in sources(tmp_path).values():
        assert Source.from_json(source.to_json()) == source
        assert source.files[0].only is not None
