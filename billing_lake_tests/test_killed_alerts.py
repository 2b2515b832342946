"""Daemons that are killed at random moments while 200 alerts are due: each arrives, and twice only across a kill."""

from __future__ import annotations

import random
import time
from functools import partial
from itertools import groupby
from pathlib import Path

import dagster as dg
import pytest

from billing_lake.sensors.alerts import Store
from billing_lake_tests.alerts.services import Webhook
from billing_lake_tests.daemons import Machine
from billing_lake_tests.prepared import Prepared

ALERTS = 200
KILLS, MANY_KILLS = 2, 12

HOOK = {"kind": "apprise", "name": "hook", "url_from": "ALERTS_HOOK", "style": "text"}


def test_killed_daemons_lose_no_alert_and_repeat_none_but_across_a_kill(
    prepared: Prepared, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = MANY_KILLS if request.config.getoption("every_variant") else KILLS
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(ALERTS - 1), kills))
    names = [f"check_{number:03}" for number in range(ALERTS)]
    killed_at = []
    with Webhook() as webhook:
        machine = Machine(
            home=tmp_path,
            prepared=prepared,
            exports={"acme": {"layout": "loose"}},
            policies={"night": {"interval_seconds": 1, "notifiers": [HOOK]}},
            variables={"ALERTS_HOOK": webhook.url},
        )
        with machine.installed() as instance:
            for name in names:
                evaluation = dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(["acme", "iceberg_table"]),
                    check_name=name,
                    passed=False,
                    metadata={},
                )
                instance.report_runless_asset_event(evaluation)
            for moment in moments:
                with machine.daemon():
                    machine.wait(partial(webhook.has_taken, moment + 1), pause_seconds=0.002)
                    # Anywhere within the time that a message takes: before it is sent, before it is noted, or after that.
                    time.sleep(chance.uniform(0, 0.03))
                killed_at.append(len(webhook.taken))
            store = Store(instance, "night")
            with machine.daemon():
                machine.wait(lambda: webhook.has_taken(ALERTS) and not store.load().outbox.waiting)
    taken = [one["title"].split()[3] for one in webhook.taken]
    assert [name for name, _ in groupby(taken)] == names
    twice = {place for place in range(1, len(taken)) if taken[place] == taken[place - 1]}
    # What was on its way in a kill arrives after it, and what was sent and not noted is sent once more.
    assert twice <= {place + late for place in killed_at for late in (0, 1)}
    assert len(twice) <= kills
