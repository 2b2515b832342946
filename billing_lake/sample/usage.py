"""The hourly rows of a delivery, in blocks, without a loop over rows.

A block is drawn from its own stream and has a fixed size, so a row depends on nothing but seed, period and its place
in the delivery: neither on report files nor on how rows are batched on their way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from billing_lake.sample.canonical import MONEY_SCALE, Amounts, RowBlock
from billing_lake.sample.commitments import QUARTERS, RESERVATIONS, SAVINGS_PLANS
from billing_lake.sample.meters import POOL_METERS, RESERVED_METERS
from billing_lake.sample.random_values import Draws, Ints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing_lake.sample.commitments import UsedCommitments
    from billing_lake.sample.meters import Fleet

BLOCK_ROWS = 32_768
"""Rows per block."""
GROUP = 8
"""Covered rows that one negation offsets."""

_HOURS_PER_ID = 3
_PERCENTS = np.array([plan.percent for plan in SAVINGS_PLANS])
_UPFRONT = np.array([reservation.upfront for reservation in RESERVATIONS])
_RECURRING = np.array([reservation.recurring for reservation in RESERVATIONS])
_NET_PERCENT = 94


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of one kind; money that the kind does not have is missing."""

    meter: Ints
    hour: Ints
    serial: Ints
    quantity: Ints
    money: Mapping[str, Ints]


def usage_blocks(
    fleet: Fleet,
    key: tuple[int, int],
    hours: int,
    rows: int,
    in_use: UsedCommitments | None,
    id_key: int,
) -> Iterator[RowBlock]:
    """Make the delivery's hourly rows.

    Args:
        fleet: The meters.
        key: What the draws depend on.
        hours: Hours in the billing period.
        rows: How many rows to make.
        in_use: Takes what commitments covered; without one there are no commitments.
        id_key: What line-item ids depend on.
    """
    for number, first in enumerate(range(0, rows, BLOCK_ROWS)):
        draws = Draws(*key, number)
        kinds = list(_kinds(fleet, draws, min(BLOCK_ROWS, rows - first), hours, in_use))
        meter = np.concatenate([kind.meter for kind in kinds])
        block = RowBlock(
            attributes=fleet.attributes,
            meter=meter,
            hour=np.concatenate([kind.hour for kind in kinds]),
            serial=first + np.concatenate([kind.serial for kind in kinds]),
            id_key=id_key,
            quantity=np.concatenate([kind.quantity for kind in kinds]),
            scale=fleet.scale[meter],
            factor=fleet.factor[meter],
            money=_money(kinds),
        )
        yield block[draws.order(len(block))]


def _money(kinds: Sequence[_Rows]) -> dict[str, Amounts]:
    """Join the money of all kinds, with nothing where a kind has none."""
    return {
        name: Amounts(
            np.concatenate(
                [kind.money.get(name, np.zeros(len(kind.meter), dtype=np.int64)) for kind in kinds]
            ),
            np.concatenate([np.full(len(kind.meter), name in kind.money) for kind in kinds]),
        )
        for name in sorted({name for kind in kinds for name in kind.money})
    }


def _kinds(
    fleet: Fleet, draws: Draws, rows: int, hours: int, in_use: UsedCommitments | None
) -> Iterator[_Rows]:
    groups, reserved = (rows // 100, rows * 6 // 100) if in_use else (0, 0)
    usage = rows - groups * (GROUP + 1) - reserved
    yield _usage(fleet, draws, usage, hours)
    if in_use and groups:
        yield from _covered(fleet, draws, groups, hours, usage, in_use)
    if in_use and reserved:
        yield _reserved(fleet, draws, reserved, hours, rows - reserved, in_use)


def _usage(fleet: Fleet, draws: Draws, rows: int, hours: int) -> _Rows:
    """Draw on-demand usage; each id is a meter seen in up to three hours of its own, as real ids recur."""
    series = -(-rows // _HOURS_PER_ID)
    meters = (draws.unit(series) ** 2 * fleet.covered).astype(np.int64)
    start, stride = draws.below(hours, series), 1 + draws.below(hours // _HOURS_PER_ID - 1, series)
    serial, turn = np.divmod(np.arange(rows), _HOURS_PER_ID)
    meter = meters[serial]
    tens = 10 ** (fleet.lowest[meter] + draws.below(fleet.digits[meter], rows))
    quantity = (tens * (1 + 9 * draws.unit(rows))).astype(np.int64)
    hours_used = quantity / 10.0 ** fleet.scale[meter]
    cost = np.rint(fleet.rate[meter] * hours_used * 10**MONEY_SCALE).astype(np.int64)
    return _Rows(
        meter=meter,
        hour=np.mod(start[serial] + turn * stride[serial], hours),
        serial=serial,
        quantity=quantity,
        money={"cost": cost, "net_cost": cost * _NET_PERCENT // 100, "list_cost": cost},
    )


def _covered(
    fleet: Fleet, draws: Draws, groups: int, hours: int, serial: int, in_use: UsedCommitments
) -> Iterator[_Rows]:
    """Draw usage that a Savings Plan covers, and the negations that take its on-demand cost back, group by group."""
    pool, hour = draws.below(len(fleet.pool_plan), groups), draws.below(hours, groups)
    rows = groups * GROUP
    of_row = np.repeat(pool, GROUP)
    meter = fleet.covered + of_row * POOL_METERS + draws.below(POOL_METERS, rows)
    quarters = 1 + draws.below(QUARTERS, rows)
    cost = fleet.price[meter] * quarters // QUARTERS
    effective = cost * _PERCENTS[fleet.pool_plan[of_row]] // 100
    quantity = quarters * (10 ** fleet.scale[meter] // QUARTERS)
    yield _Rows(
        meter=meter,
        hour=np.repeat(hour, GROUP),
        serial=serial + np.arange(rows),
        quantity=quantity,
        money={"cost": cost, "list_cost": cost, "plan_effective": effective},
    )
    yield _Rows(
        meter=fleet.negations + pool,
        hour=hour,
        serial=serial + rows + np.arange(groups),
        quantity=quantity.reshape(groups, GROUP).sum(axis=1),
        money={"cost": -cost.reshape(groups, GROUP).sum(axis=1)},
    )
    for plan in range(len(in_use.plans)):
        in_use.plans[plan] += int(effective[fleet.pool_plan[of_row] == plan].sum())


def _reserved(
    fleet: Fleet, draws: Draws, rows: int, hours: int, serial: int, in_use: UsedCommitments
) -> _Rows:
    """Draw usage that a reservation covers: nothing to pay for the hour, but an effective cost."""
    reservation = draws.below(len(RESERVATIONS), rows)
    meter = fleet.reserved + reservation * RESERVED_METERS + draws.below(RESERVED_METERS, rows)
    quarters = 1 + draws.below(QUARTERS, rows)
    upfront, recurring = _UPFRONT[reservation] * quarters, _RECURRING[reservation] * quarters
    for position in range(len(in_use.reservations)):
        in_use.reservations[position] += int(quarters[reservation == position].sum())
    return _Rows(
        meter=meter,
        hour=draws.below(hours, rows),
        serial=serial + np.arange(rows),
        quantity=quarters * (10 ** fleet.scale[meter] // QUARTERS),
        money={
            "cost": np.zeros(rows, dtype=np.int64),
            "list_cost": fleet.price[meter] * quarters // QUARTERS,
            "reservation_upfront_used": upfront,
            "reservation_recurring_used": recurring,
            "reservation_effective": upfront + recurring,
        },
    )
