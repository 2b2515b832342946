"""The hourly rows of a delivery, in blocks, without a loop over rows.

A block is drawn from its own stream and has a fixed size, so a row depends on nothing but seed, period and its place
in the delivery: neither on report files nor on how rows are batched on their way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from billing_lake.sample.commitments import MONEY_SCALE, QUARTERS, RESERVATIONS, SAVINGS_PLANS
from billing_lake.sample.meters import POOL_METERS, RESERVED_METERS
from billing_lake.sample.random_values import Draws, Ints
from billing_lake.sample.text import ids_text, numbers_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from billing_lake.sample.commitments import Ledger
    from billing_lake.sample.meters import Fleet
    from billing_lake.sample.spec import Month

BLOCK = 32_768
GROUP = 8
"""Covered rows that one negation offsets."""

_HOURS_PER_ID = 3
_PERCENTS = np.array([plan.percent for plan in SAVINGS_PLANS])
_UPFRONT = np.array([reservation.upfront for reservation in RESERVATIONS])
_RECURRING = np.array([reservation.recurring for reservation in RESERVATIONS])
_NET_PERCENT = 94


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows as pieces of CSV lines, and the sums of their money columns."""

    frame: pl.DataFrame
    sums: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of one kind, as figures; money that the kind does not have is missing."""

    meter: Ints
    hour: Ints
    serial: Ints
    amount: Ints
    money: Mapping[str, Ints]


def blocks(
    fleet: Fleet, key: tuple[int, int], month: Month, rows: int, ledger: Ledger | None, ids: int
) -> Iterator[Block]:
    """The delivery's hourly rows.

    Args:
        fleet: The meters.
        key: What the draws depend on.
        month: The billing period.
        rows: How many rows to make.
        ledger: Takes what commitments covered; without one there are no commitments.
        ids: What line-item ids depend on.
    """
    times = _times(month)
    for number, first in enumerate(range(0, rows, BLOCK)):
        draws = Draws(*key, number)
        kinds = list(_kinds(fleet, draws, min(BLOCK, rows - first), month.hours, ledger))
        yield _block(fleet, kinds, times, draws, first, ids)


def _kinds(
    fleet: Fleet, draws: Draws, rows: int, hours: int, ledger: Ledger | None
) -> Iterator[_Rows]:
    groups, reserved = (rows // 100, rows * 6 // 100) if ledger else (0, 0)
    usage = rows - groups * (GROUP + 1) - reserved
    yield _usage(fleet, draws, usage, hours)
    if ledger and groups:
        yield from _covered(fleet, draws, groups, hours, usage, ledger)
    if ledger and reserved:
        yield _reserved(fleet, draws, reserved, hours, rows - reserved, ledger)


def _usage(fleet: Fleet, draws: Draws, rows: int, hours: int) -> _Rows:
    """On-demand usage; each id is a meter seen in up to three hours of its own, as real ids recur."""
    series = -(-rows // _HOURS_PER_ID)
    meters = (draws.unit(series) ** 2 * fleet.covered).astype(np.int64)
    start, stride = draws.below(hours, series), 1 + draws.below(hours // _HOURS_PER_ID - 1, series)
    serial, turn = np.divmod(np.arange(rows), _HOURS_PER_ID)
    meter = meters[serial]
    tens = 10 ** (fleet.lowest[meter] + draws.below(fleet.digits[meter], rows))
    amount = (tens * (1 + 9 * draws.unit(rows))).astype(np.int64)
    quantity = amount / 10.0 ** fleet.scale[meter]
    cost = np.rint(fleet.rate[meter] * quantity * 10**MONEY_SCALE).astype(np.int64)
    return _Rows(
        meter=meter,
        hour=np.mod(start[serial] + turn * stride[serial], hours),
        serial=serial,
        amount=amount,
        money={
            "lineItem/UnblendedCost": cost,
            "lineItem/NetUnblendedCost": cost * _NET_PERCENT // 100,
            "pricing/publicOnDemandCost": cost,
        },
    )


def _covered(
    fleet: Fleet, draws: Draws, groups: int, hours: int, serial: int, ledger: Ledger
) -> Iterator[_Rows]:
    """Usage that a Savings Plan covers, and the negations that take its on-demand cost back, group by group."""
    pool, hour = draws.below(len(fleet.pool_plan), groups), draws.below(hours, groups)
    rows = groups * GROUP
    of_row = np.repeat(pool, GROUP)
    meter = fleet.covered + of_row * POOL_METERS + draws.below(POOL_METERS, rows)
    quarters = 1 + draws.below(QUARTERS, rows)
    cost = fleet.price[meter] * quarters // QUARTERS
    effective = cost * _PERCENTS[fleet.pool_plan[of_row]] // 100
    amount = quarters * (10 ** fleet.scale[meter] // QUARTERS)
    yield _Rows(
        meter=meter,
        hour=np.repeat(hour, GROUP),
        serial=serial + np.arange(rows),
        amount=amount,
        money={
            "lineItem/UnblendedCost": cost,
            "pricing/publicOnDemandCost": cost,
            "savingsPlan/SavingsPlanEffectiveCost": effective,
        },
    )
    negated = -cost.reshape(groups, GROUP).sum(axis=1)
    yield _Rows(
        meter=fleet.negations + pool,
        hour=hour,
        serial=serial + rows + np.arange(groups),
        amount=amount.reshape(groups, GROUP).sum(axis=1),
        money={"lineItem/UnblendedCost": negated},
    )
    for plan in range(len(ledger.plans)):
        ledger.plans[plan] += int(effective[fleet.pool_plan[of_row] == plan].sum())


def _reserved(
    fleet: Fleet, draws: Draws, rows: int, hours: int, serial: int, ledger: Ledger
) -> _Rows:
    """Usage that a reservation covers: nothing to pay for the hour, but an effective cost."""
    reservation = draws.below(len(RESERVATIONS), rows)
    meter = fleet.reserved + reservation * RESERVED_METERS + draws.below(RESERVED_METERS, rows)
    quarters = 1 + draws.below(QUARTERS, rows)
    upfront, recurring = _UPFRONT[reservation] * quarters, _RECURRING[reservation] * quarters
    for position in range(len(ledger.reservations)):
        ledger.reservations[position] += int(quarters[reservation == position].sum())
    nothing = np.zeros(rows, dtype=np.int64)
    return _Rows(
        meter=meter,
        hour=draws.below(hours, rows),
        serial=serial + np.arange(rows),
        amount=quarters * (10 ** fleet.scale[meter] // QUARTERS),
        money={
            "lineItem/UnblendedCost": nothing,
            "pricing/publicOnDemandCost": fleet.price[meter] * quarters // QUARTERS,
            "reservation/AmortizedUpfrontCostForUsage": upfront,
            "reservation/RecurringFeeForUsage": recurring,
            "reservation/EffectiveCost": upfront + recurring,
        },
    )


def _block(
    fleet: Fleet, kinds: list[_Rows], times: pl.DataFrame, draws: Draws, first: int, ids: int
) -> Block:
    meter = np.concatenate([kind.meter for kind in kinds])
    order = draws.order(len(meter))
    meter = meter[order]
    hour = np.concatenate([kind.hour for kind in kinds])[order]
    serial = np.concatenate([kind.serial for kind in kinds])[order]
    amount = np.concatenate([kind.amount for kind in kinds])[order]
    factor = fleet.factor[meter]
    money = {
        name: _joined(kinds, name, order)
        for name in sorted({name for kind in kinds for name in kind.money})
    }
    frame = pl.concat(
        [
            fleet.pieces[meter],
            times[hour],
            pl.DataFrame(
                {
                    "identity/LineItemId": ids_text(first + serial, ids),
                    "lineItem/UsageAmount": numbers_text(amount, fleet.scale[meter]),
                    "lineItem/NormalizedUsageAmount": _sparse(
                        amount * factor, fleet.scale[meter], factor > 0
                    ),
                    **{
                        name: _sparse(values, MONEY_SCALE, has)
                        for name, (values, has) in money.items()
                    },
                }
            ),
        ],
        how="horizontal",
    )
    costs = pl.col("lineItem/UnblendedCost").alias("lineItem/BlendedCost")
    empty = [
        pl.lit(None, dtype=pl.String).alias(name)
        for name in fleet.order
        if name not in (*frame.columns, "lineItem/BlendedCost")
    ]
    sums = {name: int(values.sum()) for name, (values, _) in money.items()}
    return Block(
        frame=frame.with_columns(costs, *empty).select(fleet.order),
        sums={**sums, "lineItem/BlendedCost": sums["lineItem/UnblendedCost"]},
    )


def _joined(kinds: list[_Rows], name: str, order: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """A money column of all kinds, and where it has a value."""
    values = [kind.money.get(name, np.zeros(len(kind.meter), dtype=np.int64)) for kind in kinds]
    has = [np.full(len(kind.meter), name in kind.money) for kind in kinds]
    return np.concatenate(values)[order], np.concatenate(has)[order]


def _sparse(values: Ints, scale: Ints | int, has: NDArray[np.bool_]) -> pl.Series:
    """Spelled numbers where there is a value; only those are worked on."""
    if has.all():
        return numbers_text(values, scale)
    where = np.flatnonzero(has)
    texts = numbers_text(values[where], scale if isinstance(scale, int) else scale[where])
    place = np.cumsum(has) - 1
    return texts.gather(pl.Series(place).set(pl.Series(~has), None))


def _times(month: Month) -> pl.DataFrame:
    """How every hour of the month is spelled."""
    marks = [month.start + timedelta(hours=hour) for hour in range(month.hours + 1)]
    return pl.DataFrame(
        {
            "identity/TimeInterval": [
                f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
                for start, end in pairwise(marks)
            ],
            "lineItem/UsageStartDate": [f"{mark:%Y-%m-%dT%H:%M:%S.000Z}" for mark in marks[:-1]],
            "lineItem/UsageEndDate": [f"{mark:%Y-%m-%dT%H:%M:%S.000Z}" for mark in marks[1:]],
        }
    )
