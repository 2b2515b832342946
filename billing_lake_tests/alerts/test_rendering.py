"""Alerts in words: what they say, and what they never say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import billing_lake
from billing_lake.alerts.changes import AlertGroup
from billing_lake.alerts.rendering import Renderer, title_of
from billing_lake.assets import markdown
from billing_lake_tests.alerts.services import NOON, UI, change, message

PAGE = Path(billing_lake.__file__).parents[1] / "docs" / "alerts.md"


def examples() -> list[str]:
    """Return the alerts that the documentation shows."""
    refused = change(
        name="schema_diff",
        asset="cost_and_usage/crawler_table",
        found="2025-03: the delivery cannot be merged into hive_table: 1 incompatible column",
        table=(
            "| table | column | expected | found | change |\n| --- | --- | --- | --- | --- |\n"
            "| hive_table | line_item_usage_amount | decimal(38, 18) | string | incompatible |"
        ),
        period="2025-03",
        stops_load=True,
    )
    green = change(is_red=False, found="2025-02: equal", at=NOON + timedelta(hours=3))
    renderer = Renderer(UI)
    found = [renderer.message(AlertGroup(id="1", changes=(one,))) for one in (refused, green)]
    return [
        f"```text\n{found[0].title}\n\n{found[0].text}\n```",
        f"```markdown\n{found[1].title}\n\n{found[1].markdown}\n```",
    ]


def test_the_documentation_shows_alerts_as_they_are_rendered() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for example in examples():
        assert example in page


def test_an_alert_says_what_where_since_when_and_what_to_do_with_links_to_run_and_asset() -> None:
    text = message().text
    for part in (
        "Check: equals_delivery of cost_and_usage/iceberg_table",
        "Export: cost_and_usage, billing period 2025-02",
        "| rows | 1,204,331 | 1,204,330 | -1 |",
        "Since: 2025-03-04 12:00 UTC",
        "What to do: Do not report",
        f"Asset: {UI}/assets/cost_and_usage/iceberg_table?view=checks&checkDetail=equals_delivery",
        f"Run: {UI}/runs/5f2b8f0e",
    ):
        assert part in text


def test_what_the_title_says_of_one_change_is_not_said_again_but_tells_several_apart() -> None:
    one = change()
    assert "RED" not in Renderer().message(AlertGroup(id="1", changes=(one,))).text
    text = Renderer().message(AlertGroup(id="1", changes=(one, change(severity="WARN")))).text
    assert "RED, ERROR: check equals_delivery of cost_and_usage/iceberg_table" in text
    assert "WARNING: check equals_delivery" in text


@pytest.mark.parametrize(
    ("name", "period", "remedy"),
    [
        ("cost_and_usage_load", "2025-03", "start the job cost_and_usage_load for 2025-03 again."),
        ("cost_and_usage_maintenance", "", "start the job cost_and_usage_maintenance again."),
    ],
)
def test_the_remedy_of_a_run_names_a_month_where_it_has_one(
    name: str, period: str, remedy: str
) -> None:
    run = change(kind="run", name=name, asset="", period=period)
    assert run.remedy.endswith(remedy)
    assert ("month" in run.remedy) == bool(period)


def test_a_warning_is_never_called_red() -> None:
    warned = change(severity="WARN")
    failed, green = change(), change(severity="WARN", is_red=False)
    for changes, expected in (
        ((warned,), "[WARN] cost_and_usage 2025-02: check equals_delivery warns"),
        ((warned, failed), "[ERROR] cost_and_usage 2025-02: 1 red, 1 warning"),
        ((warned, warned, green), "[WARN] cost_and_usage 2025-02: 2 warnings, 1 green again"),
    ):
        assert Renderer().message(AlertGroup(id="1", changes=changes)).title == expected
    for one in (warned, green):
        assert "red" not in Renderer().message(AlertGroup(id="1", changes=(one,))).text.lower()
    assert (
        Renderer().digest("2025-03-04", ["one"]).title.endswith(": 1 alert since the last digest")
    )


def test_markup_and_control_characters_from_a_bill_are_shown_and_do_nothing() -> None:
    found = "<!channel> **bold** [click](http://evil) `code`\x1b[31m\nsecond line"
    markdown = message(found=found, table="").markdown
    assert r"\<!channel\> \*\*bold\*\* \[click\](http://evil) \`code\`\\x1b\[31m / second line" in (
        markdown
    )


def test_what_looks_like_a_secret_is_not_shown() -> None:
    found = "GET https://user:hunter2@host/x?token=abc&b=1 by AKIAABCDEFGHIJKLMNOP failed"
    sent = message(found=found, table=f"| x |\n| --- |\n| {found} |")
    for text in (sent.text, sent.markdown, sent.title):
        assert not any(secret in text for secret in ("hunter2", "abc&", "AKIAABCDEFGHIJKLMNOP"))
    assert "GET https://***@host/x?token=***&b=1 by *** failed" in sent.text


@given(st.text(max_size=300), st.sampled_from(["", "2025-03"]))
def test_a_title_is_one_line_of_ascii_that_every_service_takes(name: str, period: str) -> None:
    line = title_of(AlertGroup(id="1", changes=(change(name=name, export=name, period=period),)))
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 100


@pytest.mark.parametrize(
    ("days", "ends"),
    [
        (12, ["| 12 |"]),
        (20, ["| 12 |", "", "… and 8 more rows; the check has all of them"]),
        (1_031, ["| 12 |", "", "… and 1019 more rows; the check has the first 20"]),
    ],
    ids=["whole", "cut here", "cut by the check too"],
)
def test_a_table_that_is_cut_says_how_many_rows_there_are_and_how_many_the_check_shows(
    days: int, ends: list[str]
) -> None:
    rows = markdown.table(("day",), ([day] for day in range(1, days + 1)), most=20)
    sent = message(table=str(rows.value)).text
    lines = sent.partition("| day |\n| --- |\n")[2].splitlines()
    assert lines[11 : 11 + len(ends)] == ends


def test_long_tables_and_many_changes_are_cut_to_size() -> None:
    rows = "\n".join(f"| {number} | {'x' * 50} |" for number in range(500))
    many = AlertGroup(
        id="1", changes=tuple(change(table=f"| a | b |\n| --- | --- |\n{rows}") for _ in range(50))
    )
    sent = Renderer().message(many)
    assert "488 more rows; the check has all of them" in sent.text
    assert "… and 38 more; the run has all of them." in sent.text
    assert len(sent.text) < 25_000
    assert sent.title == "[ERROR] cost_and_usage 2025-02: 50 red"
