"""Adds up groups of a table's rows, streamed: memory grows with the groups, not with the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billing_lake.domain.ledger import Amount
from billing_lake.domain.profiles import too_large
from billing_lake.domain.types import DECIMAL, STRING
from billing_lake.engines.polars_parsing import filled
from billing_lake.engines.polars_tables import collect, scan
from billing_lake.engines.polars_types import polars_type

if TYPE_CHECKING:
    from billing_lake.domain.sources import Source
    from billing_lake.engines.polars_access import Access

_LIMIT = 1e20
"""Absolute cost of a group from which its sum may not fit a decimal, which Polars would let wrap around."""


def table_groups(
    source: Source, keys: Sequence[str | None], cost: str | None, access: Access
) -> dict[tuple[str | None, ...], Amount]:
    """Return rows and cost of the groups of a table's rows, by the values of ``keys``; empty text is NULL."""
    import polars as pl

    present = {one.name: one.type for one in source.columns}
    by = [
        filled(pl.col(key) if present[key] == STRING else pl.col(key).cast(pl.String)).alias(str(n))
        if key in present
        else pl.lit(None, pl.String()).alias(str(n))
        for n, key in enumerate(keys)
    ]
    sums = [pl.len().alias("items")]
    if cost in present:
        money = pl.col(cost).cast(polars_type(DECIMAL))
        sums += [money.sum().alias("sum"), money.cast(pl.Float64()).abs().sum().alias("size")]
    groups = collect(source, scan(source, access).group_by(by).agg(sums))
    if cost in present and any(size >= _LIMIT for size in groups["size"]):
        raise too_large(cost, None)
    return {row[: len(keys)]: Amount(*row[len(keys) :][:2]) for row in groups.iter_rows()}
