"""The few rows that belong to a whole month: commitment fees, tax, credits, refunds, discounts, support, marketplace.

They come last because the fees settle what the hourly rows used. Each of them balances on its own, so a tiny delivery
may end after any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing_lake.sample.catalogue import ACCOUNT_WEIGHTS, ACCOUNTS, PAYER
from billing_lake.sample.commitments import MONEY_SCALE, Ledger, closing_fees
from billing_lake.sample.text import ids_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from billing_lake.sample.spec import Month

_COST_PER_ROW = 10**MONEY_SCALE // 8
"""Roughly what one hourly row costs: monthly charges grow with the delivery, but not with a corrected price."""

_SERVICES = {
    "AmazonEC2": "Amazon Elastic Compute Cloud",
    "AmazonRDS": "Amazon Relational Database Service",
    "AWSSupportBusiness": "AWS Support (Business)",
    "AWSLambda": "AWS Lambda",
}
_PLAN_PRODUCTS = {"ComputeSavingsPlans": "Savings Plans for AWS Compute usage"}


@dataclass(frozen=True, kw_only=True)
class ClosingRow:
    """One row: its cells by raw header, and its money as integers of `MONEY_SCALE` decimals."""

    cells: Mapping[str, str]
    money: Mapping[str, int]


def closing_rows(
    ledger: Ledger, month: Month, rows: int, delivery: Mapping[str, str]
) -> list[ClosingRow]:
    """All monthly rows of a delivery of about `rows` rows; their number is always the same."""
    charges = [*_charges(rows * _COST_PER_ROW), *_fees(ledger, month)]
    return [_closed(cells, money, month, delivery) for cells, money in charges]


def with_ids(closing: Sequence[ClosingRow], first: int, key: int) -> list[dict[str, str]]:
    """The rows' cells with line-item ids that follow on those of the hourly rows."""
    import numpy as np

    ids = ids_text(first + np.arange(len(closing)), key).to_list()
    return [
        {**row.cells, "identity/LineItemId": name} for row, name in zip(closing, ids, strict=True)
    ]


def _closed(
    cells: Mapping[str, str], money: Mapping[str, int], month: Month, delivery: Mapping[str, str]
) -> ClosingRow:
    kind = cells["lineItem/LineItemType"]
    return ClosingRow(
        cells={
            **delivery,
            "identity/TimeInterval": f"{month.start:%Y-%m-%dT%H:%M:%SZ}/{month.end:%Y-%m-%dT%H:%M:%SZ}",
            "lineItem/UsageAccountId": PAYER,
            "lineItem/UsageStartDate": f"{month.start:%Y-%m-%dT%H:%M:%S.000Z}",
            "lineItem/UsageEndDate": f"{month.end:%Y-%m-%dT%H:%M:%S.000Z}",
            "lineItem/UsageAmount": "1.0",
            "costCategory/Charge type": kind,
            **cells,
            **{name: number_text(amount, MONEY_SCALE) for name, amount in money.items()},
        },
        money=money,
    )


def _fees(ledger: Ledger, month: Month) -> Iterator[tuple[dict[str, str], Mapping[str, int]]]:
    for fee in closing_fees(ledger, month.hours):
        offering = fee.static.get("savingsPlan/OfferingType")
        code = "ComputeSavingsPlans" if offering else "AmazonRDS"
        yield (
            {
                "lineItem/LineItemType": fee.kind,
                "lineItem/ProductCode": code,
                "product/ProductName": _PLAN_PRODUCTS.get(code) or _SERVICES[code],
                "product/servicecode": code,
                **fee.static,
                **fee.cells,
            },
            fee.money,
        )


def _charges(spend: int) -> Iterator[tuple[dict[str, str], Mapping[str, int]]]:
    heaviest = sorted(zip(ACCOUNT_WEIGHTS, ACCOUNTS, strict=True), reverse=True)[:6]
    for weight, account in heaviest:
        tax = {"lineItem/TaxType": "VAT", "lineItem/UsageAccountId": account}
        yield _charge(
            "Tax", "AmazonEC2", "Tax for product code AmazonEC2", spend * weight // 700, **tax
        )
    yield _charge(
        "Credit",
        "AWSLambda",
        'Migration credit "MAP 2.0", stage 1,\nvalid for 12 months',
        -spend // 40,
    )
    yield _charge("Credit", "AmazonEC2", "Crédit promotionnel : 50 %", -spend // 90)
    refund = {"bill/BillType": "Refund"}
    yield _charge(
        "Refund", "AmazonRDS", "Refund for an outage, ticket #4711", -spend // 210, **refund
    )
    yield _charge(
        "EdpDiscount", "AmazonEC2", "Enterprise Discount Program discount, 6 %", -spend // 31
    )
    yield _charge(
        "EdpDiscount", "AmazonRDS", "Enterprise Discount Program discount, 6 %", -spend // 83
    )
    yield _charge(
        "Fee", "AWSSupportBusiness", "$0.10 per the monthly AWS usage, up to $10,000", spend // 30
    )
    marketplace = {
        "bill/BillingEntity": "AWS Marketplace",
        "bill/InvoicingEntity": "Contoso Größe GmbH & Co. KG",
        "lineItem/LegalEntity": "Contoso Größe GmbH & Co. KG",
        "product/ProductName": 'Contoso "Observability, Pro"',
        "lineItem/UsageAccountId": ACCOUNTS[1],
    }
    yield _charge(
        "Fee",
        "8x2kq0contoso1",
        "AWS Marketplace: annual plan,\nbilled monthly",
        spend // 55,
        **marketplace,
    )


def _charge(
    kind: str, code: str, text: str, amount: int, **cells: str
) -> tuple[dict[str, str], Mapping[str, int]]:
    return (
        {
            "lineItem/LineItemType": kind,
            "lineItem/ProductCode": code,
            "lineItem/LineItemDescription": text,
            "product/ProductName": _SERVICES.get(code, ""),
            "product/servicecode": code,
            **cells,
        },
        {
            "lineItem/UnblendedCost": amount,
            "lineItem/BlendedCost": amount,
            "lineItem/NetUnblendedCost": amount,
        },
    )
