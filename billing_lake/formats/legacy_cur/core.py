"""The core columns of a bill, of a table of legacy CUR or CUR 2.0.

Billed is what the line adds to the invoice, the unblended cost; effective is the amortised cost. A line that a Savings Plan covers
is billed at its on-demand price and taken back by another line, so only together do they say what FOCUS says in one. What was
consumed, and its list price, are those of the first alone; fees and taxes consume nothing, and a share of an instance that is
allocated to a container was consumed by the instance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from billing_lake.formats.legacy_cur import costs
from billing_lake.formats.legacy_cur.columns import CHARGES

_TYPE = "line_item_line_item_type"
_CODE = "line_item_product_code"
_NAME = "product_product_name"
_MAP = "product"
_AMOUNT = "line_item_usage_amount"
_LIST = "pricing_public_on_demand_cost"
_SPLIT_FROM = "split_line_item_parent_resource_id"

_OWN = {
    "billingaccountid": "bill_payer_account_id",
    "billingaccountname": "bill_payer_account_name",
    "subaccountid": "line_item_usage_account_id",
    "subaccountname": "line_item_usage_account_name",
    "billingperiodstart": "bill_billing_period_start_date",
    "chargeperiodstart": "line_item_usage_start_date",
    "chargeperiodend": "line_item_usage_end_date",
    "chargedescription": "line_item_line_item_description",
    "x_servicecode": _CODE,
    "x_chargetype": _TYPE,
    "regionid": "product_region_code",
    "resourceid": "line_item_resource_id",
    "invoiceid": "bill_invoice_id",
    "invoiceissuername": "bill_invoicing_entity",
    "billingcurrency": "line_item_currency_code",
    "billedcost": costs.UNBLENDED,
}

_CONSUMED = {"consumedquantity": _AMOUNT, "listcost": _LIST}

_CATEGORIES = {
    "Usage": (
        "DiscountedUsage",
        "FlatRateSubscription",
        "SavingsPlanCoveredUsage",
        "SavingsPlanNegation",
        "Usage",
    ),
    "Purchase": ("Fee", "RIFee", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee"),
    "Tax": ("Tax",),
    "Credit": ("Credit",),
}
"""FOCUS's kinds of charge and the line item types of each; discounts, refunds and what nobody has seen yet are adjustments."""


def core(columns: Collection[str]) -> dict[str, str]:
    """Return the SQL of each core column that a table with ``columns`` gives."""
    found = {name: own for name, own in _OWN.items() if own in columns}
    found |= _of_usage(columns)
    if costs.UNBLENDED in columns:
        found["effectivecost"] = costs.amortised_cost(columns)
    if _TYPE in columns:
        found["chargecategory"] = _category()
    names = [
        *([f"nullif({_NAME}, '')"] if _NAME in columns else []),
        *([f"nullif({_MAP}['product_name'], '')"] if _MAP in columns else []),
        *([f"nullif({_CODE}, '')"] if _CODE in columns else []),
    ]
    if names:
        found["servicename"] = names[0] if len(names) == 1 else f"coalesce({', '.join(names)})"
    return found


def _of_usage(columns: Collection[str]) -> dict[str, str]:
    """Return quantity and list price of what was consumed, of all lines where a table does not tell their kinds."""
    found = {name: own for name, own in _CONSUMED.items() if own in columns}
    if _TYPE not in columns:
        return found
    split = f" AND coalesce({_SPLIT_FROM}, '') = ''" if _SPLIT_FROM in columns else ""
    usage = f"{_TYPE} IN ({_listed(sorted(CHARGES.taggable))}){split}"
    negated = f"{_TYPE} = '{CHARGES.negation}'"
    cases = {
        "consumedquantity": f"CASE WHEN {usage} THEN {_AMOUNT} END",
        "listcost": f"CASE WHEN {negated} THEN 0 ELSE {_LIST} END",
    }
    return {name: cases[name] for name in found}


def _category() -> str:
    cases = " ".join(
        f"WHEN {_TYPE} IN ({_listed(kinds)}) THEN '{category}'"
        for category, kinds in _CATEGORIES.items()
    )
    return f"CASE {cases} WHEN {_TYPE} <> '' THEN 'Adjustment' END"


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(f"'{kind}'" for kind in kinds)
