"""The profile of files: rows, exact totals and usage dates, added up where the rows are.

Money is summed as DECIMAL(38,18), rounded as the encoded table will be, so that both sides of a proof add up the same numbers.
Groups are few (file, currency, billing period), so they are put together here, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from billing_lake.domain.dictionary import DECIMAL, DECIMAL_SCALE, STRING, TIMESTAMP
from billing_lake.domain.profiles import NO_CURRENCY, Profile, too_large
from billing_lake.spark_job import sql
from billing_lake.spark_job.parquet import Tables

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from billing_lake.domain.sources import Source
    from billing_lake.spark_job.reports import Reports

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class _Columns:
    """The columns of files that a profile reads.

    Attributes:
        numbers: Columns that are read as numbers.
        costs: Those of them that are totalled.
        roundable: Those of them whose cells may have more decimals than their type.
    """

    numbers: Sequence[str]
    costs: Collection[str]
    roundable: Sequence[str]


def profile_rows(files: Reports | Tables, source: Source) -> list[Profile]:
    """Return the profile of each file, currency and billing period of ``files``; a table's are not told apart."""
    types = {column.name: column.type for column in source.columns}
    columns = _columns(files, source, types)
    found = (
        files.rows.selectExpr(*_cells(files, source, types, columns))
        .groupBy("file", "currency", "period")
        .agg(*_totals(columns))
        .collect()
    )
    # A report's moments are whole seconds in a profile; those of a table are as they are.
    whole = not isinstance(files, Tables)
    return [
        _profile(row.asDict(), columns, named=not source.of_table, whole_seconds=whole)
        for row in found
    ]


def _columns(files: Reports | Tables, source: Source, types: dict[str, str]) -> _Columns:
    if source.of_table:
        # What a file lacks is NULL there, and adds up to nothing.
        return _Columns(numbers=source.costs, costs=source.costs, roundable=[])
    present = _present(files)
    numbers = [name for name in types if types[name] == DECIMAL and name in present]
    return _Columns(
        numbers=numbers,
        costs=source.costs,
        roundable=[name for name in numbers if files.text(name)],
    )


def _present(files: Reports | Tables) -> set[str]:
    return set(files.types if isinstance(files, Tables) else files.columns)


def _cells(
    files: Reports | Tables, source: Source, types: dict[str, str], columns: _Columns
) -> list[str]:
    present = _present(files)

    def value(name: str | None, type_: str) -> str:
        return (
            files.value(name, type_)
            if name is not None and name in present
            else f"CAST(NULL AS {sql.spark_type(type_)})"
        )

    roles, of_table = source.roles, source.of_table
    currency = value(roles.currency, STRING)
    usage = value(roles.usage_start, TIMESTAMP)
    period = f"date_format({value(roles.period_start, TIMESTAMP)}, 'yyyy-MM')"
    return [
        f"{repr('') if of_table else files.name} AS file",
        f"CASE WHEN {currency} != '' THEN {currency} END AS currency",
        f"unix_micros({usage}) AS usage",
        f"{repr('') if of_table else period} AS period",
        *(f"{value(name, types[name])} AS number{n}" for n, name in enumerate(columns.numbers)),
        *(
            f"{sql.is_rounded(_text(files, name), DECIMAL_SCALE)} AS rounded{n}"
            for n, name in enumerate(columns.roundable)
        ),
    ]


def _text(files: Reports | Tables, name: str) -> str:
    return files.text(name) or "CAST(NULL AS STRING)"


def _totals(columns: _Columns) -> list[Any]:
    from pyspark.sql import functions as f

    totals = ["count(1) AS rows", "min(usage) AS first", "max(usage) AS last"]
    for n, name in enumerate(columns.numbers):
        # What is no cost is counted, so that it is read: every number must be one.
        total = f"sum(number{n})" if name in columns.costs else "NULL"
        totals.append(f"struct(count(number{n}) AS cells, {total} AS total) AS number{n}")
    totals += [f"count_if(rounded{n}) AS rounded{n}" for n in range(len(columns.roundable))]
    return [f.expr(total) for total in totals]


def _profile(
    row: dict[str, Any], columns: _Columns, *, named: bool, whole_seconds: bool
) -> Profile:
    costs = {
        name: row[f"number{n}"].total if row[f"number{n}"].cells else Decimal()
        for n, name in enumerate(columns.numbers)
        if name in columns.costs
    }
    for name, total in costs.items():
        if total is None:
            raise too_large(name, row["file"] or None)
    found = Profile(
        rows=row["rows"],
        totals={row["currency"] or NO_CURRENCY: costs},
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
