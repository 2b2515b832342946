"""The export that the demo loads: written down here, so that nobody edits it."""

from billing_lake.components.billing_export import BillingExport
from billing_lake.components.export_settings import BillLimits


def demo_export() -> BillingExport:
    """Return the demo's export; its months are those of the demo's story, so that its graph is full."""
    return BillingExport(
        name="cost_and_usage",
        layout="create-new",
        prefix="billing",
        report="cost-and-usage",
        start="2025-01",
        end="2025-03",
        owners=["team:finops"],
        # The restated month corrects the prices of a service by 4 %.
        checks=BillLimits(restatement_percent=5),
    )
