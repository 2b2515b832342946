"""The asset `raw_reports`: which delivery a billing period has, with every file pinned."""

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.export import Export
from billing_lake.assets.metadata import present
from billing_lake.assets.periods import Outcome, each_period, named_failures
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery
from billing_lake.storage.deliveries import resolve_delivery


def build_raw_reports(export: Export) -> dg.AssetsDefinition:
    """Build the asset for ``export``."""

    @export.asset(
        "raw_reports",
        kinds={"csv"},
        code_version="1",
        description=(
            "The current delivery of the billing period, as the provider put it down: its report files, pinned by size "
            "and tag. A delivery that is not complete yet is refused."
        ),
    )
    def raw_reports(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dict[str, Delivery]:
        with named_failures():
            # The first step of every run: what is not set or not open to us is said before anything is read.
            lake.require(export.outputs, export.crawler)

        def resolve(period: str) -> Outcome[Delivery]:
            delivery = resolve_delivery(lake.storage, export.location, period)
            context.log.info(
                "%s: delivery %s, %d files", period, delivery.version, len(delivery.files)
            )
            return Outcome(delivery, _metadata(delivery, export))

        return each_period(context, lake.values, resolve)

    return raw_reports


def _metadata(delivery: Delivery, export: Export) -> dict[str, object]:
    return present(
        **{
            "dagster/uri": delivery.files[0].uri.removesuffix(delivery.files[0].key)
            + export.location.folder
            if delivery.files
            else None,
        },
        delivery_version=delivery.version,
        delivery_identity=delivery.identity,
        layout=delivery.layout,
        manifest=delivery.manifest.key if delivery.manifest else None,
        files=len(delivery.files),
        bytes=delivery.size,
        report_files=dg.MetadataValue.md(
            markdown.table(
                ("file", "bytes", "changed"),
                ((file.key, file.size, file.modified) for file in delivery.files),
            )
        ),
        ignored=dg.MetadataValue.md(
            markdown.table(("ignored file",), ((key,) for key in delivery.ignored))
        )
        if delivery.ignored
        else None,
    )
