"""Defines the demo's export and its alert policy: in Python, so that nobody edits them."""

import dagster as dg

from billing_lake.components.alert_policy import AlertPolicy
from billing_lake.components.alert_settings import NotifierSettings
from billing_lake.components.billing_export import BillingExport
from billing_lake.components.limits import BillLimits


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
        # The restated month corrects the prices of a service by 4 %, which is a hundredth of the whole.
        checks=BillLimits(restatement_percent=0.5),
    )


def demo_alerts() -> AlertPolicy:
    """Return the demo's alert policy: it tells the log."""
    return AlertPolicy(name="finops", notifiers=[NotifierSettings(kind="log")])


def demo_defs(context: dg.ComponentLoadContext) -> dg.Definitions:
    """Build the definitions of the demo's lake."""
    export = demo_export()
    sensor = demo_alerts().sensor({f"{export.name}_new_reports": export.name}, {export.name})
    return dg.Definitions.merge(export.build_defs(context), dg.Definitions(sensors=[sensor]))
