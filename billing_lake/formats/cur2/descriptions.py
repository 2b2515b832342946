"""Says what the columns of CUR 2.0 mean; those that legacy CUR has too mean the same there."""

from __future__ import annotations

from billing_lake.formats.legacy_cur import descriptions as legacy

_KNOWN = {
    "capacity_reservation_capacity_reservation_arn": "Capacity reservation that the line belongs to.",
    "capacity_reservation_capacity_reservation_status": "Whether the reserved capacity was Used or Unused; Reserved or Cancelling on "
    "lines for the whole reservation.",
    "capacity_reservation_capacity_reservation_type": "ODCR, or EC2 Capacity Blocks for ML.",
    "cost_category": "Cost categories that the organization's rules put the line into, by name.",
    "discount": "Discounts of the line by kind; each amount is the text that was delivered.",
    "line_item_iam_principal": "IAM principal that made the request, where the export includes it (Amazon Bedrock only).",
    "line_item_user_identifier": "User of IAM Identity Center that a per-user subscription is for.",
    "product": "Attributes of the product that have no column of their own, by name.",
    "resource_tags": "Tags of the resource that are activated as cost allocation tags, by key: user_… and aws_….",
    "tags": "Tags of all kinds by key, with the kind before it: resourceTags/…, accountTag/…, costCategory/….",
}


def describe(name: str) -> str | None:
    """Return what the column ``name`` means; None where nothing is known of it."""
    return _KNOWN.get(name) or legacy.describe(name)
