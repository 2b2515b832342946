"""An export has the billing periods that its assets have as partitions."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from billing_lake.assets.export import DagsterExport
from billing_lake.domain.periods import next_period
from billing_lake.formats.locations import ExportLocation

OPEN = f"{datetime.now(timezone.utc):%Y-%m}"
NEXT = next_period(OPEN)
LOCATION = ExportLocation("costs", "loose", prefix="billing")


@pytest.mark.parametrize(
    ("end", "last"), [(None, OPEN), ("2025-03", "2025-03"), (OPEN, OPEN), (NEXT, OPEN)]
)
def test_an_export_reaches_to_its_end_or_to_the_open_month_whichever_comes_first(
    end: str | None, last: str
) -> None:
    export = DagsterExport(location=LOCATION, start="2025-01", end=end)
    partitions = export.partitions.get_partition_keys()
    assert (partitions[0], partitions[-1]) == ("2025-01", last)
    months = ["2024-12"]
    while months[-1] != next_period(NEXT):
        months.append(next_period(months[-1]))
    assert [one for one in months if export.has_period(one)] == partitions == export.periods
