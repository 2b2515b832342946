"""The legacy Cost and Usage Report of AWS, as gzipped CSV."""

from __future__ import annotations

from billing_lake.domain.dictionary import is_cost, type_of
from billing_lake.domain.sources import Roles
from billing_lake.formats.base import Format

ROLES = Roles(
    period_start="bill_billing_period_start_date",
    usage_start="line_item_usage_start_date",
    usage_end="line_item_usage_end_date",
    currency="line_item_currency_code",
    account="line_item_usage_account_id",
    payer="bill_payer_account_id",
    line_item_id="identity_line_item_id",
    time_interval="identity_time_interval",
    charge_type="line_item_line_item_type",
    service="line_item_product_code",
)

LEGACY_CUR = Format(
    name="legacy_cur",
    roles=ROLES,
    nulls=("",),
    preview=(
        "line_item_usage_start_date",
        "line_item_usage_account_id",
        "line_item_product_code",
        "line_item_line_item_type",
        "line_item_usage_type",
        "line_item_usage_amount",
        "line_item_unblended_cost",
        "line_item_currency_code",
    ),
    type_of=type_of,
    is_cost=is_cost,
)
