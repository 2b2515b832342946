"""The amortised cost of a line: what a commitment has paid for counts where and when it is used, what is unused where it is billed.

The formula is that of AWS's Cloud Intelligence Dashboards; nothing is counted twice, and every cost stays an exact decimal.
"""

from __future__ import annotations

from collections.abc import Collection

UNBLENDED = "line_item_unblended_cost"

_TYPE = "line_item_line_item_type"
_PRODUCT = "line_item_product_code"
_DESCRIPTION = "line_item_line_item_description"
_SP_EFFECTIVE = "savings_plan_savings_plan_effective_cost"
_SP_TOTAL = "savings_plan_total_commitment_to_date"
_SP_USED = "savings_plan_used_commitment"
_SP_ARN = "savings_plan_savings_plan_a_r_n"
_SAVINGS_PLANS = {_TYPE, _SP_EFFECTIVE, _SP_TOTAL, _SP_USED}
_RI_EFFECTIVE = "reservation_effective_cost"
_RI_UNUSED_UPFRONT = "reservation_unused_amortized_upfront_fee_for_billing_period"
_RI_UNUSED_RECURRING = "reservation_unused_recurring_fee"
_RI_ARN = "reservation_reservation_a_r_n"
_RESERVATIONS = {_TYPE, _RI_EFFECTIVE, _RI_UNUSED_UPFRONT, _RI_UNUSED_RECURRING, _RI_ARN}


def amortised_cost(columns: Collection[str]) -> str:
    """Return the SQL expression of a line's amortised cost, for a table with ``columns``.

    Savings Plans, and reserved instances, fall back to the unblended cost as a whole where the table lacks a column that
    they need: half of a formula would count a commitment twice or not at all. So do the lines that name no plan, or no reservation:
    those of months that were delivered before the export had the columns.
    """
    have = {*columns}
    unblended = _amount(UNBLENDED) if UNBLENDED in have else "CAST(0 AS DECIMAL(38, 18))"
    cases: list[tuple[str, str]] = []
    if have >= _SAVINGS_PLANS:
        named = f" AND {_is_named(_SP_ARN)}" if _SP_ARN in have else ""
        cases += [
            (f"{_TYPE} = 'SavingsPlanCoveredUsage'{named}", _amount(_SP_EFFECTIVE)),
            (
                f"{_TYPE} = 'SavingsPlanRecurringFee'{named}",
                f"{_amount(_SP_TOTAL)} - {_amount(_SP_USED)}",
            ),
            (f"{_TYPE} IN ('SavingsPlanNegation', 'SavingsPlanUpfrontFee'){named}", "0"),
        ]
        if have >= {_PRODUCT, _DESCRIPTION}:
            refund = (
                f"{_TYPE} = 'Refund' AND {_PRODUCT} = 'ComputeSavingsPlans' "
                f"AND {_DESCRIPTION} LIKE 'Refund for one-time fee for Savings Plan ID%'"
            )
            cases.append((refund, "0"))
    if have >= _RESERVATIONS:
        unused = f"{_amount(_RI_UNUSED_UPFRONT)} + {_amount(_RI_UNUSED_RECURRING)}"
        named = _is_named(_RI_ARN)
        cases += [
            (f"{_TYPE} = 'DiscountedUsage' AND {named}", _amount(_RI_EFFECTIVE)),
            (f"{_TYPE} = 'RIFee' AND {named}", unused),
            (f"{_TYPE} = 'Fee' AND {named}", "0"),
        ]
    if not cases:
        return unblended
    branches = " ".join(f"WHEN {condition} THEN {value}" for condition, value in cases)
    return f"CASE {branches} ELSE {unblended} END"


def _amount(column: str) -> str:
    return f"coalesce({column}, 0)"


def _is_named(column: str) -> str:
    return f"coalesce({column}, '') <> ''"
