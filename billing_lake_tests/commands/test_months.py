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
        "state_when_delivered": "RESTATED",
        "deliveries": 4,
        "last_change": "2025-04-10T12:00:00+00:00",
        "currency": "USD",
        "total": f"{total[3].normalize():f}",
        "change": f"{(total[3] - total[2]).normalize():f}",
    }
    assert (april["state"], april["deliveries"], april["change"]) == ("SETTLING", 1, None)
    above, *table = run("months").stdout.splitlines()
    assert above == "export costs, currency USD, moments in UTC"
    shown = "\n".join(table)
    assert "RESTATED" in shown
    assert f"{total[3]:,.2f}" in shown
    assert "2025-04-10 12:00 " in shown
    assert "USD" not in shown
    assert "NULL" not in shown
    assert max(map(len, table)) <= 100


def test_an_open_month_that_is_over_by_now_is_told_in_both_ways(
    run: Callable[..., Result], told: tuple[Loads, list[SampleDelivery]]
) -> None:
    loads, _ = told
    loads.deliver(0, "2025-05")
    for path in loads.home.rglob("*20250501-20250601*/**/*"):
        if path.is_file():
            at = datetime(2025, 5, 20, tzinfo=timezone.utc).timestamp()
            os.utime(path, (at, at))
    loads.load("2025-05")
    (may,) = rows(run("months", "--period", "2025-05", "--format", "json"))
    assert (may["state"], may["state_when_delivered"]) == ("SETTLING", "OPEN")
    shown = run("months", "--period", "2025-05").stdout
    assert re.search(r"state today +when delivered", shown)
    assert re.search(r"SETTLING +OPEN", shown)


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
    assert len(delivered) == len(DAYS)


def test_tables_of_changes_fit_and_say_once_what_is_the_same(
    told: tuple[Loads, list[SampleDelivery]],
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it, and lines would break there
    _, delivered = told
    for more in ((), ("--net",)):
        shown = run("restatements", "2025-03", *more).stdout.splitlines()
        assert max(map(len, shown)) <= 100
        assert not any("USD" in line for line in shown if not line.startswith("export costs"))
    whole = "\n".join(run("restatements", "2025-03").stdout.splitlines())
    assert whole.count("export costs, delivered 2025-04-") == len(DAYS) - 1
    assert f"delivered 2025-04-10 12:00 UTC, delivery {delivered[3].version}, currency USD" in whole
    cut = run("restatements", "2025-03", "--limit", "1").stdout
    assert "… the first 1 of" in cut


def test_the_help_shows_each_example_on_its_line(run: Callable[..., Result]) -> None:
    shown = run("restatements", "--help").stdout
    assert "\\b" not in shown
    assert re.search(r"^ *billing-lake restatements 2025-03$", shown, re.MULTILINE)


def test_only_tables_of_costs_say_that_they_are_rounded(run: Callable[..., Result]) -> None:
    assert "Rounded to cents" not in run("months", "--focus").stderr
    for arguments in (("months",), ("restatements", "2025-03")):
        assert "Rounded to cents" in run(*arguments).stderr


def test_a_month_without_deliveries_is_refused_with_those_that_there_are(
    run: Callable[..., Result],
) -> None:
    refused = run("restatements", "2024-12")
    assert refused.exit_code == 1
    assert "costs 2025-03" in " ".join(refused.output.split())
    assert run("restatements", "March").exit_code == 2
    said = "2025-04 has one delivery; there is nothing to compare"
    assert said in run("restatements", "2025-04").output
    before = ("--until", "2025-03-02")
    assert "No cost changed" in run("restatements", "2025-03", *before).output


def test_the_only_table_of_an_export_is_still_found_beside_the_ledger(
    run: Callable[..., Result],
) -> None:
    found = run("query", "--named", "cost-by-service", "--period", "2025-04")
    assert found.exit_code == 0, found.output
