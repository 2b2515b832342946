"""The external asset `delivery`: what the provider put down, where the lineage of an export begins.

Nothing here makes it. The sensor observes it: whenever it finds another delivery of a billing period, it says so.
"""

from __future__ import annotations

import dagster as dg

from billing_lake.assets.export import DagsterExport
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import counted
from billing_lake.loads.ledger_rows import delivered_at

DELIVERY_ASSET = "delivery"


def build_delivery(export: DagsterExport) -> dg.AssetSpec:
    """Build the asset for ``export``."""
    return dg.AssetSpec(
        export.key(DELIVERY_ASSET),
        description=(
            f"The deliveries of {export.name}, as the provider puts them down below `{export.location.rules.folder or '/'}`: a whole billing "
            "period each, replaced until it is final. Observed by the sensor."
        ),
        group_name=export.name,
        kinds={"aws", "s3"},
        owners=list(export.owners),
        tags=export.tags,
        partitions_def=export.partitions,
    )


def delivery_observation(export: DagsterExport, delivery: Delivery) -> dg.AssetObservation:
    """Return what there is to say of a delivery that was not there before."""
    metadata: dict[str, str | int | dg.MetadataValue] = {
        "delivery_version": delivery.version,
        "delivery_identity": delivery.identity,
        "layout": delivery.layout,
        "files": len(delivery.files),
        "bytes": delivery.size,
    }
    if (written := delivered_at(delivery)) is not None:
        metadata["delivered_at"] = dg.MetadataValue.timestamp(written)
    return dg.AssetObservation(
        export.key(DELIVERY_ASSET),
        partition=delivery.period,
        description=f"Delivery {delivery.version}: {counted(len(delivery.files), 'file')}, {delivery.size:,} bytes",
        metadata=metadata,
    )
