"""What a project instantiates: one component for each billing export."""

from billing_lake.components.billing_export import BillingExport

__all__ = ["BillingExport"]
