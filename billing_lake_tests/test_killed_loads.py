"""A load that is killed, at whatever write, leaves the old month or the new one; the next load puts all right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from billing_lake_tests.torture.changes import Load
from billing_lake_tests.torture.disturbed import disturb, kills


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.mark.parametrize(
    ("settings", "number"),
    [({"format": "legacy_cur"}, 6), ({"format": "cur2", "table": "payers"}, 2)],
    ids=["alone", "beside another payer"],
)
def test_a_load_killed_at_many_writes_never_mixes_months_and_the_next_one_is_exact(
    tmp_path: Path, instance: dg.DagsterInstance, settings: dict[str, str], number: int
) -> None:
    load = Load(tmp_path, instance, settings)
    found = disturb(load, kills(number), whole_every=number)
    assert found.wrong == []
    assert (found.kills, found.wholes) == (number, 2)
    assert len(load.states) > 1, "kills before a table was changed, and behind it"
