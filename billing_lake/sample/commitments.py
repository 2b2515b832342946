"""Savings Plans and reservations: what they cover hour by hour, and the fees that close a month.

The books balance because both sides come from the same integers. Covered usage hands its effective cost to
`Ledger`; the fee rows at the end of the delivery are whatever the ledger says was used and what the commitment says
was bought. Hence, to the last digit: unblended = amortised + true-up + upfront fees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from billing_lake.sample.catalogue import PAYER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MONEY_SCALE = 10
"""Decimals of every amount of money: what the finest real reports use."""

QUARTERS = 4
"""Covered hours are used by quarters."""

_CENT = 10 ** (MONEY_SCALE - 2)


@dataclass(frozen=True, kw_only=True)
class SavingsPlan:
    """A Savings Plan: what one covered hour costs of on-demand, and how much of it was paid upfront."""

    number: int
    covers: tuple[str, ...]
    offering: str
    family: str
    payment: str
    percent: int
    upfront_percent: int

    @property
    def arn(self) -> str:
        """The plan's ARN."""
        return f"arn:aws:savingsplans::{PAYER}:savingsplan/5a3e0b7{self.number}-0c1d-4e2f-8a9b-00000000000{self.number}"

    @property
    def static(self) -> Mapping[str, str]:
        """What every row of the plan says of it."""
        return {
            "savingsPlan/SavingsPlanARN": self.arn,
            "savingsPlan/OfferingType": self.offering,
            "savingsPlan/InstanceTypeFamily": self.family,
            "savingsPlan/PaymentOption": self.payment,
            "savingsPlan/PurchaseTerm": "1yr",
            "savingsPlan/StartTime": "2024-09-01T00:00:00.000Z",
            "savingsPlan/EndTime": "2025-08-31T23:59:59.000Z",
        }


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A reservation: its price per quarter of an hour, the share paid upfront and the share that recurs."""

    number: int
    covers: str
    upfront: int
    recurring: int

    @property
    def arn(self) -> str:
        """The reservation's ARN."""
        return f"arn:aws:rds:us-east-1:{PAYER}:ri:ri-2024-11-01-00-00-0{self.number}"

    @property
    def subscription(self) -> str:
        """The reservation's subscription id."""
        return f"00{9_345_001 + self.number}"

    @property
    def static(self) -> Mapping[str, str]:
        """What every row of the reservation says of it."""
        return {
            "reservation/ReservationARN": self.arn,
            "reservation/SubscriptionId": self.subscription,
            "reservation/StartTime": "2024-11-01T00:00:00.000Z",
            "reservation/EndTime": "2025-10-31T23:59:59.000Z",
            "pricing/LeaseContractLength": "1yr",
            "pricing/OfferingClass": "standard",
            "pricing/PurchaseOption": "Partial Upfront" if self.upfront else "No Upfront",
            "pricing/term": "Reserved",
        }


SAVINGS_PLANS = (
    SavingsPlan(
        number=1,
        covers=("BoxUsage:t3.large", "BoxUsage:c5.2xlarge"),
        offering="ComputeSavingsPlans",
        family="",
        payment="No Upfront",
        percent=73,
        upfront_percent=0,
    ),
    SavingsPlan(
        number=2,
        covers=("BoxUsage:m5.large", "BoxUsage:m5.xlarge"),
        offering="EC2InstanceSavingsPlans",
        family="m5",
        payment="Partial Upfront",
        percent=63,
        upfront_percent=50,
    ),
    SavingsPlan(
        number=3,
        covers=("BoxUsage:r5.4xlarge",),
        offering="EC2InstanceSavingsPlans",
        family="r5",
        payment="All Upfront",
        percent=59,
        upfront_percent=100,
    ),
)
RESERVATIONS = (
    Reservation(
        number=1, covers="InstanceUsage:db.t3.large", upfront=74_125_311, recurring=71_250_000
    ),
    Reservation(number=2, covers="InstanceUsage:db.r5.xlarge", upfront=0, recurring=812_500_000),
)


@dataclass
class Ledger:
    """What was used of each commitment so far: effective cost per Savings Plan, quarter hours per reservation."""

    plans: list[int] = field(default_factory=lambda: [0] * len(SAVINGS_PLANS))
    reservations: list[int] = field(default_factory=lambda: [0] * len(RESERVATIONS))


@dataclass(frozen=True, kw_only=True)
class Fee:
    """One fee row of a commitment: its line-item type, money by raw column, and further cells."""

    kind: str
    static: Mapping[str, str]
    money: Mapping[str, int]
    cells: Mapping[str, str]


def closing_fees(ledger: Ledger, hours: int) -> Iterator[Fee]:
    """The rows that settle a month of `hours` hours; each balances on its own, whichever others are there."""
    for plan, used in zip(SAVINGS_PLANS, ledger.plans, strict=True):
        yield from _plan_fees(plan, used)
    for reservation, quarters in zip(RESERVATIONS, ledger.reservations, strict=True):
        yield from _reservation_fees(reservation, quarters, hours)


def _plan_fees(plan: SavingsPlan, used: int) -> Iterator[Fee]:
    committed = (used * 109 // 100 // _CENT + 1) * _CENT
    upfront = committed * plan.upfront_percent // 100
    yield Fee(
        kind="SavingsPlanRecurringFee",
        static=plan.static,
        money={
            "lineItem/UnblendedCost": committed - upfront,
            "lineItem/BlendedCost": committed - upfront,
            "savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod": upfront,
            "savingsPlan/RecurringCommitmentForBillingPeriod": committed - upfront,
            "savingsPlan/TotalCommitmentToDate": committed,
            "savingsPlan/UsedCommitment": used,
        },
        cells={
            "lineItem/UsageType": f"{plan.offering.removesuffix('SavingsPlans')}SP:1yr{plan.payment.replace(' ', '')}",
            "lineItem/LineItemDescription": f"1 year {plan.payment} {plan.offering}, {plan.family or 'any family'}",
        },
    )
    if upfront:
        yield Fee(
            kind="SavingsPlanUpfrontFee",
            static=plan.static,
            money={"lineItem/UnblendedCost": upfront * 12, "lineItem/BlendedCost": upfront * 12},
            cells={
                "bill/BillType": "Purchase",
                "lineItem/LineItemDescription": f"Sign up charge for Savings Plan, {plan.payment}",
            },
        )


def _reservation_fees(reservation: Reservation, quarters: int, hours: int) -> Iterator[Fee]:
    reserved = (quarters // QUARTERS * 27 // 25 + 1) * QUARTERS
    unused = reserved - quarters
    bought = -(-reserved // (hours * QUARTERS))
    yield Fee(
        kind="RIFee",
        static=reservation.static,
        money={
            "lineItem/UnblendedCost": reservation.recurring * reserved,
            "lineItem/BlendedCost": reservation.recurring * reserved,
            "reservation/AmortizedUpfrontFeeForBillingPeriod": reservation.upfront * reserved,
            "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": reservation.upfront * unused,
            "reservation/UnusedRecurringFee": reservation.recurring * unused,
        },
        cells={
            "lineItem/LineItemDescription": f"Hourly fee per PostgreSQL, {reservation.covers} ({bought} reserved)",
            "reservation/ModificationStatus": "Original",
            "reservation/NumberOfReservations": str(bought),
            "reservation/TotalReservedUnits": f"{reserved // QUARTERS}.0",
            "reservation/UnitsPerReservation": "1.0",
            "reservation/UnusedQuantity": f"{unused / QUARTERS}",
        },
    )
    if reservation.upfront:
        value = reservation.upfront * reserved * 12
        yield Fee(
            kind="Fee",
            static=reservation.static,
            money={
                "lineItem/UnblendedCost": value,
                "lineItem/BlendedCost": value,
                "reservation/UpfrontValue": value,
            },
            cells={
                "bill/BillType": "Purchase",
                "lineItem/LineItemDescription": f"Sign up charge for subscription: {reservation.subscription}",
            },
        )
