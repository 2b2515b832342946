"""The terminal shows the months of a lake and what changed in them, exactly, and the SQL of the documentation finds the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import billing_lake
from billing_lake.cli import main
from billing_lake.sample import SampleDelivery
from billing_lake_tests.loads.test_ledger import Loads, costs

PAGE = Path(billing_lake.__file__).parents[1] / "docs" / "story.md"
DAYS = (28, 35, 38, 40)
"""Days since the first of March of the deliveries: in the month, then on the 5th, the 8th and the 10th of April."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loads, list[SampleDelivery]]:
    """A March of four deliveries with the times of their days."""
    loads = Loads(tmp_path_factory.mktemp("story") / "lake")
    delivered = []
    for restatement, day in enumerate(DAYS):
        delivery = loads.deliver(restatement)
        at = datetime(2025, 3, 1, 12, tzinfo=timezone.utc).timestamp() + day * 86_400
        for path in (*delivery.files, *loads.home.rglob("*Manifest.json")):
            os.utime(path, (at, at))
        delivered.append(delivery)
        loads.load()
    loads.deliver(0, "2025-04")
    loads.load("2025-04")
    return loads, delivered


@pytest.fixture
def run(
    told: tuple[Loads, list[SampleDelivery]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.setenv("BILLING_LAKE_HOME", str(told[0].home))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return invoke


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_months_shows_state_deliveries_last_change_total_and_change(
    told: tuple[Loads, list[SampleDelivery]], run: Callable[..., Result]
) -> None:
    _, delivered = told
    march, april = rows(run("months", "--format", "json"))
    total = [costs(one)["USD"] for one in delivered]
    assert march == {
        "export": "costs",
        "period": "2025-03",
        "state": "RESTATED",
        "deliveries": 4,
        "last_change": "2025-04-10T12:00:00+00:00",
        "currency": "USD",
        "total": f"{total[3].normalize():f}",
        "change": f"{(total[3] - total[2]).normalize():f}",
    }
    assert (april["state"], april["deliveries"], april["change"]) == ("SETTLING", 1, None)
    shown = run("months").stdout
    assert "RESTATED" in shown
    assert f"{total[3]:,.2f}" in shown


def test_the_focus_billing_periods_are_open_or_closed_for_each_issuer_of_invoices(
    run: Callable[..., Result],
) -> None:
    found = rows(run("months", "--focus", "--period", "2025-03", "--format", "json"))
    assert {one["InvoiceIssuerName"] for one in found} == {
        "Amazon Web Services EMEA SARL",
        "Contoso Größe GmbH & Co. KG",
    }
    for one in found:
        assert one["BillingPeriodStatus"] == "Closed"
        assert one["BillingPeriodStart"] == "2025-03-01T00:00:00Z"
        assert one["BillingPeriodEnd"] == "2025-04-01T00:00:00Z"
        assert one["BillingPeriodCreated"] == "2025-03-29T12:00:00Z"
        assert one["BillingPeriodLastUpdated"] == "2025-04-10T12:00:00Z"


def test_restatements_between_two_days_add_up_to_the_difference_of_their_deliveries(
    told: tuple[Loads, list[SampleDelivery]], run: Callable[..., Result]
) -> None:
    loads, delivered = told
    window = ("--since", "2025-04-05", "--until", "2025-04-08", "--format", "json")
    moved = costs(delivered[2])["USD"] - costs(delivered[0])["USD"]
    each = rows(run("restatements", "2025-03", *window))
    assert {one["delivery"] for one in each} == {one.version for one in delivered[1:3]}
    together = rows(run("restatements", "2025-03", *window, "--net"))
    for found in (each, together):
        assert sum(Decimal(one["cost_change"]) for one in found) == moved
    assert {one["service"] for one in together} == {"AmazonS3"}

    sql = re.search(r"```sql\n(SELECT account.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sql is not None
    asked = sql[1].replace("2025-04-03", "2025-04-05").replace("2025-04-08", "2025-04-09")
    answered = rows(run("query", asked, "--format", "json"))
    assert {(one["account"], Decimal(one["change"])) for one in answered} == {
        (one["account"], Decimal(one["cost_change"])) for one in together
    }
    assert loads.restated()


def test_a_month_without_deliveries_is_refused_with_those_that_there_are(
    run: Callable[..., Result],
) -> None:
    refused = run("restatements", "2024-12")
    assert refused.exit_code == 1
    assert "costs 2025-03" in " ".join(refused.output.split())
    assert run("restatements", "March").exit_code == 2
    assert "No cost changed" in run("restatements", "2025-04").output


def test_the_only_table_of_an_export_is_still_found_beside_the_ledger(
    run: Callable[..., Result],
) -> None:
    found = run("query", "--named", "cost-by-service", "--period", "2025-04")
    assert found.exit_code == 0, found.output
