"""Counts the rows of deliveries as far as their files state them: the footers of Parquet do, and nothing of CSV does."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import BillingLakeError
from billing_lake.formats.base import Format
from billing_lake.landing.base import Storage
from billing_lake.landing.errors import naming_errors
from billing_lake.landing.found_exports import Inspection
from billing_lake.landing.parquet_headers import opened_parquet

_DELIVERIES_AT_ONCE = 16


def stated_rows(storage: Storage, found: Inspection) -> Mapping[tuple[str, str], int]:
    """Return the rows of each delivery in Parquet, by the name of its export and its billing period.

    The footer of each file is read. What lies in files of several months, or cannot be read, is left out.
    """
    deliveries = [
        (one.location.name, period, delivery, one.location.format)
        for one in found.exports
        for period, delivery in one.findings.deliveries.items()
    ]

    def rows(asked: tuple[str, str, Delivery, Format]) -> int | None:
        _, _, delivery, format_ = asked
        return _rows(storage, delivery, format_)

    with ThreadPoolExecutor(_DELIVERIES_AT_ONCE) as threads:
        told = threads.map(rows, deliveries)
        return {
            (name, period): number
            for (name, period, *_), number in zip(deliveries, told, strict=True)
            if number is not None
        }


def _rows(storage: Storage, delivery: Delivery, format_: Format) -> int | None:
    if delivery.mixed or any(format_.packing_of(one.key)[0] != "parquet" for one in delivery.files):
        return None
    total = 0
    try:
        for file in delivery.files:
            with (
                storage.open(file.key) as stream,
                naming_errors(file.key),
                opened_parquet(stream, file.key) as parquet,
            ):
                total += parquet.metadata.num_rows
    except BillingLakeError:
        return None
    return total
