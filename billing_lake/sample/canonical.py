"""A bill in columns of its own, before any format: what every renderer writes down in its own way.

A row is a meter in one hour of the month: the meter's attributes (who runs what where, at which price), a quantity and
money. Attributes are texts by canonical name:

* `account`, `payer`, `invoice`, `bill_type`, `billing_entity`, `invoicing_entity`, `legal_entity`, `currency`
* `charge_type`, `service` (its code), `usage_type`, `operation`, `zone`, `resource`, `description`, `tax_type`
* `unit`, `factor`, `rate`, `list_rate`, `rate_code`, `rate_id`, `term`, `lease_length`, `offering_class`, `purchase_option`
* `plan_…` of a Savings Plan and `reservation_…` of a reservation
* `product/NAME` (AWS's own names), `tag/KEY` (as `tag/user:Owner`) and `category/NAME` (cost categories)

Numbers among them are spelled as in `text.number_text`, times as `2025-03-01T00:00:00.000Z`. What is not there is empty.

Money, too, has canonical names: `MONEY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from billing_lake.sample.random_values import Ints

MONEY_SCALE = 10
"""Decimals of every amount of money: what the finest real reports use."""

MONEY = frozenset(
    """
    cost net_cost list_cost plan_effective plan_committed plan_used plan_recurring plan_upfront
    reservation_effective reservation_upfront_used reservation_recurring_used
    reservation_upfront reservation_upfront_unused reservation_recurring_unused reservation_upfront_paid
    """.split()
)
"""Columns of money. A reservation's month has a part that is used, hour by hour, and one that is not."""

Attributes = dict[str, str]


@dataclass(frozen=True)
class MonthlyCharge:
    """One row that belongs to a whole month, such as a fee, a tax or a credit."""

    attributes: Attributes
    money: Mapping[str, int]


@dataclass(frozen=True)
class Amounts:
    """One money column of a block.

    Attributes:
        values: Integers of `MONEY_SCALE` decimals.
        filled: Whether the row has a value at all.
    """

    values: Ints
    filled: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Some successive rows of a delivery, as arrays of one entry per row.

    Attributes:
        attributes: The attributes of all meters; those of a row are at the position `meter`.
        meter: Position in `attributes`.
        hour: Hours since the month began; the number of the month's hours stands for the whole month.
        serial: Number of the line item within the delivery; several hours of one meter may share it.
        id_key: What ids depend on besides `serial`; another one in each delivery.
        quantity: Usage, as an integer of `scale` decimals.
        scale: Decimals of `quantity`.
        factor: Normalisation factor of the instance size; 0 for none.
        money: Money by canonical name; without the columns that no row of the block has.
    """

    attributes: Sequence[Attributes]
    meter: Ints
    hour: Ints
    serial: Ints
    id_key: int
    quantity: Ints
    scale: Ints
    factor: Ints
    money: Mapping[str, Amounts]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.meter)

    def __getitem__(self, rows: slice | Ints) -> RowBlock:
        """Take some of the rows, or all of them in another order."""
        return replace(
            self,
            meter=self.meter[rows],
            hour=self.hour[rows],
            serial=self.serial[rows],
            quantity=self.quantity[rows],
            scale=self.scale[rows],
            factor=self.factor[rows],
            money={
                name: Amounts(amounts.values[rows], amounts.filled[rows])
                for name, amounts in self.money.items()
            },
        )

    def compact(self) -> RowBlock:
        """Leave out the attributes that no row has, where there are fewer rows than meters."""
        if len(self) >= len(self.attributes):
            return self
        used, meter = np.unique(self.meter, return_inverse=True)
        attributes = [self.attributes[position] for position in used.tolist()]
        return replace(self, attributes=attributes, meter=meter)
