"""A rebuild that is killed at any of its writes leaves each table as it was or as it shall be; the next one ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.torture.changes import Rebuild
from billing_lake_tests.torture.disturbed import disturb, kills


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_rebuild_killed_at_any_write_leaves_every_table_whole_and_the_next_one_ends_it(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    rebuild = Rebuild(tmp_path, instance)
    found = disturb(rebuild, kills(3))
    assert found.wrong == []
    assert (found.kills, found.wholes) == (3, 4)
    assert len(rebuild.states) > 1, "kills before a table was changed, and behind it"
