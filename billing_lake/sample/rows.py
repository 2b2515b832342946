"""The rows of one delivery, made once for every format: hourly usage, then what belongs to the whole month."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from billing_lake.sample import meters, usage
from billing_lake.sample.canonical import Amounts, Attributes, RowBlock
from billing_lake.sample.catalogue import PAYER
from billing_lake.sample.commitments import UsedCommitments
from billing_lake.sample.monthly_charges import monthly_charges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing_lake.sample.canonical import MonthlyCharge
    from billing_lake.sample.spec import SampleMonth, SampleSpec

_MONTHLY_SHARE = 4
"""Monthly charges are at most one row in so many, and commitments need all of them."""


def make_rows(
    spec: SampleSpec, month: SampleMonth, restatement: int, tags: Mapping[str, float]
) -> Iterator[RowBlock]:
    """Make all rows of one delivery, in order.

    Args:
        spec: The export.
        month: The billing period.
        restatement: 0 for the month's first delivery; n for its n-th restatement.
        tags: Tags besides the organisation's own, as `user:Project`, and the share of meters that have them.
    """
    in_use = UsedCommitments()
    delivery = _delivery(spec, month, restatement)
    wanted = len(monthly_charges(in_use, month.hours, spec.rows))
    complete = spec.rows >= wanted * _MONTHLY_SHARE
    charges = wanted if complete else spec.rows // _MONTHLY_SHARE
    hourly = spec.rows - charges
    key = (spec.seed, month.start.year * 12 + month.start.month)
    id_key = crc32(f"{key} {restatement}".encode())
    if hourly:
        fleet = meters.build_fleet(spec.seed, delivery, tags, correction=_correction(restatement))
        commitments = in_use if complete else None
        yield from usage.usage_blocks(fleet, key, month.hours, hourly, commitments, id_key)
    if charges:
        settled = monthly_charges(in_use, month.hours, spec.rows)[:charges]
        yield _monthly(settled, delivery, month.hours, hourly, id_key)


def _monthly(
    charges: Sequence[MonthlyCharge], delivery: Attributes, hours: int, first: int, id_key: int
) -> RowBlock:
    """Make rows of charges, each of them a meter of its own that counts one of something in the whole month."""
    count = len(charges)
    return RowBlock(
        attributes=[{**delivery, **charge.attributes} for charge in charges],
        meter=np.arange(count),
        hour=np.full(count, hours),
        serial=first + np.arange(count),
        id_key=id_key,
        quantity=np.ones(count, dtype=np.int64),
        scale=np.zeros(count, dtype=np.int64),
        factor=np.zeros(count, dtype=np.int64),
        money={
            name: Amounts(
                np.array([charge.money.get(name, 0) for charge in charges], dtype=np.int64),
                np.array([name in charge.money for charge in charges]),
            )
            for name in sorted({name for charge in charges for name in charge.money})
        },
    )


def _delivery(spec: SampleSpec, month: SampleMonth, restatement: int) -> Attributes:
    """Say what is the same in every row; the invoice is known once the month is over."""
    invoice = f"{1_800_000_000 + month.start.year * 12 + month.start.month}"
    return {
        "invoice": invoice if restatement else "",
        "invoicing_entity": "Amazon Web Services EMEA SARL",
        "billing_entity": "AWS",
        "bill_type": "Anniversary",
        "payer": spec.payer or PAYER,
        "currency": spec.currency,
        "legal_entity": "Amazon Web Services EMEA SARL",
    }


def _correction(restatement: int) -> int:
    """Percent of its list price at which the corrected service is billed: another one in each of 20 restatements."""
    return 100 - 4 * ((restatement - 1) % 20 + 1) if restatement else 100
