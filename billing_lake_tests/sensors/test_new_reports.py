"""Ticks of the sensor `new_reports`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import dagster as dg

from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.sensors.new_reports import decide
from billing_lake_tests.lakes import EXPORT, World

Make = Callable[..., World]


def tick(lake: World, cursor: str | None = None) -> dg.SensorResult:
    definitions = lake.definitions
    sensor = definitions.resolve_sensor_def(f"{EXPORT}_new_reports")
    context = dg.build_sensor_context(
        instance=lake.instance,
        cursor=cursor,
        resources={"lake": lake.lake},
        sensor_name=sensor.name,
    )
    return cast("dg.SensorResult", sensor(context))


def periods(result: dg.SensorResult) -> list[str | None]:
    return [request.partition_key for request in result.run_requests or ()]


def reason(result: dg.SensorResult) -> str:
    return str(result.skip_reason.skip_message) if result.skip_reason else ""


def test_a_new_delivery_is_asked_for_once_with_a_key_of_its_content(world: Make) -> None:
    lake = world()
    delivery = lake.deliver("2025-03")
    first = tick(lake)
    assert periods(first) == ["2025-03"]
    request = (first.run_requests or [])[0]
    assert str(request.run_key).startswith(f"{EXPORT}/2025-03:")
    assert request.tags["billing_lake/delivery_version"] == delivery.version
    second = tick(lake, first.cursor)
    assert periods(second) == []
    assert reason(second) == f"No new deliveries of {EXPORT}."
    assert second.cursor == first.cursor


def test_a_restatement_is_asked_for_with_another_key(world: Make) -> None:
    lake = world()
    lake.deliver("2025-03")
    first = tick(lake)
    lake.deliver("2025-03", restatement=1)
    second = tick(lake, first.cursor)
    assert periods(second) == ["2025-03"]
    assert (first.run_requests or [])[0].run_key != (second.run_requests or [])[0].run_key
    assert list(json.loads(str(second.cursor))) == ["2025-03"]


def test_an_export_without_anything_is_a_tick_without_anything(world: Make) -> None:
    result = tick(world())
    assert periods(result) == []
    assert json.loads(str(result.cursor)) == {}


def test_a_tick_asks_for_the_newest_months_and_the_next_for_the_rest(world: Make) -> None:
    lake = world(sensor_runs_per_tick=2)
    for month in ("2025-01", "2025-02", "2025-03"):
        lake.deliver(month)
    first = tick(lake)
    assert periods(first) == ["2025-03", "2025-02"]
    second = tick(lake, first.cursor)
    assert periods(second) == ["2025-01"]
    assert periods(tick(lake, second.cursor)) == []


def test_a_broken_or_waiting_month_stops_no_other_and_is_named(world: Make) -> None:
    lake = world()
    broken, waiting, good = (lake.deliver(p) for p in ("2025-01", "2025-02", "2025-03"))
    assert broken.manifest
    broken.manifest.write_text("{ this is no JSON")
    waiting.files[0].unlink()
    first = tick(lake)
    assert periods(first) == [good.period]
    second = tick(lake, first.cursor)
    assert "2025-01 is broken: " in reason(second)
    assert "2025-02 waits: " in reason(second)
    assert waiting.files[0].name in reason(second)


def test_a_month_before_the_start_is_told_and_not_asked_for(world: Make) -> None:
    lake = world()
    lake.deliver("2024-12")
    result = tick(lake)
    assert periods(result) == []
    assert "2024-12: before the export's `start`" in reason(result)


def test_a_cursor_that_somebody_broke_is_begun_anew(world: Make) -> None:
    lake = world()
    lake.deliver("2025-03")
    assert periods(tick(lake, "no JSON")) == ["2025-03"]
    assert periods(tick(lake, "[]")) == ["2025-03"]


def delivery(period: str, version: str = "v1") -> Delivery:
    return Delivery(export="e", period=period, version=version, layout="create-new", files=())


def test_the_cursor_holds_only_months_that_are_there() -> None:
    seen = {f"20{year}-01": "gone" for year in range(10, 99)}
    found = Findings(deliveries={"2025-01": delivery("2025-01")})
    decided = decide(found, seen, ["2025-01", "2025-02"], 5)
    assert list(decided.cursor) == ["2025-01"]


def test_a_month_that_waits_keeps_its_entry_so_that_its_old_delivery_is_no_news() -> None:
    one = delivery("2025-01")
    seen = {"2025-01": one.identity}
    waiting = decide(Findings(waiting={"2025-01": "a file is missing"}), seen, ["2025-01"], 5)
    assert waiting.cursor == seen
    back = decide(Findings(deliveries={"2025-01": one}), waiting.cursor, ["2025-01"], 5)
    assert back.requests == ()


def test_what_the_cap_leaves_over_is_not_in_the_cursor() -> None:
    found = Findings(deliveries={p: delivery(p) for p in ("2025-01", "2025-02")})
    decided = decide(found, {}, ["2025-01", "2025-02"], 1)
    assert list(decided.cursor) == ["2025-02"]
    assert decided.later == 1
