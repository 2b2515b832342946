"""Exact sums in Polars, of any size: a decimal has 38 digits at most, and the sum of large ones has more.

Polars refuses a sum that is too large, but lets that of a group wrap around without a word. So nothing is summed by group here:
a currency is a filter. The column whose sum is refused, which no real bill has, is added up in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from billing_lake.domain.profiles import EXACT, currency_name
from billing_lake.domain.types import INT, LONG, Type
from billing_lake.domain.types import Decimal as DecimalType
from billing_lake.engines.polars_parsing import filled

if TYPE_CHECKING:
    import polars as pl

_OVERFLOW = "overflow in decimal addition"
_WHOLE_NUMBERS = (INT, LONG)


def numbers(types: Mapping[str, Type]) -> dict[str, pl.Expr]:
    """Return the columns of decimals and whole numbers; sums of floating-point numbers would depend on their order."""
    import polars as pl

    return {
        name: pl.col(name).cast(pl.Int128) if type_ in _WHOLE_NUMBERS else pl.col(name)
        for name, type_ in types.items()
        if type_ in _WHOLE_NUMBERS or isinstance(type_, DecimalType)
    }


class Sums:
    """The sums of rows: those of costs per currency, those of other numbers for all currencies together.

    Args:
        numbers: Each column of numbers: decimals, or whole numbers.
        costs: Names of those that are costs.
        currency: Name of the column of the currency; None where there is none, and so no second currency.
    """

    def __init__(
        self, numbers: Mapping[str, pl.Expr], costs: Collection[str], currency: str | None
    ) -> None:
        self._costs = {name: cell for name, cell in numbers.items() if name in costs}
        self._others = {name: cell for name, cell in numbers.items() if name not in costs}
        self._currency = currency

    def of(
        self,
        rows: pl.LazyFrame,
        currencies: Iterable[str | None],
        empty: Collection[str] = (),
        scales: Mapping[str, int] = MappingProxyType({}),
        at_once: int | None = None,
        **how: Any,
    ) -> dict[str, Any]:
        """Return ``totals`` and ``sums`` of a `Profile` of ``rows``.

        Args:
            rows: The rows.
            currencies: What stands in their column of the currency.
            empty: Columns that are known to hold no numbers.
            scales: Scales of columns of decimals whose sum is known to fit 128 bits: as whole numbers Polars adds them up in a
                quarter of the time, without a look at each sum.
            at_once: Columns that are read together, all unless given; the cells of a row group are in memory for each of them.
            how: How Polars is to collect them.
        """
        import polars as pl

        # An empty text is no currency either, and must not become a second group of the same name.
        known = list({currency or None: None for currency in currencies})
        cells = {
            name: cell.to_physical() if name in scales else cell
            for name, cell in (self._others | self._costs).items()
        }
        wanted = {("", name): cells[name] for name in self._others}
        for currency in known:
            for name in self._costs:
                one = cells[name]
                if len(known) > 1 and self._currency is not None:
                    of_row = filled(pl.col(self._currency))
                    one = one.filter(of_row.eq_missing(pl.lit(currency, pl.String())))
                wanted[currency_name(currency), name] = one
        wanted = {key: cell for key, cell in wanted.items() if key[1] not in empty}
        each = list(wanted.values())
        size = at_once or len(each) or 1
        parts = (each[start : start + size] for start in range(0, len(each), size))
        sums = [total for part in parts for total in _summed(rows, part, how)]
        found = defaultdict(Decimal)
        for (group, name), total in zip(wanted, sums, strict=True):
            found[group, name] = EXACT.scaleb(total, -scales.get(name, 0))
        return {
            "totals": {
                currency_name(currency): {
                    name: found[currency_name(currency), name] for name in self._costs
                }
                for currency in known
            },
            "sums": {name: found["", name] for name in self._others},
        }


def _summed(rows: pl.LazyFrame, cells: list[pl.Expr], how: Mapping[str, Any]) -> list[Decimal]:
    import polars as pl

    try:
        sums = rows.select(cell.sum().alias(str(n)) for n, cell in enumerate(cells))
        return [Decimal(total) for total in sums.collect(**how).row(0)]
    except pl.exceptions.ComputeError as error:
        if _OVERFLOW not in str(error):
            raise
        if len(cells) > 1:
            return [total for cell in cells for total in _summed(rows, [cell], how)]
        numbers = rows.select(cells[0].drop_nulls()).collect(**how).to_series()
        return [reduce(EXACT.add, numbers, Decimal())]
