"""Each check of a bill finds what it is for, names it in a table, and keeps quiet about a bill that is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from billing_lake.checks.bills import BillChecks, Judged
from billing_lake.checks.check_texts import CHECKS_OF_BILLS
from billing_lake.domain.periods import bounds
from billing_lake.sample.spec import month_of
from billing_lake_tests.lakes import EXPORT, SampleLake, verdicts
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row, write_report

PERIOD = "2025-03"
PLAN = "savingsPlan/SavingsPlanARN"
INVOICE = "bill/InvoiceId"
TAG = "resourceTags/user:Team"
HEADER = (*MINIMAL_HEADER, PLAN, INVOICE, TAG)
ARN = "arn:aws:savingsplans::004512345678:savingsplan/one"


def line(
    day: int = 1, plan: str = "", invoice: str = "", tag: str = "x", **cells: str
) -> tuple[str, ...]:
    start = f"{PERIOD}-{day:02d}T00:00:00.000Z"
    cells = {"start": start, "end": start, "line_item_id": os.urandom(8).hex(), **cells}
    return (*minimal_row(**cells), plan, invoice, tag)


def whole(**cells: str) -> list[tuple[str, ...]]:
    """A month with a row for each of its days."""
    return [line(day, **cells) for day in range(1, 32)]


@pytest.fixture
def load(make_lake: Callable[..., SampleLake]) -> Callable[..., dict[str, dg.AssetCheckEvaluation]]:
    """Deliver rows as the only file of the month, load it, and return the checks of the bill; settings count once."""
    made: list[SampleLake] = []

    def loaded(
        rows: Iterable[tuple[str, ...]], at: datetime | None = None, **limits: Any
    ) -> dict[str, dg.AssetCheckEvaluation]:
        if not made:
            settings = {"layout": "loose", "outputs": ["iceberg"], "report": "", "checks": limits}
            made.append(make_lake(**settings))
        lake = made[0]
        path = lake.landing / "billing" / f"{PERIOD}.csv.gz"
        write_report(path, HEADER, rows)
        moment = (at or datetime.now(timezone.utc)).timestamp()
        os.utime(path, (moment, moment))
        result = lake.load(PERIOD)
        assert result.success
        found = verdicts(result)
        return {name: found["iceberg_table", name, PERIOD] for name in CHECKS_OF_BILLS}

    return loaded


def table(one: dg.AssetCheckEvaluation, name: str) -> str:
    found = one.metadata[name]
    assert isinstance(found, dg.MarkdownMetadataValue)
    return str(found.value)


def test_a_bill_that_is_right_passes_every_check(load: Callable[..., Any]) -> None:
    covered = line(plan=ARN, type="SavingsPlanCoveredUsage", cost="2.5")
    negation = line(plan=ARN, type="SavingsPlanNegation", cost="-2.5")
    refund = line(type="Refund", cost="-1")
    found = load([*whole(), covered, negation, refund], payers=["004512345678"])
    assert {name: one.passed for name, one in found.items()} == dict.fromkeys(CHECKS_OF_BILLS, True)
    assert not any(one.blocking for one in found.values())


@pytest.mark.parametrize(
    ("check", "rows", "limits", "severity", "column", "named"),
    [
        ("missing_days", [line(day) for day in range(1, 31)], {}, "WARN", "days", "2025-03-31"),
        ("missing_days", [*map(line, range(1, 31)), line(31, type="Tax")], {}, "WARN", "days", "2025-03-31"),
        ("one_currency_per_payer", [line(currency="EUR")], {}, "WARN", "payers", "| 004512345678 | EUR | 1 |"),
        ("negative_costs", [line(cost="-0.000000000000000001")], {}, "WARN", "groups", "| Usage | AmazonS3 | USD | 1 |"),
        ("unknown_charge_types", [line(type="Gift|<b>")], {}, "WARN", "groups", "Gift"),
        ("account_ids", [line(account="123456789")], {}, "ERROR", "accounts", "123456789"),
        ("account_ids", [line(payer="")], {}, "ERROR", "accounts", "pays"),
        ("payer_allow_list", [], {"payers": ["000000000001"]}, "ERROR", "payers", "004512345678"),
        ("savings_plan_balance", [line(plan=ARN, type="SavingsPlanCoveredUsage", cost="0.02")], {}, "WARN", "hours", ARN),
        ("untagged_share", [line(tag="", cost="9")], {}, "WARN", "shares", "USD"),
        ("untagged_share", [line(tag="", cost="1")], {"untagged_percent": 10}, "WARN", "shares", "USD"),
    ],
)  # fmt: skip
def test_a_check_finds_what_it_is_for_and_no_other_one_complains(
    load: Callable[..., Any],
    check: str,
    rows: list[tuple[str, ...]],
    limits: dict[str, Any],
    severity: str,
    column: str,
    named: str,
) -> None:
    days = rows if check == "missing_days" else [*whole(), *rows]
    found = load(days, **limits)
    assert [name for name, one in found.items() if not one.passed] == [check]
    assert found[check].severity.value == severity
    shown = table(found[check], column)
    assert named in shown
    assert "<b>" not in shown


def test_past_days_that_move_are_told_with_their_services_and_a_small_correction_is_not(
    load: Callable[..., Any],
) -> None:
    load([*whole(cost="100"), *whole(cost="100", product="AmazonEC2")])
    small = load([*whole(cost="100"), *whole(cost="101", product="AmazonEC2")])
    assert small["restatement_size"].passed
    large = load([*whole(cost="102"), *whole(cost="98", product="AmazonEC2")])["restatement_size"]
    assert not large.passed
    assert large.severity == dg.AssetCheckSeverity.WARN
    assert "moved by 155.00 USD" in large.description
    assert "AmazonEC2 | USD | -93" in table(large, "services")
    assert "AmazonS3 | USD | 62" in table(large, "services")


def test_a_total_that_falls_by_a_fifth_is_asked_about_and_one_that_rises_is_not(
    load: Callable[..., Any],
) -> None:
    # In the middle of the month: no day is past.
    start = bounds(PERIOD)[0]
    hours = [start + timedelta(days=1, hours=hour) for hour in range(3)]
    load([line(1, cost="1")], at=hours[0])
    assert load([line(1, cost="9")], at=hours[1])["restatement_size"].passed
    fallen = load([line(1, cost="7.2")], at=hours[2])["restatement_size"]
    assert not fallen.passed
    assert "fell by 20.0 %" in fallen.description


def test_a_closed_month_that_moves_is_an_error_that_stops_nothing_until_it_is_as_it_was(
    load: Callable[..., Any],
) -> None:
    closed = whole(invoice="1")
    assert load(closed)["closed_month_moved"].passed
    refunded = load([*closed, line(invoice="2", type="Refund", cost="-0.25")])["closed_month_moved"]
    assert not refunded.passed
    assert refunded.severity == dg.AssetCheckSeverity.ERROR
    assert not refunded.blocking
    assert "| -0.25 | USD |" in table(refunded, "changes")
    again = [*closed, line(invoice="2", cost="0")]
    assert load(again)["closed_month_moved"].passed


def test_tables_of_offending_rows_are_bounded(load: Callable[..., Any]) -> None:
    found = load([*whole(), *(line(account=str(number)) for number in range(100))])["account_ids"]
    assert table(found, "accounts").count("used") == 20
    assert "and 80 more rows" in table(found, "accounts")


@pytest.mark.parametrize(
    ("hours", "passed", "severity"), [(23, True, None), (25, False, "WARN"), (49, False, "ERROR")]
)
def test_the_open_month_grows_old_and_others_do_not(
    make_lake: Callable[..., SampleLake],
    hours: int,
    passed: bool,  # noqa: FBT001
    severity: str | None,
) -> None:
    lake = make_lake()
    at = month_of(PERIOD).start + timedelta(days=10)
    delivered = at - timedelta(hours=hours)

    def judged(period: str) -> Any:
        source = lake.component.export.format.source((), ())
        now = Judged(period=period, identity=None, delivered=delivered, source=source, at=at)
        return BillChecks(lake.lake, lake.component.export, now).judge("freshness")

    assert judged("2025-02").passed
    found = judged(PERIOD)
    assert found.passed == passed
    if severity is not None:
        assert found.severity.value == severity
        assert f"{hours} hours" in found.description


def test_the_limits_in_yaml_are_those_of_the_documentation() -> None:
    import yaml

    from billing_lake.components import BillingExport
    from billing_lake.domain.bill import Limits

    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    (text,) = page.split("```yaml\n")[1].split("```")[:1]
    settings = yaml.safe_load(text)["attributes"]
    component = BillingExport(**settings)
    stated = component.export.limits
    assert Limits(**{**vars(stated), "payers": ()}) == Limits()
    for name in CHECKS_OF_BILLS:
        assert f"`{name}`" in page
    assert EXPORT
