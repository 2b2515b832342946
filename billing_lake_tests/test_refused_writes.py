"""Whatever the machine refuses while a month is loaded or a lake relocated is a named error, and no table changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.torture.changes import Load, Relocation
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


def test_each_refused_write_of_a_relocation_is_named_and_leaves_a_copy_that_can_be_relocated(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    relocation = Relocation(tmp_path, instance)
    found = disturb(relocation, errors_of_the_disk(6), whole_every=2)
    assert found.wrong == []
    assert (found.faults, found.wholes) == (6, 4)
    assert found.refused >= 3
    assert relocation.states == {"refused"}
