"""The figures of a bill, from one reading of a table's files: some row groups at a time, a few columns, so that memory is bounded.

The rows are added up once by all that figures are grouped by, which leaves a fiftieth of them, and figures are made of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from billing_lake.domain.bill import Bill, Charges, TagKeys
from billing_lake.domain.ledger import Amount
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Map, Type
from billing_lake.engines.cell_counts import row_groups
from billing_lake.engines.polars_parsing import filled
from billing_lake.engines.polars_tables import collect, scan
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    import polars as pl

    from billing_lake.domain.sources import Source
    from billing_lake.engines.polars_access import Access

_GROUPS = {
    "days": ("day", "service", "currency"),
    "used": ("day",),
    "payers": ("payer", "account", "currency"),
    "charges": ("charge_type", "service", "currency"),
    "negative": ("charge_type", "service", "currency"),
    "plans": ("savings_plan", "start"),
    "usage": ("currency",),
    "untagged": ("currency",),
}
"""What the rows of each figure are grouped by."""

_CHOICE = {
    "used": ("charge_type",),
    "negative": ("below_zero",),
    "plans": ("charge_type",),
    "usage": ("charge_type",),
    "untagged": ("charge_type", "tagged"),
}
"""What else is looked at to choose the rows of a figure."""

_TEXTS = ("payer", "account", "service", "currency", "charge_type", "savings_plan")
"""Roles whose columns are grouped by as text."""

_BY_ROW = "plans"
"""The figure that is made of the rows themselves: by the hour few of them are alike, and it is about few."""

_ROWS_AT_ONCE = 300_000
"""Rows, or sums of rows, that are added up at once; a row group may have more."""


def table_bill(
    source: Source,
    cost: str,
    charges: Charges,
    tags: Mapping[str, TagKeys | None],
    access: Access,
    figures: Collection[str],
) -> Bill:
    """Return figures of the rows of a table's files.

    Args:
        source: The files, with their roles.
        cost: The column of the cost that is looked at.
        charges: What the kinds of charge mean.
        tags: Columns of tags, with the keys that count where one is a map.
        access: Opens the files.
        figures: Names of the figures that are wanted.
    """
    import polars as pl

    used = {one: {*_GROUPS[one], *_CHOICE.get(one, ())} for one in figures}
    wanted = {"cost"}.union(*used.values())
    common = sorted(set().union(*(names for one, names in used.items() if one != _BY_ROW)))
    cells = [one for one in _cells(source, cost, tags) if one.meta.output_name() in wanted]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in figures}
    few: list[pl.DataFrame] = []

    def add_up_few() -> None:
        rows = pl.concat(few).lazy()
        for name in figures:
            if name != _BY_ROW:
                parts[name].append(collect(source, _of_figure(rows, name, charges)))
        few.clear()

    for part in _parts(source, access):
        rows = part.select(cells).with_columns(items=pl.lit(1, pl.Int64()))
        if _BY_ROW in figures:
            parts[_BY_ROW].append(collect(source, _of_figure(rows, _BY_ROW, charges)))
        if common:
            few.append(collect(source, _grouped(rows, common)))
            if sum(one.height for one in few) > _ROWS_AT_ONCE:
                add_up_few()
    if few:
        add_up_few()
    whole = {
        name: collect(source, _grouped(pl.concat(part).lazy(), _GROUPS[name])).rows()
        for name, part in parts.items()
        if part
    }
    return Bill(
        days={
            (None if day is None else day.isoformat(), service, currency): Amount(items, money)
            for day, service, currency, items, money in whole.get("days", ())
        },
        used=frozenset(
            None if day is None else day.isoformat() for day, _, _ in whole.get("used", ())
        ),
        payers={row[:-2]: row[-2] for row in whole.get("payers", ())},
        charges=_amounts(whole.get("charges", ())),
        negative=_amounts(whole.get("negative", ())),
        plans={
            (plan, None if start is None else start.astimezone(timezone.utc)): money
            for plan, start, _, money in whole.get("plans", ())
        },
        usage=_money(whole.get("usage", ())),
        untagged=_money(whole.get("untagged", ())),
    )


def _parts(source: Source, access: Access) -> Iterator[pl.LazyFrame]:
    """Yield the rows of the files, some row groups at a time."""
    for file in source.files:
        one = replace(source, files=(file,))
        with access.files.open(file.uri) as stream:
            groups = row_groups(stream)
        first, rows = 0, 0
        for start, count in groups:
            if rows and rows + count > _ROWS_AT_ONCE:
                yield scan(one, access).slice(first, rows)
                first, rows = start, 0
            rows += count
        if rows:
            yield scan(one, access).slice(first, rows)


def _cells(source: Source, cost: str, tags: Mapping[str, TagKeys | None]) -> list[pl.Expr]:
    """Return the cells that figures are made of, by roles; what the source lacks is NULL."""
    import polars as pl

    types = {one.name: one.type for one in source.columns}
    roles = source.roles

    def text(name: str | None) -> pl.Expr:
        if name is None or name not in types:
            return pl.lit(None, pl.String())
        return pl.col(name) if types[name] == STRING else pl.col(name).cast(pl.String())

    start = roles.usage_start
    has_start = start is not None and types.get(start) == TIMESTAMP
    moment = (
        pl.col(start) if start is not None and has_start else pl.lit(None, polars_type(TIMESTAMP))
    )
    money = (pl.col(cost) if cost in types else pl.lit(0)).fill_null(0).cast(polars_type(DECIMAL))
    tagged = [_tagged(name, types[name], keys) for name, keys in tags.items() if name in types]
    return [
        money.alias("cost"),
        (money < 0).alias("below_zero"),
        moment.alias("start"),
        moment.dt.date().alias("day"),
        (pl.any_horizontal(tagged) if tagged else pl.lit(value=False)).alias("tagged"),
        *(text(getattr(roles, name)).alias(name) for name in _TEXTS),
    ]


def _tagged(name: str, type_: Type, keys: TagKeys | None) -> pl.Expr:
    """Say in which rows the column ``name`` has a tag that counts, with a value."""
    import polars as pl

    if keys is None:
        return filled(pl.col(name)).is_not_null() if type_ == STRING else pl.lit(value=False)
    if not isinstance(type_, Map):
        return pl.lit(value=False)
    pair = pl.element().struct
    key = pair.field("key")
    counts = filled(pair.field("value")).is_not_null() & key.str.starts_with(keys.begin)
    for other in keys.excepted:
        counts &= ~key.str.starts_with(other)
    return pl.col(name).map.entries().list.eval(counts).list.any().fill_null(value=False)


def _of_figure(rows: pl.LazyFrame, figure: str, charges: Charges) -> pl.LazyFrame:
    """Return the sums of a figure of rows, or of sums of rows."""
    return _grouped(_chosen(rows, figure, charges), _GROUPS[figure])


def _chosen(rows: pl.LazyFrame, figure: str, charges: Charges) -> pl.LazyFrame:
    """Return the rows that a figure is about."""
    import polars as pl

    kind = pl.col("charge_type")
    match figure:
        case "used" if charges.taggable:
            return rows.filter(kind.is_in(list(charges.taggable)) | kind.is_null())
        case "negative":
            return rows.filter(pl.col("below_zero"))
        case "plans":
            both = [charges.covered, charges.negation]
            return rows.filter(kind.is_in(both), filled(pl.col("savings_plan")).is_not_null())
        case "usage":
            return rows.filter(kind.is_in(list(charges.taggable)))
        case "untagged":
            return rows.filter(kind.is_in(list(charges.taggable)), ~pl.col("tagged"))
        case _:
            return rows


def _grouped(rows: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Add up rows, or sums of rows; an empty text is NULL in a group, which is worked out for groups alone."""
    import polars as pl

    groups = rows.group_by(by).agg(pl.col("items").sum(), pl.col("cost").sum())
    return groups.with_columns(filled(pl.col(name)) for name in by if name in _TEXTS)


def _amounts(rows: Collection[tuple[Any, ...]]) -> dict[Any, Amount]:
    return {row[:-2]: Amount(row[-2], row[-1]) for row in rows}


def _money(rows: Collection[tuple[Any, ...]]) -> dict[str | None, Decimal]:
    return {currency: money for currency, _, money in rows}
