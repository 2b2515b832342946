"""The few rows that belong to a whole month: commitment fees, tax, credits, refunds, discounts, support, marketplace.

They come last because the fees settle what the hourly rows used. Each of them balances on its own, so a tiny delivery
may end after any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.sample.canonical import MONEY_SCALE, MonthlyCharge
from billing_lake.sample.catalogue import ACCOUNT_WEIGHTS, ACCOUNTS, PAYER
from billing_lake.sample.commitments import UsedCommitments, closing_fees

if TYPE_CHECKING:
    from collections.abc import Iterator

_COST_PER_ROW = 10**MONEY_SCALE // 8
"""Roughly what one hourly row costs: monthly charges grow with the delivery, but not with a corrected price."""

_SERVICES = {
    "AmazonEC2": "Amazon Elastic Compute Cloud",
    "AmazonRDS": "Amazon Relational Database Service",
    "AWSSupportBusiness": "AWS Support (Business)",
    "AWSLambda": "AWS Lambda",
}


def monthly_charges(used: UsedCommitments, hours: int, rows: int) -> list[MonthlyCharge]:
    """List the monthly rows of a delivery of about `rows` rows; their number is always the same."""
    return [
        MonthlyCharge(
            {
                "account": PAYER,
                "category/Charge type": charge.attributes["charge_type"],
                **charge.attributes,
            },
            charge.money,
        )
        for charge in (*_charges(rows * _COST_PER_ROW), *closing_fees(used, hours))
    ]


def _charges(spend: int) -> Iterator[MonthlyCharge]:
    heaviest = sorted(zip(ACCOUNT_WEIGHTS, ACCOUNTS, strict=True), reverse=True)[:6]
    for weight, account in heaviest:
        tax = {"tax_type": "VAT", "account": account}
        yield _charge(
            "Tax", "AmazonEC2", "Tax for product code AmazonEC2", spend * weight // 700, tax
        )
    credit = 'Migration credit "MAP 2.0", stage 1,\nvalid for 12 months'
    yield _charge("Credit", "AWSLambda", credit, -spend // 40)
    yield _charge("Credit", "AmazonEC2", "Crédit promotionnel : 50 %", -spend // 90)
    refund = {"bill_type": "Refund"}
    yield _charge(
        "Refund", "AmazonRDS", "Refund for an outage, ticket #4711", -spend // 210, refund
    )
    discount = "Enterprise Discount Program discount, 6 %"
    yield _charge("EdpDiscount", "AmazonEC2", discount, -spend // 31)
    yield _charge("EdpDiscount", "AmazonRDS", discount, -spend // 83)
    support = "$0.10 per the monthly AWS usage, up to $10,000"
    yield _charge("Fee", "AWSSupportBusiness", support, spend // 30)
    seller = {
        "billing_entity": "AWS Marketplace",
        "invoicing_entity": "Contoso Größe GmbH & Co. KG",
        "legal_entity": "Contoso Größe GmbH & Co. KG",
        "product/ProductName": 'Contoso "Observability, Pro"',
        "account": ACCOUNTS[1],
    }
    plan = "AWS Marketplace: annual plan,\nbilled monthly"
    yield _charge("Fee", "8x2kq0contoso1", plan, spend // 55, seller)


def _charge(
    kind: str, code: str, text: str, amount: int, more: dict[str, str] | None = None
) -> MonthlyCharge:
    return MonthlyCharge(
        {
            "charge_type": kind,
            "service": code,
            "description": text,
            "product/ProductName": _SERVICES.get(code, ""),
            "product/servicecode": code,
            **(more or {}),
        },
        {"cost": amount, "net_cost": amount},
    )
