"""The asset `raw_reports`: which delivery a billing period has, with every file pinned."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.delivery import DELIVERY_ASSET as DELIVERY
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.metadata import without_none
from billing_lake.assets.periods import (
    NothingToDo,
    Outcome,
    StepEvent,
    each_period,
    named_failures,
)
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import NoDeliveryError
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import find_deliveries, resolve_delivery
from billing_lake.landing.each_file_once import refuse_shared_files
from billing_lake.tables.exports import Export

_NAMED_FILES = 5


def build_raw_reports(export: DagsterExport, others: Sequence[Export] = ()) -> dg.AssetsDefinition:
    """Build the asset for ``export``; no file of its deliveries may be one of the ``others``, too, if they have its period."""

    @export.asset(
        "raw_reports",
        kinds={"csv"},
        deps=[export.key(DELIVERY)],
        description=(
            "The current delivery of the billing period, as the provider put it down: its report files, pinned by size "
            "and tag. A delivery that is not complete yet is refused, a billing period without one is skipped."
        ),
    )
    def raw_reports(
        context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[StepEvent]:
        with named_failures():
            # The first step of every run: what is not set or not open to us is said before anything is read.
            billing_lake.require(export.outputs, export.crawler)
            storage = billing_lake.storage

        current = _resolver(storage, export, several=len(context.partition_keys) > 1)

        def resolve(period: str) -> Outcome[Delivery]:
            delivery = current(period)
            same_period = [one.location for one in others if one.has_period(period)]
            refuse_shared_files(storage, delivery, same_period)
            context.log.info(
                "%s: delivery %s, %d files", period, delivery.version, len(delivery.files)
            )
            return Outcome(delivery, _metadata(delivery, export))

        yield from each_period(context, export, billing_lake.values, resolve)

    return raw_reports


def _resolver(
    storage: Storage, export: DagsterExport, *, several: bool
) -> Callable[[str], Delivery]:
    """Return what gives a billing period's delivery, from one look at the folder where there are several to give.

    A period without one is skipped, unless the export has none at all: then its settings are wrong, not the period.
    """
    location = export.location

    @cache
    def findings() -> Findings:
        return find_deliveries(storage, location)

    def outside_of_range() -> str:
        beyond = sorted(one for one in findings().deliveries if not export.has_period(one))
        named = ", ".join(beyond[:_NAMED_FILES])
        return f". Its deliveries of {named} are not between `start` and `end`" if beyond else ""

    def current(period: str) -> Delivery:
        if several and period in findings().deliveries:
            return findings().deliveries[period]
        if (
            several
            and findings().deliveries
            and period not in {**findings().waiting, **findings().broken}
        ):
            raise NothingToDo(
                f"Export {export.name} has no delivery for {period}{outside_of_range()}"
            )
        try:
            return resolve_delivery(storage, location, period)
        except NoDeliveryError as error:
            if findings().deliveries or findings().waiting:
                raise NothingToDo(f"{error}{outside_of_range()}") from error
            raise

    return current


def _metadata(delivery: Delivery, export: DagsterExport) -> dict[str, object]:
    return without_none(
        **{
            "dagster/uri": delivery.files[0].uri.removesuffix(delivery.files[0].key)
            + export.location.rules.folder
            if delivery.files
            else None,
        },
        delivery_version=delivery.version,
        delivery_identity=delivery.identity,
        layout=delivery.layout,
        manifest=delivery.manifest.key if delivery.manifest else None,
        bucket=delivery.bucket or None,
        files=len(delivery.files),
        files_of_several_months=len(delivery.mixed) or None,
        bytes=delivery.size,
        report_files=markdown.table(
            ("file", "bytes", "changed"),
            ((file.key, file.size, file.modified) for file in delivery.files),
        ),
        ignored=markdown.table(("ignored file",), ((key,) for key in delivery.ignored))
        if delivery.ignored
        else None,
    )
