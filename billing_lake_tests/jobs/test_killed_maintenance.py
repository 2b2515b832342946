"""Maintenance that is killed at any of its writes harms nothing, and the next one ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.torture.changes import Maintenance
from billing_lake_tests.torture.disturbed import disturb, kills


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_maintenance_killed_at_any_write_leaves_every_table_and_tag_as_it_was_and_the_next_ends_it(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    found = disturb(Maintenance(tmp_path, instance), kills(6), whole_every=2)
    assert found.wrong == []
    assert (found.kills, found.wholes) == (6, 4)
