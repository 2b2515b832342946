"""Quality of a table's billing period, beside its totals: versions, stray dates, duplicate line items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from billing_lake.domain.sources import PeriodKey


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Holds what a look at a period's rows found.

    Attributes:
        versions: Delivery versions with their number of rows; exactly one is right.
        keys: Exports and billing periods that the rows name; exactly one is right.
        outside: Days (`YYYY-MM-DD`) of usage outside the billing period with their number of rows. Fees and Savings Plans
            are legitimately billed for other months, so this warns.
        duplicates: Rows beyond the first of each (line item id, time interval).
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    keys: frozenset[PeriodKey] = frozenset()
    outside: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
