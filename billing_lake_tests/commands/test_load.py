"""`billing-lake load`, from a folder without a project to proven tables, again and again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result

from billing_lake.cli import main
from billing_lake.commands.defs_folder import defs_folder
from billing_lake.deployments import LocalLake, open_lake
from billing_lake.deployments.local import DEMO_MARK
from billing_lake.domain.sources import PeriodKey
from billing_lake.landing import pinned_files
from billing_lake.landing.local import LANDING_SETTING
from billing_lake.sample import SampleSpec, write_delivery
from billing_lake_tests.assets.test_focus_of_providers import PROVIDERS
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row
from billing_lake_tests.servers.aws import Aws

# Dagster's own, where it reads defs.yaml.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

TABLES = {output: {"rows": 2, "equal": True} for output in ("hive", "iceberg", "s3_table")}


@dataclass
class World:
    """A folder in which somebody works, with a copy of a bucket in it."""

    folder: Path

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

    @property
    def settings(self) -> Path:
        return self.folder / "defs" / "cur" / "defs.yaml"

    @property
    def runs(self) -> int:
        with dg.DagsterInstance.from_config(str(self.folder / "lake" / "dagster")) as instance:
            return instance.get_runs_count()

    def load(self, *arguments: str, uri: str = "exports", typed: str = "", **env: str) -> Result:
        settings = {"BILLING_LAKE_HOME": "", "COLUMNS": "100", **env}
        return CliRunner().invoke(main, ["load", uri, *arguments], input=typed, env=settings)

    def json(self, *arguments: str, exit_code: int = 0, **options: str) -> list[dict[str, Any]]:
        result = self.load("--yes", "--json", *arguments, **options)
        assert result.exit_code == exit_code, result.output
        values: list[dict[str, Any]] = json.loads(result.stdout)
        return values


def in_folder(folder: Path) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield World(folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from in_folder(tmp_path)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Result]]:
    """A folder whose two months were loaded by somebody who answered y."""
    for world in in_folder(tmp_path_factory.mktemp("loaded")):
        deliver(world.exports, "2025-01")
        deliver(world.exports, "2025-02", version="v7")
        put(world.exports / "notes.txt", b"hello")
        put(world.exports / ".samples.sha256", b"0")  # the tool's own
        yield world, world.load(typed="y\n")


def test_a_folder_is_shown_asked_about_loaded_and_proved(loaded: tuple[World, Result]) -> None:
    world, first = loaded
    assert first.exit_code == 0, first.output
    assert "Write 1 file and load 2 deliveries into lake? [y/N]: y" in first.output
    assert "✓ wrote defs/cur/defs.yaml" in first.output
    rows = [line.split() for line in first.stdout.splitlines() if " of 3 equal" in line]
    assert [line[:9] for line in rows] == [
        ["cur", "2025-01", "v1", "2", "3", "USD", "3", "of", "3"],
        ["cur", "2025-02", "v7", "2", "3", "USD", "3", "of", "3"],
    ]
    assert "1 file belongs to no export: notes.txt (not a report file)" in first.stdout
    assert "! cur, WARN of missing_days: 2025-01: 30 days without usage" in first.stdout
    assert max(map(len, first.stdout.partition("Ask  ")[0].splitlines())) <= 100
    assert "\x1b" not in first.output
    lake = open_lake({"BILLING_LAKE_HOME": str(world.folder / "lake")})
    assert isinstance(lake, LocalLake)
    assert lake.landing == world.exports, "sensors and Dagster's pages look there too"
    policy = next(line for line in first.stdout.splitlines() if line.startswith("Tell  "))
    subprocess.run(policy[policy.index("mkdir ") :], shell=True, check=True)
    sent = CliRunner().invoke(main, ["alerts", "test"], env={"BILLING_LAKE_DEFS": ""})
    assert sent.output == "finops: log: sent\n"
    shutil.rmtree(world.folder / "defs" / "alerts")  # the folder is other tests' too
    settings = yaml.safe_load(world.settings.read_text())
    assert settings["type"] == "billing_lake.components.BillingExport"
    assert (settings["attributes"]["report"], settings["attributes"]["start"]) == ("cur", "2025-01")


def test_tables_that_somebody_wrote_to_are_named_with_what_differs_and_what_to_do(
    world: World,
) -> None:
    deliver(world.exports, "2025-01")
    world.json("--outputs", "iceberg,s3_table")
    lake = LocalLake(world.folder / "lake")
    for catalog in (lake.iceberg, lake.s3_tables):
        catalog.open("billing.cur").delete("billing_period = '2025-01'")
    (found,) = world.json(exit_code=1)
    assert found["error"] is None
    complaint = found["tables"]["iceberg"]["complaint"]
    assert complaint.startswith("does not equal the delivery: rows: expected 2, found 0; ")
    unequal = {"rows": 0, "equal": False, "complaint": complaint}
    assert found["tables"] == {"iceberg": unequal, "s3_table": unequal}
    again = world.load("--yes")
    assert again.exit_code == 1
    assert f"\n✗ cur 2025-01, iceberg, s3_table: {complaint}\n" in again.stdout
    assert "Start the job cur_load for 2025-01 in Dagster, which loads the month again" in complaint


def test_the_commands_that_come_next_are_named_as_this_one_was_called(
    loaded: tuple[World, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = loaded
    monkeypatch.setattr(sys, "argv", [str(world.folder / ".venv" / "bin" / "billing-lake")])
    result = world.load("--yes")
    assert result.exit_code == 0, result.output
    said = result.stdout
    assert "\nAsk  BILLING_LAKE_HOME=lake .venv/bin/billing-lake query " in said
    assert "/dagster .venv/bin/dagster dev -m billing_lake.definitions\n" in said


def test_what_is_new_is_loaded_the_rest_is_proved_and_the_settings_stay_as_they_are(
    loaded: tuple[World, Result],
) -> None:
    world, _ = loaded
    world.settings.write_text(f"# mine\n{world.settings.read_text()}")
    before, runs = world.settings.read_bytes(), world.runs
    again = world.load()
    assert again.exit_code == 0, again.output
    assert again.stdout.count("loaded before") == 2
    assert world.runs == runs
    deliver(world.exports, "2025-02", version="v8", chunks=3)
    results = world.json()
    assert world.runs == runs + 1
    assert world.settings.read_bytes() == before
    assert results[0] == {
        "export": "cur",
        "format": "legacy_cur",
        "layout": "create-new",
        "period": "2025-01",
        "version": "v1",
        "files": 2,
        "rows": 2,
        "totals": {"USD": {"line_item_unblended_cost": "3"}},
        "tables": TABLES,
        "complaints": [],  # it was loaded before
        "warnings": [],
        "error": None,
    }
    complaints = {one["check"]: one for one in results[1]["complaints"]}
    assert complaints["restatement_size"]["severity"] == "WARN"
    assert "past days moved by 1.50 USD, 50.00 % of 3.00" in complaints["restatement_size"]["text"]
    assert (results[1]["version"], results[1]["rows"]) == ("v8", 3)
    assert results[1]["totals"] == {"USD": {"line_item_unblended_cost": "4.5"}}
    assert [table["rows"] for table in results[1]["tables"].values()] == [3, 3, 3]


def test_what_a_check_finds_in_each_table_alike_is_told_once(world: World) -> None:
    late = ("i", "2025-03-01T00:00:00Z", "2025-04-02T00:00:00Z", "USD", "1.5")
    put(world.exports / "bill.csv.gz", csv_gz([late]))
    (result,) = world.json("--outputs", "hive,iceberg")
    texts = [one["text"] for one in result["complaints"]]
    assert texts.count("2025-03: 1 row on 1 day outside the billing period") == 1
    assert len(texts) == len({*texts})


def test_one_month_is_chosen_and_a_month_without_a_delivery_is_refused(
    loaded: tuple[World, Result],
) -> None:
    world, _ = loaded
    assert [one["period"] for one in world.json("--period", "2025-01")] == ["2025-01"]
    refused = world.load("--period", "2024-12", "--yes")
    assert refused.exit_code == 1
    assert "No export has a delivery for 2024-12 to load; newest are 2025-01, 2025-02" in " ".join(
        refused.output.replace("│", "").split()
    )


def test_an_export_of_the_same_folders_below_another_root_is_another_one_unless_its_name_is_given(
    loaded: tuple[World, Result],
) -> None:
    world, _ = loaded
    deliver(world.folder / "payer2", "2025-01", version="other")
    (result,) = world.json("--outputs", "iceberg", uri="payer2")
    assert (result["export"], list(result["tables"])) == ("cur_2", ["iceberg"])
    lake = LocalLake(world.folder / "lake")
    assert lake.iceberg.held("billing.cur", "cur").keys() == {"2025-01", "2025-02"}
    shutil.copytree(world.folder / "payer2", world.folder / "moved")
    (moved,) = world.json("--name", "cur_2", uri="moved")
    assert (moved["export"], moved["error"]) == ("cur_2", None)
    assert sorted(one.name for one in (world.folder / "defs").iterdir()) == ["cur", "cur_2"]
    contrary = world.load("--yes", "--name", "cur_2", "--outputs", "hive", uri="moved")
    assert contrary.exit_code == 2
    assert "--outputs says otherwise" in contrary.output


def test_one_month_in_two_formats_adds_up_to_the_same_and_no_settings_of_others_are_touched(
    world: World,
) -> None:
    other = b"type: billing_lake.components.BillingExport\nattributes: {name: daily, layout: loose, prefix: other}\n"
    put(world.folder / "defs" / "daily" / "defs.yaml", other)
    for prefix, format_ in (("billing", "legacy_cur"), ("new", "cur2")):
        spec = SampleSpec(
            layout="create-new", prefix=prefix, report="daily", rows=60, format=format_
        )
        write_delivery(world.exports, "2025-03", spec)
    legacy, cur2 = world.json("--outputs", "iceberg")
    assert [(one["export"], one["format"], one["rows"]) for one in (legacy, cur2)] == [
        ("daily_2", "legacy_cur", 60),
        ("daily_2_2", "cur2", 60),
    ]
    cost = "line_item_unblended_cost"
    assert legacy["totals"]["USD"][cost] == cur2["totals"]["USD"][cost]
    assert (world.folder / "defs" / "daily" / "defs.yaml").read_bytes() == other


def test_two_exports_of_one_bill_are_warned_of_until_one_of_them_counts_no_more(
    world: World,
) -> None:
    for report, format_ in (("daily", "legacy_cur"), ("focus_daily", "focus")):
        spec = SampleSpec(report=report, rows=20, format=format_, payer="004512345678")
        write_delivery(world.exports, "2025-02", spec)
    first = world.load("--yes", "--outputs", "iceberg")
    assert first.exit_code == 0, first.output
    warning = (
        "all_costs counts 2025-02 of payer 004512345678 twice (daily, focus_daily): set `counts: false` in the defs.yaml of one, "
        "unless each delivers a part of the bill"
    )
    assert f"! {warning}\n" in first.stdout
    assert [one["warnings"] for one in world.json()] == [[warning], [warning]]
    settings = world.folder / "defs" / "focus_daily" / "defs.yaml"
    settings.write_text(f"{settings.read_text()}  counts: false\n")
    assert [one["warnings"] for one in world.json()] == [[], []]


def test_a_table_that_does_not_hold_what_it_says_fails_the_command(world: World) -> None:
    deliver(world.exports, "2025-01")
    assert world.json("--outputs", "hive", "--home", "other")[0]["error"] is None
    catalog = LocalLake(world.folder / "other").hive
    for file in catalog.files("billing.cur", PeriodKey("cur", "2025-01")).files:
        Path(file.uri).unlink()
    (result,) = world.json("--home", "other", exit_code=1)
    assert result["tables"] == {}
    assert result["error"]["class"].endswith("Error")


def test_a_month_that_is_broken_or_fails_leaves_the_others_alone_and_says_why(world: World) -> None:
    deliver(world.exports, "2025-01")
    missing, *_ = deliver(world.exports, "2025-02")
    missing.unlink()
    put(world.exports / "bad" / "x.csv.gz", csv_gz([row("2025-03"), row("2025-04")]))
    results = world.json("--outputs", "iceberg", exit_code=1)
    assert [(one["export"], one["period"], one["error"] is None) for one in results] == [
        ("bad", "2025-03", False),
        ("cur", "2025-01", True),
        ("cur", "2025-02", False),
    ]
    bad, _, absent = (one["error"] for one in results)
    assert bad["class"] == "MixedPeriodsError"
    assert bad["file"].endswith("x.csv.gz")
    assert "one billing period each" in bad["remedy"]
    assert absent["class"] == "IncompleteDeliveryError"
    assert "Wait for the provider" in absent["remedy"]
    nothing = world.load("--yes", "--period", "2025-03").stdout
    assert "\nSee  BILLING_LAKE_HOME=lake " in nothing
    assert "\nAsk  " not in nothing, "there is no table that could be asked"
    assert "--table billing.cur\n" in world.load("--yes").stdout


def test_nothing_is_written_where_nobody_says_yes(world: World) -> None:
    deliver(world.exports, "2025-01")
    PROVIDERS["another"].write(world.exports)  # a loose file, of which the lake keeps the months
    for typed, said in (("n\n", ""), ("", " Where nobody can answer, give --yes.")):
        result = world.load(typed=typed)
        assert result.exit_code == 1
        assert result.output.endswith(f"\nNothing was written or loaded.{said}\n")
        assert "─ ConfigurationError" not in result.output
    assert [one.name for one in world.folder.iterdir()] == ["exports"]


def test_a_place_without_an_export_is_refused_in_a_sentence(world: World) -> None:
    world.exports.mkdir()
    (world.folder / "bills" / "finance").mkdir(parents=True)
    put(world.folder / "others" / "a.csv.gz", csv_gz([("1", "2")], ("a", "b")))
    put(world.folder / "mark" / DEMO_MARK, b"")
    deliver(world.folder / "good", "2025-01")
    deliver(world.folder / "good" / "more", "2025-01")
    cases: list[tuple[tuple[str, ...], str, str]] = [
        ((), "exports", "Nothing lies in exports"),
        ((), "nowhere", "nowhere is not there"),
        ((), "bils/finance", f"bils/finance is not there file: {world.folder}"),
        ((), "bils/finance", "Did you mean bills/finance?"),
        ((), "others", "Nothing in others (1 file) is part of an export"),
        (("--home", "mark"), "good", "takes no other export"),
        (("--name", "x"), "good", "2 exports were found"),
        (("--outputs", "delta"), "good", "'delta' is none of hive, iceberg, s3_table"),
        (("--period", "2025"), "good", "'2025' is not a billing period"),
    ]
    for arguments, uri, reason in cases:
        assert_refused(world.load("--yes", *arguments, uri=uri), reason)
    assert not (world.folder / "defs").exists()


def assert_refused(result: Result, reason: str) -> None:
    assert result.exit_code == 2, result.output
    assert reason in " ".join(result.output.replace("│", "").split())
    assert "Traceback" not in result.output


def in_bucket(aws: Aws, folder: Path) -> str:
    """Put what lies in a folder into a new bucket, below `finops/`, manifests last as providers do, and return its name."""
    bucket = aws.new_bucket()
    for file in sorted(folder.rglob("*.*"), key=lambda file: file.suffix == ".json"):
        if file.is_file():
            aws.put(bucket, f"finops/{file.relative_to(folder)}", file.read_bytes())
    return bucket


def test_a_bucket_is_loaded_into_a_folder_again_and_again(
    world: World, aws: Aws, aws_environment: object
) -> None:
    deliver(world.exports, "2025-01")
    packed = SampleSpec(format="focus", container="csv.zip", layout="overwrite", rows=40, chunks=2)
    write_delivery(world.exports, "2025-01", packed)
    bucket = in_bucket(aws, world.exports)
    shutil.rmtree(world.exports)

    def figures() -> dict[str, tuple[int, list[bool]]]:
        return {
            one["export"]: (one["rows"], [table["equal"] for table in one["tables"].values()])
            for one in world.json("--outputs", "iceberg", uri=f"s3://{bucket}/finops")
        }

    first, runs = figures(), world.runs
    assert {*first} == {"cur", "cost_and_usage"}
    assert first["cur"] == (2, [True])
    assert all(equal == [True] for _, equal in first.values())
    shown = world.load("--yes", uri=f"s3://{bucket}/finops")
    assert shown.stdout.count("1 of 1 equal") == 2
    assert f"BILLING_LAKE_LANDING=s3://{bucket} " in shown.output
    assert world.runs == runs
    settings = yaml.safe_load(world.settings.read_text())
    assert settings["attributes"]["prefix"] == "finops/billing"
    lake = open_lake(
        {"BILLING_LAKE_HOME": str(world.folder / "lake"), LANDING_SETTING: f"s3://{bucket}"}
    )
    assert isinstance(lake, LocalLake)
    assert not (lake.home / "landing").exists()


def test_a_bucket_is_loaded_into_a_lake_on_aws(world: World, aws: Aws, make_aws_lake: Any) -> None:
    deliver(world.exports, "2025-01")
    bucket = in_bucket(aws, world.exports)
    on_aws = make_aws_lake()
    (found,) = world.json(
        *("--outputs", "iceberg", "--name", f"from_{on_aws.namespace}"),
        uri=f"s3://{bucket}/finops",
        **on_aws.variables,
    )
    assert (found["rows"], found["tables"]) == (2, {"iceberg": {"rows": 2, "equal": True}})
    assert f"billing.from_{on_aws.namespace}" in on_aws.lake.iceberg.tables()


def test_a_bucket_that_cannot_be_read_is_refused_in_a_sentence(
    world: World, aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = aws.new_bucket()
    cases = [
        ("s3://no-such-bucket-here/x", "no-such-bucket-here cannot be listed"),
        (f"s3://{empty}/x", f"Nothing lies in s3://{empty}/x"),
        ("s3://", "names no bucket"),
    ]
    for uri, reason in cases:
        assert_refused(world.load("--yes", uri=uri), reason)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    assert_refused(world.load("--yes", uri=f"s3://{empty}"), "There are no AWS credentials")
    assert not (world.folder / "defs").exists()


def test_a_bucket_without_the_packages_that_read_it_says_how_to_install_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert_refused(world.load(uri="s3://acme"), "Run `make aws` in a checkout of Billing Lake;")
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert re.search(r"^aws: \$\(VENV\)/\.aws ## ", makefile, re.MULTILINE)


def test_a_faulty_defs_yaml_leaves_out_its_own_export_alone_and_says_line_and_remedy(
    world: World,
) -> None:
    deliver(world.exports, "2025-01")
    head = "type: billing_lake.components.BillingExport\nattributes:\n  name: mine\n"
    place = "  layout: create-new\n  prefix: billing\n  report: cur\n"
    cases = {
        f"{head}{place}  same_contnt: 9\n": (
            "There is no setting `same_contnt` (file {file}, line 7). Write `same_content_up_to_mb`"
        ),
        f"{head}{place}  checks: {{tags: 1}}\n": "(file {file}, line ",
        f"{head}{place} bad: [\n": "This is no YAML: ",
        f"{head.replace('Export', 'Exprt')}{place}": (
            "`type` is 'billing_lake.components.BillingExprt', which there is not (file {file}, line 1)"
        ),
    }
    file = world.folder / "defs" / "mine" / "defs.yaml"
    for text, said in cases.items():
        put(file, text.encode())
        shown = world.load("--yes", "--outputs", "iceberg")
        assert shown.exit_code == 1
        assert "! cur is left alone: defs/mine/defs.yaml, which has a fault, may describe it" in (
            shown.output
        )
        assert said.format(file=file) in shown.output
        assert "\\x0a" not in shown.output
        assert "pydantic.dev" not in shown.output
    assert [one.name for one in (world.folder / "defs").iterdir()] == ["mine"]
    write_delivery(world.exports, "2025-01", SampleSpec(report="daily", rows=5))
    daily, mine = world.json("--outputs", "iceberg", exit_code=1)
    assert (daily["export"], daily["error"]) == ("daily", None)
    assert (mine["export"], mine["rows"]) == ("mine", None)
    assert mine["error"]["class"] == "ExportNotLoadedError"
    assert daily.keys() == mine.keys()


def test_an_export_that_gets_another_name_says_why_and_so_does_a_folder_that_is_not_there(
    world: World,
) -> None:
    write_delivery(world.exports, "2025-01", SampleSpec(report="daily", rows=5))
    for name in ("daily", "mine"):
        settings = f"{{name: {name}, layout: create-new, prefix: billing, report: dialy}}"
        text = f"type: billing_lake.components.BillingExport\nattributes: {settings}\n"
        put(world.folder / "defs" / name / "defs.yaml", text.encode())
    warnings = [
        "billing/daily/: named daily_2, because defs/daily/defs.yaml reads another folder (billing/dialy/, which is not there)",
        "defs/mine/defs.yaml reads billing/dialy/, which is not there; billing/daily/ is, and goes into daily_2",
    ]
    asked = world.load(typed="n\n")
    assert [f"! {one}" for one in warnings] == [
        line for line in asked.output.splitlines() if line.startswith("! ")
    ]
    (result,) = world.json("--outputs", "iceberg")
    assert (result["export"], result["warnings"]) == ("daily_2", warnings)


def test_a_loose_file_of_focus_is_read_once_for_its_months_however_often_load_is_run(
    world: World,
) -> None:
    vendor = PROVIDERS["another"]
    vendor.write(world.exports)
    (found,) = world.json("--outputs", "iceberg")
    assert (found["period"], found["tables"]["iceberg"]["equal"]) == ("2025-03", True)
    (kept,) = (world.folder / "lake" / "values" / "report_files").iterdir()
    value = json.loads(kept.read_text())
    assert value["periods"] == ["2025-03"]
    # As if the file had said so: what is kept is believed, and the file itself is not asked.
    kept.write_text(json.dumps({**value, "periods": ["2025-04"]}))
    pinned_files._stated_periods.cache_clear()
    again = world.load("--period", "2025-03", "--yes")
    assert "No export has a delivery for 2025-03 to load; newest are 2025-04" in " ".join(
        again.output.replace("│", "").split()
    )
    pinned_files._stated_periods.cache_clear()


def test_a_table_of_another_format_is_refused_before_anything_is_written(world: World) -> None:
    deliver(world.exports, "2025-01")
    settings = "{name: mine, format: cur2, layout: loose, prefix: x, table: cur}"
    text = f"type: billing_lake.components.BillingExport\nattributes: {settings}\n"
    put(world.folder / "defs" / "mine" / "defs.yaml", text.encode())
    assert_refused(world.load("--yes"), "go into the same table, billing.cur: cur (legacy_cur)")
    assert not (world.folder / "lake" / "catalog").exists()
    assert not world.settings.exists()


def test_an_export_with_settings_is_loaded_by_them_whatever_lies_there(world: World) -> None:
    folder, settings = world.exports / "x", world.folder / "defs" / "x" / "defs.yaml"
    put(folder / "cur-1.csv.gz", csv_gz([row("2025-01", "a")]))
    put(folder / "sub" / "cur-2.csv.gz", csv_gz([row("2025-01", "b")]))
    (first,) = world.json("--outputs", "iceberg")
    assert (first["export"], first["files"], first["rows"]) == ("x", 2, 2)
    settings.write_text(f"{settings.read_text()}  report: cur-1.csv.gz\n")
    put(world.exports / "old" / "catalog" / "lake.json", b"{}")
    narrowed = world.load("--yes")
    assert narrowed.exit_code == 0, narrowed.output
    assert "left out by `report` of the export x, cur-1.csv.gz" in narrowed.output
    assert "1 folder belongs to no export: old/ (a lake" in narrowed.output
    assert sorted(one.name for one in (world.folder / "defs").iterdir()) == ["x"]
    # The same files from the folder below are no other export, and nor are those under another name.
    inner = world.load("--yes", "--json", uri="exports/x")
    assert inner.exit_code == 2
    assert (
        "files of the export x, which was loaded from" in json.loads(inner.stdout)["error"]["text"]
    )
    named = world.load("--yes", "--name", "y")
    assert (named.exit_code, "--name says otherwise" in named.output) == (2, True)
    # What is there and cannot be read, and what is gone, is said, and makes the status 1.
    put(folder / "cur-1.csv.gz", b"")
    put(world.exports / "bad" / "a.csv.gz", b"no gzip")
    cut, bad = world.json(exit_code=1)
    assert (cut["export"], cut["error"]["class"]) == ("x", "IncompleteDeliveryError")
    assert (bad["export"], bad["error"]["file"]) == (None, "bad/a.csv.gz")
    shutil.rmtree(world.exports / "bad")
    (folder / "cur-1.csv.gz").unlink()
    (none,) = world.json(exit_code=1)
    assert (none["export"], none["error"]["class"]) == ("x", "NoDeliveryError")
    shutil.rmtree(folder)
    put(world.exports / "notes.txt", b"")
    (gone,) = world.json(exit_code=1)
    assert "There is no folder" in gone["error"]["text"]


def test_programs_get_the_error_of_a_place_that_cannot_be_loaded(world: World) -> None:
    put(world.exports, b"a file")
    for uri, reason in (("nowhere", "nowhere is not there"), ("exports", "exports is a file")):
        for command in ("load", "inspect"):
            result = CliRunner().invoke(main, [command, uri, "--json"])
            assert result.exit_code == 2
            error = json.loads(result.stdout)["error"]
            assert error["class"] == "ConfigurationError"
            assert error["file"] == str(world.folder / uri)
            assert reason in error["text"]
            assert "Name a folder" in error["remedy"]


def test_the_settings_go_into_the_project_around_the_folder(world: World) -> None:
    assert defs_folder({}) == world.folder / "defs"
    put(
        world.folder / "pyproject.toml",
        b'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "host"\n',
    )
    assert defs_folder({}) == world.folder / "host" / "defs"
    (world.folder / "src" / "host").mkdir(parents=True)
    assert defs_folder({}) == world.folder / "src" / "host" / "defs"
    assert defs_folder({"BILLING_LAKE_DEFS": "/elsewhere"}) == Path("/elsewhere")
