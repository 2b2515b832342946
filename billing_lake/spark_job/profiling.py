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
from billing_lake.domain.profiles import EXACT, NO_CURRENCY, Profile, too_large
from billing_lake.domain.types import INT, LONG, STRING, TIMESTAMP, Type
from billing_lake.domain.types import Decimal as DecimalType
from billing_lake.spark_job import sql
from billing_lake.spark_job.parquet import Tables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pyspark.sql import GroupedData

    from billing_lake.domain.sources import Source
    from billing_lake.spark_job.reports import Reports

_WHOLE_NUMBERS = (INT, LONG)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class _Columns:
    """The columns of files, by what a profile does with them.

    Attributes:
        numbers: Decimals and whole numbers: summed. Sums of floating-point numbers would depend on their order.
        costs: Those of them that are totalled per currency.
        others: Counted where they are filled.
        roundable: Numbers that may have more decimals than their type, with its scale.
    """

    numbers: Sequence[str]
    costs: Collection[str]
    others: Sequence[str]
    roundable: Mapping[str, int]


def profile_rows(files: Reports | Tables, source: Source) -> list[Profile]:
    """Return the profile of each file, currency and billing period of ``files``; a table's are not told apart.

    Raises:
        LoadError: A sum is too large.
    """
    types = {column.name: column.type for column in source.columns}
    columns = _columns(files, source, types)
    cells = _cells(files, source, types, columns)
    groups = files.rows.selectExpr(*cells).groupBy("file", "currency", "period")
    found = _collected(groups, columns, split=False)
    if any(_sum(row, n) is None for row in found for n in range(len(columns.numbers))):
        # A sum has 38 digits at most. Those of the digits before and behind the point have room for any number of rows.
        found = _collected(groups, columns, split=True)
    # A report's moments are whole seconds in a profile; those of a table are as they are.
    whole = not isinstance(files, Tables)
    return [_profile(row, columns, named=not source.of_table, whole_seconds=whole) for row in found]


def _collected(groups: GroupedData, columns: _Columns, *, split: bool) -> list[dict[str, Any]]:
    return [row.asDict() for row in groups.agg(*_totals(columns, split=split)).collect()]


def _columns(files: Reports | Tables, source: Source, types: dict[str, Type]) -> _Columns:
    present = files.names - set(LAKE_COLUMNS)
    numbers = [name for name in types if name in present and _is_summed(types[name])]
    decimals = {
        name: type_.scale for name, type_ in types.items() if isinstance(type_, DecimalType)
    }
    return _Columns(
        numbers=numbers,
        costs=source.costs,
        others=[name for name in types if name in present and name not in numbers],
        roundable={
            name: decimals[name]
            for name in numbers
            if name in decimals and not source.of_table and files.text(name)
        },
    )


def _is_summed(type_: Type) -> bool:
    return type_ in _WHOLE_NUMBERS or isinstance(type_, DecimalType)


def _cells(
    files: Reports | Tables, source: Source, types: dict[str, Type], columns: _Columns
) -> list[str]:
    present = files.names

    def value(name: str | None, type_: Type) -> str:
        return (
            files.value(name, type_)
            if name is not None and name in present
            else f"CAST(NULL AS {sql.spark_type(type_)})"
        )

    def number(name: str) -> str:
        cell = value(name, types[name])
        return f"CAST({cell} AS DECIMAL(38,0))" if types[name] in _WHOLE_NUMBERS else cell

    roles, of_table = source.roles, source.of_table
    currency = value(roles.currency, STRING)
    usage = value(roles.usage_start, TIMESTAMP)
    period = f"date_format({value(roles.period_start, TIMESTAMP)}, 'yyyy-MM')"
    return [
        f"{repr('') if of_table else files.name} AS file",
        f"CASE WHEN {currency} != '' THEN {currency} END AS currency",
        f"unix_micros({usage}) AS usage",
        f"{repr('') if of_table else period} AS period",
        *(f"{number(name)} AS number{n}" for n, name in enumerate(columns.numbers)),
        *(
            f"{files.is_filled(name, types[name])} AS filled{n}"
            for n, name in enumerate(columns.others)
        ),
        *(
            f"{sql.is_rounded(_text(files, name), scale)} AS rounded{n}"
            for n, (name, scale) in enumerate(columns.roundable.items())
        ),
    ]


def _text(files: Reports | Tables, name: str) -> str:
    return files.text(name) or "CAST(NULL AS STRING)"


def _totals(columns: _Columns, *, split: bool) -> list[Any]:
    from pyspark.sql import functions as f

    totals = ["count(1) AS rows", "min(usage) AS first", "max(usage) AS last"]
    for number in (f"number{n}" for n in range(len(columns.numbers))):
        parts = [f"floor({number})", f"pmod({number}, 1)"] if split else [number, "NULL"]
        whole, broken = (f"sum({part})" for part in parts)
        totals.append(
            f"struct(count({number}) AS cells, {whole} AS whole, {broken} AS broken) AS {number}"
        )
    totals += [f"count_if(filled{n}) AS filled{n}" for n in range(len(columns.others))]
    totals += [f"count_if(rounded{n}) AS rounded{n}" for n in range(len(columns.roundable))]
    return [f.expr(total) for total in totals]


def _sum(row: Mapping[str, Any], n: int) -> Decimal | None:
    """Return the sum of the ``n``-th number; None where it is too large."""
    found = row[f"number{n}"]
    if not found.cells:
        return Decimal()
    return None if found.whole is None else EXACT.add(found.whole, found.broken or Decimal())


def _profile(
    row: dict[str, Any], columns: _Columns, *, named: bool, whole_seconds: bool
) -> Profile:
    sums: dict[str, Decimal] = {}
    for n, name in enumerate(columns.numbers):
        total = _sum(row, n)
        if total is None:
            raise too_large(name, row["file"] or None)
        sums[name] = total
    found = Profile(
        rows=row["rows"],
        totals={
            row["currency"] or NO_CURRENCY: {
                name: sums[name] for name in sums if name in columns.costs
            }
        },
        sums={name: total for name, total in sums.items() if name not in columns.costs},
        filled={
            **{name: row[f"number{n}"].cells for n, name in enumerate(columns.numbers)},
            **{name: row[f"filled{n}"] for n, name in enumerate(columns.others)},
        },
        first_usage=_moment(row["first"], whole_seconds=whole_seconds),
        last_usage=_moment(row["last"], whole_seconds=whole_seconds),
        periods={row["period"]: row["rows"]} if row["period"] else {},
        rounded={
            name: count for n, name in enumerate(columns.roundable) if (count := row[f"rounded{n}"])
        },
    )
    return found.in_file(row["file"]) if named else found


def _moment(micros: int | None, *, whole_seconds: bool) -> str | None:
    if micros is None:
        return None
    moment = _EPOCH + timedelta(microseconds=micros)
    return (moment.replace(microsecond=0) if whole_seconds else moment).isoformat()
