"""Gives a project its components: one for each billing export, and one for each alert policy."""

from billing_lake.components.alert_policy import AlertPolicy
from billing_lake.components.billing_export import BillingExport

__all__ = ["AlertPolicy", "BillingExport"]
