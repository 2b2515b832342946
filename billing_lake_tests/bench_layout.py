"""How a month's files should be laid out: `make bench ARGS=--layout`.

The same rows are written in each way that is worth a thought, and what counts is the bytes, the CPU time of writing, and that of typical
queries over twelve months, all as ratios to what the engine writes. Queries run on DuckDB and on Polars: costs by service, by day, and
by tag of one account.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.domain.column_names import BILLING_PERIOD, DELIVERY_VERSION, EXPORT_NAME
from billing_lake.domain.schemas import lake_columns, plan
from billing_lake.domain.sources import EncodeTarget
from billing_lake.domain.types import Decimal
from billing_lake.engines import one_pass
from billing_lake_tests.bench_ways import deliver, source_of

if TYPE_CHECKING:
    import pyarrow as pa

MONTHS = 12
_ROUNDS = 5
_WRITES = 3
"""Times that rows are written in each way; the least counts, because what else the machine does can only add to it."""

Query = Callable[[str], object]
"""Reads the files that a pattern names."""


@dataclass
class Layout:
    """What a way of writing costs.

    Attributes:
        size: Bytes of a month.
        seconds: CPU seconds of writing it, sorted where it is; 0 where that is not comparable.
        queries: CPU seconds of each query over all months.
    """

    size: int
    seconds: float
    queries: Mapping[str, float]


def measure(folder: Path, rows: int) -> dict[str, Layout]:
    """Return what each way costs; the first one is the engine's own."""
    import pyarrow.dataset as ds

    deliver(folder, rows, 4)
    lake, location, _, source = source_of(folder)
    engine = lake.engine(lambda _: None)
    fields = plan(None, lake_columns(source.columns)).fields
    constants = dict.fromkeys((EXPORT_NAME, BILLING_PERIOD, DELIVERY_VERSION), "bench")
    target = EncodeTarget(fields=fields, constants=constants, folder="", stem="part")
    queries = _queries(source, next(iter(location.format.tags(one.name for one in fields))))
    found: dict[str, Layout] = {}

    def add(name: str, write: Callable[[Path], object], *, is_written: bool = True) -> None:
        month = folder / name.replace(" ", "-")
        month.mkdir()
        seconds = min(
            _seconds_of(partial(write, month)) for _ in range(_WRITES if is_written else 1)
        )
        size = sum(file.stat().st_size for file in month.iterdir())
        found[name] = Layout(size, seconds if is_written else 0.0, _timed(_year(month), queries))
        print(f"  {name}", flush=True)

    once = folder / "once"
    once.mkdir()
    engine.convert(source, replace(target, folder=str(once)))
    table = ds.dataset(once).to_table()
    _written(table, folder)  # the first time takes longer
    for name, way in _ways(source).items():
        add(name, partial(_written, table, **way))
    add(
        "the engine that reads twice",
        lambda month: engine.encode(source, replace(target, folder=str(month))),
        is_written=False,
    )
    return found


def _ways(source: Any) -> dict[str, dict[str, Any]]:
    roles = source.roles
    numbers = [one.name for one in source.columns if isinstance(one.type, Decimal)]
    asked = [roles.usage_start, roles.account, roles.service, roles.charge_type]
    return {
        "as written": {},
        "zstd 1": {"compression_level": 1},
        "zstd 3": {"compression_level": 3},
        "zstd 6": {"compression_level": 6},
        "groups of 20,000 rows": {"rows": 20_000},
        "groups of 250,000 rows": {"rows": 250_000},
        "no statistics": {"write_statistics": False},
        "statistics of a few columns": {"write_statistics": asked},
        "no dictionaries of numbers": {"plain": numbers},
        "rows in time order": {"order": [roles.usage_start]},
        "rows by account, service, time": {
            "order": [roles.account, roles.service, roles.usage_start]
        },
    }


def _written(
    table: pa.Table,
    month: Path,
    *,
    rows: int = 75_000,
    plain: Sequence[str] = (),
    order: Sequence[str] = (),
    **other: Any,
) -> None:
    """Write the rows of ``table`` in another way, as one file."""
    import pyarrow.parquet as pq

    if order:
        table = table.sort_by([(one, "ascending") for one in order])
    dictionaries = [one for one in table.column_names if one not in plain]
    settings = {**one_pass.LAYOUT, "use_dictionary": dictionaries if plain else True, **other}
    with pq.ParquetWriter(month / "part.parquet", table.schema, **settings) as writer:
        writer.write_table(table, row_group_size=rows)


def _year(month: Path) -> str:
    """Return the pattern of twelve months, each a further name of the same files."""
    year = month.with_name(f"{month.name}-year")
    for number in range(MONTHS):
        (year / f"{number:02}").mkdir(parents=True)
        for file in month.iterdir():
            os.link(file, year / f"{number:02}" / file.name)
    return f"{year}/*/*.parquet"


def _queries(source: Any, tag: str) -> dict[str, Query]:
    import duckdb
    import polars as pl

    roles, cost = source.roles, source.costs[0]
    when, service, account = roles.usage_start, roles.service, roles.account
    wanted = "000123456789"

    def sql(text: str) -> Query:
        return lambda files: duckdb.sql(
            f"SELECT {text.format(f'read_parquet({files!r})')}"
        ).fetchall()

    def frame(ask: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Query:
        return lambda files: ask(pl.scan_parquet(files)).collect(engine="streaming")

    total = pl.col(cost).sum()
    return {
        "DuckDB, by service": sql(f"{service}, sum({cost}) FROM {{}} GROUP BY 1"),
        "DuckDB, by day": sql(f"CAST({when} AS DATE), sum({cost}) FROM {{}} GROUP BY 1"),
        "DuckDB, tag of one account": sql(
            f"{tag}, sum({cost}) FROM {{}} WHERE {account} = '{wanted}' GROUP BY 1"
        ),
        "Polars, by service": frame(lambda rows: rows.group_by(service).agg(total)),
        "Polars, by day": frame(lambda rows: rows.group_by(pl.col(when).dt.date()).agg(total)),
        "Polars, tag of one account": frame(
            lambda rows: rows.filter(pl.col(account) == wanted).group_by(tag).agg(total)
        ),
    }


def _seconds_of(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def _timed(files: str, queries: Mapping[str, Query]) -> dict[str, float]:
    found = {}
    for name, query in queries.items():
        seconds = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            query(files)
            seconds.append(time.process_time() - began)
        found[name] = statistics.median(seconds)
    return found


def report(folder: Path, rows: int) -> Iterator[str]:
    """Yield the lines of a table: each way, with the ratios to what the engine writes."""
    found = measure(folder, rows)
    own = next(iter(found.values()))
    heads = ["bytes", "writing", *own.queries]
    yield "  ".join([f"{'':32}", *heads])
    for name, one in found.items():
        ratios = [one.size / own.size, one.seconds / own.seconds]
        ratios += [one.queries[query] / own.queries[query] for query in own.queries]
        cells = [f"{ratio:.2f}" if ratio else "-" for ratio in ratios]
        widths = [f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True)]
        yield "  ".join([f"{name:32}", *widths])
    shutil.rmtree(folder, ignore_errors=True)
