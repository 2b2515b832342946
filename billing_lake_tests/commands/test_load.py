"""One command from a folder of exports to proven tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from billing_lake.cli import main
from billing_lake.definitions import DEFS_SETTING
from billing_lake.deployments import HOME_SETTING
from billing_lake.landing.local import LANDING_SETTING
from billing_lake.sample import SampleSpec, write_delivery
from billing_lake_tests.landing.small_deliveries import put

LEGACY = SampleSpec(layout="create-new", prefix="billing", report="daily", rows=60)
CUR2 = SampleSpec(layout="create-new", prefix="new", report="daily-2", rows=60, format="cur2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder without a project, and an environment that the command may change."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (HOME_SETTING, LANDING_SETTING, DEFS_SETTING, "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder with two exports of one month each."""
    for spec in (LEGACY, CUR2):
        write_delivery(tmp_path / "exports", "2025-03", spec)
    return tmp_path / "exports"


def load(*arguments: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["load", *map(str, arguments)], input=answer)


def values(*arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    result = load(*arguments, "--yes", "--json")
    return result.exit_code, json.loads(result.stdout)


def test_what_is_found_is_set_up_loaded_and_proved_and_what_is_new_later(exports: Path) -> None:
    result = load(exports, answer="y\n")
    assert result.exit_code == 0, result.output
    assert "✓ daily 2025-03: 60 rows in 3 tables, loaded and proved" in result.output
    settings = Path("defs/daily/defs.yaml")
    assert yaml.safe_load(settings.read_text())["attributes"]["prefix"] == "billing"
    edited = settings.read_text() + "# mine\n"
    settings.write_text(edited)

    write_delivery(exports, "2025-04", CUR2)
    code, outcomes = values(exports)
    assert code == 0
    assert [(one["export"], one["format"], one["period"], one["rows"]) for one in outcomes] == [
        ("daily", "legacy_cur", "2025-03", 60),
        ("daily_2", "cur2", "2025-03", 60),
        ("daily_2", "cur2", "2025-04", 60),
    ]
    legacy, cur2, _ = (one["totals"]["USD"]["line_item_unblended_cost"] for one in outcomes)
    assert legacy == cur2
    for one in outcomes:
        assert one["error"] is None
        assert one["tables"] == {
            output: {"rows": 60, "equal": True} for output in ("hive", "iceberg", "s3_table")
        }
    assert settings.read_text() == edited
    again = load(exports, "--yes", "--period", "2025-04")
    assert again.output.count("✓") == 1
    assert "was loaded before, proved again" in again.output


def test_chosen_tables_home_and_name_are_those_of_the_command(
    exports: Path, tmp_path: Path
) -> None:
    options = ("--home", tmp_path / "my lake", "--outputs", "iceberg", "--name", "acme")
    code, (only,) = values(exports / "new", *options)
    assert code == 0
    assert (only["export"], [*only["tables"]]) == ("acme", ["iceberg"])
    assert (tmp_path / "my lake" / "catalog").is_dir()
    assert not Path("lake").exists()


def test_a_month_that_is_broken_fails_the_command_and_no_other_month(exports: Path) -> None:
    write_delivery(exports, "2025-04", LEGACY)
    (chunk, *_) = sorted(exports.glob("billing/daily/20250401-20250501/*/*.gz"))
    chunk.write_bytes(chunk.read_bytes()[:-20])
    code, outcomes = values(exports, "--outputs", "iceberg")
    assert code == 1
    states = {(one["export"], one["period"]): one["error"] for one in outcomes}
    broken = states.pop(("daily", "2025-04"))
    assert set(states.values()) == {None}
    assert chunk.name in broken["text"]
    assert broken["remedy"]


def test_nothing_is_written_without_a_yes(exports: Path) -> None:
    result = load(exports, answer="n\n")
    assert result.exit_code == 2
    assert "Nothing was written or loaded" in result.output
    assert [*Path("defs").iterdir()] == []
    assert not Path("lake", "catalog").exists()


def test_settings_of_another_export_are_never_overwritten(exports: Path) -> None:
    put(
        Path("defs/daily/defs.yaml"),
        b"""\
type: billing_lake.components.BillingExport
attributes: {name: daily, layout: loose, prefix: other}
""",
    )
    result = load(exports, "--yes")
    assert result.exit_code == 2
    assert "describes another export" in result.output
    assert "prefix: other" in Path("defs/daily/defs.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere",), "nowhere is not there"),
        (("empty",), "There is no export in empty, it is empty"),
        (("s3://bucket/x",), "reads exports from a folder of this machine"),
        (("../exports", "--period", "March"), "no billing period"),
        (("../exports", "--outputs", "csv"), "none of hive, iceberg, s3_table"),
        (("../exports", "--name", "x"), "2 are here: daily, daily_2"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    exports: Path, arguments: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.tables.iceberg_opening.require_credentials", lambda: None)
    Path("empty").mkdir()
    result = load(*arguments, "--yes")
    assert result.exit_code in (1, 2)
    assert reason in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
