"""Runs side by side: several months at once all succeed, two runs of one month never double it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.assets.test_load import assert_tables_equal
from billing_lake_tests.lakes import EXPORT, NO_CAPTURE, SPEC, TABLE, SampleLake


@pytest.fixture(params=["legacy_cur", "cur2"])
def lake(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SampleLake]:
    (tmp_path / "dagster").mkdir()
    storage = str(tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(storage, overrides=NO_CAPTURE) as instance:
        yield SampleLake(tmp_path / "lake", {"format": request.param}, instance)


def test_runs_of_several_months_and_two_of_one_month_leave_each_month_once(
    lake: SampleLake,
) -> None:
    spec = replace(SPEC, format=lake.settings["format"])
    deliveries = [lake.deliver(period, spec=spec) for period in ("2025-01", "2025-02")]
    with ThreadPoolExecutor(3) as pool:
        # Each run has catalogs of its own, as runs in processes of their own have.
        runs = list(pool.map(lake.load, ("2025-01", "2025-02", "2025-02")))
    assert [run.success for run in runs] == [True, True, True]
    assert_tables_equal(lake, *deliveries)
    assert lake.lake.iceberg.periods(TABLE, EXPORT) == ("2025-01", "2025-02")
