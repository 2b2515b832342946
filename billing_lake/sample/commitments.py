"""Savings Plans and reservations: what they cover hour by hour, and the fees that close a month.

The books balance because both sides come from the same integers. Covered usage hands its effective cost to
`UsedCommitments`; the fee rows at the end of the delivery are what that says was used and what the commitment says
was bought. Hence, to the last digit: unblended = amortised + true-up + upfront fees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from billing_lake.sample.canonical import MONEY_SCALE, Attributes, MonthlyCharge
from billing_lake.sample.catalogue import PAYER

if TYPE_CHECKING:
    from collections.abc import Iterator

QUARTERS = 4
"""Covered hours are used by quarters."""

_CENT = 10 ** (MONEY_SCALE - 2)


@dataclass(frozen=True)
class SavingsPlan:
    """A Savings Plan: what one covered hour costs of on-demand, and how much of it was paid upfront, in percent."""

    number: int
    covers: tuple[str, ...]
    offering: str
    family: str
    payment: str
    percent: int
    upfront_percent: int

    @property
    def attributes(self) -> Attributes:
        """Return what every row of the plan says of it."""
        return {
            "plan_arn": f"arn:aws:savingsplans::{PAYER}:savingsplan/"
            f"5a3e0b7{self.number}-0c1d-4e2f-8a9b-00000000000{self.number}",
            "plan_offering": self.offering,
            "plan_family": self.family,
            "plan_payment": self.payment,
            "plan_term": "1yr",
            "plan_start": "2024-09-01T00:00:00.000Z",
            "plan_end": "2025-08-31T23:59:59.000Z",
        }


@dataclass(frozen=True)
class Reservation:
    """A reservation: its price per quarter of an hour, the share paid upfront and the share that recurs."""

    number: int
    covers: str
    upfront: int
    recurring: int

    @property
    def subscription(self) -> str:
        """The reservation's subscription id."""
        return f"00{9_345_001 + self.number}"

    @property
    def attributes(self) -> Attributes:
        """Return what every row of the reservation says of it."""
        return {
            "reservation_arn": f"arn:aws:rds:us-east-1:{PAYER}:ri:ri-2024-11-01-00-00-0{self.number}",
            "reservation_subscription": self.subscription,
            "reservation_start": "2024-11-01T00:00:00.000Z",
            "reservation_end": "2025-10-31T23:59:59.000Z",
            "lease_length": "1yr",
            "offering_class": "standard",
            "purchase_option": "Partial Upfront" if self.upfront else "No Upfront",
            "term": "Reserved",
        }


_COMPUTE, _EC2 = "ComputeSavingsPlans", "EC2InstanceSavingsPlans"
SAVINGS_PLANS = (
    SavingsPlan(1, ("BoxUsage:t3.large", "BoxUsage:c5.2xlarge"), _COMPUTE, "", "No Upfront", 73, 0),
    SavingsPlan(
        2, ("BoxUsage:m5.large", "BoxUsage:m5.xlarge"), _EC2, "m5", "Partial Upfront", 63, 50
    ),
    SavingsPlan(3, ("BoxUsage:r5.4xlarge",), _EC2, "r5", "All Upfront", 59, 100),
)
RESERVATIONS = (
    Reservation(1, "InstanceUsage:db.t3.large", upfront=74_125_311, recurring=71_250_000),
    Reservation(2, "InstanceUsage:db.r5.xlarge", upfront=0, recurring=812_500_000),
)


@dataclass
class UsedCommitments:
    """Adds up what was used of each commitment so far: effective cost per Savings Plan, quarter hours per reservation."""

    plans: list[int] = field(default_factory=lambda: [0] * len(SAVINGS_PLANS))
    reservations: list[int] = field(default_factory=lambda: [0] * len(RESERVATIONS))


def closing_fees(in_use: UsedCommitments, hours: int) -> Iterator[MonthlyCharge]:
    """Yield the fees that close a month of `hours` hours; each row is right by itself."""
    for plan, used in zip(SAVINGS_PLANS, in_use.plans, strict=True):
        yield from _plan_fees(plan, used)
    for reservation, quarters in zip(RESERVATIONS, in_use.reservations, strict=True):
        yield from _reservation_fees(reservation, quarters, hours)


def _plan_fees(plan: SavingsPlan, used: int) -> Iterator[MonthlyCharge]:
    committed = (used * 109 // 100 // _CENT + 1) * _CENT
    upfront = committed * plan.upfront_percent // 100
    both = {
        "service": "ComputeSavingsPlans",
        "product/ProductName": "Savings Plans for AWS Compute usage",
        "product/servicecode": "ComputeSavingsPlans",
        **plan.attributes,
    }
    yield MonthlyCharge(
        {
            **both,
            "charge_type": "SavingsPlanRecurringFee",
            "usage_type": f"{plan.offering.removesuffix('SavingsPlans')}SP:1yr{plan.payment.replace(' ', '')}",
            "description": f"1 year {plan.payment} {plan.offering}, {plan.family or 'any family'}",
        },
        {
            "cost": committed - upfront,
            "plan_upfront": upfront,
            "plan_recurring": committed - upfront,
            "plan_committed": committed,
            "plan_used": used,
        },
    )
    if upfront:
        yield MonthlyCharge(
            {
                **both,
                "charge_type": "SavingsPlanUpfrontFee",
                "bill_type": "Purchase",
                "description": f"Sign up charge for Savings Plan, {plan.payment}",
            },
            {"cost": upfront * 12},
        )


def _reservation_fees(
    reservation: Reservation, quarters: int, hours: int
) -> Iterator[MonthlyCharge]:
    reserved = (quarters // QUARTERS * 27 // 25 + 1) * QUARTERS
    unused = reserved - quarters
    bought = -(-reserved // (hours * QUARTERS))
    both = {
        "service": "AmazonRDS",
        "product/ProductName": "Amazon Relational Database Service",
        "product/servicecode": "AmazonRDS",
        **reservation.attributes,
    }
    yield MonthlyCharge(
        {
            **both,
            "charge_type": "RIFee",
            "description": f"Hourly fee per PostgreSQL, {reservation.covers} ({bought} reserved)",
            "reservation_modification": "Original",
            "reservation_count": str(bought),
            "reservation_units": f"{reserved // QUARTERS}.0",
            "reservation_units_each": "1.0",
            "reservation_unused": f"{unused / QUARTERS}",
        },
        {
            "cost": reservation.recurring * reserved,
            "reservation_upfront": reservation.upfront * reserved,
            "reservation_upfront_unused": reservation.upfront * unused,
            "reservation_recurring_unused": reservation.recurring * unused,
        },
    )
    if reservation.upfront:
        value = reservation.upfront * reserved * 12
        yield MonthlyCharge(
            {
                **both,
                "charge_type": "Fee",
                "bill_type": "Purchase",
                "description": f"Sign up charge for subscription: {reservation.subscription}",
            },
            {"cost": value, "reservation_upfront_paid": value},
        )
