"""The profile of files: rows, exact totals, filled cells and usage dates, added up where the rows are.

Numbers are summed as DECIMAL(38,18), rounded as the encoded table will be, so that both sides of a proof add up the same ones.
Groups are few (file, currency, billing period), so they are put together here, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.profiles import EXACT, Profile, currency_name, too_large
from billing_lake.domain.types import INT, LONG, STRING, TIMESTAMP, Map, Type
from billing_lake.domain.types import Decimal as DecimalType
from billing_lake.spark_job import sql
from billing_lake.spark_job.parquet_files import ParquetFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pyspark.sql import GroupedData

    from billing_lake.domain.sources import Source
    from billing_lake.spark_job.csv_files import CsvFiles

_WHOLE_NUMBERS = (INT, LONG)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Columns:
    """The columns of files, by what a profile does with them.

    Attributes:
        numbers: Decimals and whole numbers: summed. Sums of floating-point numbers would depend on their order.
        costs: Those of them that are totalled per currency.
        filled: All that are counted where they are filled.
        roundable: Numbers that may have more decimals than their type, with its scale.
    """

    numbers: Sequence[str]
    costs: Collection[str]
    filled: Sequence[str]
    roundable: Mapping[str, int]


def profile_rows(files: CsvFiles | ParquetFiles, source: Source) -> list[Profile]:
    """Return the profile of each file, currency and billing period of ``files``; a table's are not told apart.

    Raises:
        LoadError: A sum is too large.
    """
    columns = columns_to_total(files, source)
    cells = cells_of(files, source, columns, lambda value: value)
    cells |= {
        "file": "''" if source.of_table else files.name,
        "period": "''" if source.of_table else period_sql(cells.pop("start")),
    }
    rows = files.rows.selectExpr(*(f"{cell} AS {name}" for name, cell in cells.items()))
    groups = rows.groupBy("file", "currency", "period")
    found = _collected(groups, columns, split=False)
    if any(sum_of(row, n) is None for row in found for n in range(len(columns.numbers))):
        # A sum has 38 digits at most. Those of the digits before and behind the point have room for any number of rows.
        found = _collected(groups, columns, split=True)
    # A report's moments are whole seconds in a profile; those of a table are as they are.
    whole = not isinstance(files, ParquetFiles)
    found = [{**row, "file": None if source.of_table else row["file"]} for row in found]
    return [profile_of(row, columns, whole_seconds=whole) for row in found]


def _collected(groups: GroupedData, columns: Columns, *, split: bool) -> list[dict[str, Any]]:
    from pyspark.sql import functions as f

    totals = map(f.expr, totals_of(columns, lambda name: name, columns.numbers, split=split))
    return [row.asDict() for row in groups.agg(*totals).collect()]


def columns_to_total(files: CsvFiles | ParquetFiles, source: Source) -> Columns:
    """Return the columns of ``files`` by what a profile does with them."""
    types = _types(source)
    present = files.names - set(LAKE_COLUMNS)
    numbers = [name for name in types if name in present and _is_summed(types[name])]
    decimals = {
        name: type_.scale for name, type_ in types.items() if isinstance(type_, DecimalType)
    }
    return Columns(
        numbers=numbers,
        costs=source.costs,
        filled=[*numbers, *(name for name in types if name in present and name not in numbers)],
        roundable={
            name: decimals[name]
            for name in numbers
            if name in decimals and not source.of_table and files.text(name)
        },
    )


def _types(source: Source) -> dict[str, Type]:
    return {column.name: column.type for column in source.columns}


def _is_summed(type_: Type) -> bool:
    return type_ in _WHOLE_NUMBERS or isinstance(type_, DecimalType)


def cells_of(
    files: CsvFiles | ParquetFiles, source: Source, columns: Columns, taken: Callable[[str], str]
) -> dict[str, str]:
    """Return what a profile takes from each row, as SQL by the names in `totals_of`, and `currency` and `start`.

    Args:
        files: The files.
        source: The source that they are of.
        columns: Its columns.
        taken: Returns what stands for a value in the SQL, given the SQL of the value.
    """
    types, roles, present = _types(source), source.roles, files.names

    def value(name: str | None, type_: Type) -> str:
        if name is None or name not in present:
            return f"CAST(NULL AS {sql.spark_type(type_)})"
        return taken(files.value(name, type_))

    def number(name: str) -> str:
        cell, type_ = value(name, types[name]), sql.spark_type(types[name])
        if types[name] in _WHOLE_NUMBERS:
            type_ = "DECIMAL(38,0)"
            cell = f"CAST({cell} AS {type_})"
        # Spark looks three times at what may be NULL, and each look makes a number anew.
        return f"coalesce({cell}, CAST(0 AS {type_}))"

    def filled(name: str) -> str:
        type_ = types[name]
        if isinstance(files, ParquetFiles) or not (
            name in columns.numbers or isinstance(type_, Map)
        ):
            return f"{value(name, type_)} IS NOT NULL"
        # Nobody has to read a map to see whether there is one, or a number twice: text that is none makes its sum fail.
        return taken(f"{sql.filled(files.text(name))} IS NOT NULL")

    currency = value(roles.currency, STRING)
    return {
        "currency": f"CASE WHEN {currency} != '' THEN {currency} END",
        "start": value(roles.period_start, TIMESTAMP),
        "usage": f"unix_micros({value(roles.usage_start, TIMESTAMP)})",
        **{f"number{n}": number(name) for n, name in enumerate(columns.numbers)},
        **{f"filled{n}": filled(name) for n, name in enumerate(columns.filled)},
        **{
            f"rounded{n}": taken(sql.is_rounded(_text(files, name), scale))
            for n, (name, scale) in enumerate(columns.roundable.items())
        },
    }


def period_sql(moment: str) -> str:
    """Return SQL for the billing period of the ``moment``."""
    return f"date_format({moment}, 'yyyy-MM')"


def _text(files: CsvFiles | ParquetFiles, name: str) -> str:
    return files.text(name) or "CAST(NULL AS STRING)"


def totals_of(
    columns: Columns,
    cell: Callable[[str], str],
    numbers: Collection[str],
    *,
    split: bool = False,
) -> Sequence[str]:
    """Return SQL that totals rows.

    Args:
        columns: Their columns.
        cell: Returns SQL for what is totalled, given its name in `cells_of`.
        numbers: Those of its numbers that are summed.
        split: Whether numbers are totalled in two parts, which have room for any number of rows.
    """
    usage = cell("usage")
    totals = ["count(1) AS rows", f"min({usage}) AS first", f"max({usage}) AS last"]
    for name in (f"number{n}" for n, name in enumerate(columns.numbers) if name in numbers):
        number = cell(name)
        parts = {"": f"floor({number})", "_rest": f"pmod({number}, 1)"} if split else {"": number}
        totals += [f"sum({part}) AS {name}{ending}" for ending, part in parts.items()]
    counted = {"filled": columns.filled, "rounded": columns.roundable}
    names = [f"{kind}{n}" for kind, some in counted.items() for n in range(len(some))]
    return [*totals, *(f"count_if({cell(name)}) AS {name}" for name in names)]


def sum_of(row: Mapping[str, Any], n: int) -> Decimal | None:
    """Return the sum of the ``n``-th number; None where it is too large."""
    whole = row.get(f"number{n}")
    return None if whole is None else EXACT.add(whole, row.get(f"number{n}_rest") or Decimal())


def profile_of(row: Mapping[str, Any], columns: Columns, *, whole_seconds: bool) -> Profile:
    """Return the profile of rows of one currency and billing period, given what `totals_of` found; that of a `file` is named.

    Raises:
        LoadError: A sum is too large.
    """
    sums: dict[str, Decimal] = {}
    for n, name in enumerate(columns.numbers):
        total = sum_of(row, n)
        if total is None:
            raise too_large(name, row["file"])
        sums[name] = total
    found = Profile(
        rows=row["rows"],
        totals={
            currency_name(row["currency"]): {
                name: sums[name] for name in sums if name in columns.costs
            }
        },
        sums={name: total for name, total in sums.items() if name not in columns.costs},
        filled={name: row[f"filled{n}"] for n, name in enumerate(columns.filled)},
        first_usage=_moment(row["first"], whole_seconds=whole_seconds),
        last_usage=_moment(row["last"], whole_seconds=whole_seconds),
        periods={row["period"]: row["rows"]} if row["period"] else {},
        rounded={
            name: count for n, name in enumerate(columns.roundable) if (count := row[f"rounded{n}"])
        },
    )
    return found if row["file"] is None else found.in_file(row["file"])


def _moment(micros: int | None, *, whole_seconds: bool) -> str | None:
    if micros is None:
        return None
    moment = _EPOCH + timedelta(microseconds=micros)
    return (moment.replace(microsecond=0) if whole_seconds else moment).isoformat()
