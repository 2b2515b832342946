"""Whatever the machine refuses while a month is loaded is a named error of a step, and no table changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.torture.changes import Load
from billing_lake_tests.torture.disturbed import (
    SIZES_BYTES,
    Plan,
    disturb,
    errors_of_the_disk,
    full_disks,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.mark.parametrize(
    ("plan", "faults"),
    [(errors_of_the_disk(9), 9), (full_disks, len(SIZES_BYTES))],
    ids=["errors", "full disks"],
)
def test_each_refused_write_is_a_named_failure_of_its_step_and_no_table_is_half_loaded(
    tmp_path: Path, instance: dg.DagsterInstance, plan: Plan, faults: int
) -> None:
    found = disturb(Load(tmp_path, instance), plan, whole_every=faults)
    assert found.wrong == []
    assert found.faults == faults
    assert found.refused >= faults // 2
